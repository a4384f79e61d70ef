"""Compositing with kernels of K x K taps, all images as planes [H, W].

Masks times kernels give each pixel its own taps; the previous frame is one more moved image, whose kernel is its centre
tap. So one product makes all taps from all masks, and no mask is cut out of the others, whose gradient would have to be
padded with zeros again. What is no product is one loop over memory.
Letters: B batch, H rows, W columns, P maps, L layers, M moved images, K side of a kernel.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

from keras import ops

from visual_foresight.predictor import transformations
from visual_foresight.predictor.fusing import fuse_with_gradient


def compose(
    kernels: Any,
    logits: Any,
    layers: list[Any],
    maps: list[Any] | None,
    *,
    padding: str,
    rectified: bool,
) -> tuple[Any, Any, Any]:
    """The next frame and maps.

    Args:
        kernels: [B, K*K, M] float32.
        logits: [B, H, W, L] of any float type, masks of the known layers before those of the moved images.
        layers: the known layers, the previous frame before all others: [B, H, W, 3] float32, or [B, 1, 1, 3].
        maps: probability maps [B, H, W, P] of the first of the known layers; those behind have none. Or None.
        padding: "zero" or "edge".
        rectified: whether a ReLU precedes the softmax over the layers.

    Returns:
        (frame [B, H, W, 3], maps [B, H, W, P], not normalised, or None, masks [B, H, W, L]), float32.
    """
    shares, others = _shares(len(layers), rectified)(_planes(logits))
    images = layers[0] if maps is None else ops.concatenate([layers[0], maps[0]], axis=-1)
    taps = _taps(kernels, shares, len(layers))
    moved = transformations.shifted_sum(taps, transformations.padded_planes(images, kernels.shape[1], padding))
    masks = ops.transpose(shares, (0, 2, 3, 1))
    if maps is None:
        return _images(_add_known(moved, others, *[_planes(layer) for layer in layers[1:]])), None, masks
    frame = _add_known(moved[:, :3], others, *[_planes(layer) for layer in layers[1:]])
    return _images(frame), _images(_add_known(moved[:, 3:], others, *[_planes(known) for known in maps[1:]])), masks


def _planes(images: Any) -> Any:
    """[B, H, W, C] to [B, C, H, W]."""
    return ops.transpose(images, (0, 3, 1, 2))


def _images(planes: Any) -> Any:
    """[B, C, H, W] to [B, H, W, C]."""
    return ops.transpose(planes, (0, 2, 3, 1))


@functools.cache
def _shares(num_known: int, rectified: bool) -> Callable:
    """A function of logits [B, L, H, W] that returns all shares, and those of the known layers but the first."""

    def shares(logits: Any) -> tuple[Any, Any]:
        logits = ops.cast(logits, "float32")
        if rectified:
            logits = ops.relu(logits)
        weights = ops.exp(logits - ops.stop_gradient(ops.max(logits, axis=1, keepdims=True)))
        found = weights / ops.sum(weights, axis=1, keepdims=True)
        return found, found[:, 1:num_known]

    return fuse_with_gradient(shares)


def _taps(kernels: Any, shares: Any, num_known: int) -> Any:
    """Kernels [B, K*K, M] and shares [B, L, H, W] to the taps of each pixel, [B, K*K, H, W]."""
    length = kernels.shape[1]
    # Made from the shares, because there may be no kernel at all: with one mask the original drops its only one.
    still = ops.reshape(ops.one_hot(length // 2, length, dtype="float32"), (1, length, 1))
    still = still + ops.zeros_like(shares[:, :1, 0, :1])  # [B, K*K, 1]
    nothing = ops.zeros_like(still)
    kernels = ops.concatenate([still] + [nothing] * (num_known - 1) + [kernels], axis=-1)  # [B, K*K, L]
    num_layers, *size = shares.shape[1:]
    taps = ops.matmul(kernels, ops.reshape(shares, (-1, num_layers, math.prod(size))))
    return ops.reshape(taps, (-1, length, *size))


@fuse_with_gradient
def _add_known(moved: Any, shares: Any, *known: Any) -> Any:
    """Moved planes [B, C, H, W] and the shares [B, N, H, W] of N known images [B, C, H, W]."""
    for index, planes in enumerate(known):
        moved = moved + shares[:, index, None] * ops.cast(planes, "float32")
    return moved
