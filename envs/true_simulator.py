"""The physics itself behind the door of the learned simulator: what a perfect model would predict."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from mujoco.rollout import Rollout as PhysicsRollout

from visual_foresight.envs.physics import FULL_STATE_SPEC, NUM_SUBSTEPS, Physics, controls
from visual_foresight.envs.push import PushEnv
from visual_foresight.envs.scene import Scene
from visual_foresight.frames import to_float
from visual_foresight.given_arrays import given_array
from visual_foresight.rollout import Rollout

OUTPUTS = ("frames", "states", "pixels")

_CHUNK_BYTES = 64 * 2**20  # of trajectories held at once


@dataclass(frozen=True, eq=False)
class TrueStart:
    """Where rollouts begin.

    Args:
        scene: objects and their matter.
        simulator_state: `[N]` float64, as in `Physics.get_state`.
        object_indices: objects whose centre points are the designated pixels, P of them.
    """

    scene: Scene
    simulator_state: np.ndarray
    object_indices: tuple[int, ...]


class TrueSimulator:
    """Rolls out action sequences in MuJoCo on all cores; the environment itself does not move.

    A rollout equals stepping the environment to the last bit.

    Args:
        env: a `PushEnv`, or a wrapper around one.
        object_indices: objects whose centre points are the designated pixels; None means the object of the
            environment's
            task, or all objects where there is no task.
        num_threads: None means one for each core that this process may use.

    Raises:
        TypeError: the environment is not a `PushEnv`.
        ValueError: `num_threads` below 1.
    """

    def __init__(self, env: Any, *, object_indices: Sequence[int] | None = None, num_threads: int | None = None):
        """See the class."""
        unwrapped = getattr(env, "unwrapped", env)
        if not isinstance(unwrapped, PushEnv):
            raise TypeError(f"TrueSimulator needs a PushEnv (its physics is the model), got {type(unwrapped).__name__}")
        self.env = unwrapped
        self.object_indices = None if object_indices is None else tuple(map(operator.index, object_indices))
        self.num_threads = len(os.sched_getaffinity(0)) if num_threads is None else num_threads
        if self.num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, got {num_threads}")
        self._physics: Physics | None = None
        self._data: list[mujoco.MjData] = []
        self._pool = PhysicsRollout(nthread=self.num_threads)

    def start(self, *, object_indices: Sequence[int] | None = None) -> TrueStart:
        """A start at the environment's present state.

        Args:
            object_indices: instead of the simulator's own.

        Raises:
            ValueError: the environment was not reset, or an object is not there.
        """
        physics = self.env.physics
        chosen = object_indices if object_indices is not None else self.object_indices
        if chosen is None:
            task = self.env.task
            chosen = range(physics.num_objects) if task is None else (task.object_index,)
        chosen = tuple(int(index) for index in chosen)
        if not chosen or any(not 0 <= index < physics.num_objects for index in chosen):
            raise ValueError(f"object_indices must lie within 0..{physics.num_objects - 1} in this scene, got {chosen}")
        return TrueStart(physics.scene, physics.get_state(), chosen)

    def rollout(self, start: TrueStart, actions: np.ndarray, outputs: Sequence[str] = ("states", "pixels")) -> Rollout:
        """What K action sequences lead to.

        Args:
            start: from `start`.
            actions: `[K, T, 2]` environment units, clipped to [-1, 1] as the environment does.
            outputs: of `"states"` `[K, T, 2]`, `"pixels"` `[K, T, P, 2]`, and `"frames"` `[K, T, H, W, 3]` (slow:
                each is drawn).

        Raises:
            ValueError: wrong shape, numbers that are not finite, or an unknown output.
        """
        actions = _check_actions(actions)
        outputs = (outputs,) if isinstance(outputs, str) else outputs
        unknown = sorted(set(outputs) - set(OUTPUTS))
        if unknown:
            raise ValueError(f"the true simulator has no outputs {unknown}; it offers {', '.join(OUTPUTS)}")
        physics = self._load(start)
        positions = self._positions(physics, start, np.clip(actions, -1.0, 1.0))  # [K, T, nq]
        results: dict[str, Any] = {}
        if "states" in outputs:
            results["states"] = positions[..., :2].astype(np.float32)
        if "pixels" in outputs:
            results["pixels"] = self._pixels(physics, positions, start.object_indices)
        if "frames" in outputs:
            results["frames"] = self._frames(physics, positions)
        return Rollout(actions=actions.astype(np.float32), **results)

    def close(self) -> None:
        """Ends the threads."""
        self._pool.close()

    def _load(self, start: TrueStart) -> Physics:
        if self._physics is None or self._physics.scene != start.scene:
            self._physics = Physics(start.scene)
            self._data = [mujoco.MjData(self._physics.model) for _ in range(self.num_threads)]
        self._physics.set_state(start.simulator_state)
        return self._physics

    def _positions(self, physics: Physics, start: TrueStart, actions: np.ndarray) -> np.ndarray:
        """MuJoCo's positions `[K, T, nq]` after each action."""
        num_candidates, horizon, _ = actions.shape
        model, data = physics.model, physics.data
        full = np.empty(mujoco.mj_stateSize(model, FULL_STATE_SPEC))
        mujoco.mj_getState(model, data, full, FULL_STATE_SPEC)
        warm_start = data.qacc_warmstart.copy()
        positions = np.empty((num_candidates, horizon, model.nq))
        size = max(1, _CHUNK_BYTES // (horizon * NUM_SUBSTEPS * full.nbytes))
        for first in range(0, num_candidates, size):
            chosen = controls(actions[first : first + size])
            states, _ = self._pool.rollout(
                model,
                self._data,
                full[None],
                np.repeat(chosen, NUM_SUBSTEPS, axis=1),
                initial_warmstart=warm_start[None],
            )
            # A full state begins with the time, then the positions; the last substep of each action is what counts.
            positions[first : first + size] = states[:, NUM_SUBSTEPS - 1 :: NUM_SUBSTEPS, 1 : 1 + model.nq]
        return positions

    def _pixels(self, physics: Physics, positions: np.ndarray, chosen: tuple[int, ...]) -> np.ndarray:
        points = [_centre_points(physics, positions, index) for index in chosen]
        return self.env.camera.project(np.stack(points, axis=2))  # [K, T, P, 2]

    def _frames(self, physics: Physics, positions: np.ndarray) -> np.ndarray:
        num_candidates, horizon, _ = positions.shape
        camera = self.env.camera
        frames = np.empty((num_candidates, horizon, camera.height, camera.width, 3), np.float32)
        for candidate, step in np.ndindex(num_candidates, horizon):
            physics.data.qpos[:] = positions[candidate, step]
            physics.refresh()
            frames[candidate, step] = to_float(self.env.draw(physics))
        return frames


def _centre_points(physics: Physics, positions: np.ndarray, index: int) -> np.ndarray:
    """Centre points of one object's top face `[K, T, 3]`; its yaw does not move them."""
    column = 2 + 4 * index
    height = np.full(positions.shape[:2], physics.heights[index])
    return np.stack([positions[..., column], positions[..., column + 1], height], axis=-1)


def _check_actions(actions: np.ndarray) -> np.ndarray:
    actions = given_array("actions", actions, np.float64)
    if actions.ndim != 3 or actions.shape[2] != 2 or 0 in actions.shape:
        raise ValueError(f"actions must have shape [K, T, 2], got {list(actions.shape)}")
    if not np.all(np.isfinite(actions)):
        raise ValueError("actions must be finite; a planner must clip its candidates before it asks")
    return actions
