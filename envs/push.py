"""The environment `VisualForesight/Push-v0`: push objects about in a bin, seen by one camera from above."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from visual_foresight.envs.arm import CONTROL_HZ
from visual_foresight.envs.camera import PUSH_CAMERA
from visual_foresight.envs.physics import Physics
from visual_foresight.envs.renderer import RayRenderer
from visual_foresight.envs.scene import MAX_OBJECTS, TIP_LIMIT, Scene, check_num_objects, check_split, sample_scene
from visual_foresight.envs.shifts import UNSHIFTED, AppliedShift, parse_shift
from visual_foresight.envs.tasks import Task
from visual_foresight.given_arrays import given_array

ENVIRONMENT_VERSION = 1  # raised by every change of physics or pixels; data sets record it
STATE_FORMAT = 1
TIP_PIXEL_HEIGHT = 0.034  # [m]; at the height of a typical object's top, so that tip and object pixels can be compared
RENDERERS = ("ray", "gl")

_OPTIONS = ("state", "task", "scene", "simulator_state", "num_objects")


class PushEnv(gymnasium.Env):
    """A finger pushes objects of random shape, size, colour, mass and friction about in a bin.

    ## Action space
    `Box(-1, 1, (2,), float32)`: displacement of the finger along x (right) and y (away from the camera) during one
    control step of 0.1 s; 1 is 0.03 m.

    ## Observation space
    `Dict`: `image` `[H, W, 3]` uint8; `state` `[2]` float32, the measured x and y of the finger [m].

    ## Info
    | key | shape | meaning |
    |---|---|---|
    | `object_positions` | [4, 3] | x, y [m] and yaw [rad] of each centre point, zeros where there is no object |
    | `object_pixels` | [4, 2] | (row, col) of the centre point on the top face |
    | `object_hidden` | [4] | whether the arm hides that pixel |
    | `object_present` | [4] | which rows are objects |
    | `contact` | | whether less than 1 mm lies between the finger and an object |
    | `tip_pixel` | [2] | (row, col) of the finger at the height of a typical object's top |

    ## Reward and end
    With a task, the reward is minus the distance of its object from the goal [m]; without one it is 0. An episode
    ends when the goal is reached, if `terminate_on_success` is set.

    ## Reset options
    `task`: a `Task`, begins its scene. `state`: what `save_state` gave. `scene` (JSON-plain or `Scene`), alone or with
    `simulator_state`: begins any recorded frame. `num_objects`: for this episode.

    Args:
        image_size: rows and columns of the picture, one number or (rows, columns).
        split: shapes and colours, one of `scene.SPLITS`.
        num_objects: number of objects, or (smallest, largest) within 1..4.
        renderer: `"ray"` (deterministic, needs nothing) or `"gl"` (extra `[gl]`).
        supersampling: samples of a pixel along each direction (`"ray"`).
        shadows: whether shadows are drawn (`"ray"`).
        render_mode: `"rgb_array"` or None.
        render_size: rows and columns of the pictures that `render()` returns.
        terminate_on_success: whether reaching a task's goal ends the episode.
        shift: how this world differs from the one of the data, as `"NAME=STRENGTH"` (`envs.shifts.SHIFTS`); None:
            not at all.

    Raises:
        ValueError: an argument is unknown or out of range.
        ImportError: `renderer="gl"` without its extra.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": CONTROL_HZ}

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int] = 64,
        split: str = "train",
        num_objects: int | tuple[int, int] = (1, 3),
        renderer: str = "ray",
        supersampling: int = 2,
        shadows: bool = True,
        render_mode: str | None = None,
        render_size: int | tuple[int, int] = 256,
        terminate_on_success: bool = False,
        shift: str | None = None,
    ):
        """See the class."""
        check_split(split)
        if renderer not in RENDERERS:
            raise ValueError(f"unknown renderer {renderer!r}; known renderers: {', '.join(RENDERERS)}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"unknown render_mode {render_mode!r}; known: 'rgb_array' or None")
        self.split = split
        self.num_objects = check_num_objects(num_objects)
        self.render_mode = render_mode
        self.terminate_on_success = terminate_on_success
        self.drawing: dict[str, Any] = {"renderer": renderer, "supersampling": supersampling, "shadows": shadows}
        self._sizes = (_size(image_size, "image_size"), _size(render_size, "render_size"))
        self._renderer: Any = None
        self._render_renderer: Any = None
        self.set_shift(UNSHIFTED if shift is None else AppliedShift(*parse_shift(shift)))
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        image = spaces.Box(0, 255, (self.camera.height, self.camera.width, 3), np.uint8)
        limit = TIP_LIMIT + 0.02  # the stops of the finger give way a little
        self.observation_space = spaces.Dict(image=image, state=spaces.Box(-limit, limit, (2,), np.float32))

    @property
    def physics(self) -> Physics:
        """The scene in motion.

        Raises:
            ValueError: before the first `reset`.
        """
        if self._physics is None:
            raise ValueError("the environment has no scene yet; call reset() first")
        return self._physics

    @property
    def scene(self) -> Scene:
        """Objects of this episode and where they lay at its beginning."""
        return self.physics.scene

    @property
    def shift(self) -> AppliedShift:
        """How this world differs from the one of the data."""
        return self._shift

    def set_shift(self, shift: AppliedShift) -> None:
        """Changes the world; call `reset()` next.

        Scenes that are drawn, and those of tasks, are changed as they begin; recorded scenes and states are restored as
        they are.

        Raises:
            ValueError: the renderer cannot draw such a world; the environment is then as before.
        """
        if self.drawing["renderer"] == "gl" and shift.changes_drawing:
            raise ValueError(f"renderer='gl' knows one camera and one lamp, so it cannot draw {shift}: use 'ray'")
        self.close()
        self._shift = shift
        image, large = self._sizes
        self.camera = shift.camera(PUSH_CAMERA).resized(*image)
        self._render_camera = shift.camera(PUSH_CAMERA).resized(*large)
        self._renderer, self._render_renderer = self._make_renderer(self.camera), None
        self._physics: Physics | None = None
        self.task: Task | None = None

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None):
        """Begins an episode; see the class for the options.

        Returns:
            Observation and info.

        Raises:
            ValueError: unknown option or broken state, scene or task.
        """
        super().reset(seed=seed)
        options = dict(options or {})
        unknown = set(options) - set(_OPTIONS)
        if unknown:
            raise ValueError(f"unknown reset options {sorted(unknown)}; known options: {', '.join(_OPTIONS)}")
        if "state" in options:
            self.restore_state(options["state"])
        elif "scene" in options:
            return self.restore(options["scene"], options.get("simulator_state"), task=options.get("task"))
        elif "simulator_state" in options:
            raise ValueError("reset option 'simulator_state' needs 'scene' beside it")
        elif options.get("task") is not None:
            task = _check_task(options["task"])
            self._begin(task.scene(), task)
        else:
            count = check_num_objects(options.get("num_objects", self.num_objects))
            self._begin(sample_scene(self.np_random, split=self.split, num_objects=count), None)
        return self._observation(), self._info()

    def step(self, action: np.ndarray):
        """Advances 0.1 s.

        Args:
            action: `[2]`, clipped to [-1, 1].

        Raises:
            ValueError: wrong shape or a number that is not finite.
        """
        action = given_array("action", action, np.float64)
        if action.shape != (2,):
            raise ValueError(f"an action has shape (2,): x and y in [-1, 1]; got shape {action.shape}")
        if not np.all(np.isfinite(action)):
            raise ValueError(f"an action must be finite, got {action.tolist()}")
        self.physics.step(np.clip(action, -1.0, 1.0))
        return self._observation(), self._reward(), self.terminate_on_success and self.success, False, self._info()

    def render(self) -> np.ndarray | None:
        """Picture `[render_size, render_size, 3]` uint8, or None without a render mode."""
        if self.render_mode is None:
            return None
        if self._render_renderer is None:
            self._render_renderer = self._make_renderer(self._render_camera)
        return self._render_renderer.render(self.physics)

    def close(self) -> None:
        """Frees what a GL renderer holds."""
        for renderer in (self._renderer, self._render_renderer):
            if hasattr(renderer, "close"):
                renderer.close()

    @property
    def success(self) -> bool:
        """Whether the task's object is at its goal now; False without a task."""
        if self.task is None:
            return False
        index = self.task.object_index
        position, height = self.physics.object_poses()[index, :2], float(self.physics.heights[index])
        return self._shift.reached(self.task, position, height)

    def save_state(self) -> dict[str, Any]:
        """Everything that decides what happens next; `restore_state` continues from it to the last bit, in any process.

        JSON-plain but for `simulator_state`, an array `[N]` float64 (its `tolist()` serves as well).
        """
        return {
            "format": STATE_FORMAT,
            "scene": self.scene.to_json(),
            "simulator_state": self.physics.get_state(),
            "random_state": copy.deepcopy(self.np_random.bit_generator.state),
            "task": None if self.task is None else self.task.to_json(),
        }

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Continues from what `save_state` gave.

        Raises:
            ValueError: not such a state, or a broken one; the environment is then as before.
        """
        if not isinstance(state, Mapping) or state.get("format") != STATE_FORMAT:
            raise ValueError(f"not a saved state of format {STATE_FORMAT}; pass what save_state() returned")
        missing = {"scene", "simulator_state", "random_state", "task"} - set(state)
        if missing:
            raise ValueError(f"saved state lacks {sorted(missing)}; pass what save_state() returned")
        task = None if state["task"] is None else Task.from_json(state["task"])
        generator = copy.deepcopy(self.np_random)
        try:
            generator.bit_generator.state = copy.deepcopy(state["random_state"])
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(f"saved random_state is broken: {error}") from error
        self.restore(state["scene"], state["simulator_state"], task=task)
        self.np_random = generator

    def restore(
        self, scene: Scene | Mapping[str, Any], simulator_state: np.ndarray | None = None, *, task: Task | None = None
    ):
        """Continues from any recorded frame: an episode's `metadata["scene"]` and `extras["simulator_state"][t]`.

        Args:
            scene: a `Scene` or its JSON-plain form.
            simulator_state: `[N]` float64; None begins the scene at its start.
            task: goal to pursue from here.

        Returns:
            Observation and info.

        Raises:
            ValueError: broken scene, or a state that does not fit it; the environment is then as before.
        """
        if not isinstance(scene, Scene):
            scene = Scene.from_json(scene)
        if task is not None and _check_task(task).object_index >= len(scene.objects):
            raise ValueError(f"the task moves object {task.object_index}, the scene has {len(scene.objects)}")
        present, past = self._physics, self.task
        before = None if present is None else present.get_state()
        physics = self._physics if self._physics is not None and self._physics.scene == scene else Physics(scene)
        try:
            if simulator_state is None:
                physics.start()
            else:
                physics.set_state(simulator_state)
            self._physics, self.task = physics, task
            return self._observation(), self._info()
        except Exception:  # a state may fit the scene and still be one that cannot be drawn
            self._physics, self.task = present, past
            if present is not None and before is not None:
                present.set_state(before)
            raise

    def draw(self, physics: Physics) -> np.ndarray:
        """Picture `[H, W, 3]` uint8 of any scene as this environment's camera and renderer see it."""
        return self._renderer.render(physics)

    def _begin(self, scene: Scene, task: Task | None) -> None:
        self._physics, self.task = Physics(self._shift.scene(scene, task)), task
        self._physics.start()

    def _make_renderer(self, camera):
        if self.drawing["renderer"] == "gl":
            from visual_foresight.envs.gl_renderer import GlRenderer

            return GlRenderer(camera)
        supersampling, shadows = self.drawing["supersampling"], self.drawing["shadows"]
        return RayRenderer(camera, supersampling=supersampling, shadows=shadows, lighting=self._shift.lighting())

    def _observation(self) -> dict[str, np.ndarray]:
        return {
            "image": self._renderer.render(self.physics),
            "state": self.physics.tip_position.astype(np.float32),
        }

    def _reward(self) -> float:
        if self.task is None:
            return 0.0
        return -self.task.distance(self.physics.object_poses()[self.task.object_index, :2])

    def _info(self) -> dict[str, Any]:
        physics, count = self.physics, self.physics.num_objects
        poses = physics.object_poses()
        points = np.concatenate([poses[:, :2], physics.heights[:, None]], axis=1)  # [M, 3] centres of the top faces
        # Vector environments cannot stack ragged arrays, so rows are padded with zeros.
        info: dict[str, Any] = {
            "object_positions": np.zeros((MAX_OBJECTS, 3)),
            "object_pixels": np.zeros((MAX_OBJECTS, 2)),
            "object_hidden": np.zeros(MAX_OBJECTS, bool),
            "object_present": np.arange(MAX_OBJECTS) < count,
            "contact": physics.contact(),
            "tip_pixel": self.camera.project(np.array([*physics.tip_position, TIP_PIXEL_HEIGHT])),
        }
        info["object_positions"][:count] = poses
        info["object_pixels"][:count] = self.camera.project(points)
        info["object_hidden"][:count] = physics.arm_hides(np.asarray(self.camera.eye), points)
        return info


def _check_task(task: Any) -> Task:
    if not isinstance(task, Task):
        raise ValueError(
            f"reset option 'task' must be a Task (from a TaskSet or sample_task), got {type(task).__name__}"
        )
    return task


def _size(value: int | tuple[int, int], name: str) -> tuple[int, int]:
    pair = (int(value), int(value)) if isinstance(value, int | np.integer) else tuple(value)
    if len(pair) != 2 or not all(isinstance(n, int) and 8 <= n <= 4096 for n in pair):
        raise ValueError(f"{name} must be one number or (rows, columns), each within 8..4096; got {value!r}")
    return pair
