"""Outlines that are never the same twice, to train on: `"compound"` and `"jointed"`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from visual_foresight.envs.primitives import Primitive, box, disc

_COMPOUND_REACH = (0.030, 0.066)  # [m] from the body's middle to the farthest point
_JOINTED_RADIUS = (0.034, 0.064)  # [m] from the middle of the area to the farthest point
_ALIKE = 0.75  # share of their union that two outlines have in common, from which on one resembles the other
_NUM_TURNS = 36
_GRID_STEP = 0.0025  # [m] resolution at which outlines are compared
_FINE_STEP = 0.0015  # [m] and at which their areas and middles are found
_AREA = 0.0032  # [m^2] to which outlines are scaled before they are compared


def compound(rng: np.random.Generator) -> list[Primitive]:
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
        return disc(float(rng.uniform(0.018, 0.037)))
    wide = rng.random() < 0.3
    half_width = float(rng.uniform(0.022, 0.036) if wide else rng.uniform(0.010, 0.018))
    return box(float(rng.uniform(0.024, 0.036) if wide else rng.uniform(0.026, 0.050)), half_width)


def _limb(rng: np.random.Generator, x: float, y: float, yaw: float) -> Primitive:
    """A box that begins at (x, y) and goes out along yaw, or a disc there."""
    if rng.random() < 0.25:
        return disc(float(rng.uniform(0.015, 0.023)), x, y)
    half = float(rng.uniform(0.016, 0.034))
    return box(half, float(rng.uniform(0.010, 0.017)), x + half * math.cos(yaw), y + half * math.sin(yaw), yaw)


def jointed(rng: np.random.Generator, apart_from: Sequence[Sequence[Primitive]]) -> list[Primitive]:
    """Two to five limbs, mostly joined at their ends: hooks, steps, forks, with bays that a finger fits in.

    Args:
        rng: consumed.
        apart_from: outlines that none of these may resemble, in whatever turn, mirrored or not.
    """
    while True:
        parts = [box(float(rng.uniform(0.020, 0.042)), float(rng.uniform(0.010, 0.016)))]
        for _ in range(int(rng.choice(4, p=(0.15, 0.4, 0.3, 0.15))) + 1):
            parts.append(_joined(rng, parts))
        middle = _covered(parts).mean(axis=0)
        radius = max(math.dist(part.position, middle) + part.reach for part in parts)
        if _JOINTED_RADIUS[0] <= radius <= _JOINTED_RADIUS[1] and likeness(parts, apart_from) < _ALIKE:
            return parts


def _joined(rng: np.random.Generator, parts: list[Primitive]) -> Primitive:
    """One more limb, at an end of a limb or anywhere along it."""
    root = parts[int(rng.integers(len(parts)))]
    along = float(rng.choice((-1.0, 1.0))) if rng.random() < 0.7 else float(rng.uniform(-1, 1))
    # Measured to the middle of the limb's end, so that limbs that meet there are flush.
    along *= 1 - root.half_size[1] / root.half_size[0]
    turn = root.yaw + float(rng.choice((-1.0, 1.0))) * math.pi / 2
    if rng.random() < 0.5:
        turn += float(rng.uniform(-0.9, 0.9))
    half, half_width = float(rng.uniform(0.016, 0.036)), float(rng.uniform(0.010, 0.016))
    x = root.position[0] + along * root.half_size[0] * math.cos(root.yaw) + half * math.cos(turn)
    y = root.position[1] + along * root.half_size[0] * math.sin(root.yaw) + half * math.sin(turn)
    return box(half, half_width, x, y, turn)


def likeness(parts: Sequence[Primitive], others: Sequence[Sequence[Primitive]]) -> float:
    """The largest share of intersection in union with one of other outlines, of equal area and middle, in any turn.

    Args:
        parts: an outline.
        others: the outlines to compare it with, turned and mirrored.
    """
    if not others:
        return 0.0
    shown = _shown(parts, ((1.0, 0.0), (0.0, 1.0)))
    known = _turned_outlines(tuple(tuple(other) for other in others))
    common = known @ shown
    return float(np.max(common / (known.sum(axis=1) + shown.sum() - common)))


@lru_cache(maxsize=4)
def _turned_outlines(others: tuple[tuple[Primitive, ...], ...]) -> np.ndarray:
    """[outlines x turns x 2, G] float32, 1 inside."""
    shown = []
    for other in others:
        for angle in np.arange(_NUM_TURNS) * 2 * math.pi / _NUM_TURNS:
            cosine, sine = math.cos(angle), math.sin(angle)
            shown.append(_shown(other, ((cosine, -sine), (sine, cosine))))
            shown.append(_shown(other, ((cosine, sine), (sine, -cosine))))  # mirrored
    return np.array(shown)


def _shown(parts: Sequence[Primitive], turn: tuple[tuple[float, float], tuple[float, float]]) -> np.ndarray:
    """[G] float32: 1 where the outline is, after it was moved to the middle, scaled to one area, and turned."""
    covered = _covered(parts)
    scale = math.sqrt(len(covered) * _FINE_STEP**2 / _AREA)
    axis = np.arange(-0.07, 0.07, _GRID_STEP)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    points = scale * grid @ np.array(turn) + covered.mean(axis=0)
    return _inside(parts, points).astype(np.float32)


def _inside(parts: Sequence[Primitive], points: np.ndarray) -> np.ndarray:
    return np.max([part.depth(points) for part in parts], axis=0) > 0


def _covered(parts: Sequence[Primitive]) -> np.ndarray:
    """[N, 2] points of a grid that the outline covers."""
    reach = max(math.hypot(*part.position) + part.reach for part in parts)
    axis = np.arange(-reach, reach + _FINE_STEP, _FINE_STEP)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    return grid[_inside(parts, grid)]
