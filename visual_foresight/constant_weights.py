"""Compiled functions that know a network's weights beforehand, on a CPU with TensorFlow.

oneDNN wants the kernels of convolutions and products in an order of its own. It puts those of variables into it at
every call, and each time they are cast to the compute type as well: a sixth of the time of a rollout of 24 futures,
2 to 5 % of one of 200 (docs/performance.md). Constants are put in order once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from visual_foresight.backend import backend_name, compile_function, device_kind, import_tensorflow

__all__ = ["compile_with_weights"]

# Larger networks keep variables: every compiled size of a function holds the weights several times. Of the original
# network, 8.3 million, three sizes took 1.9 GB.
_MOST_WEIGHTS = 4_000_000


def compile_with_weights(function: Callable, model: Any) -> Callable:
    """Like `backend.compile_function`, for a function that is called often while the weights stay as they are.

    Weights that change are seen at the next call: it compares them, and from then on the function reads the variables,
    for what has changed once, as in training, will change again.

    Args:
        function: function of nested arrays (positional arguments) that returns nested arrays.
        model: the Keras model or layer whose variables it reads.

    Returns:
        The compiled function. On JAX, on accelerators and for very large networks, `compile_function` itself.
    """
    if backend_name() != "tensorflow" or device_kind() != "cpu":
        return compile_function(function, model=model)
    if sum(variable.value.shape.num_elements() for variable in model.variables) > _MOST_WEIGHTS:
        return compile_function(function, model=model)
    return _WithWeights(function, model)


class _WithWeights:
    """The function with the weights of its first call, until these change."""

    def __init__(self, function: Callable, model: Any) -> None:
        self._function = function
        self._model = model
        self._knowing: Callable | None = None
        self._reading: Callable | None = None

    def __call__(self, *arguments: Any) -> Any:
        if self._reading is None:
            knowing = self._knowing
            if knowing is None:
                knowing = self._knowing = self._compile()
            outputs, same = knowing(*arguments)
            if same:
                return outputs
            self._reading, self._knowing = compile_function(self._function, model=self._model), None
        return self._reading(*arguments)

    def _compile(self) -> Callable:
        import keras

        tensorflow = import_tensorflow()
        variables = list(self._model.variables)
        values = [variable.numpy() for variable in variables]

        def known(*arguments: Any) -> tuple[Any, Any]:
            constants = [tensorflow.constant(value) for value in values]
            with keras.StatelessScope(state_mapping=list(zip(variables, constants, strict=True))):
                outputs = self._function(*arguments)
            pairs = zip(variables, constants, strict=True)
            same = [tensorflow.reduce_all(variable.value == constant) for variable, constant in pairs]
            return outputs, tensorflow.reduce_all(tensorflow.stack(same))

        return compile_function(known, model=self._model)
