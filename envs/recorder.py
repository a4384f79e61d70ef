"""What happens in the pushing environment, as an episode to train on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import mujoco
import numpy as np

from visual_foresight.envs.arm import CONTROL_HZ, STEP_METRES
from visual_foresight.envs.push import ENVIRONMENT_VERSION, PushEnv
from visual_foresight.envs.registration import PUSH_ID
from visual_foresight.episode import Episode


class EpisodeRecorder(gymnasium.Wrapper):
    """Keeps every step since the last reset, whoever chooses the actions: a controller, a person, a program.

    A predictor learns from what its robot did. What a planner does is not what a scripted policy does: its own
    episodes hold the places it gets into (Ross, Gordon and Bagnell 2011, "A reduction of imitation learning and
    structured prediction to no-regret online learning").

    Args:
        env: `VisualForesight/Push-v0`, wrapped or not; wrappers that change actions or observations go around the
            recorder, not inside, for what is kept is what reaches the environment.

    Raises:
        TypeError: another environment, or such a wrapper in it.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        """Begins with nothing recorded."""
        inner = env.unwrapped if isinstance(env, gymnasium.Env) else env
        if not isinstance(inner, PushEnv):
            raise TypeError(f"EpisodeRecorder records a PushEnv, got {type(inner).__name__}")
        layer: Any = env
        while isinstance(layer, gymnasium.Wrapper):
            if isinstance(layer, gymnasium.ActionWrapper | gymnasium.ObservationWrapper):
                name = type(layer).__name__
                raise TypeError(f"{name} changes what is recorded: put it around, {name}(EpisodeRecorder(env), ...)")
            layer = layer.env
        super().__init__(env)
        self._moments: list[dict[str, np.ndarray]] = []
        self._actions: list[np.ndarray] = []

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begin a new episode; what was recorded is forgotten."""
        observation, info = self.env.reset(**options)
        self._moments, self._actions = [self._moment(observation, info)], []
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step and keep it, with the action as the environment clips it."""
        result = self.env.step(action)
        low, high = self.action_space.low, self.action_space.high  # type: ignore[attr-defined]
        self._actions.append(np.clip(np.asarray(action, np.float32), low, high))
        self._moments.append(self._moment(result[0], result[4]))
        return result

    def episode(self, metadata: Mapping[str, Any] | None = None) -> Episode:
        """The steps since the last reset.

        Args:
            metadata: facts to keep with it, JSON-plain, beside the scene and the environment's own.

        Raises:
            ValueError: no step was taken.
        """
        if not self._actions:
            raise ValueError("nothing to record: call reset() and step() first")
        columns = {name: np.stack([moment[name] for moment in self._moments]) for name in self._moments[0]}
        env = self.unwrapped
        return Episode(
            frames=columns.pop("frames"),
            actions=np.stack(self._actions),
            states=columns.pop("states"),
            extras=columns,
            metadata={**(metadata or {}), "scene": env.scene.to_json(), **environment_metadata(env)},  # type: ignore
        )

    def _moment(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> dict[str, np.ndarray]:
        single = ("object_positions", "object_pixels", "tip_pixel")
        return {
            "frames": observation["image"],
            "states": observation["state"],
            "simulator_state": self.unwrapped.physics.get_state(),  # type: ignore[attr-defined]
            **{name: info[name].astype(np.float32) for name in single},
            **{name: np.asarray(info[name]) for name in ("object_hidden", "object_present", "contact")},
        }


def environment_metadata(env: PushEnv) -> dict[str, Any]:
    """Identity of the environment, its camera and its action space; JSON-plain."""
    return {
        "environment": PUSH_ID,
        "environment_version": ENVIRONMENT_VERSION,
        "mujoco_version": mujoco.__version__,
        "camera": env.camera.digest(),
        "renderer": dict(env.drawing),
        "action_names": ["dx", "dy"],
        "action_low": [-1.0, -1.0],
        "action_high": [1.0, 1.0],
        "state_names": ["tip_x", "tip_y"],
        "metres_per_step": STEP_METRES,
        "control_hz": CONTROL_HZ,
    }
