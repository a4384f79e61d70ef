"""Running tasks of `VisualForesight/Push-v0` under a controller: what the commands `demo` and `plan` share."""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight.control_record import ControlRecord, Decision

if TYPE_CHECKING:
    import gymnasium

    from visual_foresight.envs.tasks import Task, TaskSet
    from visual_foresight.planners import MPC, Plan

PLANNER_NAMES = {"cem": "cem", "icem": "icem", "mppi": "mppi", "random": "random_shooting"}
SIMULATORS = ("learned", "true")
DEFAULT_ENVIRONMENT = "VisualForesight/Push-v0"
DEFAULT_PRESET = "push_fast"

ProgressFn = Callable[["Progress"], None]


@dataclass(frozen=True)
class Progress:
    """Where a running episode stands: executed steps, distance [px], cost of the plan, time of a decision [s]."""

    step: int
    distance: float
    cost: float
    decision_seconds: float


@dataclass(frozen=True)
class ControlSettings:
    """How tasks are planned and executed.

    Args:
        planner: a name in `PLANNER_NAMES`.
        horizon: steps that each plan looks ahead.
        candidates: action sequences that are imagined in each iteration.
        iterations: of the search in each decision.
        elites: the best candidates, to which the search is fitted.
        action_repeat: steps for which a planned action is held.
        replan_interval: steps executed of each plan.
        approach_weight: weight of the pusher's way to the place behind the object.
        stop_distance: the controller stands still this near to the goal [px].
        deadline_ms: time for one decision [ms], or None.
        steps: executed at most in an episode.
        seed: of the planner's randomness.
    """

    planner: str = "cem"
    horizon: int = 10
    candidates: int = 64
    iterations: int = 3
    elites: int = 8
    action_repeat: int = 2
    replan_interval: int = 2
    approach_weight: float = 2.0
    stop_distance: float = 1.5
    deadline_ms: float | None = None
    steps: int = 30
    seed: int = 0

    @classmethod
    def of(cls, args: argparse.Namespace) -> "ControlSettings":
        """Take the settings from parsed arguments."""
        return cls(**{name: getattr(args, name) for name in cls.__dataclass_fields__})

    def table(self) -> dict[str, Any]:
        """Return the settings by name, JSON-plain."""
        return asdict(self)


def add_control_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `demo` and `plan` share; their defaults are those of `ControlSettings`."""
    usual = ControlSettings()
    group = parser.add_argument_group("planning")
    group.add_argument("--planner", choices=PLANNER_NAMES, default=usual.planner, help="search for action sequences")
    group.add_argument("--horizon", type=int, default=usual.horizon, help="steps that a plan looks ahead")
    group.add_argument("--candidates", type=int, default=usual.candidates, help="sequences imagined per iteration")
    group.add_argument("--iterations", type=int, default=usual.iterations, help="iterations of the search")
    group.add_argument("--elites", type=int, default=usual.elites, help="best candidates, to which a search is fitted")
    group.add_argument("--action_repeat", type=int, default=usual.action_repeat, help="steps to hold an action for")
    group.add_argument("--replan_interval", type=int, default=usual.replan_interval, help="steps executed of a plan")
    group.add_argument(
        "--approach_weight", type=float, default=usual.approach_weight, help="weight of going behind the object"
    )
    group.add_argument(
        "--stop_distance", type=float, default=usual.stop_distance, help="stand still this near to the goal [px]"
    )
    group.add_argument("--deadline_ms", type=float, default=usual.deadline_ms, help="time for one decision [ms]")
    group.add_argument("--steps", type=int, default=usual.steps, help="steps executed at most in an episode")
    group.add_argument("--seed", type=int, default=usual.seed, help="of the tasks that are drawn and of the planner")
    model = parser.add_argument_group("model")
    model.add_argument(
        "--preset", "--model_dir", default=DEFAULT_PRESET, help="predictor: a shipped name, a folder, or hf://..."
    )
    model.add_argument(
        "--simulator", choices=SIMULATORS, default="learned", help="'true' plans with the physics itself: an oracle"
    )


def check_settings(settings: ControlSettings) -> None:
    """Refuse impossible settings before anything heavy is loaded.

    Raises:
        ValueError: names the option, its value and what it may be.
    """
    for name in ("horizon", "candidates", "iterations", "elites", "action_repeat", "replan_interval", "steps"):
        value = getattr(settings, name)
        if value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}")
    if settings.replan_interval > settings.horizon:
        raise ValueError(f"--replan_interval {settings.replan_interval} exceeds --horizon {settings.horizon}")
    if settings.seed < 0:
        raise ValueError(f"--seed must not be negative, got {settings.seed}")
    make_planner(settings)


def make_planner(settings: ControlSettings) -> Any:
    """Return the planner that the settings name.

    Raises:
        ValueError: unknown planner, or settings that it refuses.
    """
    from visual_foresight.planners import PLANNERS

    if settings.planner not in PLANNER_NAMES:
        raise ValueError(f"unknown planner {settings.planner!r}; known planners: {', '.join(PLANNER_NAMES)}")
    planner: Any = PLANNERS[PLANNER_NAMES[settings.planner]]
    options: dict[str, Any] = {
        "horizon": settings.horizon,
        "num_candidates": settings.candidates,
        "num_iterations": settings.iterations,
        "action_repeat": settings.action_repeat,
    }
    if "num_elites" in planner.__dataclass_fields__:
        options["num_elites"] = settings.elites
    return planner(**options)


def choose_tasks(tasks: str | None, *, episodes: int | None, seed: int, split: str) -> "TaskSet":
    """Return the tasks that the options ask for.

    Args:
        tasks: a task file, the name of a shipped set, or None to draw tasks from the seed.
        episodes: how many; None takes all of a set, or one drawn task.
        seed: of drawn tasks.
        split: "train" or "novel" objects, of drawn tasks.

    Raises:
        FileNotFoundError: no such file, and no shipped set of that name.
        ValueError: not a task set, or fewer tasks than episodes.
    """
    from visual_foresight.envs.tasks import TaskSet, shipped_task_sets

    if episodes is not None and episodes < 1:
        raise ValueError(f"--episodes must be at least 1, got {episodes}")
    if tasks is None:
        return TaskSet.sample(episodes or 1, seed, split)
    found = TaskSet.shipped(tasks) if tasks in shipped_task_sets() else TaskSet.load(Path(tasks))
    if episodes is None:
        return found
    if episodes > len(found):
        raise ValueError(f"task set {found.name} holds {len(found)} tasks, --episodes asks for {episodes}")
    return TaskSet(found.name, found.tasks[:episodes])


def make_simulator(kind: str, environment: "gymnasium.Env", preset: str) -> Any:
    """Return what the planner imagines with.

    Args:
        kind: "learned" (the gymnasium wrapper's batched door) or "true" (the environment's own physics).
        environment: the real one.
        preset: of the learned simulator: a shipped name, a folder, or hf://...

    Raises:
        ValueError: unknown kind or preset, or a predictor of another image size than the environment.
    """
    if kind == "true":
        from visual_foresight.envs import TrueSimulator

        return TrueSimulator(environment)
    if kind != "learned":
        raise ValueError(f"unknown simulator {kind!r}; known simulators: {', '.join(SIMULATORS)}")
    import gymnasium

    from visual_foresight.envs import LEARNED_PUSH_ID

    door: Any = gymnasium.make_vec(LEARNED_PUSH_ID, num_envs=1, preset=preset).unwrapped
    spaces: tuple[Any, Any] = door.single_observation_space, environment.observation_space
    seen, shown = (space["image"].shape for space in spaces)
    if seen != shown:
        raise ValueError(
            f"predictor {preset} was trained on {seen} images, the environment shows {shown}; "
            "make the environment with that image_size"
        )
    return door


def run_task(
    environment: "gymnasium.Env",
    simulator: Any,
    task: "Task",
    settings: ControlSettings,
    *,
    name: str,
    rng: np.random.Generator | int = 0,
    imagine: bool = True,
    on_step: ProgressFn | None = None,
) -> ControlRecord:
    """Run one task and record it.

    Args:
        environment: `VisualForesight/Push-v0`.
        simulator: what the planner imagines with; `LearnedSimulator`, the wrapper's batched door, or `TrueSimulator`.
        task: from `TaskSet` or `sample_task`.
        settings: how to plan.
        name: of the task, for the record.
        rng: of the planner.
        imagine: whether to keep the expected pictures of each plan, for the report.
        on_step: called after every step.

    Returns:
        The record; `success` is the environment's own word at the end.
    """
    env: Any = environment.unwrapped
    observation, info = environment.reset(options={"task": task})
    index, goal = task.object_index, goal_pixel(env, task)
    controller = make_controller(env, simulator, goal, index, settings, rng)
    log = _Log([observation["image"]], [info["object_pixels"][index]], [bool(info["object_hidden"][index])])
    for step in range(settings.steps):
        before, started = controller.last_plan, time.perf_counter()
        action = controller.act(observation, pixels=info["object_pixels"][index][None])
        seconds = time.perf_counter() - started
        plan = controller.last_plan
        if plan is not None and plan is not before:
            log.decisions.append(_decision(controller, plan, step, seconds, imagine))
        observation, _, terminated, truncated, info = environment.step(action)
        log.add(action, observation["image"], info["object_pixels"][index], bool(info["object_hidden"][index]))
        if on_step is not None:
            on_step(_progress(log, goal, step + 1))
        if terminated or truncated or controller.stopped:
            break
    return ControlRecord(
        name=name,
        frames=np.stack(log.frames),
        pixels=np.stack(log.pixels),
        goal=goal,
        tolerance=tolerance_px(env),
        actions=np.stack(log.actions),
        success=bool(env.success),
        decisions=tuple(log.decisions),
        hidden=np.array(log.hidden),
        details={"task_seed": task.seed, "split": task.split, "num_objects": task.num_objects},
    )


def goal_pixel(env: Any, task: "Task") -> np.ndarray:
    """Return the (row, col) of a task's goal in the environment's picture, at the height of the object's top."""
    height = float(env.physics.heights[task.object_index])
    return np.asarray(env.camera.project(np.array([*task.goal_position, height])))


def tolerance_px(env: Any) -> float:
    """Return the distance that counts as reached, in pixels of the environment's picture."""
    from visual_foresight.envs.tasks import SUCCESS_PIXELS

    return float(SUCCESS_PIXELS * env.camera.height / 64)


def make_controller(
    env: Any, simulator: Any, goal: np.ndarray, index: int, settings: ControlSettings, rng: np.random.Generator | int
) -> "MPC":
    """Return the MPC controller for one object and goal: distance of its pixel, and the pusher's way behind it."""
    from visual_foresight.envs import TrueSimulator
    from visual_foresight.planners import MPC
    from visual_foresight.planners.objectives import Approach, PixelDistance, WeightedSum

    scale = env.camera.height / 64
    objective = WeightedSum(
        {
            "distance": PixelDistance(goal, scale=scale),
            "approach": Approach(tip_homography(env), goal, offset=5.5 * scale, clearance=4.5 * scale, scale=scale),
        },
        {"approach": settings.approach_weight},
    )
    return MPC(
        simulator,
        make_planner(settings),
        objective,
        action_space=env.action_space,
        rng=rng,
        replan_interval=settings.replan_interval,
        stop_distance=settings.stop_distance * scale,
        deadline_ms=settings.deadline_ms,
        # The true simulator reads the scene from the environment; the learned one is shown the context.
        make_start=(lambda context: simulator.start()) if isinstance(simulator, TrueSimulator) else None,
    )


def tip_homography(env: Any) -> Any:
    """Return the map from the pusher's position [m] to its pixel, at the height at which the environment reports it."""
    from visual_foresight.envs.push import TIP_PIXEL_HEIGHT
    from visual_foresight.planners.objectives import Homography

    corners = np.array([[x, y] for x in (-0.2, 0.2) for y in (-0.2, 0.2)])
    raised = np.concatenate([corners, np.full((len(corners), 1), TIP_PIXEL_HEIGHT)], axis=1)
    return Homography.fit(corners, env.camera.project(raised))


@dataclass
class _Log:
    """What is gathered while an episode runs."""

    frames: list[np.ndarray]
    pixels: list[np.ndarray]
    hidden: list[bool]
    actions: list[np.ndarray] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def add(self, action: np.ndarray, frame: np.ndarray, pixel: np.ndarray, hidden: bool) -> None:
        self.actions.append(np.asarray(action))
        self.frames.append(frame)
        self.pixels.append(pixel)
        self.hidden.append(hidden)


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


def _decision(controller: "MPC", plan: "Plan", step: int, seconds: float, imagine: bool) -> Decision:
    expected = _imagined(controller) if imagine else {}
    return Decision(
        step=step,
        actions=plan.actions,
        cost=float(plan.cost),
        seconds=seconds,
        elite_costs=tuple(float(record.elite_cost) for record in plan.history),
        best_costs=tuple(float(record.best_cost) for record in plan.history),
        **expected,
    )


def _imagined(controller: "MPC") -> dict[str, Any]:
    """What the simulator expects to see of the plan, as the fields of a `Decision`."""
    from visual_foresight.frames import to_uint8
    from visual_foresight.planners.objectives import expected_pixels

    rollout = controller.predicted_rollout(imagined_outputs(controller.simulator)).to_numpy()
    expected: dict[str, Any] = {}
    if rollout.frames is not None:
        expected["frames"] = to_uint8(np.asarray(rollout.frames[0], np.float32))
    if rollout.pixel_distributions is not None:
        expected["distributions"] = rollout.pixel_distributions[0, :, 0]
        expected["pixels"] = expected_pixels(rollout.pixel_distributions[0, :, 0])
    if rollout.pixels is not None:
        expected["pixels"] = rollout.pixels[0, :, 0]
    return expected


def imagined_outputs(simulator: Any) -> tuple[str, ...]:
    """Return the outputs to ask of a simulator for pictures of a plan: its maps, or exact positions without maps."""
    from visual_foresight.planners.mpc import pixel_output

    return ("frames", pixel_output(simulator))
