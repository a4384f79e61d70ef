"""Distance of predicted frames to a goal image."""

from __future__ import annotations

from typing import Any

import numpy as np

from visual_foresight.planners.objectives.arrays import array_namespace
from visual_foresight.planners.objectives.objective import (
    every_of,
    explain_terms,
    require_field,
    unit_of,
    weighted_steps,
)
from visual_foresight.planners.objectives.temporal_distance import checked_goal_image
from visual_foresight.planners.settings import require_number
from visual_foresight.rollout import Rollout


class GoalImage:
    """Mean squared difference of each frame to the goal, over colours and masked pixels.

    Args:
        goal: [H, W, 3], uint8 in [0, 255] or floating in [0, 1].
        mask: [H, W] of non-negative weights: where the picture matters; None is everywhere. Only ratios count.
        terminal_weight: weight of the last step; the others have 1.
        scale: errors are divided by it [squared brightness, of 1]; 0.01 makes 1 of a root mean square of 0.1.

    Raises:
        ValueError: another shape or range, or a mask without any weight.
    """

    outputs = ("frames",)

    def __init__(
        self,
        goal: np.ndarray,
        *,
        mask: np.ndarray | None = None,
        terminal_weight: float = 10.0,
        scale: float = 1.0,
    ) -> None:
        """Check and store goal and mask."""
        self.goal = checked_goal_image(goal)
        mask = np.ones(self.goal.shape[:2]) if mask is None else np.asarray(mask, np.float64)
        if mask.shape != self.goal.shape[:2] or not np.all(mask >= 0.0) or not 0.0 < mask.sum() < np.inf:
            raise ValueError(f"mask must be non-negative weights {list(self.goal.shape[:2])} with a positive sum")
        require_number("terminal_weight", terminal_weight, 0.0, open_low=True)
        require_number("scale", scale, 0.0, open_low=True)
        self.scale = float(scale)
        self._weights = (mask / mask.sum() / 3.0 / self.scale).astype(np.float32)[..., None]
        self.terminal_weight = float(terminal_weight)

    @property
    def units(self) -> dict[str, str]:
        """What 1 means in each term."""
        return {"goal_image": unit_of(self.scale, "squared brightness")}

    def __call__(self, rollout: Rollout) -> Any:
        """Costs [K]."""
        contributions = self._contributions(rollout)
        return array_namespace(contributions).sum(contributions, axis=1)

    def terms(self, rollout: Rollout) -> dict[str, Any]:
        """Weighted mean squared error at each step [K, T'], in units of ``scale``."""
        return {"goal_image": self._errors(rollout)}

    def explain(self, rollout: Rollout) -> dict[str, np.ndarray]:
        """Contribution of each step to the cost [K, T']."""
        return explain_terms({"goal_image": self._contributions(rollout)})

    def _contributions(self, rollout: Rollout) -> Any:
        return weighted_steps(self._errors(rollout), self.terminal_weight, every_of(rollout))

    def _errors(self, rollout: Rollout) -> Any:
        frames = require_field(rollout, "frames", "GoalImage")
        if tuple(frames.shape[2:]) != self.goal.shape:
            raise ValueError(f"frames are {tuple(frames.shape[2:])}, the goal image is {self.goal.shape}")
        xp = array_namespace(frames)
        return xp.sum(xp.square(frames - self.goal) * self._weights, axis=(2, 3, 4))
