"""Model-predictive path integral control."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from visual_foresight.planners.noise import block_means, coloured_noise, hold, num_blocks
from visual_foresight.planners.plan import CostFn, Plan, ProposalFn
from visual_foresight.planners.search import Problem, Search, SearchSteps, pose_problem, run_search
from visual_foresight.planners.settings import require_count, require_number, schedule


@dataclass(frozen=True)
class MPPI:
    """Model-predictive path integral control: the mean moves to the average of all candidates, the cheap ones most.

    Williams et al. 2017, "Information Theoretic MPC", algorithm 2: weights ``exp(-(cost - lowest) / temperature)``.
    Differs from: several iterations; weights see clipped actions and leave out the control-cost term; costs are
    divided by their deviation over the candidates (``normalise``), so that the temperature has no unit; the weighted
    mean is evaluated after the last iteration as one more candidate, and the best candidate seen is returned.

    Args:
        horizon: H, control steps.
        num_candidates: per iteration, or one number for each iteration.
        num_iterations: how often to draw and average.
        temperature: small trusts the best candidate alone, large averages over all; in deviations of the cost, or in
            units of the cost with ``normalise=False``.
        normalise: see above.
        deviation: of the noise, in units of half the range of each dimension.
        deviation_decay: multiplies the deviation after each iteration.
        noise_exponent: colour of the noise over time; 0 is white.
        action_repeat: hold each drawn action for this many steps.
        unbounded_scale: scale of dimensions without limits, in place of half their range.

    Raises:
        ValueError: a setting outside its range.
    """

    horizon: int = 15
    num_candidates: int | tuple[int, ...] = 200
    num_iterations: int = 3
    temperature: float = 0.2
    normalise: bool = True
    deviation: float = 0.5
    deviation_decay: float = 0.8
    noise_exponent: float = 0.0
    action_repeat: int = 1
    unbounded_scale: float = 1.0
    _counts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        require_count("horizon", self.horizon)
        require_count("action_repeat", self.action_repeat)
        require_number("temperature", self.temperature, 0.0, open_low=True)
        require_number("deviation", self.deviation, 0.0, open_low=True)
        require_number("deviation_decay", self.deviation_decay, 0.0, 1.0, open_low=True)
        require_number("noise_exponent", self.noise_exponent, 0.0)
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
        """Find a plan; see :class:`visual_foresight.planners.Planner`. ``num_evaluations`` counts the final mean."""
        problem = self.pose(action_space, rng=rng, incumbent=incumbent, elites=elites, proposals=proposals)
        search = Search()
        return run_search(search, self.steps(problem, search), cost_fn, deadline_ms)

    def pose(self, action_space: spaces.Box, **given: Any) -> Problem:
        """Check the arguments of ``plan`` other than the cost."""
        return pose_problem(action_space, self.horizon, self._counts[0], self.unbounded_scale, **given)

    def steps(self, problem: Problem, search: Search) -> SearchSteps:
        """The search as a generator of candidates [K, H, A] that is sent costs [K]."""
        bounds = problem.bounds
        mean = block_means(problem.center.astype(np.float64), self.action_repeat)  # [M, A]
        deviation = self.deviation * bounds.scale
        given = problem.given
        for count in self._counts:
            candidates = self._draw(problem, mean, deviation, given[:count], count)
            costs = yield candidates
            search.keep_best(candidates, costs)
            weights = softmin_weights(costs, self.temperature, normalise=self.normalise)
            average = float(np.sum(np.where(weights > 0, costs, 0.0) * weights)) if weights.any() else np.inf
            search.record(candidates, costs, deviation=float(np.mean(deviation, dtype=np.float64)), elite_cost=average)
            if weights.any():
                mean = np.einsum("k,kma->ma", weights, block_means(candidates.astype(np.float64), self.action_repeat))
            deviation = deviation * self.deviation_decay
            given = hold(bounds.clip(mean), self.action_repeat, problem.horizon)[None]  # the mean opens the next batch
        costs = yield given
        search.keep_best(given, costs)
        search.amend()

    def _draw(
        self, problem: Problem, mean: np.ndarray, deviation: np.ndarray, given: np.ndarray, count: int
    ) -> np.ndarray:
        blocks = num_blocks(problem.horizon, self.action_repeat)
        noise = coloured_noise(problem.rng, count - len(given), blocks, problem.bounds.action_size, self.noise_exponent)
        with np.errstate(over="ignore"):  # limits near the largest float: an overflow to infinity is clipped
            noise = noise * deviation + mean
        drawn = hold(problem.bounds.clip(noise), self.action_repeat, problem.horizon)
        return np.concatenate([given, drawn])


def softmin_weights(costs: np.ndarray, temperature: float, *, normalise: bool = True) -> np.ndarray:
    """Weights ``exp(-cost / temperature)`` that sum to 1 for costs of any size.

    The lowest cost is subtracted first, so that every exponent is at most 0 and the largest weight is 1 before the
    division: nothing can overflow, and the sum is at least 1.

    Args:
        costs: [K]; +inf gets weight 0.
        temperature: above 0.
        normalise: divide costs by their deviation over the finite ones.

    Returns:
        [K] float64; all zeros if no cost is finite.
    """
    finite = np.isfinite(costs)
    weights = np.zeros(len(costs))
    if not finite.any():
        return weights
    largest = np.abs(costs[finite]).max()
    unit = largest if largest > 1e-150 else 1.0  # differences and squares of the largest floats would overflow
    excess = costs[finite] / unit
    excess = excess - excess.min()
    spread = excess.std() if normalise else 1.0 / unit
    weights[finite] = np.exp(-np.minimum(excess / max(temperature * spread, 1e-300), 700.0)) if spread > 0.0 else 1.0
    weights[weights < 1e-300] = 0.0
    return weights / weights.sum()
