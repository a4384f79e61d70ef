"""Descending the cost through the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from visual_foresight.planners.gaussian import draw
from visual_foresight.planners.noise import block_means, block_sums, hold
from visual_foresight.planners.search import Problem, Search, SearchSteps, WithGradient
from visual_foresight.planners.step_planner import StepPlanner

_MOMENT_DECAYS = (0.9, 0.99)  # a search has tens of steps, not thousands: the usual 0.999 would never warm up


@dataclass(frozen=True)
class GradientDescent(StepPlanner):
    """Several starts descend the gradient of the cost together, each held inside the Box; the best ever seen wins.

    Adam (Kingma & Ba 2015, algorithm 1) on the actions, followed by projection onto the Box. Needs a cost function
    with ``gradient``, as a learned simulator's is.
    Differs from: the second moment decays with 0.99; steps are in units of each dimension's scale and shrink to 0
    along half a cosine; with one number of candidates for each iteration, the cheapest go on. The last iteration
    needs no gradient and asks for none.

    Before contact the cost of a push is flat, and no gradient leads out of a bad start: a sampling planner finds the
    push, and the gradient polishes it (:class:`CEMGradient`).

    Args:
        horizon: H, control steps.
        num_candidates: starts, or how many of them go on in each iteration (never more than before).
        num_iterations: evaluations of each start; one less than that are steps.
        action_repeat: hold each action for this many steps. A given incumbent is evaluated as it is, then held.
        learning_rate: first step, in units of half the range of each dimension.
        initial_deviation: of the starts around the incumbent (or the centre of the Box), in the same units.
        noise_exponent: colour of the starts over time; 0 is white.
        unbounded_scale: scale of dimensions without limits, in place of half their range.

    Raises:
        ValueError: a setting outside its range.
    """

    num_candidates: int | tuple[int, ...] = 16
    num_iterations: int = 15
    learning_rate: float = 0.2
    initial_deviation: float = 0.5
    noise_exponent: float = 1.0

    needs_gradient: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if list(self.counts) != sorted(self.counts, reverse=True):
            raise ValueError(f"num_candidates must not rise from one iteration to the next, got {self.counts}")

    def steps(self, problem: Problem, search: Search) -> SearchSteps:
        """The search as a generator of candidates [K, H, A] that is sent costs [K] and gradients [K, H, A]."""
        mean = block_means(problem.center.astype(np.float64), self.action_repeat)
        deviation = self.initial_deviation * problem.bounds.scale
        starts = draw(problem, mean, deviation, problem.given, self.counts[0], self.action_repeat, self.noise_exponent)
        yield from descend(problem, search, starts, self.counts, self.learning_rate, self.action_repeat)


def descend(
    problem: Problem,
    search: Search,
    starts: np.ndarray,
    counts: tuple[int, ...],
    learning_rate: float,
    action_repeat: int,
) -> SearchSteps:
    """Evaluate the starts [K, H, A] and step down from them, one iteration for each entry of ``counts``."""
    bounds = problem.bounds
    candidates = starts
    points = block_means(starts.astype(np.float64), action_repeat)  # [K, M, A]
    adam = _Adam(points.shape, bounds.scale.astype(np.float64))
    for iteration, count in enumerate(counts):
        if iteration:
            candidates = hold(bounds.clip(points), action_repeat, problem.horizon)
        last = iteration == len(counts) - 1
        answer = yield candidates if last else WithGradient(candidates)
        costs = answer if last else answer[0]
        search.keep_best(candidates, costs)
        following = count if last else counts[iteration + 1]
        order = np.argsort(costs, kind="stable")[:following]
        search.record(candidates, costs, deviation=float(points.std(axis=0).mean()), elite_cost=_mean(costs[order]))
        if not last:
            rate = learning_rate * 0.5 * (1.0 + np.cos(np.pi * iteration / (len(counts) - 1)))
            step = rate * adam.direction(block_sums(answer[1], action_repeat))
            # Projected in float64: limits near the largest float32 leave no room for a step beyond them.
            points = np.clip(points - step, bounds.low, bounds.high)[order]
            adam.select(order)


class _Adam:
    """Adam's running moments for K points [K, M, A]."""

    def __init__(self, shape: tuple[int, ...], scale: np.ndarray) -> None:
        self._scale = scale
        self._first, self._second, self._count = np.zeros(shape), np.zeros(shape), 0
        self._unit = np.zeros((shape[0], 1, 1))

    def direction(self, gradients: np.ndarray) -> np.ndarray:
        """The step [K, M, A] for learning rate 1, environment units."""
        # Divided by each point's first gradient, so that costs of any size square without overflow.
        largest = np.abs(gradients).max(axis=(1, 2), keepdims=True)
        self._unit = np.where(self._unit > 0.0, self._unit, largest)
        scaled = gradients / np.maximum(self._unit, 1e-300) * (self._scale / max(float(self._scale.max()), 1e-300))
        scaled = np.clip(scaled, -1e100, 1e100)
        self._count += 1
        slow, slower = _MOMENT_DECAYS
        self._first = slow * self._first + (1.0 - slow) * scaled
        self._second = slower * self._second + (1.0 - slower) * scaled**2
        first = self._first / (1.0 - slow**self._count)
        second = self._second / (1.0 - slower**self._count)
        return self._scale * first / (np.sqrt(second) + 1e-8)

    def select(self, order: np.ndarray) -> None:
        """Keep the moments of the points that go on."""
        self._first, self._second, self._unit = self._first[order], self._second[order], self._unit[order]


def _mean(costs: np.ndarray) -> float:
    finite = costs[np.isfinite(costs)]
    return float(finite.mean()) if len(finite) else np.inf
