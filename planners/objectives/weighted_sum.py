"""Sums of objectives with named weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from visual_foresight.planners.objectives.objective import Objective
from visual_foresight.planners.settings import require_number
from visual_foresight.rollout import Rollout


class WeightedSum:
    """``sum(weight * objective(rollout))`` over named terms.

    Each term is a number of its own units (:attr:`units`: pixels unless told otherwise), so a weight is an exchange
    rate: with ``{"approach": 2.0}`` one pixel nearer to the place behind the object is worth two pixels of the
    object's own way to the goal. ``scale`` of a term changes its unit; in larger pictures, the pixels of 64 x 64 are
    ``scale=height / 64``, and the weights stay.

    Args:
        objectives: name to objective.
        weights: name to weight (any finite number); terms not named here weigh 1. A term of weight 0 is not computed.

    Raises:
        TypeError: a term is no objective.
        ValueError: no objective, a weight for an unknown term, a weight that is not finite, or none but 0; or two terms
            of sums within sums have one name.
    """

    compiled_inputs = ()

    def __init__(self, objectives: Mapping[str, Objective], weights: Mapping[str, float] | None = None) -> None:
        """Check that weights and terms belong together."""
        if not isinstance(objectives, Mapping):
            raise TypeError(f"objectives must map names to objectives, as {{'distance': ...}}, got {objectives!r}")
        weights = dict(weights or {})
        unknown = sorted(set(weights) - set(objectives))
        if not objectives:
            raise ValueError("a weighted sum needs at least one objective; the terms are []")
        if unknown:
            raise ValueError(f"weights name unknown terms {unknown}; the terms are {sorted(objectives)}")
        for name, objective in objectives.items():
            if isinstance(objective, type) or not callable(objective) or not hasattr(objective, "outputs"):
                raise TypeError(f"term {name!r} must be an objective, such as PixelDistance(goal), got {objective!r}")
        for name, weight in weights.items():
            require_number(f"weight of {name!r}", weight, -float("inf"))
        self.objectives = dict(objectives)
        self.weights = {name: float(weights.get(name, 1.0)) for name in objectives}
        if not self._active:
            raise ValueError(f"every weight is 0: {self.weights}")
        _ = self.units  # two terms of one name are refused here, and not in the middle of planning

    @property
    def _active(self) -> dict[str, Objective]:
        return {name: objective for name, objective in self.objectives.items() if self.weights[name] != 0.0}

    @property
    def outputs(self) -> tuple[str, ...]:
        """Fields of the rollout that some term with a weight reads."""
        return tuple(dict.fromkeys(output for objective in self._active.values() for output in objective.outputs))

    @property
    def units(self) -> dict[str, str]:
        """What 1 means in each term, before its weight; "" where a term does not say."""
        return self._gather({name: getattr(objective, "units", {name: ""}) for name, objective in self._active.items()})

    def __call__(self, rollout: Rollout) -> Any:
        """Costs [K]."""
        costs = [self.weights[name] * objective(rollout) for name, objective in self._active.items()]
        return sum(costs[1:], start=costs[0])

    def terms(self, rollout: Rollout) -> dict[str, Any]:
        """Raw, unweighted value of each term at each step [K, T']."""
        return self._gather({name: objective.terms(rollout) for name, objective in self._active.items()})

    def explain(self, rollout: Rollout) -> dict[str, np.ndarray]:
        """What each term adds to the cost at each step [K, T'], weights included."""
        parts = {}
        for name, objective in self._active.items():
            contributions = objective.explain(rollout)
            parts[name] = {inner: self.weights[name] * values for inner, values in contributions.items()}
        return self._gather(parts)

    @staticmethod
    def _gather(parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Flatten names: the term's own name where it has one part, "term/part" where it has several."""
        flat: dict[str, Any] = {}
        for name, inner in parts.items():
            for part, values in inner.items():
                whole = name if len(inner) == 1 else f"{name}/{part}"
                if whole in flat:
                    raise ValueError(f"two terms of a weighted sum are called {whole!r}: rename one of them")
                flat[whole] = values
        return flat
