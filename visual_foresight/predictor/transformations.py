"""CDNA, DNA and STP: how known frames are moved. Pure functions without weights, in `keras.ops`.

A transformation says how many raw numbers it needs (`parameter_shape`), turns them into operators (`operators`), and
applies these to images (`transform`), or directly to the sum of the masked transformed images (`blend`). Probability
maps of designated pixels are further channels of the images: one routine moves both.

Source: C. Finn, I. Goodfellow, S. Levine, "Unsupervised Learning for Physical Interaction through Video Prediction",
2016 (arXiv:1605.07157), section 3; the original code at tensorflow/models `research/video_prediction`.
Letters: B batch, H rows, W columns, C channels, M transformed images, K side of a kernel.
"""

import math
from dataclasses import dataclass
from typing import Any

from keras import ops

from visual_foresight.predictor import separable
from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.fusing import fuse

# The original's RELU_SHIFT: keeps the sum of an all-negative kernel above zero (it becomes uniform).
RELU_SHIFT = 1e-12


@dataclass(frozen=True)
class Style:
    """How the outputs of a backbone are to be read.

    Args:
        kernel_normalisation: "relu" (shifted ReLU divided by the sum, the original) or "softmax".
        padding: what lies outside the image: "zero" (the original: borders darken, probability leaks) or "edge"
            (the border pixel repeated).
        separable: cdna only: kernels are given as K row taps and K column taps each, applied as two banded matrices.
        identity_bias: added to the logit of the centre tap before the softmax, so that an untrained head copies.
        relu_masks: ReLU on the mask logits before the softmax (the original's slim default).
        first_frame: whether the first frame is a layer, as memory of the background.
        generated_with_dna: whether dna too gets a generated image.
        palette: so many layers of one learned colour each in place of the generated image: enough to draw a robot, and
            too little to paint an object anew instead of moving it.
        painted_keeps_map: whether the share of a painted layer in a pixel keeps that of the last probability map there.
            Without, it is given up: what lay there went elsewhere or is hidden, and left where it was, the map of a
            pushed object would trail behind it.
        transformed_share_masks: the original counts the generated image among `num_masks`, so that one transformed
            image fewer is used (its last cdna kernel is dropped).
        original_sampler: stp samples as the original does: scale W/2 instead of (W-1)/2, zero outside.
    """

    kernel_normalisation: str = "softmax"
    padding: str = "edge"
    separable: bool = False
    identity_bias: float = 0.0
    relu_masks: bool = False
    first_frame: bool = True
    generated_with_dna: bool = True
    palette: int = 0
    painted_keeps_map: bool = False
    transformed_share_masks: bool = False
    original_sampler: bool = False


SEED_STYLE = Style(
    kernel_normalisation="relu",
    padding="zero",
    relu_masks=True,
    first_frame=False,
    generated_with_dna=False,
    painted_keeps_map=True,
    transformed_share_masks=True,
    original_sampler=True,
)


def num_transformed(config: PredictorConfig, style: Style) -> int:
    """M: the number of transformed images that reach the composite."""
    if config.transformation == "dna" or not style.transformed_share_masks:
        return config.num_masks
    return config.num_masks - 1


def parameter_shape(config: PredictorConfig, style: Style) -> tuple[int, ...]:
    """Shape of the raw parameters after the batch axis.

    Returns:
        cdna: `(K*K*num_masks,)`, the mask index fastest; separable cdna: `(num_masks*2*K,)`, row taps before column
        taps; dna: `(H, W, K*K)`; stp: `(6*M,)`.
    """
    taps = config.kernel_size**2
    if config.transformation == "dna":
        return (*config.image_size, taps)
    if config.transformation == "stp":
        return (6 * num_transformed(config, style),)
    if style.separable:
        return (2 * config.kernel_size * config.num_masks,)
    return (taps * config.num_masks,)


def num_parameters(config: PredictorConfig, style: Style) -> int:
    """Length of the last axis of the raw parameters."""
    return parameter_shape(config, style)[-1]


def operators(parameters: Any, config: PredictorConfig, style: Style) -> Any:
    """Turn raw parameters into operators, in float32.

    Args:
        parameters: [B, ...] as `parameter_shape` says.
        config: the predictor's config.
        style: the backbone's style.

    Returns:
        cdna: kernels [B, K*K, M] that sum to 1 over axis 1; separable cdna: (rows [B, M, K], columns [B, M, K]);
        dna: kernels [B, H, W, K*K]; stp: affine maps [B, M, 2, 3] from target to source coordinates in [-1, 1].
    """
    parameters = ops.cast(parameters, "float32")
    size, count = config.kernel_size, num_transformed(config, style)
    if config.transformation == "stp":
        identity = ops.convert_to_tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], "float32")
        return ops.reshape(parameters, (-1, count, 2, 3)) + identity
    if config.transformation == "dna":
        return normalise_kernels(parameters, -1, style)
    if style.separable:
        halves = normalise_kernels(ops.reshape(parameters, (-1, config.num_masks, 2, size)), -1, style)
        return halves[:, :, 0], halves[:, :, 1]
    kernels = ops.reshape(parameters, (-1, size * size, config.num_masks))
    # Dropping the unused kernel of the original before it is normalised changes nothing and costs nothing.
    return normalise_kernels(kernels[:, :, :count], 1, style)


def normalise_kernels(logits: Any, axis: int, style: Style) -> Any:
    """Make taps positive with sum 1 along `axis` (odd length; the centre tap is the identity)."""
    if style.kernel_normalisation == "softmax":
        length = logits.shape[axis]
        if length == 1:  # Keras warns of a softmax over one number
            return ops.ones_like(logits)
        bias = ops.one_hot(length // 2, length, dtype="float32") * style.identity_bias
        shape = [1] * len(logits.shape)
        shape[axis] = length
        return ops.softmax(logits + ops.reshape(bias, shape), axis=axis)
    shifted = ops.relu(logits - RELU_SHIFT) + RELU_SHIFT
    return shifted / ops.sum(shifted, axis=axis, keepdims=True)


def blend(moves: Any, masks: Any, images: Any, config: PredictorConfig, style: Style) -> Any:
    """The sum over m of `masks[..., m]` times image m transformed: the moving part of the composite.

    CDNA and DNA meet here: masks [H, W, M] times kernels [M, K*K] give each pixel its own taps.

    Args:
        moves: what `operators` returned.
        masks: [B, H, W, M] float32.
        images: [B, H, W, C] float32, colours and probability maps side by side.
        config: the predictor's config.
        style: the backbone's style.

    Returns:
        [B, H, W, C] float32.
    """
    if config.transformation == "stp":
        return _blend_warps(moves, masks, images, style)
    if config.transformation == "dna":
        return apply_taps(ops.transpose(moves * masks, (0, 3, 1, 2)), images, style.padding)
    if style.separable:
        return separable.blend_rows(moves, ops.transpose(masks, (0, 3, 1, 2)), images, style.padding, "float32")
    height, width, count = masks.shape[1:]
    flat = ops.transpose(ops.reshape(masks, (-1, height * width, count)), (0, 2, 1))  # [B, M, H*W]
    taps = ops.reshape(ops.matmul(moves, flat), (-1, moves.shape[1], height, width))
    return apply_taps(taps, images, style.padding)


def transform(moves: Any, images: Any, config: PredictorConfig, style: Style) -> Any:
    """Every transformed image by itself; slower than `blend`, for pictures and tests.

    Args:
        moves: what `operators` returned.
        images: [B, H, W, C] float32.
        config: the predictor's config.
        style: the backbone's style.

    Returns:
        [B, M, H, W, C] float32.
    """
    count = num_transformed(config, style)
    ones = ops.ones_like(images[..., :1])
    chosen = [ops.concatenate([ones * float(m == n) for n in range(count)], axis=-1) for m in range(count)]
    return ops.stack([blend(moves, masks, images, config, style) for masks in chosen], axis=1)


def apply_taps(taps: Any, images: Any, padding: str) -> Any:
    """Give each pixel the weighted sum of its neighbourhood (cross-correlation).

    K*K multiply-adds of whole planes, with their own gradient: measured on a CPU this is several times faster in
    training than patches, and than the gradient that slicing would get by itself.

    Args:
        taps: [B, K*K, H, W]; tap `K*dy + dx` reads `images[y + dy - K//2, x + dx - K//2]`.
        images: [B, H, W, C].
        padding: "zero" or "edge".

    Returns:
        [B, H, W, C].
    """
    planes = padded_planes(images, taps.shape[1], padding)
    return ops.transpose(shifted_sum(taps, planes), (0, 2, 3, 1))


def padded_planes(images: Any, num_taps: int, padding: str) -> Any:
    """Images [B, H, W, C] to planes [B, C, H + K - 1, W + K - 1] for K*K taps."""
    return ops.transpose(pad_images(images, math.isqrt(num_taps) // 2, padding), (0, 3, 1, 2))


@ops.custom_gradient
def shifted_sum(taps: Any, planes: Any) -> tuple[Any, Any]:
    """Taps [B, K*K, H, W] on padded planes [B, C, H + K - 1, W + K - 1] -> [B, C, H, W], and its gradient."""

    def gradient(*arguments: Any, upstream: Any = None) -> tuple[Any, Any]:
        upstream = arguments[0] if upstream is None else upstream  # [B, C, H, W]
        return _taps_gradient(taps, planes, upstream), _planes_gradient(taps, upstream)

    return _sum_of_shifts(taps, planes), gradient


def _shifts(taps: Any) -> tuple[int, list[tuple[int, int]]]:
    """Side of the kernel, and row and column of each tap."""
    size = math.isqrt(taps.shape[1])
    return size, [divmod(tap, size) for tap in range(taps.shape[1])]


@fuse
def _sum_of_shifts(taps: Any, planes: Any) -> Any:
    height, width = taps.shape[2:]
    total = 0.0
    for tap, (dy, dx) in enumerate(_shifts(taps)[1]):
        total = total + taps[:, tap, None] * planes[:, :, dy : dy + height, dx : dx + width]
    return total


@fuse
def _taps_gradient(taps: Any, planes: Any, upstream: Any) -> Any:
    height, width = taps.shape[2:]
    windows = [planes[:, :, dy : dy + height, dx : dx + width] for dy, dx in _shifts(taps)[1]]
    return ops.stack([ops.sum(upstream * window, axis=1) for window in windows], axis=1)


@fuse
def _planes_gradient(taps: Any, upstream: Any) -> Any:
    height, width = taps.shape[2:]
    size, shifts = _shifts(taps)
    margin = size - 1
    around = [[0, 0], [0, 0], [margin, margin], [margin, margin]]
    wide_upstream, wide_taps = ops.pad(upstream, around), ops.pad(taps, around)
    total = 0.0
    for tap, (dy, dx) in enumerate(shifts):
        rows, columns = slice(margin - dy, 2 * margin - dy + height), slice(margin - dx, 2 * margin - dx + width)
        total = total + wide_taps[:, tap, None, rows, columns] * wide_upstream[:, :, rows, columns]
    return total


def pad_images(images: Any, margin: int, padding: str) -> Any:
    """Frame [B, H, W, C] with `margin` pixels of zeros or of its border, on all four sides."""
    if margin == 0:
        return images
    if padding == "zero":
        return ops.pad(images, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
    for axis in (1, 2):
        length = images.shape[axis]
        inside = [slice(None)] * 4
        inside[axis] = slice(0, 1)
        first = images[tuple(inside)]
        inside[axis] = slice(length - 1, length)
        last = images[tuple(inside)]
        images = ops.concatenate([first] * margin + [images] + [last] * margin, axis=axis)
    return images


def _blend_warps(maps: Any, masks: Any, images: Any, style: Style) -> Any:
    """Bilinear sampling on affine grids; M is summed with the masks as weights."""
    height, width, channels = images.shape[1:]
    x, y = _sample_points(maps, height, width, style)  # [B, M, H, W] each, in pixels
    flat = ops.reshape(images, (-1, channels))  # [B*H*W, C]
    start = ops.reshape(ops.arange(ops.shape(images)[0]) * (height * width), (-1, 1, 1, 1))
    weights = ops.transpose(masks, (0, 3, 1, 2))  # [B, M, H, W]
    total = 0.0
    left, right = _corners(x, width, style)
    top, bottom = _corners(y, height, style)
    for row, row_weight in (top, bottom):
        for column, column_weight in (left, right):
            index = start + ops.cast(row, "int32") * width + ops.cast(column, "int32")
            corner = ops.take(flat, index, axis=0)  # [B, M, H, W, C]
            total = total + corner * ops.expand_dims(weights * row_weight * column_weight, -1)
    return ops.sum(total, axis=1)


def _sample_points(maps: Any, height: int, width: int, style: Style) -> tuple[Any, Any]:
    """Source column and row [px] of every target pixel, [B, M, H, W] each."""
    columns, rows = ops.linspace(-1.0, 1.0, width), ops.linspace(-1.0, 1.0, height)
    grid = ops.stack([ops.tile(columns[None], (height, 1)), ops.tile(rows[:, None], (1, width))], axis=0)
    grid = ops.concatenate([grid, ops.ones_like(grid[:1])], axis=0)  # [3, H, W]: x, y, 1
    source = ops.einsum("bmij,jhw->bmihw", maps, grid)
    shrink = 0 if style.original_sampler else 1
    x = (source[:, :, 0] + 1.0) * (width - shrink) / 2.0
    y = (source[:, :, 1] + 1.0) * (height - shrink) / 2.0
    if style.original_sampler:
        return x, y
    return ops.clip(x, 0.0, width - 1.0), ops.clip(y, 0.0, height - 1.0)


def _corners(points: Any, size: int, style: Style) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The two neighbours of each point along one axis as (index, weight).

    The original clips the indices first and takes the weights from the clipped ones: a point outside [0, size-1)
    gets the weights of one and the same pixel with opposite signs, that is zero.
    """
    low = ops.floor(points)
    first, second = ops.clip(low, 0.0, size - 1.0), ops.clip(low + 1.0, 0.0, size - 1.0)
    if style.original_sampler:
        return (first, second - points), (second, points - first)
    return (first, low + 1.0 - points), (second, points - low)
