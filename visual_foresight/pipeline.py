"""Windows of episodes for training and validation, and the splits of a data set.

`WindowSource` holds every frame in memory and needs no TensorFlow; `stream_windows` reads shards as it goes, for data
that does not fit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from visual_foresight.episode import Episode
from visual_foresight.leaps import jitter_colours, leap_lengths, leap_rows

__all__ = ["WeightFn", "WindowSource", "contact_weights", "split_episodes", "split_files", "stream_windows"]

STARTS = ("random", "first")

# Keeps the random numbers of lengths and colours apart from those of order and first frames.
_OPTIONS_STREAM = 0x1EA9

WeightFn = Callable[[Episode, int], np.ndarray]
"""(episode, sequence_length) -> one weight >= 0 for each possible first frame `[T - sequence_length + 1]`."""

Item = TypeVar("Item")
Name = TypeVar("Name", str, Path)


class WindowSource:
    """Batches of windows from episodes held in memory, each batch a pure function of (seed, index).

    Draw d of the endless sequence belongs to epoch `d // num_episodes`. An epoch visits every episode once, in an
    order and from first frames that depend on `SeedSequence([seed, epoch])` alone; batch i holds the draws from
    `i * batch_size` on. So to resume exactly, remember the index.

    B windows in a batch, T frames each, H x W pixels, A action and S state dimensions.

    Args:
        episodes: Episodes that agree in image, action and state size; an iterator is read once.
        sequence_length: Frames in a window, T.
        batch_size: Windows in a batch, B.
        seed: Seed of order and first frames.
        start: "random" first frames, or always the "first" as the original.
        shuffle: False visits the episodes in their order (for validation).
        weights: Draw windows with replacement in proportion to these weights instead (see `contact_weights`).
        use_state: False gives zeros for actions and states.
        action_size: Number of action dimensions for data without actions (zeros); else it must agree with the data.
        state_size: The same for states.
        stride: Control steps of a leap: batches then hold the moments at the ends of leaps (`visual_foresight.leaps`).
        shorten: Share of leaps that are shorter than the stride, of a random length, for a predictor that must be able
            to stop anywhere; 0 for validation.
        colour_jitter: Largest change of each colour's gain and offset, drawn once for each window: a predictor that
            has seen other light and other colours does not mind them; 0 for validation.
        memory_budget: Bytes that the frames may take; None means half of the machine's memory.

    Raises:
        ValueError: There is no episode, one is too short or differs in a size, or the frames do not fit the budget.
    """

    def __init__(
        self,
        episodes: Iterable[Episode],
        *,
        sequence_length: int,
        batch_size: int,
        seed: int,
        start: str = "random",
        shuffle: bool = True,
        weights: WeightFn | None = None,
        use_state: bool = True,
        action_size: int | None = None,
        state_size: int | None = None,
        stride: int = 1,
        shorten: float = 0.0,
        colour_jitter: float = 0.0,
        memory_budget: int | None = None,
    ) -> None:
        """Gather the episodes; see the class."""
        if stride < 1 or (sequence_length - 1) % stride:
            raise ValueError(
                f"sequence_length - 1 must be a multiple of the stride, got {sequence_length} and {stride}"
            )
        if not 0 <= shorten <= 1:
            raise ValueError(f"shorten is a share, from 0 to 1; got {shorten}")
        if not 0 <= colour_jitter < 1:
            raise ValueError(f"colour_jitter is a share of the range, from 0 to below 1; got {colour_jitter}")
        self.stride, self._shorten, self._colour_jitter = stride, shorten, colour_jitter
        if sequence_length < 1 or batch_size < 1:
            raise ValueError(
                f"sequence_length and batch_size must be at least 1, got {sequence_length} and {batch_size}"
            )
        if start not in STARTS:
            raise ValueError(f"start must be one of {', '.join(STARTS)}, got {start!r}")
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        self.sequence_length, self.batch_size, self.seed = sequence_length, batch_size, seed
        self._random_start, self._shuffle = start == "random", shuffle
        gathered = _Gathered(sequence_length, memory_budget, weights, use_state)
        for index, episode in enumerate(episodes):
            gathered.add(index, episode)
        self._offsets, self._lengths = gathered.offsets()
        self._frames = gathered.pack_frames()
        self._actions = gathered.pack_rows("action", action_size)
        self._states = gathered.pack_rows("state", state_size)
        self._cumulative_weights = gathered.cumulative_weights(self._random_start)
        self._epoch_cache: tuple[int, np.ndarray, np.ndarray] | None = None

    @property
    def num_episodes(self) -> int:
        """Number of episodes; one epoch draws so many windows."""
        return len(self._lengths)

    @property
    def num_windows(self) -> int:
        """Number of different windows."""
        return int(self._num_starts().sum())

    @property
    def num_frames(self) -> int:
        """Number of frames held."""
        return len(self._frames)

    @property
    def batches_per_epoch(self) -> int:
        """Batches after which every episode has been drawn at least once."""
        return -(-self.num_episodes // self.batch_size)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width (H, W) in pixels."""
        return self._frames.shape[1], self._frames.shape[2]

    @property
    def action_size(self) -> int:
        """Number of action dimensions A."""
        return self._actions.shape[1]

    @property
    def state_size(self) -> int:
        """Number of state dimensions S."""
        return self._states.shape[1]

    def draws(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the episodes `[B]` and first frames `[B]` of batch `index`."""
        if index < 0:
            raise ValueError(f"the index of a batch must not be negative, got {index}")
        if self._cumulative_weights is not None:
            return self._weighted_draws(index, self._cumulative_weights)
        draws = index * self.batch_size + np.arange(self.batch_size)
        episodes, starts = np.empty(self.batch_size, np.int64), np.empty(self.batch_size, np.int64)
        for epoch in range(draws[0] // self.num_episodes, draws[-1] // self.num_episodes + 1):
            chosen = draws // self.num_episodes == epoch
            order, first = self._epoch(epoch)
            positions = draws[chosen] % self.num_episodes
            episodes[chosen], starts[chosen] = order[positions], first[positions]
        return episodes, starts

    def batch(self, index: int) -> dict[str, np.ndarray]:
        """Return batch `index`: frames `[B, T, H, W, 3]` uint8, actions `[B, T-1, A]`, states `[B, T, S]` float32.

        With a stride J: N + 1 frames and states at the ends of N = (T-1) / J leaps, actions `[B, N, J, A]`.
        """
        episodes, starts = self.draws(index)
        first = self._offsets[episodes] + starts
        # A stream of its own, so that neither option changes which windows are drawn.
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, index, _OPTIONS_STREAM]))
        batch = self._leaps(rng, first) if self.stride > 1 else self._window(first)
        if self._colour_jitter:
            batch["frames"] = jitter_colours(batch["frames"], rng, self._colour_jitter)
        return batch

    def _window(self, first: np.ndarray) -> dict[str, np.ndarray]:
        rows = first[:, None] + np.arange(self.sequence_length)  # [B, T]
        return {
            "frames": np.take(self._frames, rows, axis=0),
            "actions": np.take(self._actions, rows[:, :-1], axis=0),
            "states": np.take(self._states, rows, axis=0),
        }

    def _leaps(self, rng: np.random.Generator, first: np.ndarray) -> dict[str, np.ndarray]:
        """Frames `first` [B] and those at the ends of the leaps that follow."""
        num_leaps = (self.sequence_length - 1) // self.stride
        lengths = leap_lengths(rng, len(first), num_leaps, self.stride, self._shorten)
        ends, rows, inside = leap_rows(lengths, self.stride)
        return {
            "frames": np.take(self._frames, first[:, None] + ends, axis=0),
            "actions": np.take(self._actions, first[:, None, None] + rows, axis=0) * inside[..., None],
            "states": np.take(self._states, first[:, None] + ends, axis=0),
        }

    def dataset(self, start_index: int = 0, *, prefetch: int = 2) -> Any:
        """Return an endless `tf.data.Dataset` of the batches from `start_index` on, prepared ahead in a thread.

        Args:
            start_index: Index of the first batch: the number of batches consumed so far resumes exactly.
            prefetch: Batches prepared ahead.
        """
        from visual_foresight.stream import source_dataset

        return source_dataset(self, start_index, prefetch)

    def _num_starts(self) -> np.ndarray:
        return self._lengths - self.sequence_length + 1 if self._random_start else np.ones_like(self._lengths)

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Order of the episodes and first frame at each position, of one epoch."""
        cached = self._epoch_cache
        if cached is not None and cached[0] == epoch:
            return cached[1], cached[2]
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, epoch]))
        order = rng.permutation(self.num_episodes) if self._shuffle else np.arange(self.num_episodes)
        first = rng.integers(0, self._num_starts()[order])
        # Replaced in one assignment, so that threads that ask at once see either epoch, never half of both.
        self._epoch_cache = (epoch, order, first)
        return order, first

    def _weighted_draws(self, index: int, cumulative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, index]))
        window = np.searchsorted(cumulative, rng.random(self.batch_size) * cumulative[-1], side="right")
        first_window = np.concatenate([[0], np.cumsum(self._num_starts())])
        episodes = np.searchsorted(first_window, window, side="right") - 1
        return episodes, window - first_window[episodes]


class _Gathered:
    """Collects episodes, checks that they agree, and packs them into contiguous arrays."""

    def __init__(
        self, sequence_length: int, memory_budget: int | None, weights: WeightFn | None, use_state: bool
    ) -> None:
        self.sequence_length, self.weights, self.use_state = sequence_length, weights, use_state
        self.memory_budget = memory_budget if memory_budget is not None else _half_of_memory()
        self.frames: list[np.ndarray] = []
        self.rows: dict[str, list[np.ndarray | None]] = {"action": [], "state": []}
        self.window_weights: list[np.ndarray] = []
        self.lengths: list[int] = []
        self.num_bytes = 0

    def add(self, index: int, episode: Episode) -> None:
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
        if not self.lengths:
            raise ValueError("there is no episode to draw windows from")
        lengths = np.asarray(self.lengths, dtype=np.int64)
        return np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths

    def pack_frames(self) -> np.ndarray:
        packed = np.empty((sum(self.lengths), *self.frames[0].shape[1:]), np.uint8)
        # Each episode is let go as it is copied, so that the data is not held twice.
        stop = len(packed)
        while self.frames:
            frames = self.frames.pop()
            packed[stop - len(frames) : stop] = frames
            stop -= len(frames)
        return packed

    def pack_rows(self, kind: str, size: int | None) -> np.ndarray:
        """Pack actions or states `[sum of T, size]`; actions have one unused row at the end of each episode."""
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
        if self.weights is None:
            return None
        weights = np.concatenate([each if random_start else each[:1] for each in self.window_weights])
        if not weights.sum() > 0:
            raise ValueError("the weights of all windows are zero: nothing could ever be drawn")
        return np.cumsum(weights)


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def contact_weights(share: float = 0.5, *, extra: str = "contact") -> WeightFn:
    """Return a weight function that favours windows in which something happens.

    Args:
        share: Weight of a window without contact relative to one with, in [0, 1]: 0 draws contact only, 1 all alike.
        extra: Name of the extra `[T]` or `[T-1]` (or `[T, ...]`) that is true or non-zero at contact.

    Raises:
        ValueError: `share` is out of range; later, an episode lacks the extra.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], got {share}")

    def weigh(episode: Episode, sequence_length: int) -> np.ndarray:
        values = episode.extras.get(extra)
        if values is None or values.ndim < 1 or len(values) not in (episode.num_frames, episode.num_frames - 1):
            raise ValueError(
                f"contact weights need extras[{extra!r}] with one value for each frame or action; "
                f"found the extras {sorted(episode.extras)}"
            )
        happens = np.zeros(episode.num_frames, np.bool_)
        happens[: len(values)] = values.reshape(len(values), -1).astype(np.bool_).any(axis=1)
        counts = np.concatenate([[0], np.cumsum(happens)])
        inside = counts[sequence_length:] - counts[:-sequence_length]
        return np.where(inside > 0, 1.0, share)

    return weigh


def split_files(files: Sequence[Name], train_fraction: float = 0.95) -> tuple[list[Name], list[Name]]:
    """Split sorted files as the original does: the first `floor(train_fraction * N)` train, the rest validates.

    Raises:
        ValueError: The fraction is not in (0, 1], there is no file, or nothing would be left to train on (one file
            cannot be split by file: use `split_episodes`).
    """
    _check_fraction(train_fraction)
    ordered = sorted(files)
    if not ordered:
        raise ValueError("there is no file to split")
    num_train = int(np.floor(train_fraction * len(ordered)))
    if not num_train:
        raise ValueError(
            f"{len(ordered)} file(s) at train_fraction={train_fraction} leave none to train on: write smaller shards, "
            "split by episode (split_episodes), or pass train_fraction=1"
        )
    return ordered[:num_train], ordered[num_train:]


def split_episodes(
    episodes: Sequence[Item], train_fraction: float = 0.95, seed: int = 0
) -> tuple[list[Item], list[Item]]:
    """Split episodes at random: `floor(train_fraction * N)` train (at least one), the rest validates; order is kept.

    Raises:
        ValueError: The fraction is not in (0, 1], or there is no episode.
    """
    _check_fraction(train_fraction)
    if not len(episodes):
        raise ValueError("there is no episode to split")
    num_train = max(1, int(np.floor(train_fraction * len(episodes))))
    chosen = np.zeros(len(episodes), bool)
    chosen[np.random.default_rng(seed).permutation(len(episodes))[:num_train]] = True
    train = [episode for episode, is_train in zip(episodes, chosen, strict=True) if is_train]
    return train, [episode for episode, is_train in zip(episodes, chosen, strict=True) if not is_train]


def _check_fraction(train_fraction: float) -> None:
    if not 0 < train_fraction <= 1:
        raise ValueError(f"train_fraction must be in (0, 1], got {train_fraction}")


def stream_windows(*args: Any, **kwargs: Any) -> Any:
    """Read windows shard by shard through tf.data; see `visual_foresight.stream.stream_windows`."""
    from visual_foresight.stream import stream_windows as stream

    return stream(*args, **kwargs)
