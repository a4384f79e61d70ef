"""How good a predictor's pictures and pixel maps are on recorded episodes, beside doing nothing and other predictors.

Letters: N episodes, P predicted steps, M designated pixels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from visual_foresight import metrics
from visual_foresight.episode import Episode
from visual_foresight.frames import to_float
from visual_foresight.pixel_accuracy import (
    HORIZONS,
    interval,
    knows_pixels,
    pixel_rows,
    start_maps,
    summarise_pixels,
    with_differences,
)
from visual_foresight.planners.settings import require_count
from visual_foresight.replay import Replay, replay

if TYPE_CHECKING:
    from visual_foresight.predictor.predictor import VideoPredictor

__all__ = ["HORIZONS", "evaluate", "evaluation_windows"]

MOVING = 0.08
"""A pixel changed when it differs by more than this (of 1) from the last given frame."""

MARGIN = 2
"""The moving region of a step: the pixels that changed in truth, and those this near to one [px]."""

_LONGEST = 30
_MAIN = ""


def evaluate(
    predictor: VideoPredictor,
    episodes: Sequence[Episode],
    *,
    compare: Mapping[str, VideoPredictor] | None = None,
    context_frames: int | None = None,
    sequence_length: int | None = None,
    batch_size: int = 16,
    seed: int = 0,
    lpips: bool = False,
    on_batch: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Predict the beginning of every episode from its context and true actions, and compare.

    Each prediction is fed to the next. A predictor that leaps is asked for every control step (`replay.replay`), so
    that all predictors are compared at equal steps, on the same windows and from the same last given frame; each is
    given as many frames before that one as it was trained with.

    "copy" figures are those of showing the last given frame for ever; "moving" ones look only at the region that
    changed since then. Where episodes carry the extras `object_pixels` `[T, M, 2]` and `object_hidden` `[T, M]`, the
    map of each pixel that is visible in the last given frame is followed as a planner would, and compared with where
    the pixel really went.

    Args:
        predictor: to judge.
        episodes: with images of its size.
        compare: other predictors by name.
        context_frames: frames given to every predictor; None: to each its own number.
        sequence_length: frames of each episode that are used; None: all of the shortest one, at most 30.
        batch_size: episodes computed together; no figure depends on it.
        seed: of the bootstrap.
        lpips: whether to add the perceptual distance LPIPS (extra `[lpips]`, slow).
        on_batch: called with the number of episodes done after each batch.

    Returns:
        JSON-plain: "episodes", "context_frames", "sequence_length", "stride"; "steps": for each predicted step, and
        "mean" over them, the figures "psnr", "copy_psnr", "moving_psnr", "copy_moving_psnr" [dB], "ssim", "copy_ssim"
        ("lpips", "copy_lpips"), each as {"mean", "low", "high", "count"} with 95 % bootstrap intervals over episodes;
        "psnr_gain" and "moving_psnr_gain": the paired differences to copying; "pixels": for each horizon, motion bin
        and visibility, errors [px] of the map ("expected" distance, distance of its "mean" and of its "mode"; "whole":
        the expected distance of a map that began in the one pixel that the point lies in) and of assuming "no_motion";
        empty without such extras. "comparisons": the same for each other predictor, with
        "psnr_difference", ...: the predictor's figure less the other's, paired; and in "pixels"
        "expected_difference": the other's error less the predictor's.

    Raises:
        ValueError: a number below 1, no episode is long enough, sizes do not fit a predictor, or what one predicts is
            not finite.
        ImportError: LPIPS without its extra.
    """
    require_count("batch_size", batch_size)
    if context_frames is not None:
        require_count("context_frames", context_frames)
    everyone = {_MAIN: predictor, **(compare or {})}
    context = context_frames or max(one.config.context_frames for one in everyone.values())
    windows = evaluation_windows(list(episodes), context, sequence_length)
    if lpips:
        metrics.require_lpips()
    judges = {}
    for name, one in everyone.items():
        for window in windows:
            _check_sizes(one, window, name)
        judges[name] = _Judge(one, context, context if context_frames else one.config.context_frames)
    copies: list[dict[str, np.ndarray]] = []
    for first, batch, count in _batches(windows, batch_size):
        truth, copy, moving = _truth(batch, context)
        copies.append(_figures(truth, copy, moving, count, lpips))
        for judge in judges.values():
            judge.add(batch, truth, moving, first=first, count=count, lpips=lpips)
        if on_batch is not None:
            on_batch(first + count)
    copied = _joined(copies)
    main = judges.pop(_MAIN)
    return {
        "episodes": len(windows),
        "context_frames": context,
        "sequence_length": windows[0].num_frames,
        "stride": predictor.config.stride,
        **_frame_summary(main.figures, _beside_copy(main.figures, copied), seed),
        "pixels": summarise_pixels(main.rows, seed),
        "comparisons": {name: _comparison(main, judge, seed) for name, judge in judges.items()},
    }


class _Judge:
    """Gathers the figures of one predictor, batch by batch.

    Args:
        predictor: to judge.
        context: frames before the first predicted one.
        given: how many of them it is given.
    """

    def __init__(self, predictor: VideoPredictor, context: int, given: int) -> None:
        from visual_foresight.backend import compile_function

        self.predictor, self._context, self._given = predictor, context, min(given, context)
        self._step = compile_function(predictor.step, model=predictor)
        self._batches: list[dict[str, np.ndarray]] = []
        self.rows: list[dict[str, Any]] = []

    @property
    def figures(self) -> dict[str, np.ndarray]:
        """`[N, P]` each."""
        return _joined(self._batches)

    def add(
        self, batch: Sequence[Episode], truth: np.ndarray, moving: np.ndarray, *, first: int, count: int, lpips: bool
    ) -> None:
        """Judges a batch whose first window is number `first`, and of which `count` windows are no repetition."""
        context, skipped = self._context, self._context - self._given
        followed = any(map(knows_pixels, batch))
        starts = start_maps(batch, context - 1) if followed else None
        seen = [window.window(skipped, window.num_frames - skipped) for window in batch] if skipped else batch
        said = replay(self.predictor, self._step, seen, self._given, starts)
        _require_finite(said, first)
        self._batches.append(_figures(truth, said.frames, moving, count, lpips))
        if said.maps is not None:
            for index in range(count):
                self.rows += pixel_rows(batch[index], said.maps[index], context, first + index)


def _require_finite(said: Replay, first: int) -> None:
    """Refuse predictions that are not numbers; `first` is the number of the first window."""
    for what, values in (("frames", said.frames), ("maps", said.maps)):
        good = True if values is None else np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        if not np.all(good):
            window = first + int(np.argmin(good))
            raise ValueError(f"the {what} predicted in window {window} (from 0) are not finite: {metrics.DIVERGED}")


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


def _check_sizes(predictor: VideoPredictor, window: Episode, name: str) -> None:
    from visual_foresight.predictor.checkpoint import require_episode

    try:
        require_episode(predictor.config, predictor.metadata, window, what="the data")
    except ValueError as error:
        raise ValueError(f"{name}: {error}" if name else str(error)) from error


def _batches(windows: Sequence[Episode], size: int) -> Iterator[tuple[int, list[Episode], int]]:
    """First index, episodes and how many of them count; the last batch is filled up, because each size is compiled."""
    size = min(size, len(windows))
    for first in range(0, len(windows), size):
        batch = list(windows[first : first + size])
        count = len(batch)
        yield first, batch + [batch[-1]] * (size - count), count


# ---- figures --------------------------------------------------------------------------------------------------------


def _truth(batch: Sequence[Episode], context: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True frames `[B, P, H, W, 3]`, the last given one in their place, and moving regions `[B, P, H, W]`."""
    frames = to_float(np.stack([window.frames for window in batch]))
    truth = frames[:, context:]
    copy = np.broadcast_to(frames[:, context - 1 : context], truth.shape)
    changed = np.abs(truth - copy).max(axis=-1) > MOVING
    side = 2 * MARGIN + 1
    return truth, copy, ndimage.maximum_filter(changed, size=(1, 1, side, side))


def _figures(
    truth: np.ndarray, predicted: np.ndarray, moving: np.ndarray, count: int, lpips: bool
) -> dict[str, np.ndarray]:
    """Figures `[count, P]` of the first `count` windows."""
    truth, predicted, moving = truth[:count], predicted[:count], moving[:count]
    small = min(truth.shape[2:4]) < 11
    figures = {
        "psnr": metrics.psnr(truth, predicted),
        "moving_psnr": metrics.masked_psnr(truth, predicted, moving),
        "ssim": np.full(truth.shape[:2], np.nan) if small else metrics.ssim(truth, predicted),
    }
    return figures | ({"lpips": metrics.lpips(truth, predicted)} if lpips else {})


def _joined(batches: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _beside_copy(figures: dict[str, np.ndarray], copied: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    gains = {f"{name}_gain": figures[name] - copied[name] for name in ("psnr", "moving_psnr")}
    return {f"copy_{name}": values for name, values in copied.items()} | gains


def _comparison(main: _Judge, other: _Judge, seed: int) -> dict[str, Any]:
    ours, theirs = main.figures, other.figures
    differences = {f"{name}_difference": ours[name] - theirs[name] for name in ours}
    return {
        "stride": other.predictor.config.stride,
        **_frame_summary(theirs, differences, seed),
        "pixels": summarise_pixels(with_differences(main.rows, other.rows), seed),
    }


def _frame_summary(figures: dict[str, np.ndarray], beside: dict[str, np.ndarray], seed: int) -> dict[str, Any]:
    """The parts "steps" and "mean" of a report, from figures `[N, P]`."""
    figures = figures | beside
    num_steps = figures["psnr"].shape[1]
    return {
        "steps": [
            {name: interval(values[:, step], seed) for name, values in figures.items()} for step in range(num_steps)
        ],
        "mean": {name: interval(_mean(values), seed) for name, values in figures.items()},
    }


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over steps `[N, P]` -> `[N]`, NaN where there is no figure at all."""
    present = ~np.isnan(values)
    total = np.where(present, values, 0).sum(axis=1)
    return np.divide(total, present.sum(axis=1), out=np.full(len(values), np.nan), where=present.any(axis=1))
