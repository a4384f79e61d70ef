"""Reward for getting behind the object before contact, and for staying there while pushing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from visual_foresight.planners.objectives.arrays import array_namespace, as_float, safe_norm, safe_root
from visual_foresight.planners.objectives.maps import checked_pixels, expected_pixels
from visual_foresight.planners.objectives.objective import at_moments, require_field
from visual_foresight.planners.objectives.stepwise import StepwiseObjective
from visual_foresight.planners.settings import require_count, require_number
from visual_foresight.rollout import Rollout


class Approach(StepwiseObjective):
    """Mean distance, over time, of the pusher's tip to the place from which the object can be pushed to the goal.

    Far from the object every plan moves it equally little, and the distance of its pixel to the goal says nothing;
    without this term even a perfect model fails a third of the tasks. The place lies ``offset`` pixels behind the
    object as seen from the goal, and moves with the object. A tip that is behind it at every step pushes straight
    through it; one that only touches the place on its way hits the object off its centre, and turns it.

    A pusher that cannot be lifted must go around the object: on the straight way to the far side it would push the
    object away from the goal. With ``clearance`` the distance is the length of the shortest way around a disc of that
    radius around the object, so that walking round it pays at every step, and being on the wrong side costs.

    Args:
        tip_pixels: states [..., S] to the tip's pixels [..., 2] as (row, col); must accept tensors if the objective is
            to run compiled (:class:`Homography` does).
        goal: [2] as (row, col), where the object is to go.
        offset: how far behind the object the place lies [px].
        clearance: radius of the disc to walk around [px], at most ``offset``; 0 is the straight distance.
        index: which of the rollout's designated pixels is to be approached.
        scale: distances are divided by it [px].
        terminal_weight: weight of the last step; the others have 1.

    Raises:
        ValueError: a goal of another shape, or a setting outside its range.
        TypeError: ``tip_pixels`` cannot be called.
    """

    term, unit = "approach", "px"
    outputs = ("states", "pixels")
    compiled_inputs = ("goal",)

    def __init__(
        self,
        tip_pixels: Callable[[Any], Any],
        goal: Sequence[float] | np.ndarray,
        *,
        offset: float = 5.5,
        clearance: float = 4.5,
        index: int = 0,
        scale: float = 1.0,
        terminal_weight: float = 1.0,
    ) -> None:
        """Check and store the settings."""
        if not callable(tip_pixels):
            raise TypeError(f"tip_pixels must be a function of states [..., S] to pixels [..., 2], got {tip_pixels!r}")
        self.goal = checked_pixels("goal", goal)
        if len(self.goal) != 1:
            raise ValueError(f"Approach follows one pixel to one goal [2], got {len(self.goal)} goals; sum several")
        require_number("offset", offset, 0.0)
        require_number("clearance", clearance, 0.0, offset)
        require_count("index", index, 0)
        require_number("scale", scale, 0.0, open_low=True)
        require_number("terminal_weight", terminal_weight, 0.0, open_low=True)
        self.tip_pixels, self.index = tip_pixels, int(index)
        self.offset, self.clearance, self.scale = float(offset), float(clearance), float(scale)
        self.terminal_weight = float(terminal_weight)

    def _values(self, rollout: Rollout) -> Any:
        """Distance of the tip to the place behind the object at each step [K, T'], in units of ``scale``."""
        states = require_field(rollout, "states", "Approach")
        object_pixel = self._object_pixel(rollout)  # [K, T', 2]
        tip = as_float(self.tip_pixels(at_moments(rollout, states)))
        if tuple(tip.shape[-1:]) != (2,):
            raise ValueError(f"tip_pixels must give pixels [..., 2], it gave {list(tip.shape)}")
        away = object_pixel - self.goal[0]
        # At the goal itself there is no direction: the place then is the object, and nothing jumps.
        away = away / (safe_norm(away)[..., None] + 1e-3)
        distance = way_around(tip - object_pixel, self.offset * away, self.clearance)
        return distance / self.scale

    def _object_pixel(self, rollout: Rollout) -> Any:
        mapped = rollout.pixel_distributions is not None
        followed = require_field(rollout, "pixel_distributions" if mapped else "pixels", "Approach")
        if self.index >= followed.shape[2]:
            raise ValueError(f"the rollout follows {followed.shape[2]} pixels, Approach has index {self.index}")
        chosen = followed[:, :, self.index]
        return expected_pixels(chosen) if mapped else chosen


def way_around(start: Any, end: Any, radius: float) -> Any:
    """Length of the shortest way between two points that does not cross a disc around the origin.

    Outside the disc: the straight line if it misses the disc, else two tangents and an arc,
    ``sqrt(a^2 - r^2) + sqrt(b^2 - r^2) + r * (angle - acos(r / a) - acos(r / b))`` with a and b the distances of the
    points from the centre. A point inside the disc counts as standing on its rim, plus its depth, so that leaving the
    disc pays and nothing jumps.

    Args:
        start: [..., 2].
        end: [..., 2], broadcast against ``start``.
        radius: r, at least 0; 0 gives the straight distance.

    Returns:
        [...] lengths.
    """
    if radius == 0.0:
        return safe_norm(start - end)
    xp = array_namespace(start, end)
    start_length, end_length = safe_norm(start), safe_norm(end)
    start_outside, end_outside = xp.maximum(start_length, radius), xp.maximum(end_length, radius)
    depth = (start_outside - start_length) + (end_outside - end_length)
    start = start * (start_outside / start_length)[..., None]
    end = end * (end_outside / end_length)[..., None]
    start_tangent = safe_root((start_outside - radius) * (start_outside + radius))
    end_tangent = safe_root((end_outside - radius) * (end_outside + radius))
    # atan2 throughout: exact where acos of a cosine near 1 loses half the digits.
    cross = start[..., 0] * end[..., 1] - start[..., 1] * end[..., 0]
    dot = xp.sum(start * end, axis=-1)
    central = cross * cross + dot * dot < 1e-12  # a point in the very centre has no direction, and no gradient
    cross, dot = xp.where(central, xp.zeros_like(cross), cross), xp.where(central, xp.ones_like(dot), dot)
    angle = xp.abs(xp.arctan2(cross, dot))
    rim = xp.zeros_like(start_tangent) + radius
    arc = angle - xp.arctan2(start_tangent, rim) - xp.arctan2(end_tangent, xp.zeros_like(end_tangent) + radius)
    around = start_tangent + end_tangent + radius * arc
    return depth + xp.where(arc > 0.0, around, safe_norm(start - end))
