"""Expected distance of designated pixels to their goal pixels."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from visual_foresight.given_arrays import given_array
from visual_foresight.planners.objectives.arrays import array_namespace, safe_norm
from visual_foresight.planners.objectives.maps import checked_pixels, expected_distances, expected_pixels
from visual_foresight.planners.objectives.objective import require_field
from visual_foresight.planners.objectives.stepwise import StepwiseObjective
from visual_foresight.planners.settings import require_number
from visual_foresight.rollout import Rollout


class PixelDistance(StepwiseObjective):
    """Distance of P designated pixels to P goal pixels, averaged over pixels and, with weights, over time.

    With probability maps the expected Euclidean distance ``sum(p * |pixel - goal|) / sum(p)`` is taken, which also
    counts how spread out a map is; with exact positions the distance itself. Ebert et al. 2018 (weight 1 on every
    step, 10 on the last, weighted mean). Differs from: any horizon, any number of pixels.

    Args:
        goals: [P, 2] as (row, col), or one pair [2].
        terminal_weight: weight of the last step; the others have 1.
        scale: distances are divided by it [px]: 1 leaves pixels.
        smooth: distance ``sqrt(d**2 + smooth**2) - smooth`` [px]: round near the goal; 0 is the plain distance.
        spread_weight: what a map counts as: 1 its expected distance, 0 the distance of its expected place, between them
            their mixture. An expected distance charges a push for the blur it brings, so that near the goal standing
            still looks better than any push.
        indices: which P of the rollout's designated pixels the goals belong to; None: it follows exactly these P.
        pixel_weights: [P] how much each pixel counts, for example how well it was found
            (:class:`RegistrationTracker`); only ratios matter. None: all alike.

    Raises:
        ValueError: goals of another shape or not finite, or a setting outside its range.
    """

    term, unit = "pixel_distance", "px"
    outputs = ("pixels",)
    compiled_inputs = ("goals",)

    def __init__(
        self,
        goals: Sequence[Any] | np.ndarray,
        terminal_weight: float = 10.0,
        *,
        scale: float = 1.0,
        smooth: float = 0.0,
        spread_weight: float = 1.0,
        indices: Sequence[int] | None = None,
        pixel_weights: Sequence[float] | np.ndarray | None = None,
    ) -> None:
        """Check and store the goals."""
        self.goals = checked_pixels("goals", goals)
        require_number("terminal_weight", terminal_weight, 0.0, open_low=True)
        require_number("scale", scale, 0.0, open_low=True)
        require_number("smooth", smooth, 0.0)
        require_number("spread_weight", spread_weight, 0.0, 1.0)
        self.indices = None if indices is None else tuple(operator.index(index) for index in indices)
        if self.indices is not None and (len(self.indices) != len(self.goals) or min(self.indices) < 0):
            raise ValueError(f"indices {self.indices} must name one pixel for each of {len(self.goals)} goals, from 0")
        self.spread_weight = float(spread_weight)
        self.terminal_weight, self.scale, self.smooth = float(terminal_weight), float(scale), float(smooth)
        self.pixel_weights = None if pixel_weights is None else _shares(pixel_weights, len(self.goals))

    def _values(self, rollout: Rollout) -> Any:
        """Mean distance over pixels at each step [K, T'], in units of ``scale``."""
        if rollout.pixel_distributions is not None:
            maps = self._chosen(require_field(rollout, "pixel_distributions", "PixelDistance"))
            distances = self._distances_of_maps(maps)
        else:
            pixels = self._chosen(require_field(rollout, "pixels", "PixelDistance"))
            distances = self._bend(safe_norm(pixels - self.goals))
        xp = array_namespace(distances)  # [K, T', P]
        if self.pixel_weights is None:
            return xp.mean(distances, axis=-1) / self.scale
        # A pixel of weight 0 is left out: its distance may be infinite, and 0 times infinity is not a number.
        counted = [index for index, share in enumerate(self.pixel_weights) if share > 0.0]
        kept = xp.stack([distances[..., index] for index in counted], axis=-1)
        return xp.sum(kept * self.pixel_weights[counted], axis=-1) / self.scale

    def _distances_of_maps(self, maps: Any) -> Any:
        """[K, T', P] of maps [K, T', P, H, W]."""
        share = self.spread_weight
        spread = expected_distances(maps, self.goals, self._bend) if share > 0.0 else 0.0
        if share == 1.0:
            return spread
        return share * spread + (1.0 - share) * self._bend(safe_norm(expected_pixels(maps) - self.goals))

    def _bend(self, distances: Any) -> Any:
        if self.smooth == 0.0:
            return distances
        return array_namespace(distances).sqrt(distances * distances + self.smooth**2) - self.smooth

    def _chosen(self, followed: Any) -> Any:
        """[K, T', P, ...] of the pixels that have goals."""
        num_pixels = followed.shape[2]
        if self.indices is None:
            if num_pixels != self.goals.shape[0]:
                raise ValueError(
                    f"the rollout follows {num_pixels} pixels, the objective has {self.goals.shape[0]} goals; "
                    "say which with indices"
                )
            return followed
        if max(self.indices) >= num_pixels:
            raise ValueError(f"the rollout follows {num_pixels} pixels, indices are {self.indices}")
        return array_namespace(followed).stack([followed[:, :, index] for index in self.indices], axis=2)


def _shares(weights: Sequence[float] | np.ndarray, num_pixels: int) -> np.ndarray:
    """[P] float32 that sum to 1."""
    shares = given_array("pixel_weights", weights, np.float64)
    if shares.shape != (num_pixels,) or not np.all(shares >= 0.0) or not 0.0 < shares.sum() < np.inf:
        raise ValueError(
            f"pixel_weights must be {num_pixels} non-negative numbers with a positive sum, got {shares.tolist()}"
        )
    return (shares / shares.sum()).astype(np.float32)
