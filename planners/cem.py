"""The cross-entropy method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from visual_foresight.planners.gaussian import GaussianSettings, gaussian_steps
from visual_foresight.planners.plan import CostFn, Plan, ProposalFn
from visual_foresight.planners.search import Problem, Search, SearchSteps, pose_problem, run_search
from visual_foresight.planners.settings import require_count, require_number, schedule


@dataclass(frozen=True)
class CEM:
    """Cross-entropy method with a diagonal Gaussian over the actions of the whole horizon.

    Each iteration draws candidates around the mean, clips them to the Box, takes the ``num_elites`` cheapest of them
    and of the elites it keeps (whose costs are known and not computed again), and refits mean and deviation. The best
    candidate of all iterations is returned, not the mean.

    Rubinstein & Kroese 2004; as a planner for visual foresight Finn & Levine 2017 and Ebert et al. 2018.
    Differs from the latter: diagonal instead of a full covariance (10 elites in 30 dimensions are rank-deficient),
    candidates are clipped instead of rejected, elites survive, and the best is kept over iterations, not of the last.

    Args:
        horizon: H, control steps.
        num_candidates: per iteration, or one number for each iteration.
        num_iterations: how often to draw.
        num_elites: candidates the distribution is fitted to.
        action_repeat: hold each drawn action for this many steps; the search then has H / action_repeat macro
            actions. A given incumbent is evaluated as it is.
        initial_deviation: of the first distribution, in units of half the range of each dimension.
        deviation_floor: smallest deviation, in the same units.
        smoothing: weight of the old mean and deviation in the new ones.
        keep_fraction: share of the elites that stay with their costs in the next iteration.
        decay: divides the number of candidates after each iteration (never below twice the elites).
        unbounded_scale: scale of dimensions without limits, in place of half their range.

    Raises:
        ValueError: a setting outside its range.
    """

    horizon: int = 15
    num_candidates: int | tuple[int, ...] = 200
    num_iterations: int = 3
    num_elites: int = 10
    action_repeat: int = 1
    initial_deviation: float = 0.7
    deviation_floor: float = 0.1
    smoothing: float = 0.1
    keep_fraction: float = 1.0
    decay: float = 1.0
    unbounded_scale: float = 1.0
    _settings: GaussianSettings = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        require_count("horizon", self.horizon)
        require_number("unbounded_scale", self.unbounded_scale, 0.0, open_low=True)
        settings = GaussianSettings(
            counts=schedule(self.num_candidates, self.num_iterations, self.decay, 2 * self.num_elites),
            num_elites=self.num_elites,
            action_repeat=self.action_repeat,
            initial_deviation=self.initial_deviation,
            deviation_floor=self.deviation_floor,
            smoothing=self.smoothing,
            noise_exponent=0.0,
            keep_fraction=self.keep_fraction,
            carry_fraction=0.0,
            mean_in_last=False,
        )
        object.__setattr__(self, "_settings", settings)

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
        return pose_problem(action_space, self.horizon, self._settings.counts[0], self.unbounded_scale, **given)

    def steps(self, problem: Problem, search: Search) -> SearchSteps:
        """The search as a generator of candidates [K, H, A] that is sent costs [K]."""
        return gaussian_steps(self._settings, problem, search)
