"""The improved cross-entropy method."""

from __future__ import annotations

from dataclasses import dataclass

from visual_foresight.planners.gaussian import GaussianPlanner, Recipe, gaussian_steps
from visual_foresight.planners.search import Problem, Search, SearchSteps


@dataclass(frozen=True)
class ICEM(GaussianPlanner):
    """Cross-entropy method for control with few samples.

    Pinneri et al. 2020, "Sample-efficient Cross-Entropy Method for Real-time Planning", algorithm 1. All its
    ingredients: noise coloured over time, clipping to the Box, fewer candidates in each iteration, a share of the
    elites kept as candidates, elites carried over control steps (``Plan.elites``, shifted by the caller and passed
    back as ``elites``), the mean as a candidate of the last iteration, and the best candidate executed.
    Differs from: kept elites keep their costs and are not simulated again; carried elites take the place of drawn
    candidates instead of being added, so that the number of candidates is what was asked for; the best candidate is
    kept over all iterations; the last action of a shifted elite is chosen by the caller (``shift(fill=...)``).

    Args:
        horizon: H, control steps.
        num_candidates: of the first iteration, or one number for each iteration.
        num_iterations: how often to draw.
        num_elites: candidates the distribution is fitted to.
        noise_exponent: beta, the colour: power falls as ``1 / f**beta`` along time; 0 is white. The paper takes 2.5
            to 3.5 for hands and arms that manipulate.
        decay: gamma, divides the number of candidates after each iteration (never below twice the elites).
        keep_fraction: xi, share of the elites kept in the next iteration and carried to the next control step.
        smoothing: alpha, weight of the old mean and deviation in the new ones.
        initial_deviation: of the first distribution, in units of half the range of each dimension.
        deviation_floor: smallest deviation, in the same units.
        action_repeat: hold each drawn action for this many steps.
        unbounded_scale: scale of dimensions without limits, in place of half their range.

    Raises:
        ValueError: a setting outside its range.
    """

    initial_deviation: float = 0.7
    deviation_floor: float = 0.02
    keep_fraction: float = 0.3
    decay: float = 1.25
    noise_exponent: float = 3.0

    @property
    def recipe(self) -> Recipe:
        """Coloured noise, elites carried over, and the mean in the last iteration."""
        return Recipe(self.noise_exponent, self.keep_fraction, mean_in_last=True)

    def steps(self, problem: Problem, search: Search) -> SearchSteps:
        """The search as a generator of candidates [K, H, A] that is sent costs [K]."""
        yield from gaussian_steps(self, problem, search)
