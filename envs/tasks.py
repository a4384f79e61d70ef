"""Tasks "move object i until its centre is at a goal", and task sets: versioned, hashed files of them."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.envs.camera import PUSH_CAMERA
from visual_foresight.envs.scene import (
    BIN_HALF_SIZE,
    TIP_LIMIT,
    TIP_RADIUS,
    Scene,
    check_num_objects,
    check_split,
    sample_scene,
)
from visual_foresight.video_files import write_text
from visual_foresight.wording import did_you_mean

TASK_SET_VERSION = 1
SUCCESS_PIXELS = 3.0  # [px] at 64 x 64
GOAL_PIXELS = (10.0, 20.0)  # [px] at 64 x 64: how far a goal is from the object's centre

_SCENE_STREAM = 0x7A5C  # keeps a task's scene apart from other uses of the same seed


@dataclass(frozen=True)
class Task:
    """Move one object of a scene until its centre is at a goal.

    Args:
        seed: of the scene.
        split: `"train"` or `"novel"`.
        num_objects: in the scene.
        object_index: the object to move.
        goal_position: x, y of the goal [m].
        goal_pixel: (row, col) of the goal at the height of the object's top, in the 64 x 64 picture.
    """

    seed: int
    split: str
    num_objects: int
    object_index: int
    goal_position: tuple[float, float]
    goal_pixel: tuple[float, float]

    def __post_init__(self):
        """Check every value."""
        check_split(self.split)
        check_num_objects(self.num_objects)
        for name in ("seed", "object_index"):
            if not isinstance(getattr(self, name), int | np.integer) or getattr(self, name) < 0:
                raise ValueError(f"{name} must be a whole number from 0, got {getattr(self, name)!r}")
        if not 0 <= self.object_index < self.num_objects:
            raise ValueError(f"object_index must be within 0..{self.num_objects - 1}, got {self.object_index}")
        for name in ("goal_position", "goal_pixel"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != 2 or not all(math.isfinite(value) for value in values):
                raise ValueError(f"{name} must be two finite numbers, got {getattr(self, name)!r}")
            object.__setattr__(self, name, values)

    def scene(self) -> Scene:
        """The scene at the start of the task."""
        rng = np.random.default_rng([_SCENE_STREAM, self.seed])
        scene = sample_scene(rng, split=self.split, num_objects=(self.num_objects, self.num_objects))
        if len(scene.objects) != self.num_objects:
            raise ValueError(
                f"seed {self.seed} leaves room for {len(scene.objects)} of {self.num_objects} objects; "
                "choose another seed"
            )
        return scene

    def distance(self, position: np.ndarray) -> float:
        """Distance of an object's centre x, y from the goal [m]."""
        return math.dist((float(position[0]), float(position[1])), self.goal_position)

    def pixel_distance(self, position: np.ndarray, height: float) -> float:
        """Distance from the goal in the 64 x 64 picture [px], for a centre x, y and the height of the object [m]."""
        pixel = PUSH_CAMERA.project(np.array([position[0], position[1], height]))
        return math.dist(pixel, self.goal_pixel)

    def reached(self, position: np.ndarray, height: float) -> bool:
        """Whether the object's centre is within `SUCCESS_PIXELS` of the goal."""
        return self.pixel_distance(position, height) <= SUCCESS_PIXELS

    def reachable_in(self, scene: Scene) -> bool:
        """Whether the goal, and the place behind the object as seen from it, are clear of walls and other objects."""
        return _reachable(scene, self.object_index, self.goal_position)

    def to_json(self) -> dict[str, Any]:
        """JSON-plain form."""
        return {**asdict(self), "goal_position": list(self.goal_position), "goal_pixel": list(self.goal_pixel)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Task:
        """Inverse of `to_json`.

        Raises:
            ValueError: a field is missing, unknown or out of range.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(record, Mapping) or set(record) != names:
            raise ValueError(
                f"a task has exactly the fields {sorted(names)}, "
                f"got {sorted(record) if isinstance(record, Mapping) else record!r}"
            )
        integers = ("seed", "num_objects", "object_index")
        if any(isinstance(record[name], bool) or not isinstance(record[name], int) for name in integers):
            raise ValueError(
                f"{', '.join(integers)} of a task must be whole numbers, got {[record[name] for name in integers]}"
            )
        return cls(
            **{**record, "goal_position": tuple(record["goal_position"]), "goal_pixel": tuple(record["goal_pixel"])}
        )


def sample_task(seed: int, *, split: str = "train", num_objects: tuple[int, int] = (1, 3)) -> Task:
    """Draws a scene and a goal that a pusher can reach: inside the bin, clear of other objects, 10 to 20 pixels away.

    Args:
        seed: all randomness comes from it.
        split: shapes and colours.
        num_objects: smallest and largest number of objects.

    Raises:
        ValueError: no goal fits into the scene; the message says to take another seed.
    """
    low, high = check_num_objects(num_objects)
    rng = np.random.default_rng([_SCENE_STREAM + 1, seed])
    count = int(rng.integers(low, high + 1))
    draft = Task(seed, split, count, 0, (0.0, 0.0), (0.0, 0.0))
    scene = draft.scene()
    for _ in range(500):
        index = int(rng.integers(count))
        item = scene.objects[index]
        start = PUSH_CAMERA.project(np.array([*item.position, item.height]))
        angle, distance = rng.uniform(-math.pi, math.pi), rng.uniform(*GOAL_PIXELS)
        pixel = start + distance * np.array([math.sin(angle), math.cos(angle)])
        x, y, _ = (float(value) for value in PUSH_CAMERA.unproject(pixel, item.height))
        if _reachable(scene, index, (x, y)):
            return Task(seed, split, count, index, (x, y), (float(pixel[0]), float(pixel[1])))
    raise ValueError(f"no goal fits into the scene of seed {seed} with {count} objects; take another seed")


def _reachable(scene: Scene, index: int, goal: tuple[float, float]) -> bool:
    item = scene.objects[index]
    if max(abs(goal[0]), abs(goal[1])) > BIN_HALF_SIZE - item.shape.radius - 0.01:
        return False
    # The finger must fit behind the object on the line to the goal.
    away = np.subtract(item.position, goal) / math.dist(item.position, goal)
    behind = np.asarray(item.position) + away * (item.shape.radius + TIP_RADIUS)
    if np.abs(behind).max() > TIP_LIMIT:
        return False
    others = [other for other in scene.objects if other is not item]
    return all(
        math.dist(goal, other.position) > item.shape.radius + other.shape.radius
        and math.dist(behind, other.position) > other.shape.radius + TIP_RADIUS
        for other in others
    )


@dataclass(frozen=True)
class TaskSet:
    """Tasks under a name, in a file whose hash is checked when it is read.

    Args:
        name: of the set.
        tasks: in order.
    """

    name: str
    tasks: tuple[Task, ...]

    def __len__(self) -> int:
        """Number of tasks."""
        return len(self.tasks)

    def __iter__(self) -> Iterator[Task]:
        """The tasks in order."""
        return iter(self.tasks)

    def __getitem__(self, index: int) -> Task:
        """One task."""
        return self.tasks[index]

    @property
    def sha256(self) -> str:
        """Hash of everything in the set, independent of white space and of the order of keys."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @classmethod
    def sample(
        cls,
        num: int,
        seed: int,
        split: str = "train",
        *,
        num_objects: tuple[int, int] = (1, 3),
        name: str | None = None,
    ) -> TaskSet:
        """Draws `num` tasks; seeds whose scene has room for no goal are passed over.

        Raises:
            ValueError: `num` is not positive, or the split or numbers of objects are unknown.
        """
        if num < 1:
            raise ValueError(f"a task set needs at least one task, got num={num}")
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        check_split(split)
        check_num_objects(num_objects)
        tasks: list[Task] = []
        for offset in range(20 * num + 100):
            try:
                tasks.append(sample_task(seed * 1_000_003 + offset, split=split, num_objects=num_objects))
            except ValueError:
                continue
            if len(tasks) == num:
                return cls(name or f"{split}-{seed}", tuple(tasks))
        raise ValueError(f"found only {len(tasks)} of {num} tasks with num_objects={num_objects}; allow fewer objects")

    def save(self, path: str | os.PathLike) -> None:
        """Writes the set as JSON, complete or not at all."""
        write_text(path, json.dumps({**self._content(), "sha256": self.sha256}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike) -> TaskSet:
        """Reads a set.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: not a task set, another version, a broken task, or a wrong hash.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no task set at {path}; {_known_sets(path.name)}")
        try:
            record = json.loads(path.read_text())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path} is not JSON ({error}), which a task set is; shipped sets: {', '.join(shipped_task_sets())}"
            ) from error
        if not isinstance(record, dict) or record.get("task_set_version") != TASK_SET_VERSION:
            found = record.get("task_set_version") if isinstance(record, dict) else type(record).__name__
            raise ValueError(f"{path}: not a task set of version {TASK_SET_VERSION} (got {found!r})")
        try:
            made = cls(str(record["name"]), tuple(Task.from_json(item) for item in record["tasks"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: broken task set: {error}") from error
        if record.get("camera") != PUSH_CAMERA.digest():
            raise ValueError(
                f"{path}: its goal pixels were made for camera {record.get('camera')!r}, "
                f"this version has {PUSH_CAMERA.digest()!r}"
            )
        if record.get("sha256") != made.sha256:
            raise ValueError(
                f"{path}: content has sha256 {made.sha256}, the file claims "
                f"{record.get('sha256')!r}; it was changed by hand or damaged"
            )
        return made

    @classmethod
    def shipped(cls, name: str) -> TaskSet:
        """A set that comes with the package, such as `"demo-v1"`.

        Raises:
            ValueError: unknown name.
        """
        if name not in shipped_task_sets():
            raise ValueError(f"unknown task set {name!r}; {_known_sets(name)}")
        return cls.load(_SHIPPED / f"{name}.json")

    def _content(self) -> dict[str, Any]:
        return {
            "task_set_version": TASK_SET_VERSION,
            "name": self.name,
            "camera": PUSH_CAMERA.digest(),
            "tasks": [task.to_json() for task in self.tasks],
        }


_SHIPPED = Path(__file__).parent / "tasks"


def shipped_task_sets() -> list[str]:
    """Names of the sets that come with the package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.json"))


def _known_sets(name: str) -> str:
    return f"shipped sets: {', '.join(shipped_task_sets())}{did_you_mean(name, shipped_task_sets())}"
