"""Planning for many environments at once, in step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from visual_foresight.planners.plan import CostFn, Plan
from visual_foresight.planners.search import Deadline, Search, checked_costs, require_gradient, run_searches
from visual_foresight.planners.step_planner import StepPlanner


def plan_many(
    planner: StepPlanner,
    cost_fn: Callable[[np.ndarray], np.ndarray] | Sequence[CostFn],
    action_space: spaces.Box,
    *,
    rngs: Sequence[np.random.Generator],
    incumbents: Sequence[np.ndarray | None] | np.ndarray | None = None,
    elites: Sequence[np.ndarray | None] | np.ndarray | None = None,
    proposals: Sequence[Any] | None = None,
    deadline_ms: float | None = None,
) -> list[Plan]:
    """Plan for N environments in step. Without a deadline each plan is the one that ``planner.plan`` finds alone.

    With a cost function of all environments that holds as far as its costs are those of each alone.

    Args:
        planner: one of this package's planners.
        cost_fn: candidates [N, K, H, A] to costs [N, K]; for planners that descend with ``cost_fn.gradient``, which
            gives costs [N, K] and gradients [N, K, H, A]. ``simulator.cost_function(starts, objectives)`` of a
            `LearnedSimulator` with N scenes calls the network once for all N*K, where they fit. Or N functions, one
            for each environment, as ``planner.plan`` takes them.
        action_space: of one environment.
        rngs: N generators, one for each environment; no two are the same.
        incumbents: N plans [H, A] (None where there is none).
        elites: N arrays [E, H, A].
        proposals: N arrays or callables.
        deadline_ms: for all of them together [ms].

    Returns:
        N plans.

    Raises:
        TypeError: no planner of this package.
        ValueError: sequences of different lengths, one generator for two environments, and whatever ``planner.plan``
            raises for one environment.
    """
    deadline = Deadline(deadline_ms)  # proposals count: they are asked for in `pose`
    if not isinstance(planner, StepPlanner):
        raise TypeError(f"plan_many needs a planner of this package, such as CEM(...), got {planner!r}")
    num_environments = len(rngs)
    if num_environments == 0:
        raise ValueError("plan_many needs at least one generator, one for each environment")
    given = {"incumbent": incumbents, "elites": elites, "proposals": proposals}
    for name, values in given.items():
        if values is not None and len(values) != num_environments:
            raise ValueError(f"{name}: {len(values)} entries for {num_environments} generators")
    if len({id(rng) for rng in rngs}) < num_environments:
        raise ValueError("two environments have the same generator: pass one for each, as of rng.spawn(count)")
    of_all = cost_fn if callable(cost_fn) else _SideBySide(cost_fn)
    if isinstance(of_all, _SideBySide) and len(of_all.functions) != num_environments:
        raise ValueError(f"cost_fn: {len(of_all.functions)} functions for {num_environments} generators")
    searches = []
    for index, rng in enumerate(rngs):
        own = {name: None if values is None else values[index] for name, values in given.items()}
        search = Search()
        searches.append((search, planner.steps(planner.pose(action_space, rng=rng, **own), search)))
    return run_searches(searches, of_all, deadline)


class _SideBySide:
    """Functions of candidates [K, H, A] as one of [N, K, H, A]."""

    def __init__(self, functions: Sequence[CostFn]) -> None:
        self.functions = list(functions)

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        pairs = zip(self.functions, candidates, strict=True)
        return np.stack([checked_costs(function(own), own.shape[:1]) for function, own in pairs])

    def gradient(self, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answers = [require_gradient(each)(own) for each, own in zip(self.functions, candidates, strict=True)]
        costs, gradients = zip(*answers, strict=True)
        return np.stack(costs), np.stack(gradients)
