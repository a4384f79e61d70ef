"""Outlines of the objects on the table: compounds of upright boxes and cylinders, all of one height.

A shape is centred on its *centre point*: the point of its top face that is nearest to its centre of mass among the
points with enough material around them. The centroid of an L or a T can lie beside the object; the centre point never
does, so the pixel that stands for an object always shows the object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

TRAIN_SHAPES = ("box", "bar", "cylinder", "stadium", "L", "T", "plus")
NOVEL_SHAPES = ("C", "Z", "star", "dumbbell", "H")
VARIED_SHAPES = ("compound",)
"""A kind that is never the same twice: one to four limbs, joined at random. None of the named kinds is built this way;
a compound may by chance resemble one."""
ALL_SHAPES = TRAIN_SHAPES + NOVEL_SHAPES + VARIED_SHAPES

_COMPOUND_REACH = (0.030, 0.066)  # [m] from the body's middle to the farthest point
_GRID_STEP = 0.002  # [m] resolution at which area, centre of mass and clearance are measured


@dataclass(frozen=True)
class Primitive:
    """An upright box or cylinder, seen from above.

    Args:
        kind: `"box"` or `"cylinder"`.
        half_size: half lengths along its own x and y [m]; a cylinder has its radius twice.
        position: centre in the object's frame [m].
        yaw: turn about the vertical [rad].
    """

    kind: str
    half_size: tuple[float, float]
    position: tuple[float, float]
    yaw: float = 0.0

    @property
    def reach(self) -> float:
        """Radius of the circle about the primitive's own centre that encloses it [m]."""
        return math.hypot(*self.half_size) if self.kind == "box" else self.half_size[0]

    def depth(self, points: np.ndarray) -> np.ndarray:
        """Depth `[...]` [m] of points `[..., 2]` inside the outline; negative outside."""
        offset = points - np.asarray(self.position)
        if self.kind == "cylinder":
            return self.half_size[0] - np.hypot(offset[..., 0], offset[..., 1])
        cosine, sine = math.cos(self.yaw), math.sin(self.yaw)
        along = np.abs(cosine * offset[..., 0] + sine * offset[..., 1])
        across = np.abs(-sine * offset[..., 0] + cosine * offset[..., 1])
        return np.minimum(self.half_size[0] - along, self.half_size[1] - across)

    def extent(self, angle: float) -> tuple[float, float]:
        """Lowest and highest coordinate [m] along the direction at `angle` [rad]."""
        middle = math.cos(angle) * self.position[0] + math.sin(angle) * self.position[1]
        if self.kind == "cylinder":
            half = self.half_size[0]
        else:
            turned = angle - self.yaw
            half = abs(math.cos(turned)) * self.half_size[0] + abs(math.sin(turned)) * self.half_size[1]
        return middle - half, middle + half


@dataclass(frozen=True)
class Shape:
    """A compound outline whose origin is its centre point (see the module).

    Args:
        kind: one of `ALL_SHAPES`.
        primitives: its parts.
        centre_of_mass: in the object's frame [m].
        radius: of the circle about the origin that encloses it [m].
        friction_radius: mean distance of its area from its centre of mass [m]; the lever arm of dry friction against
            turning.
    """

    kind: str
    primitives: tuple[Primitive, ...]
    centre_of_mass: tuple[float, float]
    radius: float
    friction_radius: float

    def depth(self, points: np.ndarray) -> np.ndarray:
        """Depth `[...]` [m] of points `[..., 2]` inside the outline; negative outside."""
        return np.max([part.depth(points) for part in self.primitives], axis=0)

    def extent(self, angle: float) -> tuple[float, float]:
        """Lowest and highest coordinate [m] of the outline along the direction at `angle` [rad]."""
        lows, highs = zip(*(part.extent(angle) for part in self.primitives), strict=True)
        return min(lows), max(highs)


def _box(half_x: float, half_y: float, x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> Primitive:
    return Primitive("box", (half_x, half_y), (x, y), yaw)


def _disc(radius: float, x: float = 0.0, y: float = 0.0) -> Primitive:
    return Primitive("cylinder", (radius, radius), (x, y))


def _compound(rng: np.random.Generator) -> list[Primitive]:
    """A body and up to three limbs, each begun inside what is there already; about as large as the named kinds."""
    while True:
        parts = [_body(rng)]
        for _ in range(int(rng.choice(4, p=(0.15, 0.3, 0.35, 0.2)))):
            root = parts[int(rng.integers(len(parts)))]
            along, turn = float(rng.uniform(-1, 1)), float(rng.uniform(-math.pi, math.pi))
            if rng.random() < 0.6:  # limbs that meet at right angles are the commoner ones on a table
                turn = root.yaw + math.pi / 2 * int(rng.integers(4))
            x = root.position[0] + along * root.half_size[0] * math.cos(root.yaw)
            y = root.position[1] + along * root.half_size[0] * math.sin(root.yaw)
            parts.append(_limb(rng, x, y, turn))
        reach = max(math.hypot(*part.position) + part.reach for part in parts)
        if _COMPOUND_REACH[0] <= reach <= _COMPOUND_REACH[1]:
            return parts


def _body(rng: np.random.Generator) -> Primitive:
    if rng.random() < 0.2:
        return _disc(float(rng.uniform(0.018, 0.037)))
    wide = rng.random() < 0.3
    half_width = float(rng.uniform(0.022, 0.036) if wide else rng.uniform(0.010, 0.018))
    return _box(float(rng.uniform(0.024, 0.036) if wide else rng.uniform(0.026, 0.050)), half_width)


def _limb(rng: np.random.Generator, x: float, y: float, yaw: float) -> Primitive:
    """A box that begins at (x, y) and goes out along yaw, or a disc there."""
    if rng.random() < 0.25:
        return _disc(float(rng.uniform(0.015, 0.023)), x, y)
    half = float(rng.uniform(0.016, 0.034))
    return _box(half, float(rng.uniform(0.010, 0.017)), x + half * math.cos(yaw), y + half * math.sin(yaw), yaw)


def _parts(kind: str, rng: np.random.Generator) -> list[Primitive]:
    """Random parts of a shape, not yet centred. Every call draws the same number of values, whatever the named kind."""
    if kind == "compound":
        return _compound(rng)
    first, second, length, limb = (float(value) for value in rng.random(4))
    length = 0.034 + 0.011 * length  # half length of a long limb [m]
    limb = 0.0135 + 0.0030 * limb  # half width of a limb [m]
    if kind == "box":
        return [_box(0.024 + 0.012 * first, 0.024 + 0.012 * second)]
    if kind == "bar":
        return [_box(0.040 + 0.011 * first, 0.015 + 0.004 * second)]
    if kind == "cylinder":
        return [_disc(0.025 + 0.012 * first)]
    if kind == "stadium":
        half, radius = 0.018 + 0.014 * first, 0.017 + 0.004 * second
        return [_box(half, radius), _disc(radius, half), _disc(radius, -half)]
    if kind == "L":
        arm = length * 0.52
        return [_box(length, limb), _box(limb, arm, length - limb, limb + arm)]
    if kind == "T":
        stem = length * 0.55
        return [_box(length, limb), _box(limb, stem, 0.0, -(limb + stem))]
    if kind == "plus":
        arm = (length - limb) / 2
        return [_box(length, limb), _box(limb, arm, 0.0, limb + arm), _box(limb, arm, 0.0, -limb - arm)]
    if kind == "C":
        arm = length * 0.50
        return [_box(length, limb)] + [_box(limb, arm, side * (length - limb), limb + arm) for side in (-1, 1)]
    if kind == "Z":
        stem, arm = length * 0.62, length * 0.5
        return [_box(limb, stem)] + [_box(arm, limb, s * (arm - limb), s * (stem + limb)) for s in (-1, 1)]
    if kind == "star":
        return [_box(length, limb * 0.75, yaw=turn * math.pi / 3) for turn in range(3)]
    if kind == "dumbbell":
        radius, reach = 0.018 + 0.004 * first, length * 0.75
        return [_box(reach, limb * 0.75)] + [_disc(radius, side * reach) for side in (-1, 1)]
    if kind == "H":
        arm, bridge = length * 0.85, length * 0.5
        return [_box(bridge, limb)] + [_box(limb * 0.85, arm, s * (bridge + limb * 0.85)) for s in (-1, 1)]
    raise ValueError(f"unknown shape {kind!r}; known shapes: {', '.join(ALL_SHAPES)}")


def sample_shape(kind: str, rng: np.random.Generator) -> Shape:
    """Draws a shape of one kind with random proportions.

    Args:
        kind: one of `ALL_SHAPES`.
        rng: consumed (four values; a compound takes more).

    Raises:
        ValueError: the kind is unknown.
    """
    return _centred(kind, _parts(kind, rng))


def _centred(kind: str, parts: list[Primitive]) -> Shape:
    reach = max(math.hypot(*part.position) + part.reach for part in parts)
    axis = np.arange(-reach, reach + _GRID_STEP, _GRID_STEP)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)  # [G, 2]
    clearance = np.max([part.depth(grid) for part in parts], axis=0)  # [G]
    inside = clearance > 0
    grid, clearance = grid[inside], clearance[inside]
    mass_centre = grid.mean(axis=0)
    from_mass_centre = np.hypot(*(grid - mass_centre).T)  # [G]
    # Among the points as deep in material as a limb allows, the nearest to the centre of mass. Rounding makes the
    # choice independent of the last bit of a sum.
    thinnest = min(float(clearance.max()), *(min(part.half_size) for part in parts))
    candidates = np.flatnonzero(clearance >= 0.75 * thinnest)
    centre = np.round(grid[candidates[np.argmin(np.round(from_mass_centre[candidates], 6))]], 4)
    moved = tuple(
        replace(part, position=(float(part.position[0] - centre[0]), float(part.position[1] - centre[1])))
        for part in parts
    )
    return Shape(
        kind=kind,
        primitives=moved,
        centre_of_mass=(float(mass_centre[0] - centre[0]), float(mass_centre[1] - centre[1])),
        radius=max(math.hypot(*part.position) + part.reach for part in moved),
        friction_radius=float(from_mass_centre.mean()),
    )
