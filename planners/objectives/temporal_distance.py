"""Distance of predicted frames to a goal image, in control steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from visual_foresight.planners.objectives.arrays import array_namespace, as_float
from visual_foresight.planners.objectives.objective import require_field
from visual_foresight.planners.objectives.stepwise import StepwiseObjective
from visual_foresight.planners.settings import require_number
from visual_foresight.rollout import Rollout


class TemporalDistance(StepwiseObjective):
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

    term, unit = "temporal_distance", "steps"
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

    def _values(self, rollout: Rollout) -> Any:
        """Steps to the goal at each step [K, T'], in units of ``scale``."""
        frames = require_field(rollout, "frames", "TemporalDistance")
        if tuple(frames.shape[2:]) != self.goal.shape:
            raise ValueError(f"frames are {tuple(frames.shape[2:])}, the goal image is {self.goal.shape}")
        xp = array_namespace(frames)
        steps = as_float(self.distance_fn(xp.reshape(frames, (-1, *self.goal.shape)), self.goal))
        # The number of candidates may be unknown while a graph is traced; a wrong one shows when it is known.
        if len(steps.shape) != 1 or _differ(steps, frames):
            raise ValueError(f"distance_fn must give a distance for each of N frames [N], got {list(steps.shape)}")
        return xp.reshape(steps, (-1, frames.shape[1])) / self.scale


def _differ(steps: Any, frames: Any) -> bool:
    """Whether both are known to be of different numbers of frames."""
    found, candidates = steps.shape[0], frames.shape[0]
    return found is not None and candidates is not None and found != candidates * frames.shape[1]


def checked_goal_image(goal: Any) -> np.ndarray:
    """A goal image [H, W, 3] as float32 in [0, 1].

    Raises:
        ValueError: another shape or range.
    """
    try:
        given = np.asarray(goal)
    except ValueError as error:
        raise ValueError("goal must be an image [H, W, 3], got lists of different lengths or depths") from error
    if given.dtype.kind in "bcmMOSU":
        raise ValueError(f"goal must be an image [H, W, 3] of numbers, got {given.dtype}")
    white = 255.0 if given.dtype == np.uint8 else 1.0
    image = given.astype(np.float32) / np.float32(white)
    if image.ndim != 3 or image.shape[2] != 3 or not np.all((image >= 0.0) & (image <= 1.0)):
        raise ValueError(
            f"goal must be an image [H, W, 3], uint8 or floating in [0, 1], got {list(given.shape)} {given.dtype}"
        )
    return image
