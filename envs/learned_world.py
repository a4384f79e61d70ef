"""What the learned environments share: the predictor behind them, where their scenes come from, and planners' door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces

from visual_foresight.frames import to_uint8
from visual_foresight.given_arrays import given_array

if TYPE_CHECKING:
    from visual_foresight.rollout import Rollout
    from visual_foresight.simulator import LearnedSimulator, SimulatorStart

_OPTIONS = ("frames", "actions", "states", "episode", "start", "pixels")


class LearnedWorld:
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
        if options is not None and not isinstance(options, Mapping):
            raise ValueError(f"reset options must be a dictionary of {', '.join(_OPTIONS)}, got {options!r}")
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
        if not hasattr(episode, "num_frames"):
            raise ValueError(f"reset option 'episode' must be an Episode, got {type(episode).__name__}")
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
            source = gymnasium.make(self._source_id, **self._source_options)
            self._check_source(source)
            self._source = source
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

    def _check_source(self, source: gymnasium.Env) -> None:
        """Refuse a real environment whose observations and actions are not the predictor's."""
        seen = source.observation_space
        parts = seen.spaces if isinstance(seen, spaces.Dict) else {}
        found = [getattr(part, "shape", None) for part in (parts.get("image"), parts.get("state"), source.action_space)]
        wanted = [(*self.config.image_size, 3), (self.config.state_size,), (self.config.action_size,)]
        if found != wanted:
            source.close()
            raise ValueError(
                f"a reset without options begins in {self._source_id}, whose image, state and action are {found}, and "
                f"the predictor's are {wanted}: pass options={{'episode': ...}} or {{'frames': ..., 'states': ...}}, "
                "or make the environment with source= and source_options="
            )

    def check_actions(self, actions: Any, shape: tuple[int, ...] | None) -> np.ndarray:
        """Actions of a step as float32 inside the Box."""
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
        """Release the real environment, if one was made."""
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


class ClippedCost:
    """Costs of futures whose actions are clipped to the Box first, as `step` executes them.

    Args:
        cost: of `LearnedSimulator.cost_function`.
        world: whose Box it is.
    """

    def __init__(self, cost: Any, world: LearnedWorld) -> None:
        self._cost, self._world = cost, world

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        """Costs [K] of candidates [K, H, A]."""
        return self._cost(self._world.clipped(candidates))

    @property
    def outputs(self) -> tuple[str, ...]:
        """What is read of the futures; nothing where actions alone have a cost."""
        return self._cost.outputs

    def gradient(self, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Costs [K] and their gradients [K, H, A] at the clipped actions."""
        return self._cost.gradient(self._world.clipped(candidates))

    def whole_search(self, planner: Any, problem: Any, search: Any) -> bool:
        """Search in one call, see `TensorCost`; not beyond the Box, where costs are those of clipped actions."""
        whole, box, bounds = getattr(self._cost, "whole_search", None), self._world.action_space, problem.bounds
        inside = bounds.low.shape == box.shape and (bounds.low >= box.low).all() and (bounds.high <= box.high).all()
        return bool(whole is not None and inside and whole(planner, problem, search))


class PlannersDoor:
    """What planners ask of a simulator, for an environment with a `LearnedWorld` and present scenes."""

    _world: LearnedWorld
    _current: SimulatorStart | None

    @property
    def simulator(self) -> LearnedSimulator:
        """The simulator behind the environment."""
        return self._world.simulator

    @property
    def current(self) -> SimulatorStart:
        """The present scene or scenes: a start for `rollout`, one of many by `current.select(i)`."""
        if self._current is None:
            raise gymnasium.error.ResetNeeded("call reset() before step(), render() or rollout()")
        return self._current

    @property
    def stride(self) -> int:
        """Control steps that one call of the network leaps over; `every` of a rollout that planners ask for."""
        return self.simulator.stride

    @property
    def drafts(self) -> bool:
        """Whether rollouts take `draft`."""
        return self.simulator.drafts

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
        """Branch a scene (None: the present one) into K futures; see `LearnedSimulator.rollout`.

        Of many scenes, as a vector environment has them, into as many each: actions stand one scene behind the other.
        """
        start = self.current if start is None else start
        return self.simulator.rollout(start, self._world.clipped(actions), outputs, every, draft)

    def advance(self, start: SimulatorStart, actions: np.ndarray) -> SimulatorStart:
        """Imagine one control step of N scenes; see `LearnedSimulator.advance`."""
        return self.simulator.advance(start, self._world.clipped(actions))

    def cost_function(self, start: SimulatorStart | None, objective: Any) -> ClippedCost:
        """Costs of candidates (None: of the present scene); see `LearnedSimulator.cost_function`."""
        start = self.current if start is None else start
        return ClippedCost(self.simulator.cost_function(start, objective), self._world)

    def cost_gradient(
        self, start: SimulatorStart, objective: Any, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Costs and their gradients by the actions; see `LearnedSimulator.cost_gradient`."""
        return self.simulator.cost_gradient(start, objective, self._world.clipped(actions))
