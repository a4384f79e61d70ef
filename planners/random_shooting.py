"""Random shooting: draw, score, take the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visual_foresight.planners.noise import coloured_noise, hold, num_blocks
from visual_foresight.planners.search import Problem, Search, SearchSteps
from visual_foresight.planners.step_planner import StepPlanner


@dataclass(frozen=True)
class RandomShooting(StepPlanner):
    """Draw candidates once (or in several batches), return the cheapest. The baseline of all planners.

    Dimensions with two finite limits are drawn uniformly, others from a Gaussian around the allowed value nearest to
    zero, clipped. With ``num_candidates=1`` and no incumbent it is a uniformly random policy.

    Args:
        horizon: H, control steps.
        num_candidates: per batch, or one number for each batch.
        num_iterations: batches; more than one lets a deadline stop the search in between.
        action_repeat: hold each drawn action for this many steps.
        unbounded_scale: deviation of dimensions without limits [environment units].

    Raises:
        ValueError: a setting outside its range.
    """

    num_iterations: int = 1

    def steps(self, problem: Problem, search: Search) -> SearchSteps:
        """The search as a generator of candidates [K, H, A] that is sent costs [K]."""
        given = problem.given
        for count in self.counts:
            drawn = self._draw(problem, count - len(given[:count]))
            candidates = np.concatenate([given[:count], drawn])
            costs = yield candidates
            search.keep_best(candidates, costs)
            deviation = float(np.mean(problem.bounds.scale, dtype=np.float64)) / np.sqrt(
                3.0
            )  # of a uniform law over the range
            search.record(candidates, costs, deviation=deviation, elite_cost=search.best_cost)
            given = given[:0]

    def _draw(self, problem: Problem, count: int) -> np.ndarray:
        bounds, blocks = problem.bounds, num_blocks(problem.horizon, self.action_repeat)
        unit = problem.rng.uniform(-1.0, 1.0, (count, blocks, bounds.action_size)).astype(np.float32)
        unbounded = ~(np.isfinite(bounds.low) & np.isfinite(bounds.high))
        if unbounded.any():
            normal = coloured_noise(problem.rng, count, blocks, bounds.action_size)
            unit = np.where(unbounded, normal, unit)
        return hold(bounds.clip(bounds.center + bounds.scale * unit), self.action_repeat, problem.horizon)
