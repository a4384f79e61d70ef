"""What a planner may imagine with in a comparison: the learned model, the physics, exact positions, a still picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from visual_foresight.rollout import Rollout

SIMULATORS = ("learned", "true")
DTYPES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
"""`--precision` to the predictor's Keras dtype policy."""


def make_simulator(
    kind: str, environment: Any, preset: str, *, dtype: str | None = None, num_threads: int | None = None
) -> Any:
    """Return what the planner imagines with.

    Args:
        kind: "learned" (the gymnasium wrapper's batched door) or "true" (the environment's own physics).
        environment: the real one.
        preset: of the learned simulator: a shipped name, a folder, or hf://...
        dtype: Keras dtype policy of the predictor; None: as it was saved.
        num_threads: of the true simulator; None: one for each core.

    Raises:
        ValueError: unknown kind or preset, or a predictor of images alone, or of another image size or robot than the
            environment's.
    """
    if kind == "true":
        from visual_foresight.envs import TrueSimulator

        return TrueSimulator(environment, num_threads=num_threads)
    if kind != "learned":
        raise ValueError(f"unknown simulator {kind!r}; known simulators: {', '.join(SIMULATORS)}")
    import gymnasium

    from visual_foresight.envs import LEARNED_PUSH_ID

    options: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    door: Any = gymnasium.make_vec(LEARNED_PUSH_ID, num_envs=1, preset=preset, **options).unwrapped
    if not door.simulator.predictor.config.use_state:
        from visual_foresight.predictor.checkpoint import IMAGES_ALONE

        raise ValueError(f"predictor {preset} {IMAGES_ALONE}")
    spaces: tuple[Any, Any] = door.single_observation_space, environment.observation_space
    seen, shown = (space["image"].shape for space in spaces)
    if seen != shown:
        raise ValueError(
            f"predictor {preset} was trained on {seen} images, the environment shows {shown}; "
            "take a predictor of such images, or make the environment with that image_size"
        )
    taken, given = door.simulator.predictor.config.action_size, environment.action_space.shape[0]
    if taken != given:
        raise ValueError(
            f"predictor {preset} takes actions of {taken} numbers, the environment of {given}: it is another robot's"
        )
    return door


def num_rehearsals(simulator: Any) -> int:
    """Decisions after which nothing is compiled any more: one, or a few where costs are computed on an accelerator."""
    members = getattr(simulator, "simulators", (simulator,))
    if not any(getattr(getattr(each, "simulator", each), "costs_on_device", False) for each in members):
        return 1
    from visual_foresight.tensor_cost import DECISIONS_TO_COMPILE

    return DECISIONS_TO_COMPILE


class TrueStateSimulator:
    """The physics, answering with exact positions on the table in place of pixels: no camera between cost and world.

    Positions are given in `unit`, so that weights mean what they mean in the picture. An objective that follows
    "pixels" follows positions (x, y) here.

    Args:
        simulator: a `TrueSimulator`.
        unit: length of one unit [m].
    """

    def __init__(self, simulator: Any, unit: float) -> None:
        self.pictured = simulator
        """Shows the same rollouts as pictures; its starts are the same."""
        self.unit = unit

    def start(self, **options: Any) -> Any:
        """A start at the environment's present state."""
        return self.pictured.start(**options)

    def rollout(
        self, start: Any, actions: np.ndarray, outputs: Sequence[str] = ("states", "pixels"), every: int = 1
    ) -> Rollout:
        """What K action sequences lead to; "states" [K, T, 2] and "pixels" [K, T, P, 2] are (x, y) in `unit`."""
        seen = self.pictured.rollout(start, actions, outputs=outputs)
        pixels = None if seen.pixels is None else self._positions(start, np.asarray(seen.pixels))
        states = None if seen.states is None else np.asarray(seen.states, np.float64) / self.unit
        return Rollout(actions=seen.actions, frames=seen.frames, states=states, pixels=pixels)

    def _positions(self, start: Any, pixels: np.ndarray) -> np.ndarray:
        heights = np.array([start.scene.objects[index].height for index in start.object_indices])
        camera = self.pictured.env.camera
        # One height, one plane: the way back from pixel to place is exact.
        return camera.unproject(pixels, np.broadcast_to(heights, pixels.shape[:-1]))[..., :2] / self.unit


@dataclass(frozen=True, eq=False)
class StillStart:
    """Where a still future begins.

    Args:
        frame: [H, W, 3] uint8.
        state: [S].
        pixels: [P, 2] (row, col).
    """

    frame: np.ndarray
    state: np.ndarray
    pixels: np.ndarray


class StillSimulator:
    """Copies the last frame: nothing in the picture ever moves, whatever the robot does.

    The robot's own position follows its actions (kinematics need no learning), so that a planner still has something
    to choose by. It is the floor that a predictor must leave behind.

    Args:
        step_size: what an action of 1 moves the robot by [state units].
        limit: how far the robot goes from the middle [state units].
    """

    def __init__(self, step_size: float, limit: float) -> None:
        self.step_size, self.limit = step_size, limit

    def start(self, frames: np.ndarray, actions: Any, states: np.ndarray, *, pixels: Any = None) -> StillStart:
        """The last frame, state and designated pixels."""
        return StillStart(np.asarray(frames)[-1], np.asarray(states)[-1], np.atleast_2d(np.asarray(pixels, np.float64)))

    def rollout(
        self, start: StillStart, actions: np.ndarray, outputs: Sequence[str] = ("states", "pixels"), every: int = 1
    ) -> Rollout:
        """K futures in which only the robot's state moves."""
        from visual_foresight.frames import to_float

        count, steps = np.asarray(actions).shape[:2]
        made: dict[str, Any] = {}
        if "states" in outputs:
            moved = start.state + self.step_size * np.cumsum(np.clip(actions, -1.0, 1.0), axis=1)
            made["states"] = np.clip(moved, -self.limit, self.limit)
        if "pixels" in outputs:
            made["pixels"] = np.broadcast_to(start.pixels, (count, steps, *start.pixels.shape))
        if "frames" in outputs:
            made["frames"] = np.broadcast_to(to_float(start.frame), (count, steps, *start.frame.shape))
        return Rollout(actions=np.asarray(actions), **made)
