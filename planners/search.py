"""One planning run: evaluates what a planner proposes, keeps the best, watches the clock.

A planner is written as a generator that yields candidates [K, H, A] and is sent their costs [K]; one that descends
yields them as :class:`WithGradient` and is sent costs and gradients. This module drives one such generator
(``run_search``) or many in step (``run_searches``: one batched cost call for many environments).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from time import perf_counter as clock
from typing import Any

import numpy as np
from gymnasium import spaces

from visual_foresight.given_arrays import given_array
from visual_foresight.planners.bounds import ActionBounds
from visual_foresight.planners.plan import CostFn, IterationRecord, Plan, ProposalFn


@dataclass(frozen=True, eq=False)
class WithGradient:
    """Candidates [K, H, A] of which a planner wants costs [K] and gradients [K, H, A]."""

    candidates: np.ndarray


SearchSteps = Generator["np.ndarray | WithGradient", Any, Any]


@dataclass(frozen=True, eq=False)
class Problem:
    """The validated arguments of one planning run.

    Args:
        bounds: limits and scales of the actions.
        horizon: H.
        rng: source of all randomness.
        incumbent: [H, A] float32 inside the Box, or None.
        given: [G, H, A] float32 inside the Box: incumbent, proposals and elites, in this order; the first candidates.
    """

    bounds: ActionBounds
    horizon: int
    rng: np.random.Generator
    incumbent: np.ndarray | None
    given: np.ndarray

    @property
    def center(self) -> np.ndarray:
        """[H, A] float32: where a search begins, the incumbent or the centre of the Box."""
        if self.incumbent is not None:
            return self.incumbent
        return np.broadcast_to(self.bounds.center, (self.horizon, self.bounds.action_size))


def pose_problem(
    action_space: spaces.Box,
    horizon: int,
    num_candidates: int,
    unbounded_scale: float,
    *,
    rng: np.random.Generator,
    incumbent: np.ndarray | None = None,
    elites: np.ndarray | None = None,
    proposals: np.ndarray | ProposalFn | None = None,
) -> Problem:
    """Check a planner's arguments and gather the candidates that are given rather than drawn.

    Raises:
        TypeError: ``rng`` is not a ``numpy.random.Generator``, or the space is no Box.
        ValueError: wrong shapes, non-finite actions, or more proposals than candidates.
    """
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator (numpy.random.default_rng(seed)), got {rng!r}")
    bounds = ActionBounds.of(action_space, unbounded_scale)
    shape = (horizon, bounds.action_size)
    groups = []
    if incumbent is not None:
        incumbent = bounds.clip(_checked("incumbent", incumbent, shape))
        groups.append(incumbent[None])
    if proposals is not None:
        drawn = proposals(rng, action_space, horizon) if callable(proposals) else proposals
        groups.append(bounds.clip(_checked("proposals", drawn, (None, *shape))))
        num_given = sum(len(group) for group in groups)
        if num_given > num_candidates:
            raise ValueError(
                f"incumbent and proposals are {num_given} candidates, the first iteration evaluates {num_candidates}; "
                "pass fewer proposals or raise num_candidates"
            )
    if elites is not None and np.size(elites):
        groups.append(bounds.clip(_checked("elites", elites, (None, *shape))))
    given = np.concatenate(groups)[:num_candidates] if groups else np.zeros((0, *shape), np.float32)
    return Problem(bounds, horizon, rng, incumbent, given)


def _checked(name: str, actions: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    actions = given_array(name, actions, np.float64)
    fits = actions.ndim == len(shape) and all(
        wanted is None or size == wanted for size, wanted in zip(actions.shape, shape, strict=True)
    )
    if not fits:
        wanted_text = ", ".join("N" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} has shape {list(actions.shape)}, expected [{wanted_text}]")
    if not np.all(np.isfinite(actions)):
        raise ValueError(f"{name} holds actions that are not finite")
    largest = np.finfo(np.float32).max
    return np.clip(actions, -largest, largest).astype(np.float32)


class Search:
    """The best so far and the history of one planning run. Changed by ``record`` only."""

    def __init__(self) -> None:
        """Begin with nothing found."""
        self.best_actions: np.ndarray | None = None
        self.best_cost = self.first_cost = np.inf
        self.history: list[IterationRecord] = []
        self.num_evaluations = 0
        self.elites: np.ndarray | None = None
        self.elite_costs: np.ndarray | None = None

    def keep_best(self, candidates: np.ndarray, costs: np.ndarray) -> None:
        """Remember the cheapest of these candidates if it beats all before; ties go to the earlier one.

        Raises:
            ValueError: nothing evaluated so far has a finite cost.
        """
        if self.num_evaluations == 0:
            self.first_cost = float(costs[0])
        self.num_evaluations += len(costs)
        best = int(np.argmin(costs))
        if costs[best] < self.best_cost:
            self.best_cost = float(costs[best])
            self.best_actions = candidates[best].copy()
        if self.best_actions is None:
            raise ValueError(
                f"none of {self.num_evaluations} candidates has a finite cost; check the objective and the simulator "
                "on one action sequence"
            )

    def record(self, candidates: np.ndarray, costs: np.ndarray, *, deviation: float, elite_cost: float) -> None:
        """Close one iteration."""
        finite = costs[np.isfinite(costs)]
        mean_cost = float(finite.mean()) if len(finite) else np.inf
        self.history.append(IterationRecord(self.best_cost, mean_cost, float(elite_cost), deviation, len(candidates)))

    def amend(self) -> None:
        """Write a best cost found after the last record into it: a closing evaluation is no iteration of its own."""
        self.history[-1] = replace(self.history[-1], best_cost=self.best_cost)

    def finish(self, seconds: float) -> Plan:
        """The plan found."""
        actions = self.best_actions
        if actions is None:
            raise ValueError("nothing has been evaluated")
        if self.elites is None or self.elite_costs is None:
            self.elites, self.elite_costs = np.zeros((0, *actions.shape), np.float32), np.zeros(0)
        return Plan(
            actions=actions,
            cost=self.best_cost,
            num_evaluations=self.num_evaluations,
            num_iterations=len(self.history),
            history=tuple(self.history),
            seconds=seconds,
            elites=self.elites,
            elite_costs=self.elite_costs,
            first_cost=self.first_cost,
        )


def checked_costs(costs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Costs as float64 with +inf wherever a cost is not finite, so that such a candidate never wins.

    Minus infinity counts as broken too: an objective that overflows must not be rewarded for it.

    Raises:
        ValueError: another shape than the candidates ask for.
    """
    costs = given_array("costs", costs, np.float64)
    if costs.shape != shape:
        raise ValueError(f"cost_fn returned shape {list(costs.shape)}, expected {list(shape)}, one cost a candidate")
    return np.where(np.isfinite(costs), costs, np.inf)


def require_gradient(cost_fn: Any) -> Callable[[np.ndarray], Any]:
    """The gradient of a cost function.

    Raises:
        ValueError: it has none.
    """
    gradient = getattr(cost_fn, "gradient", None)
    if gradient is None:
        raise ValueError(
            "this planner descends the gradient of the cost, and the cost function has none; give it "
            "gradient(candidates [K, H, A]) -> (costs [K], gradients [K, H, A]), as a learned simulator does, or plan "
            "with CEM, ICEM, MPPI or RandomShooting"
        )
    return gradient


def checked_gradients(answer: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Costs as `checked_costs` gives them, and gradients as float64, 0 for a candidate where either is not finite.

    Raises:
        ValueError: another shape than the candidates [..., H, A] ask for.
    """
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise ValueError(f"cost_fn.gradient must return (costs, gradients), got {type(answer).__name__}")
    costs, gradients = answer
    costs, gradients = checked_costs(costs, shape[:-2]), np.asarray(gradients, np.float64)
    if gradients.shape != shape:
        raise ValueError(
            f"cost_fn.gradient returned gradients of shape {list(gradients.shape)}, expected {list(shape)}"
        )
    usable = np.isfinite(gradients).all(axis=(-2, -1)) & np.isfinite(costs)
    return costs, np.where(usable[..., None, None], gradients, 0.0)


class Deadline:
    """Decides whether one more batch may begin. Its clock runs from when it is made.

    Args:
        deadline_ms: how long planning may take [ms]; None: for ever.

    Raises:
        ValueError: it is not positive.
    """

    def __init__(self, deadline_ms: float | None) -> None:
        """Start the clock."""
        if deadline_ms is not None and not (isinstance(deadline_ms, Real) and deadline_ms > 0):
            raise ValueError(f"deadline_ms must be positive, got {deadline_ms!r}")
        self.started = clock()
        self._limit = np.inf if deadline_ms is None else deadline_ms / 1000.0
        self._seconds_per_candidate = 0.0

    def elapsed(self) -> float:
        """Seconds since it was made."""
        return clock() - self.started

    def note(self, seconds: float, num_candidates: int) -> None:
        """Remember how long a batch of so many candidates took."""
        self._seconds_per_candidate = seconds / num_candidates

    def allows(self, num_candidates: int) -> bool:
        """Whether a batch of so many candidates will be done in time."""
        return self.elapsed() + self._seconds_per_candidate * num_candidates <= self._limit


class _Alone:
    """A cost function of [K, H, A] as one of [1, K, H, A]."""

    def __init__(self, cost_fn: CostFn) -> None:
        self._cost_fn = cost_fn

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        return checked_costs(self._cost_fn(candidates[0]), candidates.shape[1:2])[None]

    def gradient(self, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        costs, gradients = checked_gradients(require_gradient(self._cost_fn)(candidates[0]), candidates.shape[1:])
        return costs[None], gradients[None]


def run_search(search: Search, steps: SearchSteps, cost_fn: CostFn, deadline: Deadline) -> Plan:
    """Drive one planner to its end or to the deadline."""
    return run_searches([(search, steps)], _Alone(cost_fn), deadline)[0]


def run_searches(
    searches: Sequence[tuple[Search, SearchSteps]],
    cost_fn: Callable[[np.ndarray], np.ndarray],
    deadline: Deadline,
) -> list[Plan]:
    """Drive N planners in step; each finds what it would find alone.

    Args:
        searches: N pairs of a search and its generator, all of the same planner.
        cost_fn: candidates [N, K, H, A] to costs [N, K]; for planners that descend with ``cost_fn.gradient``, which
            gives costs [N, K] and gradients [N, K, H, A].
        deadline: for all of them together.

    Returns:
        N plans; each one's ``seconds`` is the time of the whole batch.
    """
    batches = [next(steps) for _, steps in searches]
    while True:
        began = clock()
        answers = _answers(cost_fn, batches)
        proposed = [_advance(searches, index, answer) for index, answer in enumerate(answers)]
        deadline.note(clock() - began, _num_candidates(batches[0]))
        batches = [batch for batch in proposed if batch is not None]  # all are done together, or none is
        if not batches or not deadline.allows(_num_candidates(batches[0])):
            break
    for _, steps in searches:
        steps.close()
    seconds = deadline.elapsed()
    return [search.finish(seconds) for search, _ in searches]


def _answers(cost_fn: Callable[[np.ndarray], np.ndarray], batches: Sequence[np.ndarray | WithGradient]) -> list[Any]:
    """Costs [K] for each batch, or pairs of costs and gradients where gradients are wanted."""
    plain = [batch.candidates if isinstance(batch, WithGradient) else batch for batch in batches]
    # Always in C order: a sum over another layout rounds otherwise, and a search alone would differ from many in step.
    candidates = np.ascontiguousarray(np.stack(plain) if len(plain) > 1 else plain[0][None])
    candidates.flags.writeable = False  # a cost function that edits its input would corrupt the plan
    if not isinstance(batches[0], WithGradient):
        return list(checked_costs(cost_fn(candidates), candidates.shape[:2]))
    costs, gradients = checked_gradients(require_gradient(cost_fn)(candidates), candidates.shape)
    return list(zip(costs, gradients, strict=True))


def _num_candidates(batch: np.ndarray | WithGradient) -> int:
    return len(batch.candidates if isinstance(batch, WithGradient) else batch)


def _advance(searches: Sequence[tuple[Search, SearchSteps]], index: int, answer: Any) -> Any:
    """What one search proposes next: candidates, `WithGradient`, or None at its end."""
    try:
        return searches[index][1].send(answer)
    except StopIteration:
        return None
    except ValueError as error:
        if len(searches) == 1:
            raise
        raise ValueError(f"environment {index} of {len(searches)}: {error}") from error
