"""The loop that CEM and iCEM share: draw from a diagonal Gaussian over time, keep the elites, refit, repeat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from visual_foresight.planners.noise import block_means, coloured_noise, hold, num_blocks
from visual_foresight.planners.search import Problem, Search, SearchSteps


@dataclass(frozen=True)
class GaussianSearch:
    """Everything that distinguishes one member of the CEM family from another.

    Args:
        counts: candidates per iteration.
        num_elites: how many of the best the distribution is fitted to.
        action_repeat: steps for which one drawn (macro) action is held.
        initial_deviation: of the first distribution, in units of each dimension's scale.
        deviation_floor: below which no deviation falls, in the same units.
        smoothing: weight of the previous mean and deviation in the new ones, in [0, 1).
        noise_exponent: colour of the noise over time; 0 is white.
        keep_fraction: of the elites, how many stay candidates of the next iteration with their known costs.
        carry_fraction: of the elites, how many the plan carries to the next control step.
        mean_in_last: the mean itself is candidate 0 of the last iteration.
    """

    counts: tuple[int, ...]
    num_elites: int
    action_repeat: int
    initial_deviation: float
    deviation_floor: float
    smoothing: float
    noise_exponent: float = 0.0
    keep_fraction: float = 1.0
    carry_fraction: float = 0.0
    mean_in_last: bool = False

    @classmethod
    def of(cls, planner: Any, **particular: Any) -> GaussianSearch:
        """The settings that every member of the family has, from a planner's record, and its particular ones."""
        names = ("counts", "num_elites", "action_repeat", "initial_deviation", "deviation_floor", "smoothing")
        return cls(**{name: getattr(planner, name) for name in names}, **particular)


def gaussian_steps(settings: GaussianSearch, problem: Problem, search: Search) -> SearchSteps:
    """Yield candidates [K, H, A], take their costs [K], refit; one iteration per entry of ``settings.counts``.

    Returns:
        The elites at the end [E, H, A], best first.
    """
    bounds = problem.bounds
    mean = block_means(problem.center.astype(np.float64), settings.action_repeat)  # [M, A]
    deviation = np.broadcast_to(settings.initial_deviation * bounds.scale, mean.shape)
    floor = settings.deviation_floor * bounds.scale
    elites = problem.given[:0]
    elite_costs = np.zeros(0)
    given = problem.given
    for iteration, count in enumerate(settings.counts):
        if settings.mean_in_last and iteration > 0 and iteration == len(settings.counts) - 1:
            given = bounds.clip(hold(mean, settings.action_repeat, problem.horizon))[None]
        colour = settings.noise_exponent
        candidates = draw(problem, mean, deviation, given, count, settings.action_repeat, colour)
        costs = yield candidates
        search.keep_best(candidates, costs)
        kept = int(np.ceil(settings.keep_fraction * len(elites)))
        elites, elite_costs = best_of(
            np.concatenate([elites[:kept], candidates]),
            np.concatenate([elite_costs[:kept], costs]),
            settings.num_elites,
        )
        carried = int(np.ceil(settings.carry_fraction * len(elites)))
        search.elites, search.elite_costs = elites[:carried], elite_costs[:carried]
        mean_cost = float(elite_costs.mean()) if len(elites) else np.inf
        search.record(candidates, costs, deviation=float(np.mean(deviation, dtype=np.float64)), elite_cost=mean_cost)
        if len(elites):
            mean, deviation = _refit(settings, elites, mean, deviation, floor)
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
    settings: GaussianSearch, elites: np.ndarray, mean: np.ndarray, deviation: np.ndarray, floor: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the elites' macro actions [M, A], smoothed and floored."""
    blocks = block_means(elites.astype(np.float64), settings.action_repeat)  # sums of float32 limits may overflow
    old, new = settings.smoothing, 1.0 - settings.smoothing
    mean = old * mean + new * blocks.mean(axis=0)
    deviation = np.maximum(old * deviation + new * blocks.std(axis=0), floor)
    return mean, deviation
