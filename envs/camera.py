"""Pinhole camera: where a point of the world appears in the picture, and back.

World: x right, y away from the camera, z up [m]. Pixels are (row, column); integer coordinates are pixel centres, so
(0, 0) is the centre of the upper left pixel and (-0.5, -0.5) the corner of the picture.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A camera without roll that looks at a point.

    Args:
        eye: its position [m].
        target: the point in the middle of the picture [m].
        field_of_view: vertical opening angle [degrees].
        height: rows of the picture.
        width: columns of the picture.
    """

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    field_of_view: float
    height: int = 64
    width: int = 64

    def __post_init__(self):
        """Check every value."""
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a picture has at least one row and column, got {self.height} x {self.width}")
        if not 0 < self.field_of_view < 180:
            raise ValueError(f"field_of_view must be within 0..180 degrees, got {self.field_of_view}")
        if math.dist(self.eye[:2], self.target[:2]) < 1e-6:
            raise ValueError("the camera may not look straight down: which way is up in the picture would be undefined")

    @cached_property
    def axes(self) -> np.ndarray:
        """Unit vectors `[3, 3]`: right, up, backward (towards the viewer)."""
        backward = np.subtract(self.eye, self.target)
        backward = backward / math.sqrt(float((backward**2).sum()))
        right = np.array([-backward[1], backward[0], 0.0])
        right = right / math.hypot(right[0], right[1])
        return np.stack([right, np.cross(backward, right), backward])

    @property
    def focal(self) -> float:
        """Focal length [px]."""
        return self.height / (2 * math.tan(math.radians(self.field_of_view) / 2))

    def resized(self, height: int, width: int | None = None) -> Camera:
        """The same view at another resolution; square unless a width is given."""
        return replace(self, height=height, width=height if width is None else width)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels `[..., 2]` (row, col) of points `[..., 3]` [m]; not clipped to the picture.

        Raises:
            ValueError: wrong shape, or a point that is not in front of the camera.
        """
        points = np.asarray(points, dtype=np.float64)
        if points.shape[-1:] != (3,):
            raise ValueError(f"points must have shape [..., 3], got {points.shape}")
        # Written out instead of a matrix product: sums in a fixed order give the same pixels on every machine.
        offset, (right, up, backward) = points - np.asarray(self.eye), self.axes
        x, y, z = ((offset * axis).sum(axis=-1) for axis in (right, up, backward))
        if np.any(z >= 0):
            raise ValueError("a point lies behind the camera and has no pixel")
        row = self.focal * (y / z) + (self.height - 1) / 2
        col = self.focal * (x / -z) + (self.width - 1) / 2
        return np.stack([row, col], axis=-1)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Unit directions `[..., 3]` from the eye through pixels `[..., 2]` (row, col)."""
        pixels = np.asarray(pixels, dtype=np.float64)
        right, up, backward = self.axes
        x = (pixels[..., 1:] - (self.width - 1) / 2) / self.focal
        y = -(pixels[..., :1] - (self.height - 1) / 2) / self.focal
        direction = x * right + y * up - backward
        return direction / np.sqrt((direction**2).sum(axis=-1, keepdims=True))

    def unproject(self, pixels: np.ndarray, z: float | np.ndarray = 0.0) -> np.ndarray:
        """Points `[..., 3]` [m] on the horizontal plane at height `z` that appear at pixels `[..., 2]`.

        Raises:
            ValueError: the plane is not in front of the camera at a pixel.
        """
        direction = self.rays(pixels)
        height = np.broadcast_to(np.asarray(z, dtype=np.float64), direction.shape[:-1])
        distance = (height - self.eye[2]) / direction[..., 2]
        if np.any(~(distance > 0)):
            raise ValueError(f"a pixel's ray does not meet the plane at height {z} m in front of the camera")
        points = np.asarray(self.eye) + direction * distance[..., None]
        points[..., 2] = height
        return points

    def metres_per_pixel(self, point: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> float:
        """Width of a pixel at the depth of a point [m]."""
        depth = -((np.asarray(point) - np.asarray(self.eye)) * self.axes[2]).sum()
        return float(depth / self.focal)

    def digest(self) -> str:
        """Short hash of the view, recorded with data sets."""
        values = [*self.eye, *self.target, self.field_of_view, self.height, self.width]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]


# Nearly from above: the arm hides little, and a metre is almost the same number of pixels everywhere in the bin.
PUSH_CAMERA = Camera(eye=(0.0, -0.45, 1.44), target=(0.0, 0.004, 0.0), field_of_view=22.2)
