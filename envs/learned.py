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
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from visual_foresight.frames import to_uint8
from visual_foresight.given_arrays import given_array

if TYPE_CHECKING:
    from visual_foresight.rollout import Rollout
    from visual_foresight.simulator import LearnedSimulator, SimulatorStart

DEFAULT_PRESET = "push_fast"
DEFAULT_SOURCE = "VisualForesight/Push-v0"
_OPTIONS = ("frames", "actions", "states", "episode", "start", "pixels")


class _LearnedWorld:
    """What the single and the vector environment share: predictor, spaces, and where a scene comes from."""

    def __init__(self, preset: str | Path, source: str, source_options: Mapping[str, Any] | None, dtype: str | None):
        from visual_foresight.predictor.predictor import VideoPredictor
        from visual_foresight.simulator import LearnedSimulator

        predictor = VideoPredictor.from_preset(preset, dtype=dtype)
        self.simulator: LearnedSimulator = LearnedSimulator(predictor)
        self.config = predictor.config
        low, high = (self._limits(predictor.metadata, name) for name in ("action_low", "action_high"))
        self.action_space = spaces.Box(low, high, dtype=np.float32)
        unbounded = np.full(self.config.state_size, np.inf, np.float32)
        self.observation_space = spaces.Dict(
            image=spaces.Box(0, 255, (*self.config.image_size, 3), np.uint8),
            state=spaces.Box(-unbounded, unbounded, dtype=np.float32),
        )
        self._source_id, self._source_options = source, dict(source_options or {})
        self._source: gymnasium.Env | None = None

    def _limits(self, metadata: Mapping[str, Any], name: str) -> np.ndarray:
        default = [-1.0 if name == "action_low" else 1.0] * self.config.action_size
        return np.asarray(metadata.get(name) or default, np.float32)

    def scene(self, options: Mapping[str, Any] | None, seed: int | None) -> SimulatorStart:
        """Encode the context that the options give, or that a reset of the real environment gives."""
        options = dict(options or {})
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise ValueError(f"unknown reset options {unknown}; valid options are {', '.join(_OPTIONS)}")
        _check_together(options)
        if "episode" in options:
            context = self._episode_context(options["episode"], options.get("start", 0))
        elif "frames" in options:
            context = {name: options.get(name) for name in ("frames", "actions", "states")}
        else:
            context = self._source_context(seed)
        return self.simulator.start(**context, pixels=options.get("pixels"))

    def _episode_context(self, episode: Any, start: int) -> dict[str, Any]:
        count = self.config.context_frames
        if not isinstance(start, int | np.integer) or not 0 <= start <= episode.num_frames - count:
            raise ValueError(
                f"context of {count} frames from frame {start} does not fit an episode of {episode.num_frames} frames"
            )
        last = start + count
        states = None if episode.states is None else episode.states[start:last]
        actions = None if episode.actions is None else episode.actions[start : last - 1]
        return {"frames": episode.frames[start:last], "actions": actions, "states": states}

    def _source_context(self, seed: int | None) -> dict[str, Any]:
        """A fresh scene of the real environment, whose robot stands still during the context."""
        if self._source is None:
            self._source = gymnasium.make(self._source_id, **self._source_options)
        observation, _ = self._source.reset(seed=seed)
        still = np.zeros(self.config.action_size, np.float32)
        observations = [observation]
        for _ in range(self.config.context_frames - 1):
            observations.append(self._source.step(still)[0])
        return {
            "frames": np.stack([observation["image"] for observation in observations]),
            "actions": np.repeat(still[None], len(observations) - 1, axis=0),
            "states": np.stack([observation["state"] for observation in observations]),
        }

    def check_actions(self, actions: Any, shape: tuple[int, ...] | None) -> np.ndarray:
        actions = given_array("actions", actions)
        if actions.shape != shape:
            raise ValueError(f"action must have shape {list(shape or ())}, got {list(actions.shape)}")
        if not np.isfinite(actions).all():
            raise ValueError("action contains values that are not finite")
        return np.clip(actions, self.action_space.low, self.action_space.high)

    def clipped(self, actions: np.ndarray) -> np.ndarray:
        """Actions [..., A] of futures inside the Box, as `step` executes them; other shapes are refused later."""
        actions = given_array("actions", actions)
        low, high = self.action_space.low, self.action_space.high
        if actions.shape[-1:] != low.shape:
            return actions
        return np.where(np.isfinite(actions), np.clip(actions, low, high), actions)

    def observation(self, start: SimulatorStart) -> dict[str, np.ndarray]:
        """Observations [N, ...] of N scenes."""
        return {"image": to_uint8(start.frame), "state": np.asarray(start.state, np.float32)}

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None


def _check_together(options: Mapping[str, Any]) -> None:
    """Refuse options that say two things, or that mean nothing without another."""
    if "episode" in options and "frames" in options:
        raise ValueError("reset options give both 'episode' and 'frames'; give one")
    for name, needed in (("start", "episode"), ("actions", "frames"), ("states", "frames")):
        if name in options and needed not in options:
            raise ValueError(f"reset option {name!r} means nothing without {needed!r}; got {sorted(options)}")


class LearnedPushEnv(gymnasium.Env):
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
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self._world = _LearnedWorld(preset, source, source_options, dtype)
        self.action_space = self._world.action_space
        self.observation_space = self._world.observation_space
        self.render_mode = render_mode
        self._current: SimulatorStart | None = None

    @property
    def simulator(self) -> LearnedSimulator:
        """The simulator behind this environment."""
        return self._world.simulator

    @property
    def current(self) -> SimulatorStart:
        """The present scene: a start for `rollout`."""
        if self._current is None:
            raise gymnasium.error.ResetNeeded("call reset() before step(), render() or rollout()")
        return self._current

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

    def start(self, *arguments: Any, **options: Any) -> SimulatorStart:
        """Encode a scene for `rollout`; see `LearnedSimulator.start`."""
        return self.simulator.start(*arguments, **options)

    def rollout(
        self,
        start: SimulatorStart | None,
        actions: np.ndarray,
        outputs: Sequence[str] = ("states",),
        every: int = 1,
        draft: bool = False,
    ) -> Rollout:
        """Branch a scene (None: the present one) into K futures; see `LearnedSimulator.rollout`."""
        start = self.current if start is None else start
        return self.simulator.rollout(start, self._world.clipped(actions), outputs, every, draft)

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


class LearnedPushVectorEnv(VectorEnv):
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
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        self._world = _LearnedWorld(preset, source, source_options, dtype)
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

    @property
    def simulator(self) -> LearnedSimulator:
        """The simulator behind these environments."""
        return self._world.simulator

    @property
    def current(self) -> SimulatorStart:
        """The present N scenes; `current.select(i)` is a start for `rollout`."""
        if self._current is None:
            raise gymnasium.error.ResetNeeded("call reset() before step(), render() or rollout()")
        return self._current

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | Sequence[dict] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin N scenes.

        Args:
            seed: one seed (environment i gets seed + i), or one for each.
            options: those of `LearnedPushEnv` for all scenes, or a list of N.
        """
        super().reset(seed=seed if isinstance(seed, int) else None)
        seeds = self._spread(seed)
        each = list(options) if isinstance(options, Sequence) else [options] * self.num_envs
        if len(each) != self.num_envs or len(seeds) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds and options, got {len(seeds)} and {len(each)}")
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

    def start(self, *arguments: Any, **options: Any) -> SimulatorStart:
        """Encode a scene for `rollout`; see `LearnedSimulator.start`."""
        return self.simulator.start(*arguments, **options)

    @property
    def stride(self) -> int:
        """Control steps that one call of the network leaps over; `every` of a rollout that planners ask for."""
        return self.simulator.stride

    def rollout(
        self,
        start: SimulatorStart,
        actions: np.ndarray,
        outputs: Sequence[str] = ("states",),
        every: int = 1,
        draft: bool = False,
    ) -> Rollout:
        """Branch one scene into K futures; see `LearnedSimulator.rollout`."""
        return self.simulator.rollout(start, self._world.clipped(actions), outputs, every, draft)

    @property
    def drafts(self) -> bool:
        """Whether rollouts take `draft`."""
        return self.simulator.drafts

    def advance(self, start: SimulatorStart, actions: np.ndarray) -> SimulatorStart:
        """Imagine one control step of N scenes; see `LearnedSimulator.advance`."""
        return self.simulator.advance(start, self._world.clipped(actions))

    def cost_gradient(
        self, start: SimulatorStart, objective: Any, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Costs and their gradients by the actions; see `LearnedSimulator.cost_gradient`."""
        return self.simulator.cost_gradient(start, objective, self._world.clipped(actions))

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
        return list(seed)

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
