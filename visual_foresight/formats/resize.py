"""Centre crop and resize of stored frames, the same for every format.

`seed` is what the original does (crop, then bicubic without antialiasing), `antialias` averages areas. Both are plain
NumPy, so a data set looks the same whichever format it is stored in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from visual_foresight.episode import Episode
from visual_foresight.formats.record import ReadOptions

__all__ = ["area_weights", "bicubic_weights", "crop_box", "move_pixels", "preprocess_episode", "resize_frames"]

_BICUBIC_A = -0.75
_BICUBIC_TABLE_SIZE = 1024


def crop_box(height: int, width: int, image_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of the largest centred box with the proportions of `image_size`.

    For a square `image_size` that is the centre square of the smaller side, the original's crop of 640x512 to 512x512.
    """
    target_height, target_width = image_size
    if width * target_height >= height * target_width:
        box_height, box_width = height, max(1, height * target_width // target_height)
    else:
        box_height, box_width = max(1, width * target_height // target_width), width
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def resize_frames(frames: np.ndarray, preprocess: str, image_size: tuple[int, int]) -> np.ndarray:
    """Crop and resize frames.

    Args:
        frames: `[T, H, W, 3]` uint8.
        preprocess: "seed", "antialias" or "none".
        image_size: (height, width) of the result; ignored by "none".

    Returns:
        `[T, height, width, 3]` uint8; the frames themselves when there is nothing to do.

    Differs from the original: its bicubic result stays floating point and may leave [0, 1]; here it is rounded to 8
    bits and clipped. At whole ratios (640x512 to 64x64) nothing is lost: there bicubic takes every n-th pixel exactly.
    """
    if preprocess == "none" or frames.shape[1:3] == tuple(image_size):
        return frames
    top, left, height, width = crop_box(frames.shape[1], frames.shape[2], image_size)
    frames = frames[:, top : top + height, left : left + width]
    if (height, width) == tuple(image_size):
        return frames
    rows, columns = height // image_size[0], width // image_size[1]
    whole = rows * image_size[0] == height and columns * image_size[1] == width
    if whole and preprocess == "seed":
        return frames[:, ::rows, ::columns]
    if whole:
        blocks = frames.reshape(len(frames), image_size[0], rows, image_size[1], columns, 3)
        return np.rint(blocks.mean(axis=(2, 4), dtype=np.float64)).astype(np.uint8)
    weights = bicubic_weights if preprocess == "seed" else area_weights
    vertical, horizontal = weights(height, image_size[0]), weights(width, image_size[1])
    return np.stack([_separable(frame, vertical, horizontal) for frame in frames])


def preprocess_episode(episode: Episode, options: ReadOptions) -> Episode:
    """Cut, crop and resize an episode that was read at its stored length and size."""
    start, stop = options.bounds(episode.num_frames)
    if stop - start < episode.num_frames:
        episode = episode.window(start, stop - start)
    frames = resize_frames(episode.frames, options.preprocess, options.image_size)
    if frames.shape == episode.frames.shape:
        return episode
    extras = move_pixels(episode.extras, episode.image_size, options)
    return replace(episode, frames=np.ascontiguousarray(frames), extras=extras)


def move_pixels(
    extras: Mapping[str, np.ndarray], stored_size: tuple[int, int], options: ReadOptions
) -> dict[str, np.ndarray]:
    """Move extras named `*_pixel` or `*_pixels` (last axis: row, column) with the cropped and resized picture."""
    moved = dict(extras)
    if options.preprocess == "none" or stored_size == options.image_size:
        return moved
    for name, value in extras.items():
        if name.endswith(("_pixel", "_pixels")) and value.ndim and value.shape[-1] == 2:
            moved[name] = _moved(value, stored_size, options)
    return moved


def _moved(pixels: np.ndarray, stored_size: tuple[int, int], options: ReadOptions) -> np.ndarray:
    """Map `[..., 2]` (row, column) of stored frames to new ones; (0, 0) is the centre of the upper left pixel."""
    top, left, height, width = crop_box(*stored_size, options.image_size)
    scale = np.array([height, width]) / np.array(options.image_size)
    moved = pixels.astype(np.float64) - (top, left)
    # The seed's bicubic samples at whole multiples of the scale; areas share their outer edges instead.
    moved = moved / scale if options.preprocess == "seed" else (moved + 0.5) / scale - 0.5
    return moved.astype(pixels.dtype if pixels.dtype.kind == "f" else np.float32)


def _separable(frame: np.ndarray, vertical: np.ndarray, horizontal: np.ndarray) -> np.ndarray:
    result = np.einsum("ih,hwc,jw->ijc", vertical, frame.astype(np.float32), horizontal, optimize=True)
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


@lru_cache(maxsize=32)
def bicubic_weights(source: int, target: int) -> np.ndarray:
    """Return weights `[target, source]` of TensorFlow's legacy bicubic resize (A = -0.75, samples at `i * scale`).

    Source: tensorflow/core/kernels/image/resize_bicubic_op.cc with align_corners and half_pixel_centers false: offsets
    are rounded to 1/1024, neighbours outside the image are clamped to its border.
    """
    location = np.arange(target, dtype=np.float32) * np.float32(source / target)
    base = np.floor(location).astype(int)
    offset = np.rint((location - base.astype(np.float32)) * _BICUBIC_TABLE_SIZE) / _BICUBIC_TABLE_SIZE
    distances = np.stack([1 + offset, offset, 1 - offset, 2 - offset], axis=1)  # [target, 4]
    near = ((_BICUBIC_A + 2) * distances - (_BICUBIC_A + 3)) * distances**2 + 1
    far = ((_BICUBIC_A * distances - 5 * _BICUBIC_A) * distances + 8 * _BICUBIC_A) * distances - 4 * _BICUBIC_A
    taps = np.where(distances <= 1, near, far)
    weights = np.zeros((target, source), dtype=np.float32)
    for tap in range(4):
        np.add.at(weights, (np.arange(target), np.clip(base + tap - 1, 0, source - 1)), taps[:, tap])
    return weights


@lru_cache(maxsize=32)
def area_weights(source: int, target: int) -> np.ndarray:
    """Return weights `[target, source]` that average the stretch of source pixels each target pixel covers."""
    edges = np.arange(target + 1) * (source / target)
    pixels = np.arange(source)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(overlap, 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
