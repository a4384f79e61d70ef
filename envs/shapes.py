"""Outlines of the objects on the table: compounds of upright boxes and cylinders, all of one height.

A shape is centred on its *centre point*: the point of its top face that is nearest to its centre of mass among the
points with enough material around them. The centroid of an L or a T can lie beside the object; the centre point never
does, so the pixel that stands for an object always shows the object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from visual_foresight.envs.compounds import compound, jointed
from visual_foresight.envs.primitives import Primitive, box, disc

TRAIN_SHAPES = ("box", "bar", "cylinder", "stadium", "L", "T", "plus")
NOVEL_SHAPES = ("C", "Z", "star", "dumbbell", "H")
VARIED_SHAPES = ("compound",)
"""A kind that is never the same twice: one to four limbs, joined at random. None of the named kinds is built this way;
a compound may by chance resemble one."""
JOINTED_SHAPES = ("jointed",)
"""A kind that is never the same twice: limbs joined mostly at their ends, with bays. One that resembles a novel kind
(`compounds.likeness`) is drawn again, so that those stay novel."""
ALL_SHAPES = TRAIN_SHAPES + NOVEL_SHAPES + VARIED_SHAPES + JOINTED_SHAPES

_GRID_STEP = 0.002  # [m] resolution at which area, centre of mass and clearance are measured


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


def _parts(kind: str, rng: np.random.Generator) -> list[Primitive]:
    """Random parts of a shape, not yet centred. Every call draws the same number of values, whatever the named kind."""
    if kind == "compound":
        return compound(rng)
    if kind == "jointed":
        return jointed(rng, _typical_novel())
    return _named(kind, *(float(value) for value in rng.random(4)))


@lru_cache(maxsize=1)
def _typical_novel() -> tuple[tuple[Primitive, ...], ...]:
    """The novel kinds with middling proportions."""
    return tuple(tuple(_named(kind, 0.5, 0.5, 0.5, 0.5)) for kind in NOVEL_SHAPES)


def _named(kind: str, first: float, second: float, length: float, limb: float) -> list[Primitive]:
    """The parts of a named kind; its proportions follow from four numbers in [0, 1)."""
    length = 0.034 + 0.011 * length  # half length of a long limb [m]
    limb = 0.0135 + 0.0030 * limb  # half width of a limb [m]
    if kind == "box":
        return [box(0.024 + 0.012 * first, 0.024 + 0.012 * second)]
    if kind == "bar":
        return [box(0.040 + 0.011 * first, 0.015 + 0.004 * second)]
    if kind == "cylinder":
        return [disc(0.025 + 0.012 * first)]
    if kind == "stadium":
        half, radius = 0.018 + 0.014 * first, 0.017 + 0.004 * second
        return [box(half, radius), disc(radius, half), disc(radius, -half)]
    if kind == "L":
        arm = length * 0.52
        return [box(length, limb), box(limb, arm, length - limb, limb + arm)]
    if kind == "T":
        stem = length * 0.55
        return [box(length, limb), box(limb, stem, 0.0, -(limb + stem))]
    if kind == "plus":
        arm = (length - limb) / 2
        return [box(length, limb), box(limb, arm, 0.0, limb + arm), box(limb, arm, 0.0, -limb - arm)]
    if kind == "C":
        arm = length * 0.50
        return [box(length, limb)] + [box(limb, arm, side * (length - limb), limb + arm) for side in (-1, 1)]
    if kind == "Z":
        stem, arm = length * 0.62, length * 0.5
        return [box(limb, stem)] + [box(arm, limb, s * (arm - limb), s * (stem + limb)) for s in (-1, 1)]
    if kind == "star":
        return [box(length, limb * 0.75, yaw=turn * math.pi / 3) for turn in range(3)]
    if kind == "dumbbell":
        radius, reach = 0.018 + 0.004 * first, length * 0.75
        return [box(reach, limb * 0.75)] + [disc(radius, side * reach) for side in (-1, 1)]
    if kind == "H":
        arm, bridge = length * 0.85, length * 0.5
        return [box(bridge, limb)] + [box(limb * 0.85, arm, s * (bridge + limb * 0.85)) for s in (-1, 1)]
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
