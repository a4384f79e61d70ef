"""Chains of small operations as one loop over memory, on the CPU with TensorFlow.

TensorFlow runs each operation by itself: a gate of an LSTM is read and written ten times. XLA turns a chain into one
loop, but is half as fast as oneDNN at convolutions. So only the chains between the convolutions go through XLA, each as
a compiled function of its own inside the graph. On JAX, and on accelerators, where whole steps are compiled, and where
this TensorFlow was built without XLA, the functions here run as they are.
"""

import functools
from collections.abc import Callable
from typing import Any

from visual_foresight import backend


@functools.cache
def fuses() -> bool:
    """Whether chains are compiled by themselves here."""
    if backend.backend_name() != "tensorflow" or backend.device_kind() != "cpu":
        return False
    tensorflow = backend.import_tensorflow()
    try:
        tensorflow.function(lambda value: value + 1.0, jit_compile=True)(0.0)
    except tensorflow.errors.OpError:
        return False
    return True


def fuse(function: Callable) -> Callable:
    """Compile a chain of elementwise operations, reductions and shifts; for the inside of a custom gradient.

    Args:
        function: pure function of tensors (positional) that returns tensors.

    Returns:
        The same function; gradients through it are those that the backend derives.
    """
    return _compiled_when_called(function, _compile)


def fuse_with_gradient(function: Callable, gradient: Callable | None = None) -> Callable:
    """Compile a chain and its gradient, which computes the chain anew: that costs less than to store what is between.

    Args:
        function: pure function of float tensors (positional) that returns one tensor or a tuple.
        gradient: function of the tensors and what comes from above, to the list of the tensors' gradients; for chains
            whose derived gradient is slow, as that of many slices is. None: derived.

    Returns:
        The same function.
    """
    return _compiled_when_called(function, functools.partial(_with_gradient, gradient=gradient))


def _compiled_when_called(function: Callable, compile_with: Callable[[Callable], Callable]) -> Callable:
    """The function, compiled at the first call that can fuse: importing this module must not start TensorFlow."""
    compiled: list[Callable] = []

    @functools.wraps(function)
    def call(*tensors: Any) -> Any:
        if not fuses():
            return function(*tensors)
        if not compiled:
            compiled.append(compile_with(function))
        return compiled[0](*tensors)

    return call


def _compile(function: Callable) -> Callable:
    return backend.import_tensorflow().function(function, jit_compile=True, autograph=False)


def _with_gradient(function: Callable, gradient: Callable | None) -> Callable:
    tensorflow = backend.import_tensorflow()
    forward = _compile(function)

    def backward(tensors: tuple, upstream: tuple) -> list:
        return derived(tensors, upstream) if gradient is None else gradient(*tensors, *upstream)

    def derived(tensors: tuple, upstream: tuple) -> list:
        with tensorflow.GradientTape() as tape:
            tape.watch(tensors)
            outputs = function(*tensors)
        upstream = upstream if isinstance(outputs, tuple) else upstream[0]
        return tape.gradient(outputs, list(tensors), output_gradients=upstream)

    compiled = _compile(backward)

    @tensorflow.custom_gradient
    def call(*tensors: Any) -> Any:
        return forward(*tensors), lambda *upstream: compiled(tensors, upstream)

    # A custom gradient takes a variable for a weight of its own and asks for more than one gradient of it.
    return lambda *tensors: call(*[tensorflow.convert_to_tensor(tensor) for tensor in tensors])
