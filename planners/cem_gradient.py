"""The cross-entropy method, and then the gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from visual_foresight.planners.gaussian import GaussianPlanner, gaussian_steps
from visual_foresight.planners.gradient_descent import descend
from visual_foresight.planners.search import Problem, Search, SearchSteps


@dataclass(frozen=True)
class CEMGradient(GaussianPlanner):
    """:class:`CEM` finds the valley, :class:`GradientDescent` goes down in it: its elites descend together.

    Bharadhwaj et al. 2020, "Model-Predictive Control via Cross-Entropy and Gradient-Based Optimization".
    Differs from: gradient steps follow the last iteration of CEM instead of being mixed into each, so that most
    candidates cost no backward pass. Needs a cost function with ``gradient``.

    Args:
        horizon: H, control steps.
        num_candidates: of the first iteration of CEM, or one number for each.
        num_iterations: iterations of CEM.
        action_repeat: hold each action for this many steps.
        num_elites: candidates the distribution is fitted to, and which descend afterwards.
        num_gradient_steps: steps down; ``num_gradient_steps + 1`` more iterations of ``num_elites`` candidates.
        learning_rate: first step, in units of half the range of each dimension.
        initial_deviation, deviation_floor, smoothing, keep_fraction, decay, unbounded_scale: as in :class:`CEM`.

    Raises:
        ValueError: a setting outside its range.
    """

    num_gradient_steps: int = 5
    learning_rate: float = 0.1

    needs_gradient: ClassVar[bool] = True

    def steps(self, problem: Problem, search: Search) -> SearchSteps:
        """The search as a generator of candidates [K, H, A] that is sent costs [K], and gradients at the end."""
        elites = yield from gaussian_steps(self, problem, search)
        # Always as many, so that searches for many environments stay in step: the worst is repeated if there are fewer.
        starts = elites[np.minimum(np.arange(self.num_elites), len(elites) - 1)]
        counts = (self.num_elites,) * (self.num_gradient_steps + 1)
        yield from descend(problem, search, starts, counts, self.learning_rate, self.action_repeat)
