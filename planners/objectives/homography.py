"""From places on the table to pixels: the map of a plane through a pinhole camera."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from visual_foresight.given_arrays import given_array
from visual_foresight.planners.objectives.arrays import array_namespace, as_float

# A homography has eight degrees of freedom; the weakest of its equations counts as one if it weighs this much.
_DETERMINED = 1e-7


class Homography:
    """Pixels of points on a plane: ``(row, col, 1) ~ matrix @ (x, y, 1)``. Works on arrays and on tensors.

    A pinhole camera maps a plane by exactly such a matrix, so a tip that moves at a fixed height needs no camera
    model. Used as ``tip_pixels`` of :class:`Approach`.

    Args:
        matrix: [3, 3].
        indices: which two entries of a state are x and y.

    Raises:
        ValueError: the matrix has another shape or is not finite.
    """

    def __init__(self, matrix: Sequence[Any] | np.ndarray, *, indices: tuple[int, int] = (0, 1)) -> None:
        """Check and store the matrix."""
        self.matrix = given_array("matrix", matrix, np.float64).copy()
        if self.matrix.shape != (3, 3) or not np.all(np.isfinite(self.matrix)):
            raise ValueError(f"a homography is a finite matrix [3, 3], got shape {list(self.matrix.shape)}")
        self.indices = (int(indices[0]), int(indices[1]))

    @classmethod
    def fit(
        cls, points: np.ndarray, pixels: np.ndarray, *, indices: tuple[int, int] = (0, 1), tolerance: float = 0.5
    ) -> Homography:
        """The homography through four or more pairs, by the direct linear transform (Hartley & Zisserman, 4.1).

        Args:
            points: [N, 2], x and y on the plane; four of them of which no three are on a line, or more.
            pixels: [N, 2] as (row, col).
            indices: as above.
            tolerance: largest error of the fit on the pairs themselves [px].

        Raises:
            ValueError: wrong shapes, numbers that are not finite, points that several homographies fit, or none.
        """
        points, pixels = np.asarray(points, np.float64), np.asarray(pixels, np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or points.shape != pixels.shape or len(points) < 4:
            raise ValueError(f"fit needs points and pixels [N >= 4, 2], got {points.shape} and {pixels.shape}")
        if not (np.isfinite(points).all() and np.isfinite(pixels).all()):
            raise ValueError("fit needs finite points and pixels: leave out pairs where either is NaN or infinite")
        inward, outward = _normaliser(points), _normaliser(pixels)  # without them metres and pixels mix badly
        source, target = _homogeneous(points) @ inward.T, _homogeneous(pixels) @ outward.T
        zeros = np.zeros_like(source)
        equations = np.concatenate(
            [
                np.concatenate([source, zeros, -target[:, :1] * source], axis=1),
                np.concatenate([zeros, source, -target[:, 1:2] * source], axis=1),
            ]
        )
        _, singular, directions = np.linalg.svd(equations)
        if singular[7] < _DETERMINED * singular[0]:
            raise ValueError(
                f"these {len(points)} pairs leave the homography open: give four points or more, of which no three are "
                "on a line, each once"
            )
        solution = directions[-1].reshape(3, 3)
        matrix = np.linalg.inv(outward) @ solution @ inward
        matrix /= matrix[np.unravel_index(np.argmax(np.abs(matrix)), (3, 3))]
        fitted = cls(matrix, indices=indices)
        error = np.abs(fitted.project(points.astype(np.float64)) - pixels).max()
        if not error <= tolerance:
            raise ValueError(f"no homography maps these points to these pixels: off by up to {error:.3g} px")
        return fitted

    def __call__(self, states: Any) -> Any:
        """States [..., S] to pixels [..., 2] as (row, col), float32."""
        states = as_float(states)
        xp = array_namespace(states)
        return self.project(xp.stack([states[..., self.indices[0]], states[..., self.indices[1]]], axis=-1))

    def project(self, points: Any) -> Any:
        """Points [..., 2] on the plane to pixels [..., 2]; float64 stays float64."""
        points = given_array("points", points, np.float64) if isinstance(points, (list, tuple)) else points
        xp = array_namespace(points)
        matrix = self.matrix if xp is np and points.dtype == np.float64 else self.matrix.astype(np.float32)
        mapped = xp.matmul(points, matrix[:, :2].T) + matrix[:, 2]
        return mapped[..., :2] / mapped[..., 2:]


def _homogeneous(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)


def _normaliser(points: np.ndarray) -> np.ndarray:
    """[3, 3] similarity that brings points to mean 0 and deviation 1."""
    center, scale = points.mean(axis=0), max(points.std(), 1e-12)
    return np.array([[1 / scale, 0, -center[0] / scale], [0, 1 / scale, -center[1] / scale], [0, 0, 1]])
