"""Reading probability maps of designated pixels: expected distance and expected position."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from visual_foresight.given_arrays import given_array
from visual_foresight.planners.objectives.arrays import array_namespace, as_float

_NO_MASS = 1e6  # [px]: where a map without mass is said to be; far beyond any image, yet safe to square in float32


def checked_pixels(name: str, pixels: Any) -> np.ndarray:
    """Pixels [P, 2] float32 from [P, 2] or [2].

    Raises:
        ValueError: another shape, no pixel, or a value that is not finite.
    """
    array = given_array(name, pixels).copy()  # the caller may go on writing into its own
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] != 2 or len(array) == 0 or not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite pixels [P, 2] as (row, col), got {np.asarray(pixels).tolist()}")
    return array


def expected_distances(maps: Any, goals: Any, bend: Callable[[Any], Any] = lambda distances: distances) -> Any:
    """``sum(p * bend(|pixel - goal|)) / sum(p)`` of every map, [K, T, P, H, W] and goals [P, 2] to [K, T, P].

    A map without mass says nothing about where its pixel is: its distance is infinite, so that it never wins.
    """
    xp = array_namespace(maps)
    horizon, num_pixels, height, width = maps.shape[1:]
    sums = []
    for index in range(num_pixels):  # one matrix product a pixel gives the weighted sum and the mass together
        table = _distance_table(goals[index], height, width, bend)
        sums.append(xp.matmul(xp.reshape(maps[:, :, index], (-1, horizon, height * width)), table))
    sums = xp.stack(sums, axis=2)  # [K, T, P, 2]
    mass = sums[..., 1]
    there = mass > 0.0
    # Divided by a mass that is safe on both branches: the gradient of the branch not taken must be finite too.
    return xp.where(there, sums[..., 0] / xp.where(there, mass, xp.ones_like(mass)), np.float32(np.inf))


def _distance_table(goal: Any, height: int, width: int, bend: Callable[[Any], Any]) -> Any:
    """[H * W, 2] float32: the bent distance of each pixel to the goal, and 1."""
    if isinstance(goal, np.ndarray):
        distances = bend(_distances_to(float(goal[0]), float(goal[1]), height, width))
        return np.stack([distances, np.ones_like(distances)], axis=-1).astype(np.float32)
    from keras import ops

    places = _position_table(height, width)
    distances = bend(ops.sqrt(ops.sum(ops.square(places[:, :2] - goal), axis=-1)))
    return ops.stack([distances, ops.ones_like(distances)], axis=-1)


def expected_pixels(maps: Any) -> Any:
    """Mean (row, col) of every map, [N, ..., H, W] to [N, ..., 2]; a map without mass is far outside the image."""
    maps = as_float(maps)
    xp = array_namespace(maps)
    height, width = maps.shape[-2:]
    # The first axis may be unknown while a graph is traced; the others are not.
    flat = xp.reshape(maps, (-1, *maps.shape[1:-2], height * width))
    sums = xp.matmul(flat, _position_table(height, width))
    mass = sums[..., 2:]
    there = mass > 0.0
    return xp.where(there, sums[..., :2] / xp.where(there, mass, xp.ones_like(mass)), np.float32(_NO_MASS))


@lru_cache(maxsize=64)
def _distances_to(row: float, col: float, height: int, width: int) -> np.ndarray:
    """[H * W] float32 distance of each pixel centre to a point [px]."""
    rows, cols = np.mgrid[:height, :width]
    return _shared(np.hypot(rows - row, cols - col).reshape(-1))


@lru_cache(maxsize=8)
def _position_table(height: int, width: int) -> np.ndarray:
    """[H * W, 3] float32: row, col, 1."""
    rows, cols = np.mgrid[:height, :width]
    return _shared(np.stack([rows, cols, np.ones_like(rows)], axis=-1).reshape(-1, 3))


def _shared(table: np.ndarray) -> np.ndarray:
    table = table.astype(np.float32)
    table.flags.writeable = False  # shared by all callers through the cache
    return table
