"""Planning while acting: the next actions are chosen while the present ones execute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import perf_counter as clock
from typing import Any

import numpy as np
from gymnasium import spaces

from visual_foresight.planners.bounds import ActionBounds
from visual_foresight.planners.context import Context, History, start_simulator
from visual_foresight.planners.controller_parts import (
    check_action_size,
    check_callables,
    check_fill,
    check_objectives,
    checked_proposals,
    goals_to_stop_at,
    is_near,
    keep_unless_better,
    leave_room,
    objective_of,
    pixels_inside,
)
from visual_foresight.planners.objectives.objective import Objective
from visual_foresight.planners.plan import CostFn, Plan, Planner, ProposalFn, shift
from visual_foresight.planners.search import require_gradient
from visual_foresight.planners.settings import generator_of, require_count, require_number
from visual_foresight.planners.simulation import Simulator, check_parts, check_plan, cost_function, simulator_stride
from visual_foresight.rollout import Rollout

WHEN_LATE = ("wait", "skip")

_EVERY_STEP = ("actions", "states")
_SOME_STEPS = ("frames", "pixel_distributions", "pixels")


class Later:
    """An objective that looks at a rollout only from some step on: what comes before is decided already.

    Args:
        objective: of what comes later.
        num_steps: how many steps are left out.
    """

    def __init__(self, objective: Objective, num_steps: int) -> None:
        """Wrap the objective."""
        self.objective, self.num_steps, self.outputs = objective, num_steps, objective.outputs

    def __call__(self, rollout: Rollout) -> Any:
        """Costs [K]."""
        return self.objective(self._later(rollout))

    def terms(self, rollout: Rollout) -> dict[str, Any]:
        """Raw values of the later steps."""
        return self.objective.terms(self._later(rollout))

    def explain(self, rollout: Rollout) -> dict[str, np.ndarray]:
        """Contributions of the later steps."""
        return self.objective.explain(self._later(rollout))

    def _later(self, rollout: Rollout) -> Rollout:
        # Cut where the scene is seen: a few decided steps may stay, and they are the same for all candidates.
        first = self.num_steps // rollout.every
        later: dict[str, Any] = {}
        for names, begin in ((_EVERY_STEP, first * rollout.every), (_SOME_STEPS, first)):
            there = [name for name in names if getattr(rollout, name) is not None]
            later |= {name: getattr(rollout, name)[:, begin:] for name in there}
        return replace(rollout, **later)


@dataclass(frozen=True, eq=False)
class _Timed:
    """A plan and the control step at which its first action is due."""

    plan: Plan
    first_step: int
    seconds: float


class _Continuations:
    """Costs of candidates [K, H, A] that follow actions [D, A] which are decided already."""

    def __init__(self, cost_fn: CostFn, decided: np.ndarray) -> None:
        self._cost_fn, self._decided = cost_fn, decided

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        return self._cost_fn(self._behind(candidates))

    def gradient(self, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        costs, gradients = require_gradient(self._cost_fn)(self._behind(candidates))
        return costs, gradients[:, len(self._decided) :]

    def _behind(self, candidates: np.ndarray) -> np.ndarray:
        prefix = np.broadcast_to(self._decided, (len(candidates), *self._decided.shape))
        return np.concatenate([prefix, candidates], axis=1)


class AsynchronousMPC:
    """Keeps the control period whatever a decision takes: `act` returns at once, a thread plans.

    The actions of the next ``latency_steps`` steps are always decided. A search that begins at step t is shown the
    scene at t, rolls every candidate out behind those decided actions, and so starts from the state predicted for
    the step t + latency_steps at which its plan will be ready. A plan that comes later than that is counted in
    ``num_late``; choose ``latency_steps`` so that this stays rare. Before the first plan the robot stands still.

    What is executed depends on how long planning takes, so equal seeds do not give equal episodes.

    Args:
        simulator: see :class:`Simulator`. It is used from one thread at a time, never from the caller's. One that has
            ``advance(start, actions [1, A])`` imagines the decided steps once and not with every candidate.
        planner: any planner; its horizon begins when its plan is ready.
        objective: what to reach; or, in its place,
        make_objective: makes the objective of each search from the :class:`Context` at which it begins; called in the
            caller's thread, as `make_start` is.
        action_space: Box of one environment.
        rng: a generator, or a seed.
        latency_steps: control steps that a decision may take; so many of each plan are executed. None: 2, or a whole
            leap of a simulator that leaps farther; see ``replan_interval`` of :class:`MPC`.
        period_ms: control period [ms]; the planner's deadline is ``latency_steps`` periods. None sets no deadline.
        when_late: "wait" stands still from the step at which a plan was due until it comes, and then begins with its
            first action: exact where the scene rests when the robot does. While every search is late, no more than
            ``latency_steps`` actions of each plan are executed: raise them. "skip" goes on with the plan before it, and
            leaves out the actions of the new plan whose time has passed.
        context_frames: how many past frames the simulator is shown.
        stop_distance: stand still while every designated pixel is this near its goal [px]. Nothing is planned
            meanwhile, and a search that is running is thrown away: it counts on actions that are not executed.
        goals: [P, 2], for ``stop_distance``; taken from the objective where it has them: from its terms with a
            weight above 0, for the pixels that they name and that count.
        proposals: candidates that every search should consider, see :class:`Planner`; a callable is called in the
            planner's thread; or, in their place,
        make_proposals: makes those of each search from its :class:`Context`, in the caller's thread; its ``decided``
            are the actions that will be executed before the plan begins.
        fill: what shifted plans end with.
        switch_margin: a new plan replaces the last one, shifted, only if it is cheaper by more than this share of its
            cost; see :class:`MPC`.
        make_start: makes the simulator's start from a :class:`Context`; called in the caller's thread, because it may
            read the environment.
        executor: runs the searches; None is a thread of its own.

    Attributes:
        last_plan: the plan in use, or None.
        stopped: whether the last action stands still at the goal.
        num_late: plans that were ready after the step they were made for; one that is not ready yet is not counted, see
            `is_overdue`.
        decision_seconds: duration of each finished search, encoding the context included [s].

    Raises:
        ValueError: both or none of the objectives, both kinds of proposals, a setting outside its range, or no goals to
            stop at.
    """

    def __init__(
        self,
        simulator: Simulator,
        planner: Planner,
        objective: Objective | None = None,
        *,
        action_space: spaces.Box,
        rng: np.random.Generator | int,
        make_objective: Callable[[Context], Objective] | None = None,
        latency_steps: int | None = None,
        period_ms: float | None = None,
        when_late: str = "wait",
        context_frames: int = 2,
        stop_distance: float | None = None,
        goals: np.ndarray | None = None,
        proposals: np.ndarray | ProposalFn | None = None,
        make_proposals: Callable[[Context], np.ndarray | ProposalFn | None] | None = None,
        fill: str | np.ndarray = "hold",
        switch_margin: float = 0.0,
        make_start: Callable[[Context], Any] | None = None,
        executor: Executor | None = None,
    ) -> None:
        """Check the settings and reset."""
        check_objectives("AsynchronousMPC", objective, make_objective)
        check_parts(simulator, planner, objective, starts=make_start is None)
        if latency_steps is None:
            latency_steps = min(max(2, simulator_stride(simulator)), planner.horizon)
        require_count("latency_steps", latency_steps)
        require_count("context_frames", context_frames)
        if period_ms is not None:
            require_number("period_ms", period_ms, 0.0, open_low=True)
        if latency_steps > planner.horizon:
            raise ValueError(f"latency_steps {latency_steps} exceeds the planner's horizon {planner.horizon}")
        if when_late not in WHEN_LATE:
            raise ValueError(f"when_late must be one of {WHEN_LATE}, got {when_late!r}")
        self.when_late = when_late
        check_callables(make_start=make_start)
        self._bounds = ActionBounds.of(action_space)
        check_action_size(simulator, self._bounds)
        check_fill(fill, latency_steps, self._bounds.action_size)
        sizes = {"horizon": planner.horizon, "action_size": self._bounds.action_size}
        proposals = checked_proposals("AsynchronousMPC", proposals, make_proposals, **sizes)
        require_number("switch_margin", switch_margin, 0.0)
        leave_room(proposals, planner)
        self.simulator, self.planner, self.objective, self.action_space = simulator, planner, objective, action_space
        self.proposals, self._make_objective = proposals, make_objective
        self._make_proposals = make_proposals or (lambda context: self.proposals)
        self.stop_distance = stop_distance
        self.goals, self._goal_indices = goals_to_stop_at(stop_distance, goals, objective)
        self.latency_steps, self.context_frames, self.fill = latency_steps, context_frames, fill
        self.switch_margin = switch_margin
        self.deadline_ms = None if period_ms is None else latency_steps * period_ms
        self._make_start = make_start
        self._executor = executor or ThreadPoolExecutor(max_workers=1, thread_name_prefix="planner")
        self._running: Future[_Timed] | None = None
        self._closed = False
        self.rng = generator_of(rng)
        self.reset()

    def reset(self, rng: np.random.Generator | int | None = None) -> None:
        """Forget everything; a search still running is waited for and its plan thrown away."""
        if self._running is not None:
            self._running.exception()  # waits; the generator must not be used by two searches
        if rng is not None:
            self.rng = np.random.default_rng(rng)
        self._running, self._abandoned = None, False
        self.stopped = False
        self._due = 0  # step at which the running search's plan begins
        self._current: _Timed | None = None
        self._history = History(self.context_frames, self._bounds.action_size)
        self._step = 0
        self.num_late = 0
        self.decision_seconds: list[float] = []

    def close(self) -> None:
        """End the thread, after the search that is running."""
        self._closed = True
        self._executor.shutdown(wait=True)

    @property
    def is_overdue(self) -> bool:
        """Whether a plan should be there by now and is not: as long as that is so, nothing new is decided."""
        return self._running is not None and self._step > self._due

    @property
    def last_plan(self) -> Plan | None:
        """The plan in use."""
        return None if self._current is None else self._current.plan

    def act(self, observation: Mapping[str, Any], *, pixels: np.ndarray | None = None) -> np.ndarray:
        """The action of this step, at once; begins the next search if none is running.

        Args:
            observation: with "image" [H, W, 3] uint8 and, where there is one, "state" [S].
            pixels: [P, 2] (row, col) of the designated pixels now.

        Returns:
            [A] float32 inside the Box.

        Raises:
            Exception: whatever the last search raised.
            RuntimeError: after `close`.
            ValueError: designated pixels that are needed to stop and missing.
        """
        if self._closed:
            raise RuntimeError("this controller is closed, its thread has ended: make another")
        self._history.see(observation)
        if pixels is not None:
            pixels = pixels_inside(pixels, self._history.image_size)
        self.stopped = is_near(pixels, self.goals, self.stop_distance, self._goal_indices)
        if self.stopped:  # plans count on what is not executed now
            self._current, self._abandoned = None, self._running is not None
        self._collect()
        if self._running is None and not self.stopped:
            self._begin_search(pixels)
        action = self._decided(1)[0]
        self._history.execute(action)
        self._step += 1
        return action.copy()

    def _collect(self) -> None:
        """Take over a finished plan, once the step it was made for has come."""
        if self._running is None or not self._running.done():
            return
        if self._abandoned:
            running, self._running, self._abandoned = self._running, None, False
            running.result()  # raises what the search raised
            return
        if self._step < self._due and self._running.exception() is None:
            return
        running, self._running = self._running, None  # one that failed is told once, and the next step searches anew
        ready = running.result()
        if self._step > self._due:
            self.num_late += 1
            if self.when_late == "wait":
                ready = replace(ready, first_step=self._step)
        self.decision_seconds.append(ready.seconds)
        self._current = ready

    def _decided(self, num_steps: int) -> np.ndarray:
        """[num_steps, A] from now on by the plan in use; standing still where it has no more."""
        still = np.broadcast_to(self._bounds.still, (num_steps, self._bounds.action_size))
        overdue = self._running is not None and self._step >= self._due
        if self._current is None or (overdue and self.when_late == "wait"):
            return still
        left = self._current.plan.actions[self._step - self._current.first_step :][:num_steps]
        return np.concatenate([self._bounds.clip(left), still[len(left) :]])

    def _begin_search(self, pixels: np.ndarray | None) -> None:
        context = replace(self._history.context(pixels), decided=self._decided(self.latency_steps))
        objective = objective_of(context, self.objective, self._make_objective)
        start = None if self._make_start is None else self._make_start(context)
        proposals = self._make_proposals(context)
        self._due = self._step + self.latency_steps
        work = (objective, context, start, proposals, self._due, self._current)
        self._running = self._executor.submit(self._search, *work)

    def _search(
        self,
        objective: Objective,
        context: Context,
        start: Any,
        proposals: Any,
        first_step: int,
        before: _Timed | None,
    ) -> _Timed:
        """Runs in the planner's thread; reads nothing that `act` changes."""
        began = clock()
        start = start_simulator(self.simulator, context) if start is None else start
        costs = self._costs_behind(start, context.decided, objective)
        warm: dict[str, np.ndarray] = {}
        if before is not None:
            executed = first_step - before.first_step
            warm["incumbent"] = shift(before.plan.actions, executed, fill=self.fill)
            if before.plan.elites.size:
                warm["elites"] = shift(before.plan.elites, executed, fill=self.fill)
        deadline_ms = None
        if self.deadline_ms is not None:
            deadline_ms = max(self.deadline_ms - 1000.0 * (clock() - began), 1e-3)
        plan = self.planner.plan(
            costs, self.action_space, rng=self.rng, deadline_ms=deadline_ms, proposals=proposals, **warm
        )
        check_plan(plan, self._bounds.action_size, self.latency_steps)
        plan = keep_unless_better(plan, warm.get("incumbent"), self.switch_margin, self._bounds)
        seconds = clock() - began
        return _Timed(replace(plan, seconds=seconds), first_step, seconds)

    def _costs_behind(self, start: Any, decided: np.ndarray, objective: Objective) -> CostFn:
        """Costs of what follows the decided actions [D, A]."""
        advance = getattr(self.simulator, "advance", None)
        if advance is not None:  # the decided part is the same for every candidate: imagine it once
            for action in decided:
                start = advance(start, action[None])
            return cost_function(self.simulator, start, objective)
        return _Continuations(cost_function(self.simulator, start, Later(objective, len(decided))), decided)
