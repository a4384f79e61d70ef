"""One source for NumPy arrays and backend tensors: objectives are written once and run on both."""

from __future__ import annotations

from typing import Any

import numpy as np


def array_namespace(*arrays: Any) -> Any:
    """NumPy if every array is a NumPy array (or plain number), else ``keras.ops``.

    Only functions that both spell alike may be used from it. Keras is not imported on the NumPy path.
    """
    if all(isinstance(array, (np.ndarray, np.generic, int, float)) for array in arrays):
        return np
    from keras import ops

    return ops


def as_float(array: Any) -> Any:
    """The array as float32: costs are summed in float32 also where the network computes in bfloat16."""
    if array_namespace(array) is np:
        return np.asarray(array, np.float32)
    from keras import ops

    return ops.cast(array, "float32")


def as_numpy(array: Any) -> np.ndarray:
    """The array as a NumPy array, for people and reports."""
    return array if isinstance(array, np.ndarray) else np.asarray(array)


def safe_root(values: Any) -> Any:
    """Square root of values that are not negative, with a finite gradient at zero (1e-8 inside: 1e-4 at zero)."""
    return array_namespace(values).sqrt(values + 1e-8)


def safe_norm(vectors: Any, axis: int = -1) -> Any:
    """Euclidean length along an axis, with a finite gradient at zero (1e-12 inside the root, so 1e-6 at zero)."""
    xp = array_namespace(vectors)
    return xp.sqrt(xp.sum(xp.square(vectors), axis=axis) + 1e-12)
