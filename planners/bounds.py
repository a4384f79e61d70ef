"""The Box of actions as planners need it: clipping, a centre, and a natural scale for each dimension."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium import spaces


@dataclass(frozen=True, eq=False)
class ActionBounds:
    """Limits, centre and scale of each action dimension, in environment units.

    Args:
        low: [A] float32, -inf where there is no limit; never outside the Box, but where a dimension is locked at a
            number that no float32 is.
        high: [A] float32, +inf where there is no limit.
        center: [A] float32: middle of the range where both limits are finite, else the allowed value nearest to 0.
        scale: [A] float32: half the range where both limits are finite, else the scale the planner was given.
    """

    low: np.ndarray
    high: np.ndarray
    center: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, action_space: spaces.Box, unbounded_scale: float = 1.0) -> ActionBounds:
        """Read the limits of a one-dimensional Box of floats.

        Args:
            action_space: Box of shape [A]; a limit may be infinite on either side.
            unbounded_scale: what counts as a typical action where a side is infinite.

        Raises:
            TypeError: not a ``gymnasium.spaces.Box``.
            ValueError: the Box has another number of axes, holds no floats, or contains no float32 number.
        """
        if not isinstance(action_space, spaces.Box):
            raise TypeError(f"planners need a gymnasium.spaces.Box of actions, got {type(action_space).__name__}")
        is_flat = len(action_space.shape) == 1 and action_space.shape[0] > 0
        if not is_flat or not np.issubdtype(action_space.dtype, np.floating):
            raise ValueError(
                f"planners need a Box of shape [A >= 1] with a floating dtype, got shape {list(action_space.shape)} "
                f"and {action_space.dtype}; for a vector environment pass its single_action_space"
            )
        low, high = action_space.low.astype(np.float64), action_space.high.astype(np.float64)
        low_inside, high_inside = _round_inwards(low, np.inf), _round_inwards(high, -np.inf)
        # A joint that is locked at 0.1 has no other action: it gets the nearest number that a plan can say.
        locked = low == high
        low_inside[locked] = high_inside[locked] = low[locked].astype(np.float32)
        if np.any(low_inside > high_inside):
            raise ValueError(f"the Box holds no float32 action: low {low.tolist()}, high {high.tolist()}")
        finite = np.isfinite(low) & np.isfinite(high)
        # Halves are taken before the sum so that limits near the largest float do not overflow.
        center = np.where(finite, _halved(low, finite) + _halved(high, finite), np.clip(0.0, low, high))
        scale = np.where(finite, _halved(high, finite) - _halved(low, finite), unbounded_scale)
        center = np.clip(center.astype(np.float32), low_inside, high_inside)
        return cls(low_inside, high_inside, center, scale.astype(np.float32))

    @property
    def action_size(self) -> int:
        """A, the number of action dimensions."""
        return self.low.shape[0]

    def clip(self, actions: np.ndarray) -> np.ndarray:
        """Actions [..., A] as float32 inside the Box (a new array)."""
        # Clipped before the cast: what overflows float32 is beyond a limit, or beyond what a plan can say.
        largest = np.finfo(np.float32).max
        return np.clip(np.clip(actions, self.low, self.high), -largest, largest).astype(np.float32)

    @property
    def still(self) -> np.ndarray:
        """[A] float32: the allowed action nearest to zero, which for displacements means standing still."""
        return self.clip(np.zeros(self.action_size, np.float32))


def _halved(limits: np.ndarray, finite: np.ndarray) -> np.ndarray:
    return np.where(finite, limits, 0.0) / 2.0


def _round_inwards(limits: np.ndarray, towards: float) -> np.ndarray:
    """Limits as float32, never outside the float64 ones: plans are float32 and must be inside the Box exactly."""
    largest = np.finfo(np.float32).max
    bounded = np.where(np.isfinite(limits), np.clip(limits, -largest, largest), limits)
    rounded = bounded.astype(np.float32)
    outside = rounded < limits if towards > 0 else rounded > limits
    return np.where(outside, np.nextafter(rounded, np.float32(towards)), rounded)
