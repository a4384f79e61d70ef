"""What kind of push a task asks for, and task sets in which every kind occurs about equally often.

The shipped benchmark sets `push-seen-v1` and `push-novel-v1` are `spread_tasks(200, ...)` of two ranges of seeds,
chosen by what the tasks are, never by whether some method solves them.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass

import numpy as np

from visual_foresight.envs.scene import SHAPES_OF_SPLIT, check_split
from visual_foresight.envs.tasks import Task, TaskSet, sample_task

DIRECTIONS = ("towards", "across", "away")
SIDES = ("towards", "right", "left", "away")
DISTANCE_BINS = ((10.0, 13.0), (13.0, 17.0), (17.0, 20.0))  # [px] at 64 x 64
BENCHMARK_SETS = {"push-seen-v1": ("train", 5_000_000_000), "push-novel-v1": ("novel", 6_000_000_000)}
"""Name to split and first seed. Scenes of recorded data come from other streams of randomness altogether, with small
collection seeds (1, 2, ...; 900001, 900002); those of a planner's own episodes from drawn tasks with other objects and
seeds from 12,345,037,035 on. So no scene of these sets is in any data."""
NUM_BENCHMARK_TASKS = 200

_NUM_OBJECTS = (1, 3)
_MAX_SEEDS_PER_TASK = 40
_SLACK = 1.12  # shares are limits this far above equal ones: exactly equal ones would never be filled
_ORDER_STREAM = 0x0DE5


@dataclass(frozen=True)
class Stratum:
    """What kind of push a task asks for.

    Args:
        shape: of the object to move.
        side: where it goes as the camera sees it: `"towards"` the camera, `"right"`, `"left"` or `"away"`; each is a
            quarter of all directions on the table.
        distance: of the goal, as `"10-13 px"`.
        num_objects: in the scene.
    """

    shape: str
    side: str
    distance: str
    num_objects: int

    @property
    def direction(self) -> str:
        """Towards the camera, across its view, or away from it."""
        return "across" if self.side in ("left", "right") else self.side


def stratum(task: Task) -> Stratum:
    """The kind of push that a task asks for."""
    item = task.scene().objects[task.object_index]
    dx, dy = np.subtract(task.goal_position, item.position)
    if abs(dy) >= abs(dx):
        side = "away" if dy > 0 else "towards"
    else:
        side = "right" if dx > 0 else "left"
    distance = task.pixel_distance(np.asarray(item.position), item.height)
    return Stratum(item.shape.kind, side, distance_bin(distance), task.num_objects)


def distance_bin(distance: float) -> str:
    """Name of the bin of a goal's distance [px at 64 x 64]; what lies outside counts to the nearest bin."""
    for low, high in DISTANCE_BINS[:-1]:
        if distance < high:
            return f"{low:g}-{high:g} px"
    low, high = DISTANCE_BINS[-1]
    return f"{low:g}-{high:g} px"


def spread_tasks(num: int, *, first_seed: int, split: str = "train", name: str) -> TaskSet:
    """Tasks in which shapes, directions, distances and numbers of objects occur about equally often.

    Seeds are taken in order; a task is kept as long as none of its four properties, nor the pair of shape and
    direction, has had its share (an equal one and 12 % more). The order is then shuffled (by `first_seed`), so that the
    first n tasks are a fair sample of all.

    Args:
        num: how many.
        first_seed: the seeds that are tried begin here.
        split: one of `scene.SPLITS`.
        name: of the set.

    Raises:
        ValueError: `num` below 1, a negative seed, an unknown split, or too few seeds that fit.
    """
    if num < 1 or first_seed < 0:
        raise ValueError(f"need at least one task and a seed of at least 0, got num={num}, first_seed={first_seed}")
    check_split(split)
    shares = _Shares(num, len(SHAPES_OF_SPLIT[split]))
    tasks: list[Task] = []
    for seed in range(first_seed, first_seed + _MAX_SEEDS_PER_TASK * num):
        try:
            task = sample_task(seed, split=split, num_objects=_NUM_OBJECTS)
        except ValueError:  # no goal fits into this scene
            continue
        if shares.take(stratum(task)):
            tasks.append(task)
        if len(tasks) == num:
            order = np.random.default_rng([_ORDER_STREAM, first_seed]).permutation(num)
            return TaskSet(name, tuple(tasks[index] for index in order))
    raise ValueError(f"found only {len(tasks)} of {num} tasks from seed {first_seed}; begin at another seed")


def benchmark_tasks(name: str) -> TaskSet:
    """One of the benchmark sets, drawn anew; the file that is shipped holds the same tasks.

    Raises:
        ValueError: unknown name.
    """
    if name not in BENCHMARK_SETS:
        raise ValueError(f"unknown benchmark set {name!r}; known sets: {', '.join(BENCHMARK_SETS)}")
    split, first_seed = BENCHMARK_SETS[name]
    return spread_tasks(NUM_BENCHMARK_TASKS, first_seed=first_seed, split=split, name=name)


class _Shares:
    """How many tasks of each kind may still come."""

    def __init__(self, num: int, num_shapes: int):
        low, high = _NUM_OBJECTS
        self._limits = {
            "shape": math.ceil(_SLACK * num / num_shapes),
            "side": math.ceil(_SLACK * num / len(SIDES)),
            "distance": math.ceil(_SLACK * num / len(DISTANCE_BINS)),
            "num_objects": math.ceil(_SLACK * num / (high - low + 1)),
        }
        self._pair_limit = math.ceil(_SLACK**2 * num / (num_shapes * len(SIDES)))
        self._counts: Counter[tuple] = Counter()

    def take(self, kind: Stratum) -> bool:
        """Whether a task of this kind is wanted; if so it is counted."""
        values = asdict(kind)
        keys: dict[tuple, int] = {(name, values[name]): limit for name, limit in self._limits.items()}
        keys[("pair", kind.shape, kind.side)] = self._pair_limit
        if any(self._counts[key] >= limit for key, limit in keys.items()):
            return False
        self._counts.update(keys.keys())
        return True
