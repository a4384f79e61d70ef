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
from scipy.ndimage import binary_dilation, binary_erosion
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
        self._frames = frames.astype(np.int16)
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
        _, neighbours = self._tree.query(state / self._scale, _NEIGHBOURS)
        shared = np.zeros(frame.shape[:2], np.int64)
        for index in neighbours:
            shared += np.abs(self._frames[index] - frame).max(axis=-1) <= _SAME
        return binary_erosion(shared < _SHARE * _NEIGHBOURS)

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
        for window, row, result, draw in zip(frames, states, points, draws, strict=True):
            first = window[0].astype(np.int16)
            rows, columns = np.nonzero(self.things(first, row[0]))
            if not len(rows):
                continue
            change = np.abs(window[1:] - first).max(axis=(0, -1)) > _CHANGE
            near = binary_dilation(change, iterations=_AROUND)[rows, columns]
            sums = np.cumsum(np.where(near, 1.0, _STILL))
            index = np.searchsorted(sums, draw * sums[-1], side="right")
            result[:, 0], result[:, 1] = rows[index], columns[index]
        return points
