"""The only two conversions between stored frames (uint8) and computed frames (float32 in [0, 1])."""

from __future__ import annotations

import numpy as np

__all__ = ["check_floats", "to_float", "to_uint8"]

# Predictions that are not clipped leave [0, 1] by less; bytes that were not divided by 255 leave it by far more.
_LOWEST, _HIGHEST = -0.75, 2.0


def check_floats(name: str, frames: np.ndarray) -> None:
    """Refuse computed frames that are no floats in about [0, 1]; NaN passes, as a diverged prediction is judged later.

    Args:
        name: of the argument, for the message.
        frames: of any shape; where time is short, a few of them stand for all.

    Raises:
        ValueError: another dtype, or values as of frames in [0, 255] or [-1, 1].
    """
    if not np.issubdtype(frames.dtype, np.floating) and frames.dtype.name != "bfloat16":  # which NumPy does not know
        how = "visual_foresight.frames.to_float converts bytes" if frames.dtype == np.uint8 else "divide bytes by 255"
        raise ValueError(f"{name} must be floats in [0, 1], got {frames.dtype}: {how}")
    if frames.size and (frames.max() > _HIGHEST or frames.min() < _LOWEST):
        raise ValueError(
            f"{name} must be in [0, 1], got {frames.min():.4g} to {frames.max():.4g}: divide by 255, or for [-1, 1] "
            "take (frames + 1) / 2"
        )


def to_float(frames: np.ndarray) -> np.ndarray:
    """Convert stored frames to floats in [0, 1].

    Args:
        frames: `[..., H, W, C]` uint8.

    Returns:
        `[..., H, W, C]` float32, `frames / 255` (division, as the original reader computes it).

    Raises:
        TypeError: The array is not uint8; a float array would silently be divided twice.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8:
        raise TypeError(
            f"to_float expects uint8 frames, got {frames.dtype}: frames that are already floats need no conversion"
        )
    return frames.astype(np.float32) / np.float32(255.0)


def to_uint8(frames: np.ndarray) -> np.ndarray:
    """Convert floats in [0, 1] to stored frames: times 255, rounded half to even, clipped to [0, 255].

    Args:
        frames: `[..., H, W, C]` floating point; values a little outside [0, 1], as predictions may be, are clipped.

    Returns:
        `[..., H, W, C]` uint8.

    Raises:
        TypeError: The array is not floating point; uint8 frames need no conversion.
        ValueError: The array holds NaN, which no pixel value can stand for, or values that are far from [0, 1], as of
            frames in [0, 255] or [-1, 1].
    """
    frames = np.asarray(frames)
    if not np.issubdtype(frames.dtype, np.floating):
        raise TypeError(f"to_uint8 expects floating point frames in [0, 1], got {frames.dtype}")
    if np.isnan(frames).any():
        raise ValueError("to_uint8 got NaN among the frames: no pixel value can stand for it")
    check_floats("frames given to to_uint8", frames)
    return np.clip(np.rint(frames * 255.0), 0, 255).astype(np.uint8)
