"""Arrays as callers give them: lists, tensors or anything else that holds numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


def given_array(name: str, value: Any, dtype: Any = np.float32) -> np.ndarray:
    """A caller's numbers as an array; too large ones become infinite, without a warning.

    Args:
        name: of the argument, for the message.
        value: numbers, nested lists of them, or an array or tensor.
        dtype: of the result.

    Raises:
        ValueError: words, complex numbers, objects, or lists of different lengths.
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} must be an array of numbers, got lists of different lengths or depths") from error
    if array.dtype.kind in "cSUmM":
        raise ValueError(f"{name} must be real numbers, got an array of {array.dtype}")
    try:
        with np.errstate(over="ignore"):
            return array.astype(dtype, copy=False)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} must be an array of numbers, got {type(value).__name__}: {error}") from error
