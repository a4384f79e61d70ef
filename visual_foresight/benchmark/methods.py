"""The methods of a comparison: what chooses the actions."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight.benchmark.settings import ControlSettings, make_planner
from visual_foresight.benchmark.simulators import StillSimulator, TrueStateSimulator, make_simulator

if TYPE_CHECKING:
    from visual_foresight.envs.tasks import Task

METHODS = {
    "learned": "the learned predictor imagines",
    "true": "oracle: same planner and objective, the physics itself imagines",
    "true-state": "oracle: same planner, costs from exact positions on the table, no image",
    "copy": "copy-last-frame: the imagined picture never moves",
    "zero": "stands still",
    "random": "uniform random actions",
}
PLANNING_METHODS = ("learned", "true", "true-state", "copy")

OFFSET, CLEARANCE = 5.5, 4.5
"""Of the place behind the object, and of the way around the object [px at 64 x 64]; see `objectives.Approach`."""


class FixedPolicy:
    """Acts without looking: zeros, or uniform random actions. Stands where a controller stands.

    Args:
        kind: "zero" or "random".
        action_space: Box of the environment.
        rng: of random actions.
    """

    last_plan = None
    stopped = False

    def __init__(self, kind: str, action_space: Any, rng: np.random.Generator) -> None:
        self._random, self._space, self._rng = kind == "random", action_space, rng

    def act(self, observation: Any, *, pixels: Any = None) -> np.ndarray:
        """The next action [A]."""
        low, high = self._space.low, self._space.high
        return self._rng.uniform(low, high).astype(np.float32) if self._random else np.zeros_like(low)


@dataclass(frozen=True)
class Imagination:
    """A method and what it imagines with.

    Args:
        method: a name in `METHODS`.
        simulator: None where nothing is imagined.
    """

    method: str
    simulator: Any = None


SECOND_SHARE = 0.25
"""Of the candidates that a second predictor judges, too."""


def make_imagination(
    method: str,
    environment: Any,
    preset: str,
    *,
    dtype: str | None = None,
    num_threads: int | None = None,
    second: str | None = None,
    penalty: float = 0.0,
) -> Imagination:
    """Load what a method imagines with; costly for "learned", so do it once for many tasks.

    Args:
        method: a name in `METHODS`.
        environment: the real one.
        preset: of the learned simulator.
        dtype: Keras dtype policy of predictors; None: as they were saved.
        num_threads: of the true simulator.
        second: preset of another predictor, whose opinion on the best candidates counts as much; None: none is asked.
        penalty: deviations between both opinions that are added to their mean; see `planners.Ensemble`.

    Raises:
        ValueError: unknown method, or what `make_simulator` refuses.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known methods: {', '.join(METHODS)}")
    if method == "copy":
        from visual_foresight.envs.arm import STEP_METRES
        from visual_foresight.envs.scene import TIP_LIMIT

        return Imagination(method, StillSimulator(STEP_METRES, TIP_LIMIT))
    if method not in PLANNING_METHODS:
        return Imagination(method)
    kind = "learned" if method == "learned" else "true"
    simulator = make_simulator(kind, environment, preset, dtype=dtype, num_threads=num_threads)
    if method == "learned" and second is not None:
        from visual_foresight.planners import Ensemble

        other = make_simulator(kind, environment, second, dtype=dtype)
        simulator = Ensemble([simulator, other], penalty=penalty, share=SECOND_SHARE)
    if method == "true-state":
        simulator = TrueStateSimulator(simulator, metres_per_pixel())
    return Imagination(method, simulator)


def make_pilot(
    env: Any, imagination: Imagination, task: "Task", settings: ControlSettings, rng: np.random.Generator | int
) -> Any:
    """Return what acts in one task: a controller, or a fixed policy."""
    if imagination.simulator is None:
        return FixedPolicy(imagination.method, env.action_space, np.random.default_rng(rng))
    goal = goal_pixel(env, task)
    return make_controller(env, imagination.simulator, goal, task.object_index, settings, rng, task=task)


def make_controller(
    env: Any,
    simulator: Any,
    goal: np.ndarray,
    index: int,
    settings: ControlSettings,
    rng: np.random.Generator | int,
    *,
    task: "Task | None" = None,
) -> Any:
    """Return the MPC controller for one object and goal: distance of its pixel, and the pusher's way behind it.

    A predictor that knows another camera than the environment's works in the picture of the one that it knows.

    Args:
        env: the unwrapped environment.
        simulator: what it imagines with.
        goal: (row, col) where the object should be.
        index: of the object.
        settings: how to plan.
        rng: of the planner.
        task: needed by the true-state simulator only, for the goal on the table.
    """
    from visual_foresight.planners import MPC, RectifiedController

    scale = env.camera.height / 64
    of_state = isinstance(simulator, TrueStateSimulator)
    reads_environment = of_state or hasattr(simulator, "env")
    imagining = getattr(simulator, "simulators", (simulator,))[0]  # of several, the first
    predictor = getattr(getattr(imagining, "simulator", imagining), "predictor", None)
    camera = recording_camera(env, predictor) if settings.rectify else env.camera
    rectification = _rectification(env.camera, camera)
    if rectification is not None:
        goal = rectification.pixels(goal)
    controller = MPC(
        simulator,
        make_planner(settings),
        _state_objective(simulator, task, settings) if of_state else pixel_objective(camera, goal, settings),
        action_space=env.action_space,
        rng=rng,
        replan_interval=settings.replan_interval,
        switch_margin=settings.switch_margin,
        stop_distance=settings.stop_distance * scale,
        goals=np.asarray(goal)[None],
        deadline_ms=settings.deadline_ms,
        make_proposals=scripted_pusher(camera, goal, settings) if settings.proposals else None,
        context_frames=2 if predictor is None else predictor.config.context_frames,
        # The true simulator reads the scene from the environment; the learned one is shown the context.
        make_start=(lambda context: simulator.start()) if reads_environment else None,
    )
    return controller if rectification is None else RectifiedController(controller, rectification)


def recording_camera(env: Any, predictor: Any) -> Any:
    """Return the camera that a predictor was trained with; the environment's own where that is not known."""
    from visual_foresight.envs.camera import PUSH_CAMERA

    usual = PUSH_CAMERA.resized(env.camera.height, env.camera.width)
    noted: Any = {} if predictor is None else predictor.metadata
    for name in ("training", "data", "recorded_with"):
        noted = noted.get(name, {})
    return usual if noted.get("camera") == usual.digest() else env.camera


def _rectification(present: Any, recording: Any) -> Any:
    """From one camera's picture to the other's, in the plane of the finger's tip; None if they are the same."""
    from visual_foresight.planners import Rectification

    if present == recording:
        return None
    return Rectification.between(camera_homography(present), camera_homography(recording))


def pixel_objective(camera: Any, goal: np.ndarray, settings: ControlSettings) -> Any:
    """The designated pixel at its goal, and the way of the finger to the place behind the object.

    Args:
        camera: in whose picture they are.
        goal: (row, col) there.
        settings: weights of the terms.
    """
    from visual_foresight.planners.objectives import Approach, PixelDistance, WeightedSum

    scale = camera.height / 64
    mapping = camera_homography(camera)
    terms: dict[str, Any] = {
        "distance": PixelDistance(goal, settings.terminal_weight, scale=scale, spread_weight=settings.spread_weight),
        "approach": Approach(mapping, goal, offset=OFFSET * scale, clearance=CLEARANCE * scale, scale=scale),
    }
    return WeightedSum(terms, {"approach": settings.approach_weight})


def scripted_pusher(camera: Any, goal: np.ndarray, settings: ControlSettings) -> Any:
    """What makes `settings.proposals` scripted pushes for each decision.

    Args:
        camera: in whose picture the pixels are.
        goal: (row, col) there.
        settings: how many.
    """
    from visual_foresight.envs.arm import STEP_METRES
    from visual_foresight.planners import ScriptedPusher

    scale = camera.height / 64
    return ScriptedPusher(
        camera_homography(camera),
        goal,
        step_size=STEP_METRES,
        num_proposals=settings.proposals,
        offset=OFFSET * scale,
        clearance=CLEARANCE * scale,
    )


def _state_objective(simulator: TrueStateSimulator, task: Any, settings: ControlSettings) -> Any:
    """The same two terms in the plane of the table; one unit is about a pixel."""
    from visual_foresight.planners.objectives import Approach, PixelDistance, WeightedSum

    if task is None:
        raise ValueError("the true-state objective needs the task: pass task=")
    goal = np.asarray(task.goal_position) / simulator.unit
    approach = Approach(lambda states: states, goal, offset=OFFSET, clearance=CLEARANCE)
    distance = PixelDistance(goal, settings.terminal_weight)
    return WeightedSum({"distance": distance, "approach": approach}, {"approach": settings.approach_weight})


def metres_per_pixel() -> float:
    """Width of a pixel of the 64 x 64 picture in the middle of the table [m]."""
    from visual_foresight.envs.camera import PUSH_CAMERA

    return PUSH_CAMERA.metres_per_pixel()


def goal_pixel(env: Any, task: "Task") -> np.ndarray:
    """Return the (row, col) of a task's goal in the environment's picture, at the height of the object's top."""
    height = float(env.physics.heights[task.object_index])
    return np.asarray(env.camera.project(np.array([*task.goal_position, height])))


def tip_homography(env: Any) -> Any:
    """Return the map from the pusher's position [m] to its pixel, at the height at which the environment reports it."""
    return camera_homography(env.camera)


def camera_homography(camera: Any) -> Any:
    """Return the map from the pusher's position [m] to its pixel in a camera's picture."""
    from visual_foresight.envs.push import TIP_PIXEL_HEIGHT
    from visual_foresight.planners.objectives import Homography

    corners = np.array([[x, y] for x in (-0.2, 0.2) for y in (-0.2, 0.2)])
    raised = np.concatenate([corners, np.full((len(corners), 1), TIP_PIXEL_HEIGHT)], axis=1)
    return Homography.fit(corners, camera.project(raised))
