"""Arrays as callers give them: lists, tensors or anything else that holds numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

_LARGEST = 1e12
"""Beyond any unit of an action or state; networks square their inputs, and some thousands of times more overflow."""


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


def check_magnitude(name: str, array: np.ndarray) -> None:
    """Refuse actions or states that are not finite, or so large that a network answers with NaN.

    Args:
        name: of the argument, in the plural, for the message.
        array: numbers.

    Raises:
        ValueError: names the largest value.
    """
    if (np.abs(array) <= _LARGEST).all():  # of NaN, too, this is false
        return
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contain values that are not finite")
    largest = array.flat[np.abs(array).argmax()]
    raise ValueError(f"{name} contain {largest:.4g}, beyond {_LARGEST:g}: no such value can be meant; check the units")
