"""How far predicted maps of designated pixels are from where the pixels really went, by how far they moved.

Letters: P predicted steps, M designated pixels, H rows, W columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from visual_foresight import metrics
from visual_foresight.episode import Episode

__all__ = ["HORIZONS", "PIXEL_FIGURES", "interval", "pixel_rows", "start_maps", "summarise_pixels", "with_differences"]

HORIZONS = (5, 10, 15)
"""Steps of true actions after which the error of designated pixels is reported, as far as the episodes reach."""

PIXEL_FIGURES = ("expected", "whole", "mean", "mode", "no_motion")
MOVED = "moved"
"""The two bins of objects that moved together: 2 px and more."""


def start_maps(windows: Sequence[Episode], now: int) -> np.ndarray:
    """`[B, H, W, 2M]` maps of designated pixels in the last given frame; those outside are put on the border.

    First those of the points, which lie between pixels, so that a map of one covers four; behind them those of the
    whole pixels that the points lie in. M is the largest number of points; a window with fewer has points in the
    corner behind its own, which nothing reads.

    Raises:
        ValueError: the extras of a window have another shape.
    """
    from visual_foresight.simulator import pixel_maps

    size = windows[0].image_size
    designated = [_points_and_pixels(window, now) for window in windows]
    most = max(1, *(len(points) for points, _ in designated))
    padded = [np.concatenate([_padded(points, most), _padded(pixels, most)]) for points, pixels in designated]
    return np.stack([np.moveaxis(pixel_maps(points, size), 0, -1) for points in padded])


def knows_pixels(window: Episode) -> bool:
    """Whether an episode says where its designated pixels are, and which of them are hidden."""
    return {"object_pixels", "object_hidden"} <= set(window.extras)


def _padded(points: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([points, np.zeros((count - len(points), 2))])


def _points_and_pixels(window: Episode, now: int) -> tuple[np.ndarray, np.ndarray]:
    """`[M, 2]` points inside the picture, and the whole pixels that they lie in; none where nobody knows them."""
    if not knows_pixels(window):
        return np.zeros((0, 2)), np.zeros((0, 2))
    shape, hidden = window.extras["object_pixels"].shape, window.extras["object_hidden"].shape
    if len(shape) != 3 or shape[2] != 2 or hidden != shape[:2]:
        raise ValueError(
            f"the extras object_pixels must be [T, M, 2] and object_hidden [T, M], got {list(shape)} and {list(hidden)}"
        )
    points = np.clip(np.nan_to_num(window.extras["object_pixels"][now]), 0, np.array(window.image_size) - 1)
    return points, np.round(points)


def pixel_rows(window: Episode, maps: np.ndarray, context: int, episode: int) -> list[dict[str, Any]]:
    """Errors of every pixel that the last given frame shows, at every horizon.

    Args:
        window: with the extras `object_pixels` `[T, M, 2]`, `object_hidden` `[T, M]` and perhaps `object_present`.
        maps: `[P, 2M, H, W]`, from `start_maps`, with M the largest number of points of the windows beside it. A whole
            pixel is taken to go as the point in it does, which leaves out that it turns about it.
        context: frames given.
        episode: number of the window.

    Returns:
        A row for each pixel and horizon. Which rows there are depends on the truth alone, so that those of two
        predictors on the same window pair up.
    """
    if not knows_pixels(window):
        return []
    now = context - 1
    pixels, hidden = window.extras["object_pixels"].astype(np.float64), window.extras["object_hidden"].astype(bool)
    limits, count = np.array(window.image_size) - 0.5, maps.shape[1] // 2
    points, whole = _points_and_pixels(window, now)
    inside = np.asarray(((pixels > -0.5) & (pixels < limits)).all(axis=-1))  # [T, M]
    present = window.extras.get("object_present", np.ones_like(hidden)).astype(bool)
    rows = []
    for horizon in HORIZONS:
        then = now + horizon
        if then >= window.num_frames:
            break
        for index in np.flatnonzero(present[now] & inside[now] & inside[then] & ~hidden[now]):
            moved = float(np.linalg.norm(pixels[then, index] - pixels[now, index]))
            went = pixels[then, index]
            errors = metrics.pixel_errors(maps[horizon - 1, index], went)
            of_whole = metrics.pixel_errors(maps[horizon - 1, count + index], went + whole[index] - points[index])
            rows.append(
                {
                    "episode": episode,
                    "horizon": horizon,
                    "bin": metrics.MOTION_BINS[int(metrics.motion_bin(np.asarray(moved)))],
                    "seen": "hidden" if hidden[then, index] else "visible",
                    "no_motion": moved,
                    **{name: float(value) for name, value in errors.items()},
                    "whole": float(of_whole["expected"]),
                }
            )
    return rows


def with_differences(rows: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of another predictor with "expected_difference": how much larger its error is than ours, pixel by pixel."""
    return [
        {**other, "expected_difference": other["expected"] - ours["expected"]}
        for ours, other in zip(rows, others, strict=True)
    ]


def summarise_pixels(rows: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Horizon -> motion bin -> "visible", "hidden" or "any" -> figure; the bin "moved" is "small" and "large"."""
    summary: dict[str, Any] = {}
    names = [name for name in (*PIXEL_FIGURES, "expected_difference") if rows and name in rows[0]]
    for horizon in sorted({row["horizon"] for row in rows}):
        for motion in (*metrics.MOTION_BINS, MOVED):
            bins = metrics.MOTION_BINS[1:] if motion == MOVED else (motion,)
            of_bin = [row for row in rows if row["horizon"] == horizon and row["bin"] in bins]
            for seen in ("visible", "hidden", "any"):
                chosen = [row for row in of_bin if seen in ("any", row["seen"])]
                if chosen:
                    place = summary.setdefault(str(horizon), {}).setdefault(motion, {})
                    place[seen] = {name: _by_episode(chosen, name, seed) for name in names}
    return summary


def _by_episode(rows: Sequence[dict[str, Any]], name: str, seed: int) -> dict[str, Any]:
    """The items of the bootstrap are episodes: pixels of one episode share its robot, its light and its luck."""
    episodes: dict[int, list[float]] = {}
    for row in rows:
        episodes.setdefault(row["episode"], []).append(row[name])
    return interval(np.array([np.mean(values) for values in episodes.values()]), seed)


def interval(values: np.ndarray, seed: int) -> dict[str, Any]:
    """Mean and 95 % bootstrap interval of `[N]` items, JSON-plain: a figure over nothing is null."""
    fields = dataclasses.asdict(metrics.bootstrap_interval(values, seed=seed))
    return {name: None if value != value else value for name, value in fields.items()}
