"""Boxes and cylinders seen from above: what outlines are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


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


def box(half_x: float, half_y: float, x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> Primitive:
    """A box."""
    return Primitive("box", (half_x, half_y), (x, y), yaw)


def disc(radius: float, x: float = 0.0, y: float = 0.0) -> Primitive:
    """A cylinder."""
    return Primitive("cylinder", (radius, radius), (x, y))
