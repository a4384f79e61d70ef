"""Episodes gathered into contiguous arrays, from which windows are cut."""

from __future__ import annotations

import numpy as np

from visual_foresight.affordable import memory_bytes
from visual_foresight.episode import Episode
from visual_foresight.window_weights import WeightFn

__all__ = ["Gathered"]


class Gathered:
    """Collects episodes, checks that they agree, and packs them into contiguous arrays.

    N episodes in all; rows of one array belong to the episodes one after the other.

    Args:
        sequence_length: Frames in a window.
        memory_budget: Bytes that the frames may take; None means half of the machine's memory.
        weights: Weights of windows, or None where all are drawn alike.
        use_state: False keeps neither actions nor states.
    """

    def __init__(
        self, sequence_length: int, memory_budget: int | None, weights: WeightFn | None, use_state: bool
    ) -> None:
        """Begin with no episode."""
        self.sequence_length, self.weights, self.use_state = sequence_length, weights, use_state
        self.memory_budget = memory_budget if memory_budget is not None else memory_bytes() // 2
        self.frames: list[np.ndarray] = []
        self.rows: dict[str, list[np.ndarray | None]] = {"action": [], "state": []}
        self.window_weights: list[np.ndarray] = []
        self.lengths: list[int] = []
        self.num_bytes = 0

    def add(self, index: int, episode: Episode) -> None:
        """Take in one more episode.

        Args:
            index: What messages call it.
            episode: The episode.

        Raises:
            ValueError: It is too short, of another size than those before, does not fit the memory budget, or its
                weights are not what they must be.
        """
        if episode.num_frames < self.sequence_length:
            raise ValueError(
                f"episode {index} has {episode.num_frames} frames, fewer than the sequence_length "
                f"{self.sequence_length}: shorten the windows or leave such episodes out"
            )
        if self.frames and self.frames[0].shape[1:] != episode.frames.shape[1:]:
            raise ValueError(
                f"episode {index} has frames of {episode.frames.shape[1:]}, the ones before "
                f"{self.frames[0].shape[1:]}: read them with one image_size"
            )
        self.num_bytes += episode.frames.nbytes
        if self.num_bytes > self.memory_budget:
            raise ValueError(
                f"the frames of the first {index + 1} episodes take {self.num_bytes / 2**20:.1f} MiB, more than the "
                f"memory budget of {self.memory_budget / 2**20:.1f} MiB: use stream_windows, which reads shards as it "
                "goes, or a smaller image_size"
            )
        self.frames.append(episode.frames)
        self.rows["action"].append(episode.actions if self.use_state else None)
        self.rows["state"].append(episode.states if self.use_state else None)
        self.lengths.append(episode.num_frames)
        if self.weights is not None:
            self.window_weights.append(self._weights_of(index, episode))

    def _weights_of(self, index: int, episode: Episode) -> np.ndarray:
        expected = episode.num_frames - self.sequence_length + 1
        weights = (
            np.asarray(self.weights(episode, self.sequence_length), dtype=np.float64) if self.weights else np.ones(0)
        )
        if weights.shape != (expected,) or not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError(
                f"weights of episode {index} must be {expected} finite numbers >= 0, one for each first frame, "
                f"got shape {list(weights.shape)}"
            )
        return weights

    def offsets(self) -> tuple[np.ndarray, np.ndarray]:
        """First row `[N]` and number of frames `[N]` of each episode.

        Raises:
            ValueError: There is no episode.
        """
        if not self.lengths:
            raise ValueError("there is no episode to draw windows from")
        lengths = np.asarray(self.lengths, dtype=np.int64)
        return np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths

    def pack_frames(self) -> np.ndarray:
        """Frames `[sum of T, H, W, 3]` uint8; the episodes' own are let go."""
        packed = np.empty((sum(self.lengths), *self.frames[0].shape[1:]), np.uint8)
        # Each episode is let go as it is copied, so that the data is not held twice.
        stop = len(packed)
        while self.frames:
            frames = self.frames.pop()
            packed[stop - len(frames) : stop] = frames
            stop -= len(frames)
        return packed

    def pack_rows(self, kind: str, size: int | None) -> np.ndarray:
        """Actions or states `[sum of T, size]`; actions have one unused row at the end of each episode.

        Args:
            kind: "action" or "state".
            size: Dimensions for data without any (zeros); else it must agree with the data.

        Raises:
            ValueError: Some episodes have them and others do not, or sizes differ.
        """
        rows = self.rows[kind]
        missing = [index for index, each in enumerate(rows) if each is None]
        if missing and len(missing) < len(rows):
            raise ValueError(
                f"episode {missing[0]} has no {kind}s but others do: read with use_state=False or leave it out"
            )
        sizes = {each.shape[1] for each in rows if each is not None}
        if len(sizes) > 1:
            raise ValueError(f"episodes differ in {kind} size: {sorted(sizes)}; draw from them apart")
        found = sizes.pop() if sizes else None
        if found is not None and size is not None and found != size:
            raise ValueError(f"the data has {kind} size {found}, but {kind}_size={size} was asked for")
        packed = np.zeros((sum(self.lengths), found if found is not None else (size or 0)), np.float32)
        start = 0
        for each, length in zip(rows, self.lengths, strict=True):
            if each is not None:
                packed[start : start + len(each)] = each
            start += length
        return packed

    def cumulative_weights(self, random_start: bool) -> np.ndarray | None:
        """Running sum of the weights of all windows; None where there are no weights.

        Args:
            random_start: Whether windows begin anywhere; else only the first of each episode counts.

        Raises:
            ValueError: All weights are zero.
        """
        if self.weights is None:
            return None
        weights = np.concatenate([each if random_start else each[:1] for each in self.window_weights])
        if not weights.sum() > 0:
            raise ValueError("the weights of all windows are zero: nothing could ever be drawn")
        return np.cumsum(weights)
