"""Where the designated pixels are now: the present frame registered to the start frame and to the goal frame.

Ebert et al. 2018, "Robustness via Retrying: Closed-Loop Robotic Manipulation with Self-Supervised Learning": what is
followed is found again in every frame by comparing it with two frames in which it is known, each answer counts as much
as its warp fits, and so a planner can retry after a push that went wrong.
Differs from: displacement by block matching around each pixel (NumPy and SciPy), not by a trained registration network.

Letters: P designated pixels, R = P or 2 P registered ones, H, W rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from visual_foresight.frames import check_floats
from visual_foresight.planners.objectives.maps import checked_pixels
from visual_foresight.planners.objectives.pixel_distance import PixelDistance
from visual_foresight.planners.settings import require_count, require_number

_ERROR_FLOOR = 1e-4  # squared brightness: camera noise, below which one match is as good as another


@dataclass(frozen=True, eq=False)
class Registration:
    """Pixels of one frame found in another.

    Args:
        pixels: [R, 2] float32 (row, col) in the target frame.
        errors: [R] mean squared difference of the patches that were matched, brightness in [0, 1].
        confidences: [R] in [0, 1]: 1 / error, as shares that sum to 1 over the sources of one designated pixel.
    """

    pixels: np.ndarray
    errors: np.ndarray
    confidences: np.ndarray


def register(
    source: np.ndarray,
    target: np.ndarray,
    pixels: Sequence[Any] | np.ndarray,
    *,
    window: int = 5,
    reach: float | None = None,
) -> Registration:
    """Find where pixels of one frame are in another, by the best match of the patch around each.

    The patch has a Gaussian weight, so its middle counts most; displacements are whole pixels refined by a paraboloid
    through the neighbouring errors. What moves as a rigid patch is found to about a tenth of a pixel; rotation and a
    new background around a small object raise the error, which is what the confidence is for.

    Args:
        source: [H, W, 3] uint8, or floating in [0, 1].
        target: [H, W, 3], likewise.
        pixels: [P, 2] (row, col) in the source.
        window: radius of the patch [px].
        reach: largest displacement that is considered [px]; None is the whole frame. Of equal matches the nearest wins.

    Returns:
        With P pixels, each with confidence 1 (there is one source).

    Raises:
        ValueError: frames of other or different shapes, far outside [0, 1] or not finite, pixels outside them, or a
            setting outside its range.
    """
    source, target = _as_brightness("source", source), _as_brightness("target", target)
    if source.shape != target.shape:
        raise ValueError(f"source and target differ in shape: {list(source.shape)} and {list(target.shape)}")
    require_count("window", window)
    if reach is not None:
        require_number("reach", reach, 0.0)
    points = checked_pixels("pixels", pixels)
    if np.any(points < -0.5) or np.any(points > np.array(source.shape[:2]) - 0.5):
        raise ValueError(f"pixels {points.tolist()} must lie inside the {source.shape[0]}x{source.shape[1]} frame")
    found = [_match(source, target, point, window, reach) for point in points]
    return Registration(
        np.array([place for place, _ in found], np.float32),
        np.array([error for _, error in found]),
        np.ones(len(points)),
    )


class RegistrationTracker:
    """Follows designated pixels by registering each frame to the start frame and, where there is one, the goal frame.

    With a goal frame every designated pixel is followed twice: as it looked at the start, and as it looks at the goal.
    Both are to arrive at its goal pixel, and count by how well they were found: early the start frame fits better,
    near the goal the goal frame, and a pixel that is hidden fits neither well.

    Args:
        start_frame: [H, W, 3].
        start_pixels: [P, 2] in it.
        goal_frame: [H, W, 3], or None.
        goal_pixels: [P, 2], where the designated pixels are to arrive (and are seen in the goal frame).
        window: see :func:`register`.
        reach: see :func:`register`.

    Raises:
        ValueError: as many goals as pixels are needed; what :func:`register` refuses.
    """

    def __init__(
        self,
        start_frame: np.ndarray,
        start_pixels: Sequence[Any] | np.ndarray,
        goal_pixels: Sequence[Any] | np.ndarray,
        *,
        goal_frame: np.ndarray | None = None,
        window: int = 5,
        reach: float | None = None,
    ) -> None:
        """Check that pixels and goals belong together."""
        start, goals = checked_pixels("start_pixels", start_pixels), checked_pixels("goal_pixels", goal_pixels)
        if start.shape != goals.shape:
            raise ValueError(f"need one goal for each pixel, got {len(goals)} goals for {len(start)} pixels")
        self._sources = [(start_frame, start)] + ([] if goal_frame is None else [(goal_frame, goals)])
        self._window, self._reach = window, reach
        self.goals = np.tile(goals, (len(self._sources), 1))
        for frame, pixels in self._sources:  # refuse now what could not be registered later
            register(frame, frame, pixels, window=window, reach=0.0)

    def locate(self, frame: np.ndarray) -> Registration:
        """Where the designated pixels are in a frame: those seen from the start frame first, then from the goal frame.

        Args:
            frame: [H, W, 3], the present one.
        """
        found = [
            register(source, frame, pixels, window=self._window, reach=self._reach) for source, pixels in self._sources
        ]
        errors = np.stack([one.errors for one in found])  # [sources, P]
        return Registration(
            np.concatenate([one.pixels for one in found]), errors.reshape(-1), confidences(errors).reshape(-1)
        )

    def objective(self, found: Registration, **settings: Any) -> PixelDistance:
        """Distance to the goals, each registered pixel by its confidence.

        Args:
            found: from :meth:`locate`, at the frame that is planned from; the simulator is to follow ``found.pixels``.
            settings: of :class:`PixelDistance`.
        """
        return PixelDistance(self.goals, pixel_weights=found.confidences, **settings)


def confidences(errors: np.ndarray) -> np.ndarray:
    """Shares ``1 / error`` that sum to 1 over the sources, [sources, P] to [sources, P]."""
    shares = 1.0 / (np.asarray(errors, np.float64) + _ERROR_FLOOR)
    return shares / shares.sum(axis=0)


def _match(
    source: np.ndarray, target: np.ndarray, point: np.ndarray, window: int, reach: float | None
) -> tuple[np.ndarray, float]:
    """Place (row, col) and error of the best match of the patch around one point."""
    height, width = source.shape[:2]
    middle = np.clip(np.round(point), 0, [height - 1, width - 1]).astype(int)
    errors = _patch_errors(source, target, middle, window)
    rows, cols = np.mgrid[:height, :width]
    distances = np.hypot(rows - middle[0], cols - middle[1])
    allowed = distances <= (np.inf if reach is None else reach)
    # Rounding leaves about 1e-7 between equal matches; a thousandth of that per pixel prefers the nearest.
    judged = np.where(allowed, errors + 1e-9 * distances + 1e-6 * (distances > 0), np.inf)
    best = np.array(np.unravel_index(np.argmin(judged), judged.shape))
    refined = best + _lowest(errors, best) if reach != 0.0 else best
    place = np.clip(point + (refined - middle), 0.0, [height - 1.0, width - 1.0])
    return place, float(errors[tuple(best)])


def _patch_errors(source: np.ndarray, target: np.ndarray, middle: np.ndarray, window: int) -> np.ndarray:
    """[H, W] weighted mean squared difference of the patch to the target around every pixel; edges are continued."""
    from scipy.ndimage import correlate  # not at import: importing planners stays cheap

    padded = np.pad(source, ((window, window), (window, window), (0, 0)), mode="edge")
    size = 2 * window + 1
    patch = padded[middle[0] : middle[0] + size, middle[1] : middle[1] + size]
    offsets = np.arange(-window, window + 1)
    bell = np.exp(-2.0 * (offsets / window) ** 2)  # deviation of half the radius
    weights = bell[:, None] * bell[None, :]
    weights /= weights.sum() * source.shape[2]
    total = np.full(source.shape[:2], np.sum(weights[..., None] * patch**2))
    for colour in range(source.shape[2]):  # |t - p|^2 = t^2 - 2 t p + p^2
        total += correlate(target[..., colour] ** 2, weights, mode="nearest")
        total -= 2.0 * correlate(target[..., colour], weights * patch[..., colour], mode="nearest")
    return np.maximum(total, 0.0)


def _lowest(errors: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Offset (row, col) in [-0.5, 0.5] of the lowest point of the paraboloid through the best error and its neighbours.

    With the mixed term: patches are rarely symmetric, and two separate parabolas are off by a fifth of a pixel.
    """
    if np.any(best < 1) or np.any(best > np.array(errors.shape) - 2):
        return np.zeros(2)
    near = errors[best[0] - 1 : best[0] + 2, best[1] - 1 : best[1] + 2]
    slope = np.array([near[2, 1] - near[0, 1], near[1, 2] - near[1, 0]]) / 2.0
    mixed = (near[2, 2] - near[2, 0] - near[0, 2] + near[0, 0]) / 4.0
    bends = [near[2, 1] - 2.0 * near[1, 1] + near[0, 1], near[1, 2] - 2.0 * near[1, 1] + near[1, 0]]
    curvature = np.array([[bends[0], mixed], [mixed, bends[1]]])
    if np.linalg.eigvalsh(curvature)[0] <= 1e-9:  # flat along some direction: nothing to refine by
        return np.zeros(2)
    return np.clip(-np.linalg.solve(curvature, slope), -0.5, 0.5)


def _as_brightness(name: str, frame: np.ndarray) -> np.ndarray:
    frame = np.asarray(frame)
    if (
        frame.ndim != 3
        or frame.shape[2] != 3
        or not (frame.dtype == np.uint8 or np.issubdtype(frame.dtype, np.floating))
    ):
        raise ValueError(
            f"{name} must be a frame [H, W, 3], uint8 or floating in [0, 1], got {list(frame.shape)} {frame.dtype}"
        )
    if frame.dtype == np.uint8:
        return frame / 255.0
    check_floats(name, frame)
    if not np.isfinite(frame).all():
        raise ValueError(f"{name} holds values that are not finite: no patch around them can be compared")
    return frame.astype(np.float64)
