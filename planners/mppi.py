"""Model-predictive path integral control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visual_foresight.planners.gaussian import draw
from visual_foresight.planners.noise import block_means, hold
from visual_foresight.planners.search import Problem, Search, SearchSteps
from visual_foresight.planners.step_planner import StepPlanner


@dataclass(frozen=True)
class MPPI(StepPlanner):
    """Model-predictive path integral control: the mean moves to the average of all candidates, the cheap ones most.

    Williams et al. 2017, "Information Theoretic MPC", algorithm 2: weights ``exp(-(cost - lowest) / temperature)``.
    Differs from: several iterations; weights see clipped actions and leave out the control-cost term; costs are
    divided by their deviation over the candidates (``normalise``), so that the temperature has no unit; the weighted
    mean is evaluated after the last iteration as one more candidate (``num_evaluations`` counts it), and the best
    candidate seen is returned.

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

    temperature: float = 0.2
    normalise: bool = True
    deviation: float = 0.5
    deviation_decay: float = 0.8
    noise_exponent: float = 0.0

    def steps(self, problem: Problem, search: Search) -> SearchSteps:
        """The search as a generator of candidates [K, H, A] that is sent costs [K]."""
        bounds = problem.bounds
        mean = block_means(problem.center.astype(np.float64), self.action_repeat)  # [M, A]
        deviation = self.deviation * bounds.scale
        given = problem.given
        for count in self.counts:
            candidates = draw(problem, mean, deviation, given, count, self.action_repeat, self.noise_exponent)
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
