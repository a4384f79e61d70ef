"""What objectives share that have one term and weigh its values over time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from visual_foresight.planners.objectives.arrays import array_namespace
from visual_foresight.planners.objectives.objective import every_of, explain_terms, unit_of, weighted_steps
from visual_foresight.rollout import Rollout


class StepwiseObjective(ABC):
    """An objective of one term: its cost is the weighted mean of the term's values over the steps.

    Subclasses say what they read, what the term is called, and compute its values; they store the settings below.

    Attributes:
        term: name of the term.
        unit: what its values are in before they are divided by ``scale``.
        outputs: fields of the rollout that are read.
        scale: what values are divided by.
        terminal_weight: weight of the last step; the others have 1.
    """

    term: ClassVar[str]
    unit: ClassVar[str]
    outputs: tuple[str, ...] = ()
    scale: Any
    terminal_weight: float

    @property
    def units(self) -> dict[str, str]:
        """What 1 means in each term."""
        return {self.term: unit_of(self.scale, self.unit)}

    def __call__(self, rollout: Rollout) -> Any:
        """Costs [K]."""
        contributions = self._contributions(rollout)
        return array_namespace(contributions).sum(contributions, axis=1)

    def terms(self, rollout: Rollout) -> dict[str, Any]:
        """Value of the term at each step [K, T'], in the unit that ``units`` names, unweighted."""
        return {self.term: self._values(rollout)}

    def explain(self, rollout: Rollout) -> dict[str, np.ndarray]:
        """Contribution of each step to the cost [K, T']."""
        return explain_terms({self.term: self._contributions(rollout)})

    def _contributions(self, rollout: Rollout) -> Any:
        return weighted_steps(self._values(rollout), self.terminal_weight, self._every(rollout))

    def _every(self, rollout: Rollout) -> int:
        """How many control steps one value stands for."""
        return every_of(rollout)

    @abstractmethod
    def _values(self, rollout: Rollout) -> Any:
        """The term at each step [K, T']."""
