"""A camera that has moved: its pictures, and everything in pixels, brought to where the recording camera saw them.

A predictor knows one camera. Where another's place is known, nothing has to be learned anew: both see the plane in
which the robot works, so a homography leads from one picture to the other (Hartley & Zisserman, 13.1). It is exact for
a camera that only turned, and for points of the plane if it also moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from visual_foresight.planners.context import require_image
from visual_foresight.planners.objectives.homography import Homography

_SMALLEST_DETERMINANT = 1e-9


class Rectification:
    """Pixels and pictures of the present camera as the recording camera would have them.

    Args:
        matrix: [3, 3], ``(row, col, 1)`` of the present camera to that of the recording one, up to a factor.

    Raises:
        ValueError: another shape, not finite, or without an inverse.
    """

    def __init__(self, matrix: np.ndarray) -> None:
        """Check and store the matrix and its inverse."""
        matrix = np.asarray(matrix, np.float64)
        if matrix.shape != (3, 3) or not np.all(np.isfinite(matrix)):
            raise ValueError(f"a rectification is a finite matrix [3, 3], got shape {list(matrix.shape)}")
        matrix = matrix / max(np.abs(matrix).max(), 1e-300)
        if abs(np.linalg.det(matrix)) < _SMALLEST_DETERMINANT:
            raise ValueError("a rectification must have an inverse: were all points that it was made from on one line?")
        self._forward, self._backward = Homography(matrix), Homography(np.linalg.inv(matrix))

    @classmethod
    def between(cls, present: Homography, recording: Homography) -> Rectification:
        """The rectification of two cameras that see the same plane.

        Args:
            present: places on the plane to pixels of the present camera; four known places and their pixels give it
                (`Homography.fit`).
            recording: the same places to pixels of the camera that the predictor was trained with.
        """
        return cls(recording.matrix @ np.linalg.inv(present.matrix))

    def pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels [..., 2] as (row, col) of the present camera to those of the recording one."""
        return _mapped(self._forward, pixels)

    def restored_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """The way back of `pixels`."""
        return _mapped(self._backward, pixels)

    def image(self, image: np.ndarray) -> np.ndarray:
        """A picture [H, W, 3] of the present camera as the recording one would show it, of the same type.

        Cubic between pixels; what the present camera does not see repeats its border.

        Raises:
            ValueError: not [H, W, 3].
        """
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"an image has shape [H, W, 3], got {list(image.shape)}")
        return _warped(image, self._backward, order=3)

    def restored_images(self, images: np.ndarray) -> np.ndarray:
        """Pictures [T, H, W, 3] of the recording camera as the present one would show them: the way back of `image`."""
        return np.stack([_warped(np.asarray(image), self._forward, order=3) for image in images])

    def restored_maps(self, maps: np.ndarray) -> np.ndarray:
        """Probability maps [T, H, W] of the recording camera as the present one's; each keeps its sum.

        One whose mass lies outside the present picture is zeros.
        """
        maps = np.asarray(maps)
        moved = np.stack([_warped(one[..., None], self._forward, order=1, outside="constant")[..., 0] for one in maps])
        before, after = (values.sum(axis=(1, 2), keepdims=True) for values in (maps, moved))
        return moved * np.divide(before, after, out=np.zeros_like(before), where=after > 0)


class RectifiedController:
    """A controller that works in the recording camera's picture, used with the present camera's.

    Its objective, goals and maps are the recording camera's; what `act` is told is the present one's.

    Args:
        controller: :class:`MPC` or :class:`AsynchronousMPC`. Everything but `act` is its own.
        rectification: from the present camera to the recording one.
    """

    def __init__(self, controller: Any, rectification: Rectification) -> None:
        """Wrap the controller."""
        self.controller, self.rectification = controller, rectification

    def act(self, observation: Mapping[str, Any], *, pixels: np.ndarray | None = None) -> np.ndarray:
        """As the controller's own; "image" and ``pixels`` [P, 2] are the present camera's."""
        require_image(observation)
        seen = {**observation, "image": self.rectification.image(observation["image"])}
        moved = None if pixels is None else self.rectification.pixels(pixels)
        return self.controller.act(seen, pixels=moved)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the controller's."""
        if name == "controller":  # not there yet: a copy is being made
            raise AttributeError(name)
        return getattr(self.controller, name)


def _mapped(way: Homography, pixels: np.ndarray) -> np.ndarray:
    pixels = np.asarray(pixels, np.float64)
    if pixels.shape[-1:] != (2,):
        raise ValueError(f"pixels have shape [..., 2] as (row, col), got {list(pixels.shape)}")
    return way.project(pixels)


def _warped(image: np.ndarray, source: Homography, *, order: int, outside: str = "nearest") -> np.ndarray:
    """An image [H, W, C] read at the places to which a matrix leads its pixels."""
    from scipy import ndimage  # slow to import, and seldom needed

    height, width = image.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1)
    places = np.moveaxis(_mapped(source, grid), -1, 0)
    planes = [
        ndimage.map_coordinates(image[..., channel].astype(np.float64), places, order=order, mode=outside)
        for channel in range(image.shape[2])
    ]
    values = np.stack(planes, axis=-1)
    if image.dtype == np.uint8:
        return np.clip(np.round(values), 0, 255).astype(np.uint8)
    return np.clip(values, image.min(), image.max()).astype(image.dtype)
