"""Checks of what a caller hands to a predictor, once, at the public door."""

from typing import Any

import numpy as np

from visual_foresight.given_arrays import check_magnitude
from visual_foresight.predictor.config import PredictorConfig

# Interpolated frames leave [0, 1] by rounding; bytes that were not divided by 255 leave it by far more.
RANGE_TOLERANCE = 0.01


def check_sequence(
    frames: Any, actions: Any, states: Any, context_frames: int, config: PredictorConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check and convert one batch of sequences.

    Args:
        frames: [B, T, H, W, 3] float in [0, 1].
        actions: [B, T-1 or T, A]; None is taken for zeros where the config's `use_state` is off.
        states: [B, T, S]; None as with actions.
        context_frames: true frames that will be fed.
        config: the predictor's config.

    Returns:
        (frames [B, T, H, W, 3], actions [B, T-1, A], states [B, T, S]) float32.

    Raises:
        ValueError: a wrong shape, range or length, or a value that is not finite.
        TypeError: an array of the wrong type, or a missing one.
    """
    frames = _check_frames(frames, config)
    batch, length = frames.shape[:2]
    if isinstance(context_frames, bool) or not isinstance(context_frames, int | np.integer):
        raise TypeError(f"context_frames must be an integer, got {context_frames!r}")
    if not 1 <= context_frames <= length:
        raise ValueError(f"context_frames must be between 1 and the number of frames, {length}; got {context_frames}")
    actions = _check_vectors(actions, "actions", batch, (length - 1, length), config.action_size, config)
    states = _check_vectors(states, "states", batch, (length,), config.state_size, config)
    return frames, actions[:, : length - 1], states


def _check_frames(frames: Any, config: PredictorConfig) -> np.ndarray:
    frames = np.asarray(frames)
    height, width = config.image_size
    if frames.dtype == np.uint8:
        raise TypeError("frames are uint8, expected floats in [0, 1]; convert with visual_foresight.frames.to_float")
    if not np.issubdtype(frames.dtype, np.floating):
        raise TypeError(f"frames must be floats in [0, 1], got dtype {frames.dtype}")
    if frames.ndim != 5 or frames.shape[2:] != (height, width, 3):
        raise ValueError(
            f"frames must have the shape [B, T, {height}, {width}, 3] (this predictor's image size), "
            f"got {list(frames.shape)}"
        )
    if frames.shape[0] < 1 or frames.shape[1] < 2:
        raise ValueError(f"frames must hold at least 1 sequence of 2 frames, got {list(frames.shape)}")
    _check_finite(frames, "frames")
    low, high = float(frames.min()), float(frames.max())
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise ValueError(f"frames must lie in [0, 1], got values from {low:.3g} to {high:.3g}; divide bytes by 255")
    return frames.astype(np.float32, copy=False)


def _check_vectors(
    values: Any, name: str, batch: int, lengths: tuple[int, ...], size: int, config: PredictorConfig
) -> np.ndarray:
    if values is None:
        if config.use_state:
            raise TypeError(f"{name} are missing; this predictor was made with use_state")
        return np.zeros((batch, lengths[0], size), np.float32)
    values = np.asarray(values)
    if not (np.issubdtype(values.dtype, np.floating) or np.issubdtype(values.dtype, np.integer)):
        raise TypeError(f"{name} must be numbers, got dtype {values.dtype}")
    if values.ndim != 3 or values.shape[0] != batch or values.shape[1] not in lengths or values.shape[2] != size:
        steps = " or ".join(str(length) for length in lengths)
        raise ValueError(
            f"{name} must have the shape [{batch}, {steps}, {size}] (to fit the frames and the predictor), "
            f"got {list(values.shape)}"
        )
    with np.errstate(over="ignore"):
        single = values.astype(np.float32, copy=False)
    _check_finite(single, name)  # also what is too large for float32
    check_magnitude(name, single)
    return single


def _check_finite(values: np.ndarray, name: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        where = tuple(int(index) for index in np.argwhere(~finite)[0])
        raise ValueError(f"{name} hold {values[where]} at index {where}; every value must be finite")
