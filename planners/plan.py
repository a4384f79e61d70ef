"""What a planner is and what it returns. Planners see actions and costs, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypedDict, runtime_checkable

import numpy as np
from gymnasium import spaces

CostFn = Callable[[np.ndarray], np.ndarray]
"""Candidates [K, H, A] float32 in environment units to costs [K]; lower is better; read-only input.

It may have an attribute ``gradient``, a function of the same candidates to costs [K] and their gradients [K, H, A],
for planners that descend. One that can search a whole problem by itself has a method ``whole_search(planner, problem,
search)``, which says whether it did; planners ask it first, unless there is a deadline."""

ProposalFn = Callable[[np.random.Generator, spaces.Box, int], np.ndarray]
"""(rng, action_space, horizon) to candidates [N, H, A] that the search should consider (a policy, a script, ...)."""


class Given(TypedDict, total=False):
    """Candidates that a search is handed rather than draws; :meth:`Planner.plan` says what each is."""

    incumbent: np.ndarray | None
    elites: np.ndarray | None
    proposals: np.ndarray | ProposalFn | None


@dataclass(frozen=True)
class IterationRecord:
    """What one iteration of a search looked like.

    Args:
        best_cost: lowest cost found so far, this iteration included; never rises.
        mean_cost: mean over this iteration's candidates with a finite cost; infinite if there is none.
        elite_cost: mean over the elites after this iteration.
        deviation: mean deviation of the distribution the candidates were drawn from [environment units].
        num_candidates: how many candidates were evaluated.
    """

    best_cost: float
    mean_cost: float
    elite_cost: float
    deviation: float
    num_candidates: int = 0


@dataclass(frozen=True, eq=False)
class Plan:
    """The best action sequence a search has found.

    Args:
        actions: [H, A] float32, inside the Box, environment units.
        cost: its cost, finite.
        num_evaluations: how many candidates were evaluated.
        num_iterations: how many iterations were done; fewer than asked for when a deadline cut the search short.
        history: one record per iteration.
        seconds: wall time of the search [s].
        elites: [E, H, A] float32, best first: what this planner wants to see again, shifted, at the next step
            (empty for planners that carry only the plan itself).
        elite_costs: [E], the costs of ``elites``.
        first_cost: of the first candidate, which is the incumbent where there was one; infinite if not finite.
    """

    actions: np.ndarray
    cost: float
    num_evaluations: int
    num_iterations: int
    history: tuple[IterationRecord, ...] = ()
    seconds: float = 0.0
    elites: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    elite_costs: np.ndarray = field(default_factory=lambda: np.zeros(0))
    first_cost: float = np.inf


@runtime_checkable
class Planner(Protocol):
    """Searches for a cheap action sequence. Holds settings only: all state enters and leaves through ``plan``."""

    horizon: int

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
        """Find a plan.

        The same arguments and the same state of ``rng`` give the same plan, unless a deadline cuts the search.

        Args:
            cost_fn: [K, H, A] to [K]. A cost that is not finite never wins.
            action_space: Box of shape [A]; the plan lies inside it.
            rng: source of all randomness.
            incumbent: [H, A], the plan to beat: candidate 0 of the first iteration, clipped to the Box.
            elites: [E, H, A], good candidates of the previous step, shifted; considered in the first iteration as far
                as there is room.
            proposals: [N, H, A], or a callable that draws them: candidates of the first iteration, clipped.
            deadline_ms: stop searching after this time [ms] and return the best so far. At least one iteration is
                done, and none is begun that, going by the last one, would end too late.

        Raises:
            ValueError: wrong shapes, a non-finite incumbent, or no candidate with a finite cost.
        """
        ...


def shift(actions: np.ndarray, steps: int, *, fill: str | np.ndarray = "hold") -> np.ndarray:
    """Drop the first ``steps`` actions, which have been executed, and fill up at the end: a warm start.

    Args:
        actions: [..., H, A].
        steps: at least 0; H or more leaves only filling.
        fill: "hold" repeats the last action, "zero" stands still, or actions [A] or [steps, A].

    Returns:
        [..., H, A], a new array of the same dtype.

    Raises:
        TypeError: steps are no whole number.
        ValueError: negative steps, or an unknown or misshapen fill.
    """
    actions = np.asarray(actions)
    if actions.ndim < 2:
        raise ValueError(f"shift needs actions [..., H, A], got shape {list(actions.shape)}")
    if not isinstance(steps, (int, np.integer)) or isinstance(steps, bool):
        raise TypeError(f"steps must be a whole number, got {steps!r}")
    if steps < 0:
        raise ValueError(f"shift goes forward in time: steps must be at least 0, got {steps}")
    horizon = actions.shape[-2]
    num_filled = min(int(steps), horizon)
    if isinstance(fill, str):
        if fill not in ("hold", "zero"):
            raise ValueError(f"fill must be 'hold', 'zero' or an array, got {fill!r}")
        tail = actions[..., -1:, :] if fill == "hold" else np.zeros_like(actions[..., -1:, :])
    else:
        tail = np.asarray(fill, actions.dtype)
        if tail.shape not in ((actions.shape[-1],), (steps, actions.shape[-1])):
            raise ValueError(
                f"fill must have shape [{actions.shape[-1]}] or [{steps}, {actions.shape[-1]}], got {list(tail.shape)}"
            )
        tail = tail[-num_filled:] if tail.ndim == 2 and num_filled else np.atleast_2d(tail)[:1]
    shape = (*actions.shape[:-2], num_filled, actions.shape[-1])
    return np.concatenate([actions[..., num_filled:, :], np.broadcast_to(tail, shape)], axis=-2)
