"""Many small arrays as one: to copy one to an accelerator or back takes the host as long, however small it is.

The eight results of a search took 0.3 to 0.8 ms each on an H200 (under its profiler, which slows them down); the whole
decision of `push_fast` takes ten.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Form(NamedTuple):
    """Shapes of arrays, and which of them are floats and so go into the one array."""

    shapes: tuple[tuple[int, ...], ...]
    packed: tuple[bool, ...]


def pack(arrays: Sequence[Any]) -> tuple[Form, np.ndarray, tuple[np.ndarray, ...]]:
    """Floats as one array [N] float32, and the others as they are.

    Returns:
        (form, one, others): `unpack` makes the arrays of them.
    """
    arrays = [np.asarray(array) for array in arrays]
    packed = tuple(array.dtype.kind == "f" for array in arrays)
    floats = [
        array.ravel().astype(np.float32, copy=False) for array, is_float in zip(arrays, packed, strict=True) if is_float
    ]
    others = tuple(array for array, is_float in zip(arrays, packed, strict=True) if not is_float)
    one = np.concatenate(floats) if floats else np.zeros(0, np.float32)
    return Form(tuple(array.shape for array in arrays), packed), one, others


def unpack(form: Form, one: Any, others: Sequence[Any]) -> list[Any]:
    """The arrays that were packed, in their order; of tensors or of arrays."""
    shapes = [shape for shape, is_float in zip(form.shapes, form.packed, strict=True) if is_float]
    floats, rest = iter(split(one, shapes)), iter(others)
    return [next(floats) if is_float else next(rest) for is_float in form.packed]


def split(one: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """One array [N] cut into arrays of these shapes, which have N numbers together."""
    ends = list(itertools.accumulate((math.prod(shape) for shape in shapes), initial=0))
    if isinstance(one, np.ndarray):
        return [
            one[start:end].reshape(shape) for (start, end), shape in zip(itertools.pairwise(ends), shapes, strict=True)
        ]
    from keras import ops

    return [
        ops.reshape(one[start:end], shape) for (start, end), shape in zip(itertools.pairwise(ends), shapes, strict=True)
    ]
