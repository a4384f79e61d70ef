"""Mean and deviation of actions and states: what a predictor normalises with, stored beside its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from visual_foresight.episode import Episode

__all__ = ["DEVIATION_FLOOR", "Moments", "Statistics"]

DEVIATION_FLOOR = 1e-6
"""A dimension that deviates less than this is constant: its deviation is stored as 1, so that dividing does nothing."""

_FIELDS = ("action_mean", "action_deviation", "state_mean", "state_deviation")


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and standard deviation per dimension, in environment units.

    Args:
        action_mean: `[A]` float32.
        action_deviation: `[A]` float32, at least `DEVIATION_FLOOR`.
        state_mean: `[S]` float32.
        state_deviation: `[S]` float32, at least `DEVIATION_FLOOR`.
        num_frames: Number of frames measured; 0 for the identity.

    Raises:
        ValueError: A shape is wrong, a value is not finite, a deviation is not positive.
    """

    action_mean: np.ndarray
    action_deviation: np.ndarray
    state_mean: np.ndarray
    state_deviation: np.ndarray
    num_frames: int = 0

    def __post_init__(self) -> None:
        """Validate and convert to float32 vectors."""
        for name in _FIELDS:
            value = np.asarray(getattr(self, name), dtype=np.float32)
            if value.ndim != 1 or not np.isfinite(value).all():
                raise ValueError(f"Statistics {name} must be a vector of finite numbers, got {value.tolist()}")
            object.__setattr__(self, name, value)
        for kind in ("action", "state"):
            mean, deviation = getattr(self, f"{kind}_mean"), getattr(self, f"{kind}_deviation")
            if mean.shape != deviation.shape:
                raise ValueError(
                    f"Statistics {kind}_mean has {len(mean)} dimensions but {kind}_deviation {len(deviation)}"
                )
            if (deviation <= 0).any():
                raise ValueError(
                    f"Statistics {kind}_deviation must be positive (1 for a constant dimension), "
                    f"got {deviation.tolist()}"
                )

    @classmethod
    def of(cls, episodes: Iterable[Episode]) -> Statistics:
        """Measure episodes (an iterator is read once, one episode in memory at a time).

        Episodes without actions (or states) leave vectors of length 0.

        Raises:
            ValueError: There is no episode, or episodes differ in action or state size.
        """
        actions, states, num_frames, num_episodes = Moments("action"), Moments("state"), 0, 0
        for episode in episodes:
            for moments, rows in ((actions, episode.actions), (states, episode.states)):
                moments.add(rows, f"episode {num_episodes}")
            num_frames += episode.num_frames
            num_episodes += 1
        if not num_episodes:
            raise ValueError("Statistics.of needs at least one episode, got none")
        return cls(*actions.result(), *states.result(), num_frames)

    @classmethod
    def identity(cls, action_size: int, state_size: int) -> Statistics:
        """Return statistics that change nothing: mean 0, deviation 1."""
        return cls(np.zeros(action_size), np.ones(action_size), np.zeros(state_size), np.ones(state_size))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-plain dictionary."""
        return {name: getattr(self, name).tolist() for name in _FIELDS} | {"num_frames": self.num_frames}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Statistics:
        """Rebuild what `to_json` wrote.

        Raises:
            ValueError: A field is missing, unknown, or malformed.
        """
        expected = {*_FIELDS, "num_frames"}
        if not isinstance(value, Mapping) or set(value) != expected:
            found = sorted(value) if isinstance(value, Mapping) else type(value).__name__
            raise ValueError(f"Statistics need exactly the fields {sorted(expected)}, got {found}")
        action_mean, action_deviation, state_mean, state_deviation = (
            np.asarray(value[name], dtype=np.float32) for name in _FIELDS
        )
        num_frames = value["num_frames"]
        if num_frames not in (np.inf, -np.inf) and num_frames == int(num_frames):
            return cls(action_mean, action_deviation, state_mean, state_deviation, int(num_frames))
        raise ValueError(f"num_frames must be a whole number, got {num_frames!r}")


class Moments:
    """Running mean and sum of squared deviations (Chan, Golub, LeVeque 1983, eq. 1.5): no cancellation, one pass.

    Args:
        kind: What is measured ("action", "state"), for messages.
    """

    def __init__(self, kind: str) -> None:
        """Start with nothing measured."""
        self.kind = kind
        self.count = 0
        self.mean: np.ndarray | None = None
        self.squares: np.ndarray | None = None

    def add(self, rows: np.ndarray | None, name: str = "the last one") -> None:
        """Measure rows `[N, size]`; None or no row changes nothing.

        Args:
            rows: What to measure.
            name: Whose rows they are, for messages.

        Raises:
            ValueError: The size differs from that of the rows before.
        """
        if rows is None or not len(rows):
            return
        rows = rows.astype(np.float64)
        mean, count = rows.mean(axis=0), len(rows)
        squares = ((rows - mean) ** 2).sum(axis=0)
        if self.mean is None or self.squares is None:
            self.mean, self.squares, self.count = mean, squares, count
            return
        if mean.shape != self.mean.shape:
            raise ValueError(
                f"episodes differ in {self.kind} size: {len(self.mean)}, and {len(mean)} in {name}; measure them apart"
            )
        total, shift = self.count + count, mean - self.mean
        self.squares = self.squares + squares + shift**2 * self.count * count / total
        self.mean = self.mean + shift * count / total
        self.count = total

    def constant(self) -> np.ndarray:
        """Return which dimensions are constant, `[size]` bool."""
        return self._deviation() < DEVIATION_FLOOR

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation `[size]`; the deviation of a constant dimension is 1."""
        mean = np.zeros(0) if self.mean is None else self.mean
        return mean, np.where(self.constant(), 1.0, self._deviation())

    def _deviation(self) -> np.ndarray:
        return np.zeros(0) if self.squares is None else np.sqrt(self.squares / self.count)
