"""Random shooting: draw, score, take the best."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from visual_foresight.planners.noise import coloured_noise, hold, num_blocks
from visual_foresight.planners.plan import CostFn, Plan, ProposalFn
from visual_foresight.planners.search import Problem, Search, SearchSteps, pose_problem, run_search
from visual_foresight.planners.settings import require_count, require_number, schedule


@dataclass(frozen=True)
class RandomShooting:
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

    horizon: int = 15
    num_candidates: int | tuple[int, ...] = 200
    num_iterations: int = 1
    action_repeat: int = 1
    unbounded_scale: float = 1.0
    _counts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        require_count("horizon", self.horizon)
        require_count("action_repeat", self.action_repeat)
        require_number("unbounded_scale", self.unbounded_scale, 0.0, open_low=True)
        object.__setattr__(self, "_counts", schedule(self.num_candidates, self.num_iterations, 1.0, 1))

    def plan(
        self,
        cost_fn: CostFn,
        action_space: spaces.Box,
        *,
        rng: np.random.Generator,
        incumbent: np.ndarray | None = None,
        elites: np.ndarray | None = None,
        proposals: np.ndarray | ProposalFn | None = None,
        deadline_ms: float | None = None,
    ) -> Plan:
        """Find a plan; see :class:`visual_foresight.planners.Planner`."""
        problem = self.pose(action_space, rng=rng, incumbent=incumbent, elites=elites, proposals=proposals)
        search = Search()
        return run_search(search, self.steps(problem, search), cost_fn, deadline_ms)

    def pose(self, action_space: spaces.Box, **given: Any) -> Problem:
        """Check the arguments of ``plan`` other than the cost."""
        return pose_problem(action_space, self.horizon, self._counts[0], self.unbounded_scale, **given)

    def steps(self, problem: Problem, search: Search) -> SearchSteps:
        """The search as a generator of candidates [K, H, A] that is sent costs [K]."""
        given = problem.given
        for count in self._counts:
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
