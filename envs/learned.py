"""The learned simulator behind gymnasium's doors: `VisualForesight/LearnedPush-v0`, one environment or many.

One step is one network call, for all environments of a vector together. Both classes also hold the batched door that
planners use: `start` encodes a scene, `rollout` branches it into many futures; a rollout equals stepping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from visual_foresight.envs.learned_world import LearnedWorld, PlannersDoor
from visual_foresight.frames import to_uint8

if TYPE_CHECKING:
    from visual_foresight.simulator import SimulatorStart

DEFAULT_PRESET = "push_fast"
DEFAULT_SOURCE = "VisualForesight/Push-v0"


class LearnedPushEnv(PlannersDoor, gymnasium.Env):
    """The learned simulator as an environment: what the camera would see, as the predictor imagines it.

    ## Action space
    A `Box` [A] with the limits the predictor was trained with; actions outside are clipped.

    ## Observation space
    `Dict(image uint8 [H, W, 3], state float32 [S])`, both predicted.

    ## Rewards and ends
    The reward is 0 and no episode terminates: what is good is an objective's business.

    ## Starting state
    Without options, the context is recorded in the real environment, reset with the same seed, standing still. Reset
    options: `frames` [C, H, W, 3], `actions` [C-1, A], `states` [C, S] (a real observation); or `episode` (an Episode)
    and `start` (its first context frame); and `pixels`, designated pixels [(row, col), ...] in the last context frame,
    whose probability maps [P, H, W] then stand in `info["pixel_distributions"]`.

    Args:
        preset: a shipped predictor's name, a directory, or `hf://...`.
        source: id of the real environment for resets without options.
        source_options: its keyword arguments.
        dtype: Keras dtype policy, for example "mixed_bfloat16".
        render_mode: "rgb_array" or None.

    Raises:
        ValueError: an unknown preset, or reset options that do not fit the predictor.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        preset: str | Path = DEFAULT_PRESET,
        *,
        source: str = DEFAULT_SOURCE,
        source_options: Mapping[str, Any] | None = None,
        dtype: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        _check_render_mode(render_mode)
        self._world = LearnedWorld(preset, source, source_options, dtype)
        self.action_space = self._world.action_space
        self.observation_space = self._world.observation_space
        self.render_mode = render_mode
        self._current: SimulatorStart | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin a scene; see the class for the options."""
        super().reset(seed=seed)
        scene_seed = int(self.np_random.integers(2**31)) if seed is None else seed
        self._current = self._world.scene(options, scene_seed)
        return self._observation(), self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Imagine one control step."""
        actions = self._world.check_actions(action, self.action_space.shape)
        self._current = self.simulator.advance(self.current, actions[None])
        return self._observation(), 0.0, False, False, self._info()

    def render(self) -> np.ndarray | None:
        """The predicted frame, uint8 [H, W, 3]."""
        return None if self.render_mode is None else to_uint8(self.current.frame[0])

    def close(self) -> None:
        """Release the real environment, if one was made."""
        self._world.close()

    def _observation(self) -> dict[str, np.ndarray]:
        return {name: value[0] for name, value in self._world.observation(self.current).items()}

    def _info(self) -> dict[str, Any]:
        maps = self.current.pixel_distributions
        return {} if maps is None else {"pixel_distributions": np.moveaxis(maps[0], -1, 0)}


class LearnedPushVectorEnv(PlannersDoor, VectorEnv):
    """Many imagined scenes, stepped together: one network call per step for all of them.

    Args:
        num_envs: N, the number of scenes.
        preset: as in `LearnedPushEnv`.
        source: as in `LearnedPushEnv`.
        source_options: as in `LearnedPushEnv`.
        dtype: as in `LearnedPushEnv`.
        render_mode: "rgb_array" or None.
        max_episode_steps: truncate after this many steps; the next step then resets that scene (gymnasium's
            NEXT_STEP). None: never.

    Raises:
        ValueError: no environments, an unknown preset, or reset options that do not fit the predictor.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10, "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        num_envs: int = 1,
        preset: str | Path = DEFAULT_PRESET,
        *,
        source: str = DEFAULT_SOURCE,
        source_options: Mapping[str, Any] | None = None,
        dtype: str | None = None,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        _check_render_mode(render_mode)
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        self._world = LearnedWorld(preset, source, source_options, dtype)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.single_action_space = self._world.action_space
        self.single_observation_space = self._world.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        if max_episode_steps is not None and not (isinstance(max_episode_steps, int) and max_episode_steps > 0):
            raise ValueError(f"max_episode_steps must be a whole number of at least 1, got {max_episode_steps!r}")
        self._max_steps = max_episode_steps
        self._steps = np.zeros(num_envs, np.int64)
        self._ended = np.zeros(num_envs, bool)
        self._current: SimulatorStart | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | Sequence[dict] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin N scenes.

        Args:
            seed: one seed (environment i gets seed + i), or one for each.
            options: those of `LearnedPushEnv` for all scenes, or a list of N.
        """
        seeds = self._spread(seed)
        each = list(options) if isinstance(options, Sequence) else [options] * self.num_envs
        if len(each) != self.num_envs or len(seeds) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds and options, got {len(seeds)} and {len(each)}")
        # What scenes draw that begin by themselves later follows from the first seed.
        super().reset(seed=None if seed is None else seeds[0])
        scenes = [self._world.scene(one, s) for one, s in zip(each, seeds, strict=True)]
        self._current = scenes[0].stack(scenes)
        self._steps[:], self._ended[:] = 0, False
        return self._world.observation(self.current), self._info()

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Imagine one control step in every scene."""
        checked = self._world.check_actions(actions, self.action_space.shape)
        following = self.simulator.advance(self.current, checked)
        if self._ended.any():
            following = self._renew(following)
        self._current = following
        self._steps = np.where(self._ended, 0, self._steps + 1)
        truncated = np.zeros(self.num_envs, bool) if self._max_steps is None else self._steps >= self._max_steps
        self._ended = truncated
        nothing = np.zeros(self.num_envs)
        return (
            self._world.observation(following),
            nothing,
            np.zeros(self.num_envs, bool),
            truncated.copy(),
            self._info(),
        )

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The predicted frames, one uint8 [H, W, 3] for each scene."""
        return None if self.render_mode is None else tuple(to_uint8(self.current.frame))

    def close_extras(self, **options: Any) -> None:
        """Release the real environment, if one was made."""
        self._world.close()

    def _spread(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [int(value) for value in self.np_random.integers(2**31, size=self.num_envs)]
        if isinstance(seed, int | np.integer):
            return [int(seed) + index for index in range(self.num_envs)]
        return [None if one is None else int(one) for one in seed]

    def _renew(self, following: SimulatorStart) -> SimulatorStart:
        """Replace the scenes whose episode has ended by fresh ones."""
        scenes = [following.select(index) for index in range(self.num_envs)]
        pixels = following.num_pixels
        for index in np.flatnonzero(self._ended):
            fresh = self._world.scene(None, int(self.np_random.integers(2**31)))
            if pixels:
                raise ValueError("scenes with designated pixels cannot begin anew by themselves; call reset()")
            scenes[index] = fresh
        return scenes[0].stack(scenes)

    def _info(self) -> dict[str, Any]:
        maps = self.current.pixel_distributions
        return {} if maps is None else {"pixel_distributions": np.moveaxis(maps, -1, 1)}


def _check_render_mode(render_mode: str | None) -> None:
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
