"""Figures of merit with bootstrap intervals: PSNR, SSIM, pixel positions, ranks and regret. NumPy and SciPy only."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage, stats

__all__ = [
    "MOTION_BINS",
    "Interval",
    "bootstrap_interval",
    "expected_pixels",
    "lpips",
    "masked_psnr",
    "mode_pixels",
    "motion_bin",
    "pixel_errors",
    "psnr",
    "random_regret",
    "rank_correlation",
    "require_lpips",
    "ssim",
    "top_k_regret",
]

MOTION_BINS = ("still", "small", "large")
"""How far an object moved: less than 2 px, 2 to 5 px, more than 5 px."""

DIVERGED = "its training diverged, or its weights are damaged; take an earlier checkpoint"
"""What there is to say of a predictor whose predictions are not numbers: no figure would mean anything."""

_LARGEST_PSNR = 100.0


@dataclass(frozen=True)
class Interval:
    """A mean and its bootstrap interval over `count` independent items."""

    mean: float
    low: float
    high: float
    count: int


def psnr(frames: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each frame, in dB.

    `10 log10(1 / mse)` with the error of one frame: mean it over frames. Equal frames count as 100 dB, because one
    infinite value would swallow every mean.

    Differs from the original, which pools the error over the batch first and sums over steps (`psnr_all`).

    Args:
        frames: `[..., H, W, C]` float in [0, 1].
        predicted: `[..., H, W, C]`.

    Returns:
        `[...]` float64.

    Raises:
        ValueError: shapes differ.
        TypeError: not floating point.
    """
    frames, predicted = _checked(frames, predicted)
    error = np.mean(np.square(frames - predicted), axis=(-3, -2, -1))
    return -10.0 * np.log10(np.maximum(error, 10.0 ** (-_LARGEST_PSNR / 10)))


def masked_psnr(frames: np.ndarray, predicted: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of the pixels that a mask chooses, in dB; NaN where it chooses none.

    Args:
        frames: `[..., H, W, C]` float in [0, 1].
        predicted: `[..., H, W, C]`.
        mask: `[..., H, W]` bool.

    Returns:
        `[...]` float64.

    Raises:
        ValueError: shapes differ.
        TypeError: the frames are not floating point.
    """
    frames, predicted = _checked(frames, predicted)
    mask = np.asarray(mask, bool)
    if mask.shape != frames.shape[:-1]:
        raise ValueError(f"the mask must be [..., H, W] of the frames, got {mask.shape} for {frames.shape}")
    error = np.mean(np.square(frames - predicted), axis=-1)
    count = mask.sum(axis=(-2, -1))
    total = np.where(mask, error, 0.0).sum(axis=(-2, -1))
    mean = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
    return -10.0 * np.log10(np.maximum(mean, 10.0 ** (-_LARGEST_PSNR / 10)))


def ssim(frames: np.ndarray, predicted: np.ndarray, *, side: int = 11, sigma: float = 1.5) -> np.ndarray:
    """Structural similarity of each frame.

    Wang, Bovik, Sheikh and Simoncelli (2004), "Image Quality Assessment", eq. 13: Gaussian window of 11 x 11 and
    deviation 1.5, K1 = 0.01, K2 = 0.03, mean over the windows that lie inside the frame, then over colours. The same
    numbers as `tf.image.ssim(max_val=1.0)`.

    Args:
        frames: `[..., H, W, C]` float in [0, 1].
        predicted: `[..., H, W, C]`.
        side: side of the window [px], odd.
        sigma: deviation of the window [px].

    Returns:
        `[...]` float64.

    Raises:
        ValueError: shapes differ, or a frame is smaller than the window.
        TypeError: not floating point.
    """
    frames, predicted = _checked(frames, predicted)
    if min(frames.shape[-3:-1]) < side:
        raise ValueError(f"SSIM needs frames of at least {side}x{side} px, got {frames.shape[-3]}x{frames.shape[-2]}")
    window = np.exp(-0.5 * ((np.arange(side) - side // 2) / sigma) ** 2)
    window /= window.sum()
    mean_x, mean_y = _windowed(frames, window), _windowed(predicted, window)
    square = _windowed(frames**2 + predicted**2, window) - mean_x**2 - mean_y**2  # sum of the two local variances
    product = _windowed(frames * predicted, window) - mean_x * mean_y
    low_1, low_2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + low_1) / (mean_x**2 + mean_y**2 + low_1)
    structure = (2 * product + low_2) / (square + low_2)
    return np.mean(luminance * structure, axis=(-3, -2, -1))


def lpips(frames: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Learned perceptual distance of each frame; 0 is the same picture.

    Zhang, Isola, Efros, Shechtman and Wang (2018), "The Unreasonable Effectiveness of Deep Features as a Perceptual
    Metric", AlexNet, version 0.1 of the authors' package, which fetches AlexNet's weights when first used.

    Args:
        frames: `[..., H, W, C]` float in [0, 1].
        predicted: `[..., H, W, C]`.

    Returns:
        `[...]` float64.

    Raises:
        ImportError: the extra is not installed.
        ValueError: shapes differ.
        TypeError: not floating point.
    """
    frames, predicted = _checked(frames, predicted)
    torch, network = require_lpips()
    shape = frames.shape
    pairs = [
        torch.from_numpy(np.moveaxis(2.0 * array.reshape(-1, *shape[-3:]) - 1.0, -1, 1).astype(np.float32))
        for array in (frames, predicted)
    ]
    with torch.no_grad():
        distances = network(*pairs)
    return np.asarray(distances.numpy(), np.float64).reshape(shape[:-3])


@functools.cache
def require_lpips() -> tuple[Any, Any]:
    """PyTorch and the network of `lpips`.

    Raises:
        ImportError: the extra is not installed.
    """
    try:
        package, torch = importlib.import_module("lpips"), importlib.import_module("torch")
    except ImportError as error:
        raise ImportError(f"LPIPS is not installed ({error}): pip install 'visual-foresight[lpips]'") from error
    return torch, package.LPIPS(net="alex", verbose=False).eval()


def bootstrap_interval(
    values: np.ndarray,
    *,
    seed: int | np.random.Generator = 0,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    statistic: Callable[..., np.ndarray] = np.mean,
) -> Interval:
    """Percentile bootstrap interval of a statistic over independent items.

    Efron and Tibshirani (1993), "An Introduction to the Bootstrap", chapter 13. One item is what was drawn
    independently: an episode, not a frame of it.

    Args:
        values: `[N]`; NaN entries are left out.
        seed: seed of the resampling: the same values give the same interval; or a generator, which is consumed.
        confidence: probability inside the interval.
        num_resamples: number of resamples.
        statistic: `statistic(array, axis=-1)`.

    Raises:
        ValueError: `values` is no vector, the confidence is not between 0 and 1, or there are no resamples.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1:
        raise ValueError(f"bootstrap_interval takes one value per item, got shape {values.shape}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    generator = np.random.default_rng(seed)
    rows = max(1, 4_000_000 // len(values))  # bounds the memory of one block of resamples
    resampled = [
        statistic(values[generator.integers(len(values), size=(min(rows, num_resamples - done), len(values)))], axis=-1)
        for done in range(0, num_resamples, rows)
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(resampled), [tail, 1 - tail])
    return Interval(float(statistic(values, axis=-1)), float(low), float(high), len(values))


def expected_pixels(maps: np.ndarray) -> np.ndarray:
    """Mean position of probability maps: `[..., H, W]` -> `[..., 2]` (row, col)."""
    maps = np.asarray(maps, np.float64)
    mass = maps.sum(axis=(-2, -1))
    rows = (maps.sum(axis=-1) * np.arange(maps.shape[-2])).sum(axis=-1)
    columns = (maps.sum(axis=-2) * np.arange(maps.shape[-1])).sum(axis=-1)
    return np.stack([rows, columns], axis=-1) / np.maximum(mass, 1e-12)[..., None]


def mode_pixels(maps: np.ndarray) -> np.ndarray:
    """Most probable pixel of probability maps: `[..., H, W]` -> `[..., 2]` (row, col), the first one of equals."""
    maps = np.asarray(maps)
    flat = maps.reshape(*maps.shape[:-2], -1).argmax(axis=-1)
    return np.stack(np.unravel_index(flat, maps.shape[-2:]), axis=-1).astype(np.float64)


def pixel_errors(maps: np.ndarray, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """How far predicted maps are from where the points really are, in pixels.

    Args:
        maps: `[..., H, W]` probability maps.
        pixels: `[..., 2]` true (row, col).

    Returns:
        `"expected"`: mean distance under the map, `sum_p map(p) |p - pixel|`, what the planner's objective reads;
        `"mean"`: distance of the map's mean; `"mode"`: distance of its most probable pixel. Each `[...]`.

    Raises:
        ValueError: leading shapes differ.
    """
    maps, pixels = np.asarray(maps, np.float64), np.asarray(pixels, np.float64)
    if maps.shape[:-2] != pixels.shape[:-1] or pixels.shape[-1:] != (2,):
        raise ValueError(f"maps [..., H, W] and pixels [..., 2] must agree, got {maps.shape} and {pixels.shape}")
    rows = np.arange(maps.shape[-2])[:, None] - pixels[..., 0, None, None]
    columns = np.arange(maps.shape[-1]) - pixels[..., 1, None, None]
    mass = np.maximum(maps.sum(axis=(-2, -1)), 1e-12)
    return {
        "expected": (maps * np.hypot(rows, columns)).sum(axis=(-2, -1)) / mass,
        "mean": np.linalg.norm(expected_pixels(maps) - pixels, axis=-1),
        "mode": np.linalg.norm(mode_pixels(maps) - pixels, axis=-1),
    }


def motion_bin(distance: np.ndarray) -> np.ndarray:
    """Index into `MOTION_BINS` of distances moved [px]: below 2, from 2 to 5, above 5."""
    distance = np.asarray(distance)
    return np.where(distance < 2.0, 0, np.where(distance <= 5.0, 1, 2))


def rank_correlation(predicted: np.ndarray, true: np.ndarray) -> float:
    """Spearman's rank correlation of predicted and true costs of the same candidates, `[K]` each.

    NaN where either is constant: nothing can then be ranked.

    Raises:
        ValueError: the shapes differ, there are fewer than two candidates, or a cost is not finite.
    """
    predicted, true = _costs(predicted, true)
    if np.ptp(predicted) == 0 or np.ptp(true) == 0:
        return float("nan")
    return float(stats.spearmanr(predicted, true).statistic)


def top_k_regret(predicted: np.ndarray, true: np.ndarray, k: int = 1) -> float:
    """What trusting the predicted costs loses: best true cost among the `k` predicted best, less the best of all.

    In the unit of the true cost, never negative; 0 when the true best is among the `k`. Equal predicted costs count in
    the order given.

    Raises:
        ValueError: the shapes differ, there are fewer than two candidates, a cost is not finite, or `k` is not among
            1..K.
    """
    predicted, true = _costs(predicted, true)
    if not 1 <= k <= len(true):
        raise ValueError(f"k must be between 1 and the {len(true)} candidates, got {k}")
    chosen = np.argsort(predicted, kind="stable")[:k]
    return float(true[chosen].min() - true.min())


def random_regret(true: np.ndarray, k: int = 1) -> float:
    """What `top_k_regret` is on average where nothing tells the candidates apart: `k` of them are drawn at random.

    The i-th best of K is the best drawn one with probability `C(K - i, k - 1) / C(K, k)`.

    Raises:
        ValueError: there are fewer than two candidates, or `k` is not among 1..K.
    """
    true, _ = _costs(true, true)
    total = len(true)
    if not 1 <= k <= total:
        raise ValueError(f"k must be between 1 and the {total} candidates, got {k}")
    shares = np.array([math.comb(total - rank, k - 1) for rank in range(1, total + 1)]) / math.comb(total, k)
    return float((np.sort(true) * shares).sum() - true.min())


def _checked(frames: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    frames, predicted = np.asarray(frames), np.asarray(predicted)
    for array in (frames, predicted):
        if not np.issubdtype(array.dtype, np.floating):
            raise TypeError(f"frames must be floats in [0, 1], got {array.dtype}: convert with frames.to_float")
    if frames.shape != predicted.shape or frames.ndim < 3:
        raise ValueError(f"frames and predicted must both be [..., H, W, C], got {frames.shape} and {predicted.shape}")
    return frames.astype(np.float64), predicted.astype(np.float64)


def _windowed(images: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Local means under a separable window, where it fits entirely: `[..., H, W, C]` -> `[..., H-10, W-10, C]`."""
    margin = len(window) // 2
    for axis in (images.ndim - 3, images.ndim - 2):
        images = ndimage.correlate1d(images, window, axis=axis, mode="constant")
        images = np.take(images, range(margin, images.shape[axis] - margin), axis=axis)
    return images


def _costs(predicted: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    predicted, true = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    if predicted.shape != true.shape or predicted.ndim != 1 or len(true) < 2:
        raise ValueError(f"costs must be two vectors of the same two or more, got {predicted.shape} and {true.shape}")
    for name, costs in (("predicted", predicted), ("true", true)):
        missing = int(np.count_nonzero(~np.isfinite(costs)))
        if missing:
            raise ValueError(f"{missing} of {len(costs)} {name} costs are not finite: they cannot be ranked")
    return predicted, true
