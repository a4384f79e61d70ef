"""How good a predictor's pictures and pixel maps are on recorded episodes, beside doing nothing.

Letters: N episodes, P predicted steps, M designated pixels, H rows, W columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight import metrics
from visual_foresight.episode import Episode
from visual_foresight.frames import to_float

if TYPE_CHECKING:
    from visual_foresight.predictor.predictor import VideoPredictor

__all__ = ["HORIZONS", "evaluate", "evaluation_windows"]

HORIZONS = (5, 10, 15)
"""Steps of true actions after which the error of designated pixels is reported, as far as the episodes reach."""

MOVING = 0.08
"""A pixel belongs to the moving region of a step when it differs by more than this (of 1) from the last given frame."""

_LONGEST = 30
_FRAME_FIGURES = ("psnr", "copy_psnr", "ssim", "copy_ssim", "moving_psnr", "copy_moving_psnr")
_PIXEL_FIGURES = ("expected", "mean", "mode", "no_motion")


def evaluate(
    predictor: VideoPredictor,
    episodes: Sequence[Episode],
    *,
    context_frames: int | None = None,
    sequence_length: int | None = None,
    batch_size: int = 16,
    seed: int = 0,
    on_batch: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Predict the beginning of every episode from its context and true actions, and compare.

    The predictor is fed its own predictions after the context. "copy" figures are those of showing the last given frame
    for ever; "moving" ones look only at pixels that changed since then. Where episodes carry the extras
    `object_pixels` `[T, M, 2]` and `object_hidden` `[T, M]`, the map of each pixel that is visible in the last given
    frame is followed as a planner would, and compared with where the pixel really went.

    Args:
        predictor: to judge.
        episodes: with images of its size.
        context_frames: frames given; None: the predictor's own.
        sequence_length: frames of each episode that are used; None: all of the shortest one, at most 30.
        batch_size: episodes computed together; no figure depends on it.
        seed: of the bootstrap.
        on_batch: called with the number of episodes done after each batch.

    Returns:
        JSON-plain: "episodes", "context_frames", "sequence_length"; "steps": for each predicted step, and "mean" over
        them, the figures "psnr", "copy_psnr", "moving_psnr", "copy_moving_psnr" [dB], "ssim", "copy_ssim", each as
        {"mean", "low", "high", "count"} with 95 % bootstrap intervals over episodes; "psnr_gain": the paired difference
        to copying; "pixels": for each horizon, motion bin and visibility, errors [px] of the map ("expected" distance,
        distance of its "mean" and of its "mode") and of assuming "no_motion"; empty without such extras.

    Raises:
        ValueError: no episode is long enough, or sizes do not fit the predictor.
    """
    from visual_foresight.backend import compile_function

    context = predictor.config.context_frames if context_frames is None else context_frames
    windows = evaluation_windows(episodes, context, sequence_length)
    _check_sizes(predictor, windows[0])
    step = compile_function(predictor.step, model=predictor)
    frame_rows: dict[str, list[np.ndarray]] = {name: [] for name in _FRAME_FIGURES}
    pixel_rows: list[dict[str, Any]] = []
    followed = all({"object_pixels", "object_hidden"} <= set(window.extras) for window in windows)
    for first, batch, count in _batches(windows, batch_size):
        starts = _start_maps(batch, context - 1) if followed else None
        predicted, maps = _roll(predictor, step, batch, context, starts)
        for name, values in _frame_figures(batch, predicted, context).items():
            frame_rows[name].append(values[:count])
        if maps is not None:
            for index in range(count):
                pixel_rows += _pixel_errors(batch[index], maps[index], context, first + index)
        if on_batch is not None:
            on_batch(first + count)
    figures = {name: np.concatenate(values) for name, values in frame_rows.items()}  # [N, P] each
    return {
        "episodes": len(windows),
        "context_frames": context,
        "sequence_length": windows[0].num_frames,
        "steps": [
            _summary({name: values[:, step] for name, values in figures.items()}, seed) for step in _steps(figures)
        ],
        "mean": _summary({name: _mean(values) for name, values in figures.items()}, seed),
        "pixels": _pixel_summary(pixel_rows, seed),
    }


def evaluation_windows(episodes: Sequence[Episode], context: int, length: int | None) -> list[Episode]:
    """The first `length` frames of each episode that has as many.

    Raises:
        ValueError: there is none, or `length` leaves nothing to predict.
    """
    if not episodes:
        raise ValueError("there is no episode to evaluate on")
    length = min(min(episode.num_frames for episode in episodes), _LONGEST) if length is None else length
    if length <= context:
        raise ValueError(f"sequence_length {length} leaves nothing to predict after {context} context frames")
    windows = [episode.window(0, length) for episode in episodes if episode.num_frames >= length]
    if not windows:
        longest = max(episode.num_frames for episode in episodes)
        raise ValueError(f"no episode has {length} frames, the longest has {longest}: pass a smaller sequence_length")
    return windows


def _check_sizes(predictor: VideoPredictor, window: Episode) -> None:
    from visual_foresight.predictor.checkpoint import require_match

    config = predictor.config
    sizes = {"action_size": window.action_size, "state_size": window.state_size} if config.use_state else {}
    require_match(config, image_size=window.image_size, what="the data", **sizes)
    if config.use_state and window.actions is None:
        raise ValueError("the predictor needs actions, and the episodes have none")


def _batches(windows: Sequence[Episode], size: int) -> Iterator[tuple[int, list[Episode], int]]:
    """First index, episodes and how many of them count; the last batch is filled up, because each size is compiled."""
    size = min(size, len(windows))
    for first in range(0, len(windows), size):
        batch = list(windows[first : first + size])
        count = len(batch)
        yield first, batch + [batch[-1]] * (size - count), count


def _steps(figures: dict[str, np.ndarray]) -> range:
    return range(figures["psnr"].shape[1])


# ---- rolling out ----------------------------------------------------------------------------------------------------


def _roll(
    predictor: VideoPredictor,
    step: Callable[..., Any],
    batch: Sequence[Episode],
    context: int,
    starts: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Frames `[B, P, H, W, 3]` in [0, 1] and maps `[B, P, M, H, W]` of the steps after the context."""
    from keras import ops

    frames = to_float(np.stack([window.frames for window in batch]))
    actions, states = _robot(predictor, batch)
    maps = None if starts is None else ops.convert_to_tensor(starts)
    carry = predictor.initial_carry(frames[:, 0], states[:, 0], maps)
    frame, state = ops.convert_to_tensor(frames[:, 0]), ops.convert_to_tensor(states[:, 0])
    predicted, followed = [], []
    for time in range(frames.shape[1] - 1):
        if 0 < time < context:
            frame = ops.convert_to_tensor(frames[:, time])
            if predictor.backbone.state_feedback == "context":
                state = ops.convert_to_tensor(states[:, time])
        carry, prediction = step(carry, frame, ops.convert_to_tensor(actions[:, time]), state, maps)
        frame, state = prediction.frame, prediction.state
        if time >= context - 1:  # before, the pixels are where the last given frame shows them
            maps = prediction.maps
            predicted.append(np.clip(ops.convert_to_numpy(frame), 0.0, 1.0))
            if maps is not None:
                followed.append(np.moveaxis(ops.convert_to_numpy(maps), -1, 1))
    return np.stack(predicted, axis=1), np.stack(followed, axis=1) if followed else None


def _robot(predictor: VideoPredictor, batch: Sequence[Episode]) -> tuple[np.ndarray, np.ndarray]:
    """Actions `[B, T-1, A]` and states `[B, T, S]`; zeros where the predictor or the data is without."""
    config, length = predictor.config, batch[0].num_frames
    actions = np.zeros((len(batch), length - 1, config.action_size), np.float32)
    states = np.zeros((len(batch), length, config.state_size), np.float32)
    for index, window in enumerate(batch):
        if config.use_state and window.actions is not None:
            actions[index] = window.actions
        if config.use_state and window.states is not None:
            states[index] = window.states
    return actions, states


def _start_maps(batch: Sequence[Episode], now: int) -> np.ndarray:
    """`[B, H, W, M]` maps of the designated pixels in the last given frame; those outside are put on the border."""
    from visual_foresight.simulator import pixel_maps

    height, width = batch[0].image_size
    pixels = np.stack([window.extras["object_pixels"][now] for window in batch])
    pixels = np.clip(np.nan_to_num(pixels), 0, [height - 1, width - 1])
    return np.stack([np.moveaxis(pixel_maps(points, (height, width)), 0, -1) for points in pixels])


# ---- figures --------------------------------------------------------------------------------------------------------


def _frame_figures(batch: Sequence[Episode], predicted: np.ndarray, context: int) -> dict[str, np.ndarray]:
    """`[B, P]` each."""
    frames = to_float(np.stack([window.frames for window in batch]))
    truth = frames[:, context:]
    copy = np.broadcast_to(frames[:, context - 1 : context], truth.shape)
    moving = np.abs(truth - copy).max(axis=-1) > MOVING  # [B, P, H, W]
    small = min(truth.shape[2:4]) < 11
    similarity = (lambda first, second: np.full(first.shape[:2], np.nan)) if small else metrics.ssim
    return {
        "psnr": metrics.psnr(truth, predicted),
        "copy_psnr": metrics.psnr(truth, copy),
        "ssim": similarity(truth, predicted),
        "copy_ssim": similarity(truth, copy),
        "moving_psnr": metrics.masked_psnr(truth, predicted, moving),
        "copy_moving_psnr": metrics.masked_psnr(truth, copy, moving),
    }


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over steps `[N, P]` -> `[N]`, NaN where there is no figure at all."""
    present = ~np.isnan(values)
    total = np.where(present, values, 0).sum(axis=1)
    return np.divide(total, present.sum(axis=1), out=np.full(len(values), np.nan), where=present.any(axis=1))


def _summary(figures: dict[str, np.ndarray], seed: int) -> dict[str, dict[str, float]]:
    summary = {name: _interval(values, seed) for name, values in figures.items()}
    summary["psnr_gain"] = _interval(figures["psnr"] - figures["copy_psnr"], seed)
    return summary


def _interval(values: np.ndarray, seed: int) -> dict[str, Any]:
    fields = dataclasses.asdict(metrics.bootstrap_interval(values, seed=seed))
    # JSON has no NaN: a figure over nothing is null.
    return {name: None if value != value else value for name, value in fields.items()}


def _pixel_errors(window: Episode, maps: np.ndarray, context: int, episode: int) -> list[dict[str, Any]]:
    """Errors of every pixel that the last given frame shows, at every horizon. `maps` is `[P, M, H, W]`."""
    now = context - 1
    pixels, hidden = window.extras["object_pixels"].astype(np.float64), window.extras["object_hidden"].astype(bool)
    limits = np.array(window.image_size) - 0.5
    inside = np.asarray(((pixels > -0.5) & (pixels < limits)).all(axis=-1))  # [T, M]
    present = window.extras.get("object_present", np.ones_like(hidden)).astype(bool)
    rows = []
    for horizon in HORIZONS:
        then = now + horizon
        if then >= window.num_frames:
            break
        for index in np.flatnonzero(present[now] & inside[now] & inside[then] & ~hidden[now]):
            moved = float(np.linalg.norm(pixels[then, index] - pixels[now, index]))
            errors = metrics.pixel_errors(maps[horizon - 1, index], pixels[then, index])
            rows.append(
                {
                    "episode": episode,
                    "horizon": horizon,
                    "bin": metrics.MOTION_BINS[int(metrics.motion_bin(np.asarray(moved)))],
                    "seen": "hidden" if hidden[then, index] else "visible",
                    "no_motion": moved,
                    **{name: float(value) for name, value in errors.items()},
                }
            )
    return rows


def _pixel_summary(rows: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Horizon -> motion bin -> "visible" or "hidden" -> figure -> interval over episodes."""
    summary: dict[str, Any] = {}
    for horizon in sorted({row["horizon"] for row in rows}):
        for motion in metrics.MOTION_BINS:
            for seen in ("visible", "hidden"):
                chosen = [row for row in rows if (row["horizon"], row["bin"], row["seen"]) == (horizon, motion, seen)]
                if chosen:
                    place = summary.setdefault(str(horizon), {}).setdefault(motion, {})
                    place[seen] = {name: _by_episode(chosen, name, seed) for name in _PIXEL_FIGURES}
    return summary


def _by_episode(rows: Sequence[dict[str, Any]], name: str, seed: int) -> dict[str, Any]:
    """The items of the bootstrap are episodes: pixels of one episode share its robot, its light and its luck."""
    episodes: dict[int, list[float]] = {}
    for row in rows:
        episodes.setdefault(row["episode"], []).append(row[name])
    return _interval(np.array([np.mean(values) for values in episodes.values()]), seed)
