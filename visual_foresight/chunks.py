"""Candidates cut into chunks, each for one compiled call.

Letters: N scenes, K candidates of all of them, T control steps, A action size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np


class Chunk(NamedTuple):
    """What one call computes.

    Attributes:
        scenes: which of the N.
        actions: [S*F, T, A], of S scenes one behind the other, each with its last candidate repeated up to F: few
            sizes to compile.
        num_own: how many of the F are candidates.
    """

    scenes: slice
    actions: np.ndarray
    num_own: int

    def own(self, values: Any) -> Any:
        """Values [S*F, ...] without those of repeated candidates: an array or a tensor [S*num_own, ...]."""
        num_scenes = self.scenes.stop - self.scenes.start
        filled = len(self.actions) // num_scenes
        if filled == self.num_own:
            return values
        if num_scenes == 1:
            return values[: self.num_own]
        rows = (np.arange(num_scenes)[:, None] * filled + np.arange(self.num_own)).reshape(-1)
        if isinstance(values, np.ndarray):
            return values[rows]
        from keras import ops

        return ops.take(values, rows, axis=0)


def chunks(actions: np.ndarray, num_scenes: int, chunk_size: int) -> Iterator[Chunk]:
    """Cut candidates into as few chunks as fit, all of nearly the same size.

    Args:
        actions: [K, T, A], those of a scene one behind the other, as many of each.
        num_scenes: N.
        chunk_size: largest number of candidates in a chunk, a power of two.

    Yields:
        Chunks, in order: some scenes with all their candidates, or some candidates of one scene.
    """
    by_scene = actions.reshape(num_scenes, -1, *actions.shape[1:])
    each = by_scene.shape[1]
    together = chunk_size // filled_size(each)
    if num_scenes > 1 and together > 1:
        for scenes in np.array_split(np.arange(num_scenes), math.ceil(num_scenes / together)):
            own = slice(int(scenes[0]), int(scenes[-1]) + 1)
            filled = _fill(by_scene[own], axis=1)
            yield Chunk(own, filled.reshape(-1, *actions.shape[1:]), each)
        return
    for scene, candidates in enumerate(by_scene):
        for piece in np.array_split(candidates, math.ceil(each / chunk_size)):
            yield Chunk(slice(scene, scene + 1), _fill(piece, axis=0), len(piece))


def filled_size(count: int) -> int:
    """The next power of two up to 8, then the next multiple of 8."""
    return count + (-count % 8 if count > 8 else (1 << (count - 1).bit_length()) - count)


def _fill(actions: np.ndarray, axis: int) -> np.ndarray:
    count = actions.shape[axis]
    missing = filled_size(count) - count
    if not missing:
        return actions
    last = np.take(actions, [-1], axis=axis)
    return np.concatenate([actions, np.repeat(last, missing, axis=axis)], axis=axis)


def join(parts: list[np.ndarray]) -> np.ndarray:
    """Parts one behind the other, without a copy where there is only one."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
