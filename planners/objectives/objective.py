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

    A rollout may show its image-like fields (frames, maps, pixels) at every n-th step only (``Rollout.every``), while
    actions and states are there for every step. Terms then have as many steps as what they read: T' is T for actions
    and states, T // every for pictures and maps.

    Where the network runs on an accelerator, rollouts hold tensors of the Keras backend, and an objective that was used
    for more than one decision is compiled: it must then not change any more. One that raises an error when it is shown
    tensors is given NumPy arrays; one with an attribute ``compilable = False`` is never compiled. One with an attribute
    ``compiled_inputs`` is compiled once for all that differ from it only in the arrays of these names (goals, say),
    which its code must then take as tensors, too; it may be changed, or made anew for each decision.

    Terms have units. Each objective of this package divides its terms by ``scale`` and says by ``units`` what 1 is
    ("px", "4 px", ...), so that weights of a sum are exchange rates between units.
    """

    @property
    def outputs(self) -> tuple[str, ...]:
        """Fields of the rollout that are read."""
        ...

    def __call__(self, rollout: Rollout) -> Any:
        """Costs [K], an array or tensor like those of the rollout."""
        ...

    def terms(self, rollout: Rollout) -> dict[str, Any]:
        """Raw value of each term at each step [K, T'], in the term's own unit, unweighted."""
        ...

    def explain(self, rollout: Rollout) -> dict[str, np.ndarray]:
        """What each term adds to the cost at each step [K, T']; summed over terms and steps it is the cost."""
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


def every_of(rollout: Rollout) -> int:
    """How many control steps lie between two entries of the rollout's image-like fields."""
    return rollout.every


def at_moments(rollout: Rollout, values: Any) -> Any:
    """What is there for every step [K, T, ...], at the moments of the image-like fields [K, T // every, ...]."""
    every = every_of(rollout)
    return values if every == 1 else values[:, every - 1 :: every]


def step_weights(num_moments: int, terminal_weight: float, every: int = 1) -> np.ndarray:
    """[T // every] float32 weights that sum to 1: all steps alike, the last ``terminal_weight`` times as much.

    Ebert et al. 2018 as implemented: weights 1, ..., 1, 10, normalised. Independent of the horizon a model was
    trained with. A moment that is seen once in ``every`` steps stands for all of them, so that costs have the same
    size however many steps are seen.
    """
    weights = np.full(num_moments, every, np.float32)
    weights[-1] += terminal_weight - 1.0
    return weights / weights.sum()


def weighted_steps(values: Any, terminal_weight: float, every: int = 1) -> Any:
    """Contributions [K, T'] of the steps to a weighted mean over time."""
    return values * step_weights(values.shape[1], terminal_weight, every)[None]


def unit_of(scale: float, unit: str) -> str:
    """What 1 means after dividing by a scale: "px", "4 px"."""
    return unit if scale == 1.0 else f"{scale:g} {unit}"


def explain_terms(contributions: dict[str, Any]) -> dict[str, np.ndarray]:
    """Contributions as NumPy arrays."""
    return {name: as_numpy(values) for name, values in contributions.items()}
