"""Distance of predicted frames to a goal image."""

from __future__ import annotations

from typing import Any

import numpy as np

from visual_foresight.given_arrays import given_array
from visual_foresight.planners.objectives.arrays import array_namespace
from visual_foresight.planners.objectives.objective import require_field
from visual_foresight.planners.objectives.stepwise import StepwiseObjective
from visual_foresight.planners.objectives.temporal_distance import checked_goal_image
from visual_foresight.planners.settings import require_number
from visual_foresight.rollout import Rollout


class GoalImage(StepwiseObjective):
    """Mean squared difference of each frame to the goal, over colours and masked pixels.

    Args:
        goal: [H, W, 3], uint8 in [0, 255] or floating in [0, 1].
        mask: [H, W] of non-negative weights: where the picture matters; None is everywhere. Only ratios count.
        terminal_weight: weight of the last step; the others have 1.
        scale: errors are divided by it [squared brightness, of 1]; 0.01 makes 1 of a root mean square of 0.1.

    Raises:
        ValueError: another shape or range, or a mask without any weight.
    """

    term, unit = "goal_image", "squared brightness"
    outputs = ("frames",)
    compiled_inputs = ("goal", "_weights")

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
        mask = np.ones(self.goal.shape[:2]) if mask is None else given_array("mask", mask, np.float64)
        if mask.shape != self.goal.shape[:2] or not np.all(mask >= 0.0) or not 0.0 < mask.sum() < np.inf:
            raise ValueError(f"mask must be non-negative weights {list(self.goal.shape[:2])} with a positive sum")
        require_number("terminal_weight", terminal_weight, 0.0, open_low=True)
        require_number("scale", scale, 0.0, open_low=True)
        self.scale = float(scale)
        self._weights = (mask / mask.sum() / 3.0 / self.scale).astype(np.float32)[..., None]
        self.terminal_weight = float(terminal_weight)

    def _values(self, rollout: Rollout) -> Any:
        """Weighted mean squared error at each step [K, T'], in units of ``scale``."""
        frames = require_field(rollout, "frames", "GoalImage")
        if tuple(frames.shape[2:]) != tuple(self.goal.shape):
            raise ValueError(f"frames are {tuple(frames.shape[2:])}, the goal image is {tuple(self.goal.shape)}")
        xp = array_namespace(frames)
        return xp.sum(xp.square(frames - self.goal) * self._weights, axis=(2, 3, 4))
