"""Making banks: scenes of the pushing environment, action sequences of many kinds, and what MuJoCo says of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from visual_foresight.affordable import require_at_most
from visual_foresight.bank import Bank
from visual_foresight.envs.camera import PUSH_CAMERA
from visual_foresight.envs.physics import Physics
from visual_foresight.envs.policies import Policy, ScriptedPolicy, SmoothPolicy, UniformPolicy
from visual_foresight.envs.push import ENVIRONMENT_VERSION, PushEnv
from visual_foresight.envs.registration import PUSH_ID
from visual_foresight.envs.scene import TIP_LIMIT, TIP_RADIUS, Scene, check_split
from visual_foresight.envs.tasks import Task, sample_task
from visual_foresight.envs.true_simulator import TrueSimulator

__all__ = ["MIXTURE", "BankSettings", "make_bank"]

MIXTURE = {"uniform": 3, "held": 3, "smooth": 2, "scripted": 3, "towards_goal": 5}
"""Shares, in sixteenths, of the kinds of sequences in each scene.

`uniform`: independent actions. `held`: each for 5 steps, as planners draw them. `smooth`: coloured noise. `scripted`:
pushes of any object to anywhere, as in the training data. `towards_goal`: pushes of the designated object roughly to
its goal; without them no sequence would be good, and regret would measure nothing.
"""

_SEED_STREAM = 0xBA27  # keeps scenes, goals and sequences apart from every other use of the same seed
_FIRST_TASK = 7_000_000_000  # no data set and no task file begins here
_FINEST_ACTION, _FINEST_PIXEL = 64, 128  # sequences and labels are rounded, so that the file stays small
_HELD = 5
_MOST = 10_000


@dataclass(frozen=True)
class BankSettings:
    """What a bank holds. The same settings make the same bank, on the same version of MuJoCo.

    Args:
        num_scenes: S.
        num_sequences: K, a multiple of 16.
        horizon: T control steps.
        split: "train" or "novel" shapes and colours; choose checkpoints by "train", so that "novel" stays unseen.
        seed: all randomness comes from it.

    Raises:
        ValueError: a number out of range, or an unknown split.
    """

    num_scenes: int = 40
    num_sequences: int = 64
    horizon: int = 15
    split: str = "train"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        check_split(self.split)
        for name, low in (("num_scenes", 1), ("num_sequences", 16), ("horizon", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} of a bank must be at least {low}, got {getattr(self, name)}")
        for name in ("num_scenes", "num_sequences", "horizon"):
            require_at_most(f"{name} of a bank", getattr(self, name), _MOST, "all is held in memory and in one file")
        if self.num_sequences % 16:
            raise ValueError(f"num_sequences of a bank must be a multiple of 16, got {self.num_sequences}")


def make_bank(settings: BankSettings, *, on_scene: Callable[[int], None] | None = None) -> Bank:
    """Draws scenes and sequences, and labels them with the true simulator.

    Each scene begins as a task does. A few steps later, when the designated object is in sight, two frames are kept,
    and from there all sequences start.

    Args:
        settings: what to make.
        on_scene: called with the number of scenes done.
    """
    env = PushEnv(split=settings.split)
    simulator = TrueSimulator(env)
    rows: list[dict[str, np.ndarray]] = []
    try:
        for moment in _moments(env, settings):
            rows.append(_labelled(simulator, moment, settings))
            if on_scene is not None:
                on_scene(len(rows))
            if len(rows) == settings.num_scenes:
                break
    finally:
        simulator.close()
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return Bank(**arrays, protocol=_protocol(settings))


@dataclass(frozen=True, eq=False)
class _Moment:
    """Where the sequences of a scene start: the environment is there, too."""

    task: Task
    frames: np.ndarray  # [2, H, W, 3]
    action: np.ndarray  # [1, A]
    states: np.ndarray  # [2, D]
    pixel: np.ndarray  # [2]
    rng: np.random.Generator


def _moments(env: PushEnv, settings: BankSettings) -> Iterator[_Moment]:
    for attempt in range(50 * settings.num_scenes):
        try:
            task = sample_task(_FIRST_TASK + settings.seed * 1_000_003 + attempt, split=settings.split)
        except ValueError:  # no goal fits into this scene
            continue
        rng = np.random.default_rng([_SEED_STREAM, settings.seed, attempt])
        observation, info = env.reset(options={"task": task})
        policy = SmoothPolicy()
        policy.reset(env.scene, rng)
        for _ in range(int(rng.integers(1, 5))):
            before, action = observation, policy.act(observation["state"], info)
            observation, _, _, _, info = env.step(action)
        if info["object_hidden"][task.object_index] or env.success:
            continue
        frames = np.stack([before["image"], observation["image"]])
        states = np.stack([before["state"], observation["state"]])
        yield _Moment(task, frames, action[None], states, info["object_pixels"][task.object_index], rng)
    raise ValueError(f"found no {settings.num_scenes} scenes for a bank of seed {settings.seed}; take another seed")


def _labelled(simulator: TrueSimulator, moment: _Moment, settings: BankSettings) -> dict[str, np.ndarray]:
    env, task = simulator.env, moment.task
    actions = _sequences(env.physics, task, settings, moment.rng)
    rollout = simulator.rollout(simulator.start(object_indices=(task.object_index,)), actions, outputs=("pixels",))
    goal = env.camera.project(np.array([*task.goal_position, env.physics.heights[task.object_index]]))
    return {
        "frames": moment.frames,
        "context_actions": moment.action.astype(np.float32),
        "states": moment.states.astype(np.float32),
        "actions": actions,
        "pixels": moment.pixel.astype(np.float32),
        "goals": goal.astype(np.float32),
        "positions": _rounded(rollout.pixels[:, :, 0], _FINEST_PIXEL),
    }


def _sequences(physics: Physics, task: Task, settings: BankSettings, rng: np.random.Generator) -> np.ndarray:
    """[K, T, 2]; the physics is put back to where it was."""
    state = physics.get_state()
    towards = _TowardsGoal(task)
    policies: dict[str, Policy] = {
        "uniform": UniformPolicy(),
        "held": UniformPolicy(),
        "smooth": SmoothPolicy(),
        "scripted": ScriptedPolicy(),
        "towards_goal": towards,
    }
    sequences = []
    for _ in range(settings.num_sequences // sum(MIXTURE.values())):
        for name, count in MIXTURE.items():
            for _ in range(count):
                drawn = _played(physics, policies[name], settings.horizon, rng)
                sequences.append(
                    np.repeat(drawn[::_HELD], _HELD, axis=0)[: settings.horizon] if name == "held" else drawn
                )
                physics.set_state(state)
    return _rounded(np.stack(sequences), _FINEST_ACTION)


def _played(physics: Physics, policy: Policy, horizon: int, rng: np.random.Generator) -> np.ndarray:
    """What a policy does in the true world, from here on [T, 2]."""
    policy.reset(physics.scene, rng)
    actions = []
    for _ in range(horizon):
        info = {"object_positions": physics.object_poses()}
        actions.append(policy.act(physics.tip_position, info))
        physics.step(actions[-1].astype(np.float64))
    return np.stack(actions)


class _TowardsGoal(ScriptedPolicy):
    """Goes behind the designated object and pushes it roughly towards its goal, at times too far or not far enough.

    Args:
        task: which object, and its goal.
    """

    name = "towards_goal"

    def __init__(self, task: Task):
        """See the class."""
        super().__init__(noise=0.08, glancing=0.0)
        self._task = task

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """See `Policy.reset`."""
        super().reset(scene, rng)
        self._turn, self._reach = rng.normal(0, 0.35), rng.uniform(0.5, 1.3)

    def _choose(self, tip: np.ndarray, poses: np.ndarray) -> None:
        index = self._task.object_index
        centre, goal = poses[index, :2], np.array(self._task.goal_position)
        angle = math.atan2(*(goal - centre)[::-1]) + self._turn
        direction = np.array([math.cos(angle), math.sin(angle)])
        gap = self._radii[index] + TIP_RADIUS + self._CLEARANCE + 0.004
        sideways = np.array([-direction[1], direction[0]]) * self._offset(index, angle + math.pi / 2 - poses[index, 2])
        self._direction = direction
        self._beside = np.clip(centre - direction * gap + sideways, -TIP_LIMIT, TIP_LIMIT)
        self._push_length = gap + self._reach * math.dist(centre, goal)
        self._speed = self._rng.uniform(0.6, 1.0)
        self._phase, self._steps_left = "approach", 11


def _rounded(values: np.ndarray, finest: int) -> np.ndarray:
    return (np.rint(np.asarray(values, np.float64) * finest) / finest).astype(np.float32)


def _protocol(settings: BankSettings) -> dict[str, Any]:
    return {
        "environment": PUSH_ID,
        "environment_version": ENVIRONMENT_VERSION,
        "mujoco": mujoco.__version__,
        "camera": PUSH_CAMERA.digest(),
        "split": settings.split,
        "seed": settings.seed,
        "mixture": MIXTURE,
        "cost": "distance of the designated pixel to its goal [px]",
    }
