"""Costs of the actions themselves: how large they are, how much they change."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from visual_foresight.given_arrays import given_array
from visual_foresight.planners.objectives.arrays import array_namespace
from visual_foresight.planners.objectives.objective import explain_terms, require_field
from visual_foresight.planners.settings import require_number
from visual_foresight.rollout import Rollout


class _MeanOfSquares(ABC):
    """An objective whose cost is the mean over time of one term, in squared scales."""

    term: ClassVar[str]
    outputs: tuple[str, ...] = ()

    @property
    def units(self) -> dict[str, str]:
        """What 1 means in each term."""
        return {self.term: "squared scales"}

    def __call__(self, rollout: Rollout) -> Any:
        """Costs [K]."""
        squares = self._squares(rollout)
        return array_namespace(squares).mean(squares, axis=1)

    def terms(self, rollout: Rollout) -> dict[str, Any]:
        """The term at each step [K, T], in squared scales."""
        return {self.term: self._squares(rollout)}

    def explain(self, rollout: Rollout) -> dict[str, np.ndarray]:
        """Contribution of each step to the cost [K, T]."""
        squares = self._squares(rollout)
        return explain_terms({self.term: squares / squares.shape[1]})

    @abstractmethod
    def _squares(self, rollout: Rollout) -> Any:
        """The term at each step [K, T]."""


class ActionMagnitude(_MeanOfSquares):
    """Mean over time of the squared length of the (scaled) action.

    Args:
        scale: actions are divided by it, a number or [A] [environment units].

    Raises:
        ValueError: a scale that is not positive.
    """

    term = "action_magnitude"
    compiled_inputs = ()

    def __init__(self, *, scale: float | Sequence[float] | np.ndarray = 1.0) -> None:
        """Check and store the scale."""
        self.scale = _checked_scale(scale)

    def _squares(self, rollout: Rollout) -> Any:
        """Squared length of each action [K, T]."""
        actions = require_field(rollout, "actions", "ActionMagnitude")
        _require_size("scale", self.scale, actions)
        return _squared_length(actions / self.scale)


class ActionSmoothness(_MeanOfSquares):
    """Mean over time of the squared length of the change from one (scaled) action to the next.

    Args:
        previous: [A], the action executed before the plan begins, so that the join is smooth too; None leaves the
            first action free.
        scale: actions are divided by it, a number or [A] [environment units].

    Raises:
        ValueError: a scale that is not positive, or a previous action that is not finite.
    """

    term = "action_smoothness"
    compiled_inputs = ("previous",)

    def __init__(
        self,
        *,
        previous: Sequence[float] | np.ndarray | None = None,
        scale: float | Sequence[float] | np.ndarray = 1.0,
    ) -> None:
        """Check and store the settings."""
        self.scale = _checked_scale(scale)
        self.previous = None if previous is None else given_array("previous", previous).copy()
        if self.previous is not None and (self.previous.ndim != 1 or not np.all(np.isfinite(self.previous))):
            raise ValueError(f"previous must be a finite action [A], got {self.previous.tolist()}")

    def _squares(self, rollout: Rollout) -> Any:
        """Squared change into each action [K, T]; 0 for the first without ``previous``."""
        actions = require_field(rollout, "actions", "ActionSmoothness")
        _require_size("scale", self.scale, actions)
        if self.previous is not None:
            _require_size("previous", self.previous, actions)
        xp = array_namespace(actions)
        first = actions[:, :1]
        before = first if self.previous is None else xp.zeros_like(first) + self.previous
        return _squared_length((actions - xp.concatenate([before, actions[:, :-1]], axis=1)) / self.scale)


def _require_size(name: str, values: Any, actions: Any) -> None:
    """Refuse numbers for another action size, which might be repeated until they fit."""
    if values.ndim and values.shape[0] != actions.shape[-1]:
        raise ValueError(f"{name} has {values.shape[0]} numbers, and actions have {actions.shape[-1]}")


def _checked_scale(scale: float | Sequence[float] | np.ndarray) -> np.ndarray:
    scales = given_array("scale", scale).copy()
    if scales.ndim > 1:
        raise ValueError(f"scale must be a number or [A], got shape {list(scales.shape)}")
    for value in scales.reshape(-1):
        require_number("scale", float(value), 0.0, open_low=True)
    return scales


def _squared_length(vectors: Any) -> Any:
    xp = array_namespace(vectors)
    return xp.sum(xp.square(vectors), axis=-1)
