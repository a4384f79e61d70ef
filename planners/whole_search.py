"""A search of the CEM family as one function of tensors: all iterations, and the costs, in one compiled call.

The same search as `gaussian.gaussian_steps`, which goes back to the host after each iteration. Noise depends on no
cost, so all of it is drawn before, by the same generator in the same order; what is left is arithmetic of fixed shapes.
Letters: I iterations, K candidates, H control steps, M macro actions, A action size, E elites.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from visual_foresight.planners.gaussian import GaussianPlanner
from visual_foresight.planners.noise import block_means, coloured_noise, num_blocks
from visual_foresight.planners.plan import IterationRecord
from visual_foresight.planners.search import Problem, Search


class Draws(NamedTuple):
    """What a search needs to know beforehand, arrays float32.

    Attributes:
        low: [A].
        high: [A].
        scale: [A].
        center: [M, A], where it begins.
        given: [K, H, A], of which the first ``num_given`` count: candidates of the first iteration.
        num_given: [], a whole number.
        noises: I arrays [K, M, A]; rows of candidates that are not drawn are zero.
    """

    low: np.ndarray
    high: np.ndarray
    scale: np.ndarray
    center: np.ndarray
    given: np.ndarray
    num_given: np.ndarray
    noises: tuple[np.ndarray, ...]


def can_be_whole(planner: Any) -> bool:
    """Whether a planner's search has fixed shapes: of the CEM family, without gradients, with enough candidates."""
    return (
        isinstance(planner, GaussianPlanner)
        and not planner.needs_gradient
        and min(planner.counts) >= planner.num_elites
    )


def draw_all(planner: GaussianPlanner, problem: Problem) -> Draws:
    """Draw the noise of all iterations, as `gaussian_steps` would one by one."""
    bounds, recipe = problem.bounds, planner.recipe
    blocks = num_blocks(problem.horizon, planner.action_repeat)
    noises = []
    for iteration, count in enumerate(planner.counts):
        num_given = len(problem.given) if iteration == 0 else int(_mean_is_tried(planner, iteration))
        drawn = coloured_noise(problem.rng, count - num_given, blocks, bounds.action_size, recipe.noise_exponent)
        noises.append(np.concatenate([np.zeros((num_given, *drawn.shape[1:]), np.float32), drawn]))
    given = np.zeros((planner.counts[0], problem.horizon, bounds.action_size), np.float32)
    given[: len(problem.given)] = problem.given
    limits = (_finite(bounds.low), _finite(bounds.high), bounds.scale)
    center = block_means(problem.center.astype(np.float64), planner.action_repeat).astype(np.float32)
    return Draws(*limits, center, given, np.array(len(problem.given), np.float32), tuple(noises))


def _mean_is_tried(planner: GaussianPlanner, iteration: int) -> bool:
    return planner.recipe.mean_in_last and 0 < iteration == len(planner.counts) - 1


def _finite(limits: np.ndarray) -> np.ndarray:
    """Limits that are numbers: no plan has an action beyond the largest float."""
    return np.clip(limits, -np.finfo(np.float32).max, np.finfo(np.float32).max)


def make_whole_search(planner: GaussianPlanner, cost: Callable[[Any], Any]) -> Callable[[Draws], dict[str, Any]]:
    """The function of tensors that searches.

    Args:
        planner: see `can_be_whole`.
        cost: candidates [K, H, A] to costs [K], tensors.

    Returns:
        draws to a dict of tensors: of each iteration "best_actions" [I, H, A], "best_costs", "first_costs" (of the
        first candidate), "mean_costs", "elite_costs_mean", "elite_costs_worst" and "deviations" [I], and at the end
        "elites" [E, H, A] and "elite_costs" [E], where a cost that is not finite is infinite.
    """
    from keras import ops

    horizon, repeat, num_elites = planner.horizon, planner.action_repeat, planner.num_elites
    num_kept = int(np.ceil(planner.keep_fraction * num_elites))
    averaging = _averaging(horizon, repeat)
    old, new = planner.smoothing, 1.0 - planner.smoothing

    def hold(blocks: Any) -> Any:
        return blocks if repeat == 1 else ops.repeat(blocks, repeat, axis=-2)[..., :horizon, :]

    def propose(draws: Draws, mean: Any, deviation: Any, iteration: int) -> Any:
        drawn = hold(ops.clip(draws.noises[iteration] * deviation + mean, draws.low, draws.high))
        place = ops.reshape(ops.arange(drawn.shape[0]), (-1, 1, 1))
        if iteration == 0:
            return ops.where(place < ops.cast(draws.num_given, "int32"), draws.given, drawn)
        if _mean_is_tried(planner, iteration):
            return ops.where(place < 1, hold(ops.clip(mean, draws.low, draws.high))[None], drawn)
        return drawn

    def refit(elites: Any, finite: Any, mean: Any, deviation: Any, scale: Any) -> tuple[Any, Any]:
        blocks = elites if repeat == 1 else ops.einsum("mh,eha->ema", averaging, elites)
        count = ops.maximum(ops.sum(finite), 1.0)
        weights = ops.reshape(finite / count, (-1, 1, 1))
        center = ops.sum(weights * blocks, axis=0)
        spread = ops.sqrt(ops.sum(weights * ops.square(blocks - center), axis=0))
        deviation_after = ops.maximum(old * deviation + new * spread, planner.deviation_floor * scale)
        any_finite = ops.sum(finite) > 0
        return (
            ops.where(any_finite, old * mean + new * center, mean),
            ops.where(any_finite, deviation_after, deviation),
        )

    def search(draws: Draws) -> dict[str, Any]:
        mean = draws.center
        deviation = ops.broadcast_to(planner.initial_deviation * draws.scale, mean.shape)
        elites = ops.zeros((num_elites, horizon, mean.shape[-1]), "float32")
        elite_costs = ops.full((num_elites,), np.inf, "float32")
        rows = []
        for iteration in range(len(planner.counts)):
            candidates = propose(draws, mean, deviation, iteration)
            costs = ops.cast(cost(candidates), "float32")
            costs = ops.where(ops.isfinite(costs), costs, np.float32(np.inf))
            best = ops.argmin(costs)
            pool = ops.concatenate([elites[:num_kept], candidates])
            pool_costs = ops.concatenate([elite_costs[:num_kept], costs])
            negative, order = ops.top_k(-pool_costs, num_elites)  # of equal ones the earlier
            elites, elite_costs = ops.take(pool, order, axis=0), -negative
            finite = ops.cast(ops.isfinite(elite_costs), "float32")
            rows.append(
                {
                    "best_actions": ops.take(candidates, best, axis=0),
                    "best_costs": ops.take(costs, best, axis=0),
                    "first_costs": costs[0],
                    "mean_costs": _mean_of_finite(costs),
                    "elite_costs_mean": _mean_of_finite(elite_costs),
                    "elite_costs_worst": elite_costs[-1],
                    "deviations": ops.mean(deviation),
                }
            )
            mean, deviation = refit(elites, finite, mean, deviation, draws.scale)
        series = {name: ops.stack([row[name] for row in rows]) for name in rows[0]}
        return {**series, "elites": elites, "elite_costs": elite_costs}

    return search


def result_shapes(planner: GaussianPlanner, action_size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of what a whole search returns, by name."""
    count = len(planner.counts)
    series = ("best_costs", "first_costs", "mean_costs", "elite_costs_mean", "elite_costs_worst", "deviations")
    return {
        **{name: (count,) for name in series},
        "best_actions": (count, planner.horizon, action_size),
        "elites": (planner.num_elites, planner.horizon, action_size),
        "elite_costs": (planner.num_elites,),
    }


def _mean_of_finite(costs: Any) -> Any:
    """Infinite where none is."""
    from keras import ops

    finite = ops.isfinite(costs)
    count = ops.sum(ops.cast(finite, "float32"))
    total = ops.sum(ops.where(finite, costs, 0.0))
    return ops.where(count > 0, total / ops.maximum(count, 1.0), np.float32(np.inf))


def _averaging(horizon: int, action_repeat: int) -> np.ndarray:
    """[M, H] float32: the matrix of `block_means`."""
    return block_means(np.eye(horizon), action_repeat).astype(np.float32)


def record_search(planner: GaussianPlanner, search: Search, found: dict[str, Any]) -> bool:
    """Enter what a whole search found.

    Args:
        planner: that searched.
        search: nothing found yet.
        found: as `make_whole_search` returns it.

    Returns:
        Whether all went as on the host. Not where fewer candidates than elites had a finite cost: `gaussian_steps`
        then goes on with fewer, which fixed shapes cannot. Nothing is entered then.
    """
    found = {name: np.asarray(value) for name, value in found.items()}
    if not np.isfinite(found["elite_costs_worst"]).all():
        return False
    for iteration, count in enumerate(planner.counts):
        search.keep_best(found["best_actions"][iteration][None], found["best_costs"][iteration][None])
        search.num_evaluations += count - 1
        search.history.append(
            IterationRecord(
                best_cost=search.best_cost,
                mean_cost=float(found["mean_costs"][iteration]),
                elite_cost=float(found["elite_costs_mean"][iteration]),
                deviation=float(found["deviations"][iteration]),
                num_candidates=count,
            )
        )
    search.first_cost = float(found["first_costs"][0])
    carried = int(np.ceil(planner.recipe.carry_fraction * planner.num_elites))
    search.elites = found["elites"][:carried]
    search.elite_costs = found["elite_costs"][:carried].astype(np.float64)
    return True
