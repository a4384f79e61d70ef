"""Distance of the robot's state to a goal state."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from visual_foresight.given_arrays import given_array
from visual_foresight.planners.objectives.arrays import array_namespace, safe_norm
from visual_foresight.planners.objectives.objective import require_field
from visual_foresight.planners.objectives.stepwise import StepwiseObjective
from visual_foresight.planners.settings import require_number
from visual_foresight.rollout import Rollout


class RobotState(StepwiseObjective):
    """Scaled Euclidean distance of chosen state entries to a goal.

    Args:
        goal: [D], environment units.
        indices: which D entries of the state; None is the first D.
        scale: a number or [D] that differences are divided by, so that metres and radians can be added.
        terminal_weight: weight of the last step; the others have 1.

    Raises:
        ValueError: shapes that do not fit, or a scale that is not positive.
    """

    term, unit = "robot_state", "scales"
    outputs = ("states",)
    compiled_inputs = ("goal",)

    def __init__(
        self,
        goal: Sequence[float] | np.ndarray,
        *,
        indices: Sequence[int] | None = None,
        scale: float | Sequence[float] | np.ndarray = 1.0,
        terminal_weight: float = 10.0,
    ) -> None:
        """Check and store the goal."""
        self.goal = given_array("goal", goal).copy()
        if self.goal.ndim != 1 or len(self.goal) == 0 or not np.all(np.isfinite(self.goal)):
            raise ValueError(f"goal must be a finite state [D], got {np.asarray(goal).tolist()}")
        self.indices = tuple(range(len(self.goal))) if indices is None else tuple(map(operator.index, indices))
        if len(self.indices) != len(self.goal) or min(self.indices) < 0:
            raise ValueError(f"indices {self.indices} must name {len(self.goal)} entries of the state, counted from 0")
        scales = given_array("scale", scale).copy()
        if scales.shape not in ((), self.goal.shape) or not np.all((scales > 0.0) & np.isfinite(scales)):
            raise ValueError(f"scale must be positive, a number or [{len(self.goal)}], got {scales.tolist()}")
        require_number("terminal_weight", terminal_weight, 0.0, open_low=True)
        self.scale, self.terminal_weight = scales, float(terminal_weight)

    @property
    def units(self) -> dict[str, str]:
        """What 1 means in each term: each entry has a scale of its own."""
        return {self.term: self.unit}

    def _every(self, rollout: Rollout) -> int:
        return 1  # states are there for every control step

    def _values(self, rollout: Rollout) -> Any:
        """Scaled distance at each step [K, T]."""
        states = require_field(rollout, "states", "RobotState")
        if max(self.indices) >= states.shape[-1]:
            raise ValueError(f"states have {states.shape[-1]} entries, the objective reads entry {max(self.indices)}")
        xp = array_namespace(states)
        chosen = xp.stack([states[..., index] for index in self.indices], axis=-1)
        return safe_norm((chosen - self.goal) / self.scale)
