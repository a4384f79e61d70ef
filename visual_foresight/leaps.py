"""Windows as leaps over several control steps, and their colours changed: what training makes of recorded windows.

Letters: B windows, T frames of a window, N leaps, J stride (control steps of a whole leap), A action size.
"""

from __future__ import annotations

import numpy as np


def leap_lengths(rng: np.random.Generator, batch_size: int, num_leaps: int, stride: int, shorten: float) -> np.ndarray:
    """Draw the lengths [B, N] of leaps: `stride`, but for a share `shorten` of them, which are of any length from 1."""
    short = rng.random((batch_size, num_leaps)) < shorten
    return np.where(short, rng.integers(1, stride + 1, (batch_size, num_leaps)), stride)


def leap_rows(lengths: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where leaps of these lengths [B, N] find their frames and actions in a window.

    Returns:
        (ends [B, N+1], the frames between leaps; rows [B, N, J], the action of each step, 0 behind a leap's end;
        inside [B, N, J] float32, 1 for steps of the leap and 0 behind its end).
    """
    ends = np.concatenate([np.zeros((len(lengths), 1), np.int64), np.cumsum(lengths, axis=1)], axis=1)
    inside = np.arange(stride) < lengths[:, :, None]
    rows = np.where(inside, ends[:, :-1, None] + np.arange(stride), 0)
    return ends, rows, inside.astype(np.float32)


def to_leaps(batch: dict[str, np.ndarray], lengths: np.ndarray, stride: int) -> dict[str, np.ndarray]:
    """Turn whole windows (frames [B, T, ...]) into the leaps of these lengths [B, N] that begin at their first frame.

    Returns:
        Frames and states at the ends of leaps [B, N+1, ...], actions [B, N, J, A] filled with zeros.
    """
    ends, rows, inside = leap_rows(lengths, stride)
    index = np.arange(len(lengths))
    return {
        "frames": batch["frames"][index[:, None], ends],
        "actions": batch["actions"][index[:, None, None], rows] * inside[..., None],
        "states": batch["states"][index[:, None], ends],
    }


def jitter_colours(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Change light and colour of each window [B, T, H, W, 3] uint8: one gain and one offset for each of its colours.

    Args:
        frames: uint8.
        rng: draws gains in [1 - strength, 1 + strength] and offsets up to a quarter of the strength.
        strength: from 0 to below 1.
    """
    gains = rng.uniform(1 - strength, 1 + strength, (len(frames), 1, 3))
    # One factor for all colours (light) and one for each (tint), half of the range each.
    gains = 0.5 * gains + 0.5 * rng.uniform(1 - strength, 1 + strength, (len(frames), 1, 1))
    offsets = rng.uniform(-64 * strength, 64 * strength, (len(frames), 1, 1))
    changed = frames * gains.astype(np.float32)[:, :, None, None] + offsets.astype(np.float32)[:, :, None, None]
    return np.rint(np.clip(changed, 0, 255, out=changed), out=changed).astype(np.uint8)
