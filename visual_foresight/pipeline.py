"""Windows of episodes for training and validation.

`WindowSource` holds every frame in memory and needs no TensorFlow; `stream_windows` reads shards as it goes, for data
that does not fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from visual_foresight.episode import Episode
from visual_foresight.gathering import Gathered
from visual_foresight.leaps import jitter_colours, leap_lengths, leap_rows
from visual_foresight.lookalikes import Lookalikes
from visual_foresight.splits import split_episodes, split_files
from visual_foresight.window_weights import WeightFn, contact_weights

__all__ = ["WeightFn", "WindowSource", "contact_weights", "split_episodes", "split_files", "stream_windows"]

STARTS = ("random", "first")

# Keeps the random numbers of lengths and colours apart from those of order and first frames.
_OPTIONS_STREAM = 0x1EA9


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
        lookalikes: Chooses "points" `[B, P, 2]` of a batch, which lie on things. None: no points.
        num_points: P.
        context: Frames given; points are chosen in the last one of them.
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
        lookalikes: Lookalikes | None = None,
        num_points: int = 4,
        context: int = 1,
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
        self.lookalikes, self._num_points, self._now = lookalikes, num_points, context - 1
        self._random_start, self._shuffle = start == "random", shuffle
        gathered = Gathered(sequence_length, memory_budget, weights, use_state)
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

        With a stride J: N + 1 frames and states at the ends of N = (T-1) / J leaps, actions `[B, N, J, A]`. With
        `lookalikes` also points `[B, P, 2]` float32 (row, column) in the last given frame, -1 where there is no thing.
        """
        episodes, starts = self.draws(index)
        first = self._offsets[episodes] + starts
        # A stream of its own, so that neither option changes which windows are drawn.
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, index, _OPTIONS_STREAM]))
        batch = self._leaps(rng, first) if self.stride > 1 else self._window(first)
        if self.lookalikes is not None:  # which know true colours only
            seen = batch["frames"][:, self._now :], batch["states"][:, self._now :]
            batch["points"] = self.lookalikes.choose_points(*seen, self._num_points, rng)
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


def stream_windows(*args: Any, **kwargs: Any) -> Any:
    """Read windows shard by shard through tf.data; see `visual_foresight.stream.stream_windows`."""
    from visual_foresight.stream import stream_windows as stream

    return stream(*args, **kwargs)
