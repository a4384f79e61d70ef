"""The cross-entropy method."""

from __future__ import annotations

from dataclasses import dataclass

from visual_foresight.planners.gaussian import GaussianPlanner, gaussian_steps
from visual_foresight.planners.search import Problem, Search, SearchSteps


@dataclass(frozen=True)
class CEM(GaussianPlanner):
    """Cross-entropy method with a diagonal Gaussian over the actions of the whole horizon.

    Each iteration draws candidates around the mean, clips them to the Box, takes the ``num_elites`` cheapest of them
    and of the elites it keeps (whose costs are known and not computed again), and refits mean and deviation. The best
    candidate of all iterations is returned, not the mean.

    Rubinstein & Kroese 2004; as a planner for visual foresight Finn & Levine 2017 and Ebert et al. 2018.
    Differs from the latter: diagonal instead of a full covariance (10 elites in 30 dimensions are rank-deficient),
    candidates are clipped instead of rejected, elites survive, and the best is kept over iterations, not of the last.

    Args:
        horizon: H, control steps.
        num_candidates: of the first iteration, or one number for each iteration.
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

    def steps(self, problem: Problem, search: Search) -> SearchSteps:
        """The search as a generator of candidates [K, H, A] that is sent costs [K]."""
        yield from gaussian_steps(self, problem, search)
