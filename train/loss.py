"""The original's loss, the motion-weighted loss, and the figures that stand beside both. Written in `keras.ops`."""

from __future__ import annotations

from typing import Any

from keras import ops

STATE_WEIGHT = 1e-4
"""Weight of the state error in the original's loss."""

COARSE_SCALES = 3
"""Pictures of a half, a quarter and an eighth of the size in the coarse loss."""

_SMALLEST_MSE = 1e-10
"""A perfect frame counts as 100 dB: its infinite PSNR would swallow every mean it enters."""

_LOG_10 = 2.302585092994046


def frame_errors(frames: Any, predicted: Any) -> Any:
    """Mean squared error of every frame.

    Args:
        frames: `[B, P, H, W, C]` truth in [0, 1].
        predicted: `[B, P, H, W, C]`.

    Returns:
        `[B, P]`.
    """
    return ops.mean(ops.square(frames - predicted), axis=(2, 3, 4))


def state_errors(states: Any, predicted: Any) -> Any:
    """Mean squared error of every state: `[B, P, S]` twice -> `[B, P]`; zeros where there is no state (S = 0)."""
    if states.shape[-1] == 0:
        return ops.zeros_like(ops.sum(states, axis=-1))
    return ops.mean(ops.square(states - predicted), axis=-1)


def motion_weights(frames: Any, previous: Any, *, weight: float, threshold: float, dilation: int) -> Any:
    """What each pixel counts: `1 + weight` where the scene moves, else 1.

    A pixel moves when any colour changed by more than `threshold` since the previous true frame; the region is grown by
    `dilation` pixels, so that a blurred edge beside the motion is charged as well.

    Args:
        frames: `[B, P, H, W, C]` truth.
        previous: `[B, P, H, W, C]` the frame before each of them.
        weight: extra weight of moving pixels.
        threshold: least change, of 1.
        dilation: half side of the square that grows the region [px].

    Returns:
        `[B, P, H, W, 1]`.
    """
    batch, steps, height, width, _ = ops.shape(frames)
    change = ops.max(ops.abs(frames - previous), axis=-1, keepdims=True)  # [B, P, H, W, 1]
    moving = ops.cast(change > threshold, frames.dtype)
    if dilation:
        flat = ops.reshape(moving, (batch * steps, height, width, 1))
        flat = ops.max_pool(flat, 2 * dilation + 1, strides=1, padding="same")
        moving = ops.reshape(flat, (batch, steps, height, width, 1))
    return 1.0 + weight * moving


def weighted_frame_errors(frames: Any, predicted: Any, weights: Any) -> Any:
    """Mean of `weights` x squared error of every frame: `[B, P, H, W, C]` twice and `[B, P, H, W, 1]` -> `[B, P]`."""
    return ops.mean(weights * ops.square(frames - predicted), axis=(2, 3, 4))


def coarse_frame_errors(frames: Any, predicted: Any) -> Any:
    """Mean squared errors of every frame seen ever more blurred, summed over three scales.

    At full resolution an object that is put down wholly beside its place costs the same however far off it is, and less
    where it is smeared; so kernels learn to smear. Of blurred pictures the error grows with the distance.
    Each scale averages 4 x 4 pixels of the one before at every second pixel; borders repeat nothing and count less.

    Args:
        frames: `[B, P, H, W, C]` truth in [0, 1].
        predicted: `[B, P, H, W, C]`.

    Returns:
        `[B, P]`.
    """
    batch, steps, height, width, channels = ops.shape(frames)
    difference = ops.reshape(frames - predicted, (batch * steps, height, width, channels))
    total = 0.0
    for _ in range(COARSE_SCALES):
        difference = ops.average_pool(difference, 4, strides=2, padding="same")
        total = total + ops.mean(ops.square(difference), axis=(1, 2, 3))
    return ops.reshape(total, (batch, steps))


def total_loss(image_errors: Any, state_errors: Any, state_weight: float = STATE_WEIGHT) -> Any:
    """The original's loss (Finn, Goodfellow and Levine 2016, section 4; `prediction_train.py`).

    `(sum_t mse(frame_t) + 1e-4 sum_t mse(state_t)) / P` over the P predicted frames, mean over the batch.

    Args:
        image_errors: `[B, P]`, plain or motion-weighted.
        state_errors: `[B, P]`.
        state_weight: of the state error; the original's 1e-4 teaches states in metres next to nothing.
    """
    return ops.mean(image_errors) + state_weight * ops.mean(state_errors)


def psnr(errors: Any) -> Any:
    """Peak signal-to-noise ratio [dB] of mean squared errors of any shape, peak 1, at most 100 dB."""
    return -10.0 / _LOG_10 * ops.log(ops.maximum(errors, _SMALLEST_MSE))
