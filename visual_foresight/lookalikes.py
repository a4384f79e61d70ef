"""What the robot's place does not explain: pixels of things, told apart from the robot and the scene without labels.

Wherever the robot has been before, it looked the same, and so did the table around it; only things lay elsewhere.
So a pixel that most of the frames with the robot at nearly the same place do not share belongs to a thing: 98 % of
such pixels lie on objects, and 95 % of the objects' centres are found (`benchmarks/followed_points.py`). It needs a
camera that stands still and data in which things lie at different places.

Letters: B windows, T frames of a window, H rows, W columns, S state size, P points.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.spatial import cKDTree

from visual_foresight.episode import Episode

__all__ = ["Lookalikes"]

NUM_FRAMES = 4096
# Frames compared with, the largest difference of a colour that they share [0-255], and how many must share it.
_NEIGHBOURS, _SAME, _SHARE = 10, 35, 0.4
# Pixels this near to one that changes by more than `_CHANGE` count as changing [px].
_CHANGE, _AROUND = 25, 3
# The chance of a thing's pixel that does not change, of that of one that does.
_STILL = 0.02


class Lookalikes:
    """A sample of frames, found by the state of the robot in them.

    Args:
        frames: [N, H, W, 3] uint8.
        states: [N, S].

    Raises:
        ValueError: fewer frames than are compared with, or as many states are not given.
    """

    def __init__(self, frames: np.ndarray, states: np.ndarray) -> None:
        """Sort the frames by state."""
        if len(frames) != len(states) or len(frames) < _NEIGHBOURS:
            raise ValueError(
                f"points to follow are told from the robot by at least {_NEIGHBOURS} frames and their states; got "
                f"{len(frames)} frames and {len(states)} states"
            )
        self._planes = _planes(frames)
        deviation = states.std(axis=0)
        self._scale = np.where(deviation > 0, deviation, 1.0)
        self._tree = cKDTree(states / self._scale)

    @classmethod
    def of(cls, episodes: Iterable[Episode], seed: int) -> Lookalikes:
        """A sample of at most `NUM_FRAMES` frames, as many of each episode, chosen with the seed.

        Raises:
            ValueError: an episode has no states, or there are too few frames.
        """
        episodes = list(episodes)
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(len(episodes))[:NUM_FRAMES]
        each = max(1, NUM_FRAMES // max(1, len(chosen)))
        frames, states = [], []
        for index in chosen:
            episode = episodes[index]
            if episode.states is None or not episode.states.shape[1]:
                raise ValueError(
                    "points to follow are told from the robot by its state, but the episodes have none: record states, "
                    "or train with --follow_weight=0"
                )
            rows = rng.choice(episode.num_frames, min(each, episode.num_frames), replace=False)
            frames.append(episode.frames[rows])
            states.append(episode.states[rows])
        if not frames:
            raise ValueError("there is no episode to compare with")
        return cls(np.concatenate(frames), np.concatenate(states))

    def things(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        """[H, W] bool: pixels of `frame` [H, W, 3] uint8 that the robot's state [S] does not explain.

        Pixels at the rim of what is found are left out: there the robot's own outline, a pixel beside where it was,
        would be taken for a thing.
        """
        return self._things(_planes(frame)[None], state[None])[0]

    def _things(self, planes: np.ndarray, states: np.ndarray) -> np.ndarray:
        """[B, H, W] bool for frames [B, C, H, W] and states [B, S]."""
        _, neighbours = self._tree.query(states / self._scale, _NEIGHBOURS)
        shared = np.zeros(planes[:, 0].shape, np.uint8)
        for column in neighbours.T:
            shared += _largest_differences(self._planes[column], planes) <= _SAME
        return _eroded(shared < _SHARE * _NEIGHBOURS)

    def choose_points(
        self, frames: np.ndarray, states: np.ndarray, num_points: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw pixels of things in the first frame of each window, most of them where something changes later.

        Args:
            frames: [B, T, H, W, 3] uint8.
            states: [B, T, S].
            num_points: P.
            rng: draws them.

        Returns:
            [B, P, 2] float32, whole numbers (row, column); -1 where no thing is seen.
        """
        points = np.full((len(frames), num_points, 2), -1, np.float32)
        draws = rng.random((len(frames), num_points))
        planes = _planes(frames)
        things = self._things(planes[:, 0], states[:, 0])
        change = np.zeros(things.shape, bool)
        for later in range(1, planes.shape[1]):
            change |= _largest_differences(planes[:, later], planes[:, 0]) > _CHANGE
        weights = np.where(things, np.where(_dilated(change, _AROUND), 1.0, _STILL), 0.0)
        for thing, weight, result, draw in zip(things, weights, points, draws, strict=True):
            rows, columns = np.nonzero(thing)
            if not len(rows):
                continue
            sums = np.cumsum(weight[rows, columns])
            index = np.searchsorted(sums, draw * sums[-1], side="right")
            result[:, 0], result[:, 1] = rows[index], columns[index]
        return points


# Bytes in planes, whole batches at a time: a tenth of the time of the same sums over [H, W, 3] in wider numbers, and
# threads do not wait for each other. An accelerator is done with a step before one thread has its points.


def _planes(frames: np.ndarray) -> np.ndarray:
    """[..., H, W, C] to [..., C, H, W], contiguous."""
    return np.ascontiguousarray(np.moveaxis(frames, -1, -3))


def _largest_differences(frames: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[B, H, W] uint8: by how much the colours of two sets of frames [B, C, H, W] uint8 differ at most."""
    return np.max(np.maximum(frames, others) - np.minimum(frames, others), axis=1)


def _eroded(masks: np.ndarray) -> np.ndarray:
    """Masks [B, H, W] without pixels of which a neighbour above, below, left or right is not in it, or not there."""
    inner = np.zeros_like(masks)
    rows = masks[:, 1:-1] & masks[:, :-2] & masks[:, 2:]
    inner[:, 1:-1, 1:-1] = rows[..., 1:-1] & masks[:, 1:-1, :-2] & masks[:, 1:-1, 2:]
    return inner


def _dilated(masks: np.ndarray, times: int) -> np.ndarray:
    """Masks [B, H, W] grown so many times by the neighbours above, below, left and right."""
    for _ in range(times):
        grown = masks.copy()
        grown[:, 1:] |= masks[:, :-1]
        grown[:, :-1] |= masks[:, 1:]
        grown[..., 1:] |= masks[..., :-1]
        grown[..., :-1] |= masks[..., 1:]
        masks = grown
    return masks
