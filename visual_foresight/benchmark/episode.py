"""Running one task under a method, and recording what happened."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight.benchmark.methods import Imagination, goal_pixel, make_pilot
from visual_foresight.benchmark.settings import ControlSettings
from visual_foresight.control_record import ControlRecord, Decision

if TYPE_CHECKING:
    from visual_foresight.envs.tasks import Task
    from visual_foresight.planners import MPC, Plan

ProgressFn = Callable[["Progress"], None]
DecisionFn = Callable[["MPC"], None]


@dataclass(frozen=True)
class Progress:
    """Where a running episode stands: executed steps, distance [px], cost of the plan, time of a decision [s]."""

    step: int
    distance: float
    cost: float
    decision_seconds: float


def run_task(
    environment: Any,
    imagination: Imagination,
    task: "Task",
    settings: ControlSettings,
    *,
    name: str,
    rng: np.random.Generator | int = 0,
    outputs: Sequence[str] | None = ("frames", "pixels"),
    whole_budget: bool = False,
    on_step: ProgressFn | None = None,
    on_decision: DecisionFn | None = None,
) -> ControlRecord:
    """Run one task and record it.

    Args:
        environment: `VisualForesight/Push-v0`.
        imagination: the method, from `make_imagination`.
        task: from `TaskSet` or `sample_task`.
        settings: how to plan.
        name: of the task, for the record.
        rng: of the planner.
        outputs: what to keep of the expectations of each plan: "frames", "pixels" (with its maps); None: nothing.
        whole_budget: go on to the last step also where the controller stands still at the goal: an object may glide
            on, and what counts is where it lies in the end.
        on_step: called after every step.
        on_decision: called with the controller after every decision.

    Returns:
        The record; `success` is the environment's own word at the end.
    """
    env: Any = environment.unwrapped
    observation, info = environment.reset(options={"task": task})
    index, goal = task.object_index, goal_pixel(env, task)
    pilot = make_pilot(env, imagination, task, settings, rng)
    log = _Log()
    log.see(observation, info, index)
    for step in range(settings.steps):
        before, started = pilot.last_plan, time.perf_counter()
        action = pilot.act(observation, pixels=info["object_pixels"][index][None])
        seconds = time.perf_counter() - started
        if pilot.last_plan is not None and pilot.last_plan is not before:
            log.decisions.append(_decision(pilot, pilot.last_plan, step, seconds, outputs))
            if on_decision is not None:
                on_decision(pilot)
        observation, _, terminated, truncated, info = environment.step(action)
        log.actions.append(np.asarray(action))
        log.see(observation, info, index)
        if on_step is not None:
            on_step(_progress(log, goal, step + 1))
        if terminated or truncated or (pilot.stopped and not whole_budget):
            break
    return log.record(env, task, name, goal)


def tolerance_px(env: Any) -> float:
    """Return the distance that counts as reached, in pixels of the environment's picture."""
    from visual_foresight.envs.tasks import SUCCESS_PIXELS

    return float(SUCCESS_PIXELS * env.camera.height / 64)


@dataclass
class _Log:
    """What is gathered while an episode runs."""

    frames: list[np.ndarray] = field(default_factory=list)
    pixels: list[np.ndarray] = field(default_factory=list)
    hidden: list[bool] = field(default_factory=list)
    positions: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def see(self, observation: Any, info: Any, index: int) -> None:
        self.frames.append(observation["image"])
        self.pixels.append(info["object_pixels"][index])
        self.hidden.append(bool(info["object_hidden"][index]))
        self.positions.append(info["object_positions"][info["object_present"], :2])

    def record(self, env: Any, task: "Task", name: str, goal: np.ndarray) -> ControlRecord:
        return ControlRecord(
            name=name,
            frames=np.stack(self.frames),
            pixels=np.stack(self.pixels),
            goal=goal,
            tolerance=tolerance_px(env),
            actions=np.stack(self.actions),
            success=bool(env.success),
            decisions=tuple(self.decisions),
            hidden=np.array(self.hidden),
            positions=np.stack(self.positions),
            details={"task_seed": task.seed, "split": task.split, "num_objects": task.num_objects},
        )


def _progress(log: _Log, goal: np.ndarray, step: int) -> Progress:
    later: Sequence[float] = [decision.seconds for decision in log.decisions[1:]] or [
        decision.seconds for decision in log.decisions
    ]
    return Progress(
        step=step,
        distance=float(np.linalg.norm(log.pixels[-1] - goal)),
        cost=log.decisions[-1].cost if log.decisions else float("nan"),
        decision_seconds=float(np.mean(later)) if later else float("nan"),
    )


def _decision(controller: "MPC", plan: "Plan", step: int, seconds: float, outputs: Sequence[str] | None) -> Decision:
    expected = _imagined(controller, plan, outputs) if outputs else {}
    return Decision(
        step=step,
        actions=plan.actions,
        cost=float(plan.cost),
        seconds=seconds,
        elite_costs=tuple(float(record.elite_cost) for record in plan.history),
        best_costs=tuple(float(record.best_cost) for record in plan.history),
        iterations=plan.num_iterations,
        **expected,
    )


def _imagined(controller: "MPC", plan: "Plan", outputs: Sequence[str]) -> dict[str, Any]:
    """What the simulator expects to see of the plan, as the fields of a `Decision`."""
    from visual_foresight.frames import to_uint8
    from visual_foresight.planners.mpc import pixel_output
    from visual_foresight.planners.objectives import expected_pixels

    simulator: Any = getattr(controller.simulator, "pictured", controller.simulator)
    wanted = tuple(pixel_output(simulator) if name == "pixels" else name for name in outputs)
    rollout = simulator.rollout(controller.last_start, plan.actions[None], outputs=wanted).to_numpy()
    expected: dict[str, Any] = {}
    if rollout.frames is not None:
        expected["frames"] = to_uint8(np.asarray(rollout.frames[0], np.float32))
    if rollout.pixel_distributions is not None:
        expected["distributions"] = rollout.pixel_distributions[0, :, 0]
        expected["pixels"] = expected_pixels(rollout.pixel_distributions[0, :, 0])
    if rollout.pixels is not None:
        expected["pixels"] = rollout.pixels[0, :, 0]
    rectification = getattr(controller, "rectification", None)
    return expected if rectification is None else _as_seen(expected, rectification)


def _as_seen(expected: dict[str, Any], rectification: Any) -> dict[str, Any]:
    """Expectations in the recording camera's picture, as the present camera would show them."""
    ways = {
        "frames": rectification.restored_images,
        "distributions": rectification.restored_maps,
        "pixels": rectification.restored_pixels,
    }
    return {name: ways[name](values) for name, values in expected.items()}
