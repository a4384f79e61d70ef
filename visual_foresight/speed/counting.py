"""Floating point operations of a function, as the backend counts what it would run; nothing is compiled or run."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def count_flops(function: Callable, *arguments: np.ndarray) -> float | None:
    """Return the operations of one call: TensorFlow's profile of the graph, or XLA's analysis of what JAX lowers.

    Both count a multiplication and an addition as two. XLA leaves out the products with the zeros that pad an image
    (of the seed network at 64x64, 3.1 remain of 3.5 billion); None where it gives no count.

    Args:
        function: of tensors; may read variables.
        arguments: arrays of the shapes that are asked about.
    """
    from visual_foresight.backend import backend_name

    return _lowered_flops(function, arguments) if backend_name() == "jax" else _graph_flops(function, arguments)


def _lowered_flops(function: Callable, arguments: tuple[np.ndarray, ...]) -> float | None:
    import jax

    with jax.default_device(jax.devices("cpu")[0]):  # that of a GPU counts nothing
        analysis = jax.jit(function).lower(*arguments).cost_analysis()
    return None if analysis is None else float(analysis.get("flops", 0.0))


def _graph_flops(function: Callable, arguments: tuple[np.ndarray, ...]) -> float:
    from visual_foresight.backend import import_tensorflow

    tensorflow = import_tensorflow()
    graph = tensorflow.function(function, autograph=False).get_concrete_function(*arguments).graph
    profiler = tensorflow.compat.v1.profiler
    options: Mapping[str, Any] = profiler.ProfileOptionBuilder.float_operation()
    found = profiler.profile(graph, options={**options, "output": "none"})
    return float(found.total_float_ops)
