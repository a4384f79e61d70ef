"""What an objective is: it reads a rollout and says what each candidate costs, and why."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from visual_foresight.planners.objectives.arrays import as_float, as_numpy
from visual_foresight.rollout import Rollout


@runtime_checkable
class Objective(Protocol):
    """Cost of futures, lower is better.

    ``outputs`` names the fields of the rollout that are read, so that a simulator computes no others; "pixels" asks
    for the designated pixels in whichever form the simulator has, ``pixels`` or ``pixel_distributions``.
    """

    @property
    def outputs(self) -> tuple[str, ...]:
        """Fields of the rollout that are read."""
        ...

    def __call__(self, rollout: Rollout) -> Any:
        """Costs [K], an array or tensor like those of the rollout."""
        ...

    def terms(self, rollout: Rollout) -> dict[str, Any]:
        """Raw value of each term at each step [K, T], in the term's own unit, unweighted."""
        ...

    def explain(self, rollout: Rollout) -> dict[str, np.ndarray]:
        """What each term adds to the cost at each step [K, T]; summed over terms and steps it is the cost."""
        ...


def require_field(rollout: Rollout, name: str, asked_by: str) -> Any:
    """A field of the rollout as float32.

    Raises:
        ValueError: the simulator was not asked for it.
    """
    array = getattr(rollout, name)
    if array is None:
        raise ValueError(f"{asked_by} reads rollout.{name}, which this rollout lacks; ask the simulator for {name!r}")
    return as_float(array)


def step_weights(horizon: int, terminal_weight: float) -> np.ndarray:
    """[T] float32 weights that sum to 1: all steps alike, the last ``terminal_weight`` times as much.

    Ebert et al. 2018 as implemented: weights 1, ..., 1, 10, normalised. Independent of the horizon a model was
    trained with.
    """
    weights = np.ones(horizon, np.float32)
    weights[-1] = terminal_weight
    return weights / weights.sum()


def weighted_steps(values: Any, terminal_weight: float) -> Any:
    """Contributions [K, T] of the steps to a weighted mean over time."""
    return values * step_weights(values.shape[1], terminal_weight)[None]


def explain_terms(contributions: dict[str, Any]) -> dict[str, np.ndarray]:
    """Contributions as NumPy arrays."""
    return {name: as_numpy(values) for name, values in contributions.items()}
