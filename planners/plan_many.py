"""Planning for many environments at once, with one batched cost call per iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from visual_foresight.planners.plan import Plan
from visual_foresight.planners.search import Search, run_searches
from visual_foresight.planners.step_planner import StepPlanner


def plan_many(
    planner: StepPlanner,
    cost_fn: Callable[[np.ndarray], np.ndarray],
    action_space: spaces.Box,
    *,
    rngs: Sequence[np.random.Generator],
    incumbents: Sequence[np.ndarray | None] | np.ndarray | None = None,
    elites: Sequence[np.ndarray | None] | np.ndarray | None = None,
    proposals: Sequence[Any] | None = None,
    deadline_ms: float | None = None,
) -> list[Plan]:
    """Plan for N environments in step. Without a deadline each plan is the one that ``planner.plan`` finds alone.

    Args:
        planner: one of this package's planners.
        cost_fn: candidates [N, K, H, A] to costs [N, K]; for planners that descend with ``cost_fn.gradient``, which
            gives costs [N, K] and gradients [N, K, H, A].
        action_space: of one environment.
        rngs: N generators, one for each environment.
        incumbents: N plans [H, A] (None where there is none).
        elites: N arrays [E, H, A].
        proposals: N arrays or callables.
        deadline_ms: for all of them together [ms].

    Returns:
        N plans.

    Raises:
        ValueError: sequences of different lengths, and whatever ``planner.plan`` raises for one environment.
    """
    num_environments = len(rngs)
    if num_environments == 0:
        raise ValueError("plan_many needs at least one generator, one for each environment")
    given = {"incumbent": incumbents, "elites": elites, "proposals": proposals}
    for name, values in given.items():
        if values is not None and len(values) != num_environments:
            raise ValueError(f"{name}: {len(values)} entries for {num_environments} generators")
    searches = []
    for index, rng in enumerate(rngs):
        own = {name: None if values is None else values[index] for name, values in given.items()}
        search = Search()
        searches.append((search, planner.steps(planner.pose(action_space, rng=rng, **own), search)))
    return run_searches(searches, cost_fn, deadline_ms)
