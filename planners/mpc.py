"""Model-predictive control: look, imagine, choose, act, look again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from visual_foresight.planners.objectives.maps import expected_pixels
from visual_foresight.planners.objectives.objective import Objective
from visual_foresight.planners.plan import Plan, Planner, ProposalFn, shift
from visual_foresight.planners.settings import generator_of, require_count, require_number
from visual_foresight.planners.simulation import (
    Simulator,
    check_parts,
    check_plan,
    cost_function,
    pixel_output,
    simulator_stride,
)
from visual_foresight.rollout import Rollout

TRACKING = ("truth", "predicted")


class MPC:
    """Plans over a simulator, executes the first actions of each plan, and plans again from what it then sees.

    Each plan starts from the last one, shifted by the steps that were executed. `reset` forgets everything; call it
    whenever the environment is reset.

    Args:
        simulator: see :class:`Simulator`: the learned one, a wrapper's batched door, or the true one.
        planner: any planner of this package.
        objective: what to reach; or, in its place,
        make_objective: makes the objective of each decision from its :class:`Context` (an approach that depends on
            the present scene, smoothness towards the last action).
        action_space: Box of one environment.
        rng: a generator, or a seed.
        replan_interval: steps executed of each plan. None: the control steps that the simulator leaps over in one call
            (``stride``; 1 where it has none): with plans that are made anew within a leap fewer goals are reached.
        tracking: "truth": `act` is told the designated pixels at every step; "predicted": at the first step only, and
            from then on its own predicted maps are carried along the executed actions (Ebert et al. 2018, "predictor
            propagation": needs no tracker, drifts).
        context_frames: C, how many past frames the simulator is shown; fewer just after a reset.
        deadline_ms: time for one decision, encoding the context included [ms]; see :class:`Plan`.
        stop_distance: stand still while every designated pixel is this near its goal [px].
        goals: [P, 2], for ``stop_distance``; taken from the objective where it has them: from its terms with a
            weight above 0, for the pixels that they name and that count.
        warm_start: begin each search with the last plan, shifted.
        fill: what a shifted plan ends with, see :func:`shift`.
        switch_margin: a new plan replaces the last one, shifted, only if it is cheaper by more than this share of its
            cost; 0: by anything. Needs ``warm_start``. It helps where plans are made anew within a leap.
        proposals: candidates that every search should consider, see :class:`Planner`; or, in their place,
        make_proposals: makes those of each decision from its :class:`Context`, such as a :class:`ScriptedPusher`.
        make_start: makes the simulator's start from a :class:`Context`, for simulators whose ``start`` takes something
            else (``lambda context: simulator.start()`` for one that reads the environment itself).

    Attributes:
        last_plan: the plan being executed, or None.
        last_start: the simulator's start it was made from.
        last_objective: the objective it was made for.
        decision_seconds: wall time of each decision since `reset` [s].

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
        replan_interval: int | None = None,
        tracking: str = "truth",
        context_frames: int = 2,
        deadline_ms: float | None = None,
        stop_distance: float | None = None,
        goals: np.ndarray | None = None,
        warm_start: bool = True,
        fill: str | np.ndarray = "hold",
        switch_margin: float = 0.0,
        proposals: np.ndarray | ProposalFn | None = None,
        make_proposals: Callable[[Context], np.ndarray | ProposalFn | None] | None = None,
        make_start: Callable[[Context], Any] | None = None,
    ) -> None:
        """Check the settings and reset."""
        check_objectives("MPC", objective, make_objective)
        check_parts(simulator, planner, objective, starts=make_start is None)
        if replan_interval is None:
            replan_interval = min(simulator_stride(simulator), planner.horizon)
        require_count("replan_interval", replan_interval)
        require_count("context_frames", context_frames)
        if replan_interval > planner.horizon:
            raise ValueError(f"replan_interval {replan_interval} exceeds the planner's horizon {planner.horizon}")
        if tracking not in TRACKING:
            raise ValueError(f"tracking must be one of {TRACKING}, got {tracking!r}")
        if deadline_ms is not None:
            require_number("deadline_ms", deadline_ms, 0.0, open_low=True)
        require_number("switch_margin", switch_margin, 0.0)
        if switch_margin and not warm_start:
            raise ValueError("switch_margin compares with the last plan, which warm_start=False leaves out; pass one")
        check_callables(make_start=make_start)
        self._bounds = ActionBounds.of(action_space)
        check_action_size(simulator, self._bounds)
        sizes = {"horizon": planner.horizon, "action_size": self._bounds.action_size}
        proposals = checked_proposals("MPC", proposals, make_proposals, **sizes)
        if warm_start:
            leave_room(proposals, planner, ", or set warm_start=False")
            check_fill(fill, replan_interval, self._bounds.action_size)
        self.simulator, self.planner, self.action_space = simulator, planner, action_space
        self._objective, self._make_objective = objective, make_objective
        self._make_proposals = make_proposals or (lambda context: self.proposals)
        self._make_start = make_start or (lambda context: start_simulator(simulator, context))
        self._asks_pixels = make_start is None
        self.replan_interval, self.tracking, self.context_frames = replan_interval, tracking, context_frames
        self.deadline_ms, self.warm_start, self.fill, self.proposals = deadline_ms, warm_start, fill, proposals
        self.switch_margin = switch_margin
        self.stop_distance = stop_distance
        self.goals, self._goal_indices = goals_to_stop_at(stop_distance, goals, objective)
        self.rng = generator_of(rng)
        self.reset()

    def reset(self, rng: np.random.Generator | int | None = None) -> None:
        """Forget frames, plan, warm start and maps; the generator goes on unless another is given."""
        if rng is not None:
            self.rng = np.random.default_rng(rng)
        self.last_plan: Plan | None = None
        self.last_start: Any = None
        self.last_objective: Objective | None = None
        self.stopped = False
        self.decision_seconds: list[float] = []
        self._history = History(self.context_frames, self._bounds.action_size)
        self._anchor: Any = None  # the start that maps are carried along from, in predicted tracking
        self._since_anchor: list[np.ndarray] = []  # executed since then
        self._since_plan = 0
        self._first_pixels: np.ndarray | None = None

    def act(self, observation: Mapping[str, Any], *, pixels: np.ndarray | None = None) -> np.ndarray:
        """Choose the next action, and count it as executed.

        Args:
            observation: with "image" [H, W, 3] uint8 and, where there is one, "state" [S].
            pixels: [P, 2] (row, col) of the designated pixels now; with ``tracking="predicted"`` only the first call
                after `reset` reads them. Pixels outside the image are moved to its border.

        Returns:
            [A] float32 inside the Box; what a planner plans beyond it is clipped.

        Raises:
            ValueError: the planner returned no plan, no image in the observation, or designated pixels that are needed
                and missing.
        """
        began = clock()
        self._history.see(observation)
        pixels, maps = self._locate(pixels)
        self.stopped = is_near(pixels, self.goals, self.stop_distance, self._goal_indices)
        if self.stopped:
            self._keep_maps(pixels, maps)
            self._since_plan = max(self._since_plan, self.replan_interval)  # what was planned before is stale
            return self._execute(self._bounds.still)
        plan = self.last_plan
        if plan is None or self._since_plan >= self.replan_interval:
            plan = self._decide(self._history.context(pixels, maps), began)
        return self._execute(plan.actions[self._since_plan])

    def predicted_rollout(self, outputs: tuple[str, ...] | None = None) -> Rollout:
        """What the simulator expects of the last plan (K = 1), computed now.

        Args:
            outputs: fields wanted; None is what the simulator returns by default.

        Raises:
            ValueError: nothing has been planned since `reset`.
        """
        if self.last_plan is None:
            raise ValueError("nothing has been planned yet; call act first")
        named = {} if outputs is None else {"outputs": outputs}
        return self.simulator.rollout(self.last_start, self.last_plan.actions[None], **named)

    # ---- one decision -----------------------------------------------------------------------------------------

    def _decide(self, context: Context, began: float) -> Plan:
        objective = objective_of(context, self._objective, self._make_objective)
        if self._asks_pixels and context.pixels is None and "pixels" in objective.outputs:
            raise ValueError("the objective follows designated pixels: pass pixels=[(row, col), ...] to act")
        start, proposals = self._make_start(context), self._make_proposals(context)
        warm, deadline_ms = self._warm_start(), None
        if self.deadline_ms is not None:
            deadline_ms = max(self.deadline_ms - 1000.0 * (clock() - began), 1e-3)
        plan = self.planner.plan(
            cost_function(self.simulator, start, objective),
            self.action_space,
            rng=self.rng,
            proposals=proposals,
            deadline_ms=deadline_ms,
            **warm,
        )
        check_plan(plan, self._bounds.action_size, self.replan_interval)
        plan = keep_unless_better(plan, warm.get("incumbent"), self.switch_margin, self._bounds)
        self.last_plan, self.last_start, self.last_objective = plan, start, objective
        self._anchor, self._since_anchor, self._since_plan = start, [], 0
        self.decision_seconds.append(clock() - began)
        return plan

    def _warm_start(self) -> dict[str, np.ndarray]:
        if self.last_plan is None or not self.warm_start:
            return {}
        moved = {"incumbent": shift(self.last_plan.actions, self._since_plan, fill=self.fill)}
        if self.last_plan.elites.size:
            moved["elites"] = shift(self.last_plan.elites, self._since_plan, fill=self.fill)
        return moved

    def _execute(self, action: np.ndarray) -> np.ndarray:
        action = self._bounds.clip(action)
        self._history.execute(action)
        if self.tracking == "predicted":
            self._since_anchor.append(action)
        self._since_plan += 1
        return action.copy()

    # ---- where the designated pixels are ------------------------------------------------------------------------

    def _locate(self, pixels: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The designated pixels now [P, 2], and their maps [P, H, W] where the controller carries them itself."""
        if pixels is not None:
            pixels = pixels_inside(pixels, self._history.image_size)
        if self.tracking == "truth":
            return pixels, None
        if self._anchor is None:
            self._first_pixels = pixels if self._first_pixels is None else self._first_pixels
            if self._first_pixels is None:
                raise ValueError("tracking='predicted' needs pixels=[(row, col), ...] at the first step after reset")
            return self._first_pixels, None
        return self._carry_along()

    def _carry_along(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Where the simulator expects the pixels after the actions executed since the last start."""
        executed = np.stack(self._since_anchor)
        # Always the horizon's length, so that a compiled simulator meets no new shape; later steps do not matter.
        padding = np.repeat(executed[-1:], self.planner.horizon - len(executed), axis=0)
        output = pixel_output(self.simulator)
        rollout = self.simulator.rollout(
            self._anchor, np.concatenate([executed, padding])[None].astype(np.float32), outputs=(output,)
        ).to_numpy()
        now = len(executed) - 1
        if rollout.pixel_distributions is None:
            return rollout.pixels[0, now], None
        maps = rollout.pixel_distributions[0, now]
        return expected_pixels(maps), maps

    def _keep_maps(self, pixels: np.ndarray | None, maps: np.ndarray | None) -> None:
        """While standing still, begin anew before the carried maps are older than a rollout is long."""
        if self.tracking == "predicted" and len(self._since_anchor) >= self.planner.horizon:
            self._anchor = self._make_start(self._history.context(pixels, maps))
            self._since_anchor = []
