"""What the CEM family shares: draw from a diagonal Gaussian over time, keep the elites, refit, repeat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from visual_foresight.planners.noise import block_means, coloured_noise, hold, num_blocks
from visual_foresight.planners.search import Problem, Search, SearchSteps
from visual_foresight.planners.step_planner import StepPlanner


class Recipe(NamedTuple):
    """What the members of the family do differently.

    Attributes:
        noise_exponent: colour of the noise over time; 0 is white.
        carry_fraction: of the elites, how many the plan carries to the next control step.
        mean_in_last: the mean itself is candidate 0 of the last iteration.
    """

    noise_exponent: float = 0.0
    carry_fraction: float = 0.0
    mean_in_last: bool = False


@dataclass(frozen=True)
class GaussianPlanner(StepPlanner):
    """A planner of the CEM family: what its members have in common beside the settings of every planner.

    Args:
        num_elites: how many of the best the distribution is fitted to.
        initial_deviation: of the first distribution, in units of half the range of each dimension.
        deviation_floor: below which no deviation falls, in the same units.
        smoothing: weight of the previous mean and deviation in the new ones, in [0, 1).
        keep_fraction: of the elites, how many stay candidates of the next iteration with their known costs.
        decay: divides the number of candidates after each iteration (never below twice the elites).

    Raises:
        ValueError: a setting outside its range.
    """

    num_elites: int = 10
    initial_deviation: float = 0.7
    deviation_floor: float = 0.1
    smoothing: float = 0.1
    keep_fraction: float = 1.0
    decay: float = 1.0

    @property
    def recipe(self) -> Recipe:
        """What this member of the family does."""
        return Recipe()


def gaussian_steps(planner: GaussianPlanner, problem: Problem, search: Search) -> SearchSteps:
    """Yield candidates [K, H, A], take their costs [K], refit; one iteration per entry of ``planner.counts``.

    Args:
        planner: settings of the family.
        problem: what is searched.
        search: where what is found is kept.

    Returns:
        The elites at the end [E, H, A], best first.
    """
    bounds, recipe = problem.bounds, planner.recipe
    mean = block_means(problem.center.astype(np.float64), planner.action_repeat)  # [M, A]
    deviation = np.broadcast_to(planner.initial_deviation * bounds.scale, mean.shape)
    floor = planner.deviation_floor * bounds.scale
    elites = problem.given[:0]
    elite_costs = np.zeros(0)
    given = problem.given
    for iteration, count in enumerate(planner.counts):
        if recipe.mean_in_last and iteration > 0 and iteration == len(planner.counts) - 1:
            given = bounds.clip(hold(mean, planner.action_repeat, problem.horizon))[None]
        candidates = draw(problem, mean, deviation, given, count, planner.action_repeat, recipe.noise_exponent)
        costs = yield candidates
        search.keep_best(candidates, costs)
        kept = int(np.ceil(planner.keep_fraction * len(elites)))
        elites, elite_costs = best_of(
            np.concatenate([elites[:kept], candidates]),
            np.concatenate([elite_costs[:kept], costs]),
            planner.num_elites,
        )
        carried = int(np.ceil(recipe.carry_fraction * len(elites)))
        search.elites, search.elite_costs = elites[:carried], elite_costs[:carried]
        mean_cost = float(elite_costs.mean()) if len(elites) else np.inf
        search.record(candidates, costs, deviation=float(np.mean(deviation, dtype=np.float64)), elite_cost=mean_cost)
        if len(elites):
            mean, deviation = _refit(planner, elites, mean, deviation, floor)
        given = problem.given[:0]
    return elites


def draw(
    problem: Problem,
    mean: np.ndarray,
    deviation: np.ndarray,
    given: np.ndarray,
    count: int,
    action_repeat: int,
    noise_exponent: float,
) -> np.ndarray:
    """[count, H, A] float32 inside the Box: the given candidates first, then drawn ones around the mean [M, A]."""
    given = given[:count]
    blocks = num_blocks(problem.horizon, action_repeat)
    noise = coloured_noise(problem.rng, count - len(given), blocks, problem.bounds.action_size, noise_exponent)
    with np.errstate(over="ignore"):  # limits near the largest float: an overflow to infinity is clipped like the rest
        noise *= deviation
        noise += mean
    drawn = hold(problem.bounds.clip(noise), action_repeat, problem.horizon)
    return np.concatenate([given, drawn]) if len(given) else drawn


def best_of(candidates: np.ndarray, costs: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest candidates with a finite cost, at most ``number``, best first; ties go to the earlier one."""
    order = np.argsort(costs, kind="stable")[:number]
    order = order[np.isfinite(costs[order])]
    return candidates[order], costs[order]


def _refit(
    planner: GaussianPlanner, elites: np.ndarray, mean: np.ndarray, deviation: np.ndarray, floor: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the elites' macro actions [M, A], smoothed and floored."""
    blocks = block_means(elites.astype(np.float64), planner.action_repeat)  # sums of float32 limits may overflow
    old, new = planner.smoothing, 1.0 - planner.smoothing
    mean = old * mean + new * blocks.mean(axis=0)
    deviation = np.maximum(old * deviation + new * blocks.std(axis=0), floor)
    return mean, deviation
