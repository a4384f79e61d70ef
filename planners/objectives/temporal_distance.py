"""Distance of predicted frames to a goal image, in control steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from visual_foresight.planners.objectives.arrays import array_namespace, as_float
from visual_foresight.planners.objectives.objective import (
    every_of,
    explain_terms,
    require_field,
    unit_of,
    weighted_steps,
)
from visual_foresight.planners.settings import require_number
from visual_foresight.rollout import Rollout


class TemporalDistance:
    """How many control steps lie between each predicted frame and the goal image, by a learned judge.

    Differences of brightness, or of features, stop growing long before the goal is far, and may shrink again; the
    number of steps between two logged frames does not. The judge is any function of frames and goal;
    `visual_foresight.temporal_distance` has a small network and its training.

    Args:
        distance_fn: frames [N, H, W, 3] in [0, 1] and goal [H, W, 3] to steps [N]; must accept tensors if the
            objective is to run compiled.
        goal: [H, W, 3], uint8 or floating in [0, 1].
        terminal_weight: weight of the last step; the others have 1.
        scale: distances are divided by it [steps].

    Raises:
        ValueError: another shape or range.
        TypeError: ``distance_fn`` cannot be called.
    """

    outputs = ("frames",)

    def __init__(
        self,
        distance_fn: Callable[[Any, np.ndarray], Any],
        goal: np.ndarray,
        *,
        terminal_weight: float = 10.0,
        scale: float = 1.0,
    ) -> None:
        """Check and store the goal."""
        if not callable(distance_fn):
            raise TypeError(f"distance_fn must be a function of frames and goal to steps, got {distance_fn!r}")
        self.goal = checked_goal_image(goal)
        require_number("terminal_weight", terminal_weight, 0.0, open_low=True)
        require_number("scale", scale, 0.0, open_low=True)
        self.distance_fn = distance_fn
        self.terminal_weight, self.scale = float(terminal_weight), float(scale)

    @property
    def units(self) -> dict[str, str]:
        """What 1 means in each term."""
        return {"temporal_distance": unit_of(self.scale, "steps")}

    def __call__(self, rollout: Rollout) -> Any:
        """Costs [K]."""
        contributions = self._contributions(rollout)
        return array_namespace(contributions).sum(contributions, axis=1)

    def terms(self, rollout: Rollout) -> dict[str, Any]:
        """Steps to the goal at each step [K, T'], in units of ``scale``."""
        return {"temporal_distance": self._distances(rollout)}

    def explain(self, rollout: Rollout) -> dict[str, np.ndarray]:
        """Contribution of each step to the cost [K, T']."""
        return explain_terms({"temporal_distance": self._contributions(rollout)})

    def _contributions(self, rollout: Rollout) -> Any:
        return weighted_steps(self._distances(rollout), self.terminal_weight, every_of(rollout))

    def _distances(self, rollout: Rollout) -> Any:
        frames = require_field(rollout, "frames", "TemporalDistance")
        if tuple(frames.shape[2:]) != self.goal.shape:
            raise ValueError(f"frames are {tuple(frames.shape[2:])}, the goal image is {self.goal.shape}")
        xp = array_namespace(frames)
        steps = as_float(self.distance_fn(xp.reshape(frames, (-1, *self.goal.shape)), self.goal))
        return xp.reshape(steps, (-1, frames.shape[1])) / self.scale


def checked_goal_image(goal: Any) -> np.ndarray:
    """A goal image [H, W, 3] as float32 in [0, 1].

    Raises:
        ValueError: another shape or range.
    """
    given = np.asarray(goal)
    white = 255.0 if given.dtype == np.uint8 else 1.0
    image = given.astype(np.float32) / np.float32(white)
    if image.ndim != 3 or image.shape[2] != 3 or not np.all((image >= 0.0) & (image <= 1.0)):
        raise ValueError(
            f"goal must be an image [H, W, 3], uint8 or floating in [0, 1], got {list(given.shape)} {given.dtype}"
        )
    return image
