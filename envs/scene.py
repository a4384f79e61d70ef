"""What lies on the table: a JSON-plain record of objects from which the same physics model can be built anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from visual_foresight.envs.shapes import (
    JOINTED_SHAPES,
    NOVEL_SHAPES,
    TRAIN_SHAPES,
    VARIED_SHAPES,
    Primitive,
    Shape,
    sample_shape,
)

BIN_HALF_SIZE = 0.25  # [m] inner half size of the square bin, along x and along y
TIP_LIMIT = 0.236  # [m] how far the centre of the finger goes from the middle of the bin, along x and along y
TIP_RADIUS = 0.0115  # [m]
MAX_OBJECTS = 4
SPLITS = ("train", "novel", "varied", "jointed")
"""`"train"` and `"novel"` share neither shapes nor colours. `"varied"` is more to train on: shapes and colours that are
drawn anew for every object, the colours away from those of `"novel"`. `"jointed"` is like it, of shapes with bays and
arms that are kept away from those of `"novel"`."""
SCENE_FORMAT = 1

SHAPES_OF_SPLIT = {"train": TRAIN_SHAPES, "novel": NOVEL_SHAPES, "varied": VARIED_SHAPES, "jointed": JOINTED_SHAPES}
_DRAWN_ANEW = ("varied", "jointed")  # of any colour
_COLOURS = {
    "train": (
        (0.84, 0.13, 0.12), (0.10, 0.32, 0.82), (0.08, 0.52, 0.20), (0.98, 0.80, 0.08), (0.05, 0.62, 0.66),
        (0.42, 0.20, 0.62), (0.95, 0.46, 0.06),
    ),
    "novel": ((0.62, 0.84, 0.16), (0.30, 0.16, 0.08), (0.96, 0.94, 0.90), (0.40, 0.72, 0.98), (0.09, 0.11, 0.28)),
}  # fmt: skip
_TABLE_COLOURS = ((0.66, 0.54, 0.40), (0.16, 0.17, 0.19))  # as the renderer paints the bin and what is around it
_COLOUR_GAP = 0.2  # of a varied colour to those of the table and of the novel objects
MASS = (0.08, 0.30)  # [kg], drawn evenly in its logarithm
FRICTION = (0.40, 0.85)  # against the table; lower values let an object glide on for centimetres
_HEIGHT = (0.028, 0.040)  # [m]
_GAP = 0.012  # [m] free space between two objects and between an object and the finger
_WALL_GAP = 0.026  # [m] free space to the walls: the finger fits behind every object


@dataclass(frozen=True)
class SceneObject:
    """One object: its outline, its matter, and where it lies when the episode begins.

    Args:
        shape: outline; the object's origin is the shape's centre point.
        height: of its upright sides [m].
        mass: [kg].
        friction: sliding friction against the table.
        colour: red, green, blue in [0, 1].
        position: x, y of its origin [m].
        yaw: turn about the vertical [rad].
    """

    shape: Shape
    height: float
    mass: float
    friction: float
    colour: tuple[float, float, float]
    position: tuple[float, float]
    yaw: float

    def to_json(self) -> dict[str, Any]:
        """JSON-plain form."""
        shape = self.shape
        parts = [[p.kind, *p.half_size, *p.position, p.yaw] for p in shape.primitives]
        return {
            "shape": shape.kind, "parts": parts, "centre_of_mass": list(shape.centre_of_mass), "radius": shape.radius,
            "friction_radius": shape.friction_radius, "height": self.height, "mass": self.mass,
            "friction": self.friction,
            "colour": list(self.colour), "position": list(self.position), "yaw": self.yaw,
        }  # fmt: skip

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> SceneObject:
        """Inverse of `to_json`."""
        parts = tuple(
            Primitive(str(k), (float(a), float(b)), (float(x), float(y)), float(w))
            for k, a, b, x, y, w in record["parts"]
        )
        if not parts or any(part.kind not in ("box", "cylinder") for part in parts):
            raise ValueError(f"a part of object {record['shape']!r} is neither 'box' nor 'cylinder', or it has no part")
        com_x, com_y = (float(value) for value in record["centre_of_mass"])
        shape = Shape(
            str(record["shape"]), parts, (com_x, com_y), float(record["radius"]), float(record["friction_radius"])
        )
        red, green, blue = (float(value) for value in record["colour"])
        x, y = (float(value) for value in record["position"])
        made = cls(
            shape, float(record["height"]), float(record["mass"]), float(record["friction"]), (red, green, blue), (x,
            y), float(record["yaw"]),
        )  # fmt: skip
        numbers = [made.height, made.mass, made.friction, x, y, made.yaw, shape.radius, shape.friction_radius]
        if not np.all(np.isfinite(numbers)) or min(made.height, made.mass, made.friction) <= 0:
            raise ValueError(
                f"object {shape.kind!r}: height, mass and friction must be positive and every number finite; "
                f"got {numbers}"
            )
        return made


@dataclass(frozen=True)
class Scene:
    """Objects and where the finger starts.

    Args:
        objects: one to `MAX_OBJECTS`.
        tip_position: x, y of the finger at the start [m].
        split: one of `SPLITS`.
    """

    objects: tuple[SceneObject, ...]
    tip_position: tuple[float, float]
    split: str = "train"

    def to_json(self) -> dict[str, Any]:
        """JSON-plain form; `from_json` gives an equal scene, to the last bit."""
        return {
            "format": SCENE_FORMAT,
            "split": self.split,
            "tip_position": list(self.tip_position),
            "objects": [item.to_json() for item in self.objects],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Scene:
        """Inverse of `to_json`.

        Raises:
            ValueError: a field is missing, of the wrong kind or out of range.
        """
        if not isinstance(record, Mapping) or record.get("format") != SCENE_FORMAT:
            found = record.get("format") if isinstance(record, Mapping) else type(record).__name__
            raise ValueError(
                f"not a scene of format {SCENE_FORMAT} (got {found!r}); "
                "pass metadata['scene'] of an episode or Scene.to_json()"
            )
        try:
            objects = tuple(SceneObject.from_json(item) for item in record["objects"])
            x, y = (float(value) for value in record["tip_position"])
            split = str(record["split"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"broken scene: {type(error).__name__} {error}; write it with Scene.to_json()") from error
        if not 1 <= len(objects) <= MAX_OBJECTS:
            raise ValueError(f"a scene has 1 to {MAX_OBJECTS} objects, this one has {len(objects)}")
        return cls(objects, (x, y), split)


def sample_scene(rng: np.random.Generator, *, split: str = "train", num_objects: tuple[int, int] = (1, 3)) -> Scene:
    """Draws a scene: objects that touch neither each other nor the walls, and a free place for the finger.

    In two scenes of three the finger starts near an object, else anywhere: an episode of 15 steps covers at most 0.45
    m.

    Args:
        rng: consumed.
        split: shapes and colours to draw from, one of `SPLITS`.
        num_objects: smallest and largest number of objects; a crowded bin may hold fewer than drawn.

    Raises:
        ValueError: unknown split or numbers of objects outside 1..4.
    """
    check_split(split)
    low, high = check_num_objects(num_objects)
    wanted = int(rng.integers(low, high + 1))
    colours = None if split in _DRAWN_ANEW else rng.permutation(len(_COLOURS[split]))
    objects: list[SceneObject] = []
    for index in range(wanted):
        colour = _varied_colour(rng) if colours is None else _colour(rng, split, int(colours[index]))
        item = _sample_object(rng, split, colour)
        placed = _place(rng, item, objects)
        if placed is not None:
            objects.append(placed)
    return Scene(tuple(objects), _sample_tip(rng, objects), split)


def add_object(scene: Scene, rng: np.random.Generator, *, split: str) -> Scene | None:
    """The scene with one more object, behind the others in number, that touches neither them nor walls nor finger.

    Args:
        scene: stays as it is otherwise.
        rng: consumed.
        split: shapes and colours to draw the object from.

    Returns:
        None where a place was not found.

    Raises:
        ValueError: unknown split.
    """
    check_split(split)
    varied = split in _DRAWN_ANEW
    colour = _varied_colour(rng) if varied else _colour(rng, split, int(rng.integers(len(_COLOURS[split]))))
    placed = _place(rng, _sample_object(rng, split, colour), list(scene.objects))
    if placed is None or math.dist(placed.position, scene.tip_position) <= placed.shape.radius + TIP_RADIUS + _GAP:
        return None
    return Scene((*scene.objects, placed), scene.tip_position, scene.split)


def check_split(split: str) -> None:
    """Raises ValueError unless `split` is one of `SPLITS`."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known splits: {', '.join(SPLITS)}")


def check_num_objects(num_objects: tuple[int, int] | int) -> tuple[int, int]:
    """Smallest and largest number of objects, from a pair or a single number.

    Raises:
        ValueError: not within 1..`MAX_OBJECTS`, or the smallest above the largest.
    """
    pair = (num_objects, num_objects) if isinstance(num_objects, int | np.integer) else tuple(num_objects)
    if (
        len(pair) != 2
        or not all(isinstance(n, int | np.integer) for n in pair)
        or not 1 <= pair[0] <= pair[1] <= MAX_OBJECTS
    ):
        raise ValueError(
            f"num_objects must be a number or a pair (smallest, largest) within 1..{MAX_OBJECTS}, got {num_objects!r}"
        )
    return int(pair[0]), int(pair[1])


def _colour(rng: np.random.Generator, split: str, index: int) -> np.ndarray:
    """[3] one of a split's colours, varied a little."""
    return np.clip(np.array(_COLOURS[split][index]) + rng.uniform(-0.03, 0.03, 3), 0, 1)


def _varied_colour(rng: np.random.Generator) -> np.ndarray:
    """[3] any colour but those that would melt into the table, or are kept for objects never trained on."""
    taken = np.array(_COLOURS["novel"] + _TABLE_COLOURS)
    while True:
        colour = rng.uniform(0.03, 0.98, 3)
        if np.linalg.norm(taken - colour, axis=1).min() > _COLOUR_GAP:
            return colour


def _sample_object(rng: np.random.Generator, split: str, colour: np.ndarray) -> SceneObject:
    kinds = SHAPES_OF_SPLIT[split]
    shape = sample_shape(kinds[int(rng.integers(len(kinds)))], rng)
    red, green, blue = (float(value) for value in colour)
    return SceneObject(
        shape=shape,
        height=float(rng.uniform(*_HEIGHT)),
        mass=float(math.exp(rng.uniform(math.log(MASS[0]), math.log(MASS[1])))),
        friction=float(rng.uniform(*FRICTION)),
        colour=(red, green, blue),
        position=(0.0, 0.0),
        yaw=float(rng.uniform(-math.pi, math.pi)),
    )


def _place(rng: np.random.Generator, item: SceneObject, others: list[SceneObject]) -> SceneObject | None:
    room = BIN_HALF_SIZE - item.shape.radius - _WALL_GAP
    for _ in range(200):
        x, y = (float(value) for value in rng.uniform(-room, room, 2))
        if all(math.dist((x, y), o.position) > item.shape.radius + o.shape.radius + _GAP for o in others):
            return SceneObject(item.shape, item.height, item.mass, item.friction, item.colour, (x, y), item.yaw)
    return None


def _sample_tip(rng: np.random.Generator, objects: list[SceneObject]) -> tuple[float, float]:
    near = rng.random() < 0.65
    for attempt in range(400):
        if near and attempt < 200:
            item = objects[int(rng.integers(len(objects)))]
            angle, distance = rng.uniform(-math.pi, math.pi), item.shape.radius + rng.uniform(0.03, 0.09)
            x, y = item.position[0] + distance * math.cos(angle), item.position[1] + distance * math.sin(angle)
        else:
            x, y = rng.uniform(-0.21, 0.21, 2)
        free = all(math.dist((x, y), o.position) > o.shape.radius + TIP_RADIUS + _GAP for o in objects)
        if free and max(abs(x), abs(y)) <= 0.22:
            return float(x), float(y)
    raise ValueError(f"no free place for the finger among {len(objects)} objects; use fewer of them")
