"""Compositing with separable kernels, in the memory layout that matrix products want.

A separable kernel moves rows and columns by themselves: R_m I C_m^T with banded matrices R_m [H, H] and C_m [W, W].
With an image stored as [H, C, W] both products run over contiguous memory and need no transposed copy in between, and
masks that stand as [L, H, W] multiply whole rows. Measured on two CPU cores (batch 32, 5 masks, 9 taps, one map):
a third of the time of the same sums in [H, W, C]; see docs/performance.md.
Letters: B batch, H rows, W columns, C channels (colours and maps), L layers, M transformed images, K taps.
"""

from typing import Any

import numpy as np
from keras import ops

from visual_foresight.predictor.fusing import fuse_with_gradient

_LARGEST_LOGIT = 30.0
# Of a cut that is moved along: e^12 between what is wholly in and wholly out of it.
CUT_STRENGTH = 6.0
# Drafts, made for comparing futures, have so many times fewer rows and columns: frames, masks and maps.
DRAFT_SCALE = 2


def layer_shares(logits: Any, rectified: bool = False) -> Any:
    """Softmax over the layers: [B, L, H, W] of any float type to the same in float32."""
    logits = ops.cast(logits, "float32")
    if rectified:
        logits = ops.relu(logits)
    # Written out: over an axis that is not the last one, CPU kernels of exp and sum vectorise over pixels.
    weights = ops.exp(logits - ops.stop_gradient(ops.max(logits, axis=1, keepdims=True)))
    return weights / ops.sum(weights, axis=1, keepdims=True)


def banded_matrices(taps: Any, size: int, padding: str, dtype: Any, scale: int = 1) -> Any:
    """[B, M, K] taps to [B, M, size, size]: row y holds tap d at column y + d - K//2, the padding folded in.

    With "edge" the taps that fall outside are added to the border column, so each row still sums to 1 (brightness is
    kept); with "zero" they are dropped. With a scale each row and column stands for so many of the pixels in which
    taps count: the matrix that repeats pixels, moves them and takes their means.
    """
    length = taps.shape[-1]
    band = band_of(length, size * scale, padding).reshape(length, size, scale, size, scale).sum(axis=(2, 4)) / scale
    band = ops.convert_to_tensor(band.reshape(length, size * size), dtype)
    return ops.reshape(ops.matmul(ops.cast(taps, dtype), band), (-1, taps.shape[1], size, size))


def band_of(length: int, size: int, padding: str) -> np.ndarray:
    """[K, size, size] of zeros and ones: where each tap stands in the banded matrix."""
    band = np.zeros((length, size, size), np.float32)
    rows = np.arange(size)
    for tap in range(length):
        columns = rows + tap - length // 2
        if padding == "edge":
            columns = np.clip(columns, 0, size - 1)
        inside = (columns >= 0) & (columns < size)
        band[tap, rows[inside], columns[inside]] = 1.0
    return band


def move_rows(rows: Any, columns: Any, images: Any, padding: str, dtype: Any, scale: int = 1) -> Any:
    """Every transformed image.

    Args:
        rows: [B, M, K] taps along the image's rows axis.
        columns: [B, M, K] taps along its columns axis.
        images: [B, H, C, W], or [1, H, C, W], the same for all.
        padding: "zero" or "edge".
        dtype: of the products; bfloat16 halves their time and rounds colours by at most 1/256 of themselves.
        scale: a pixel of the images stands for so many rows and columns of those that taps count in.

    Returns:
        [B, M, H, C, W] of `dtype`.
    """
    height, channels, width = images.shape[1:]
    count = rows.shape[1]
    down = banded_matrices(rows, height, padding, dtype, scale)
    across = ops.transpose(banded_matrices(columns, width, padding, dtype, scale), (0, 1, 3, 2))
    images = ops.reshape(ops.cast(images, dtype), (-1, height, channels * width))
    # One image for all is one large product.
    down = ops.reshape(down, (1, -1, height) if images.shape[0] == 1 else (-1, count * height, height))
    moved = ops.matmul(down, images)  # [B, M*H, C*W]
    moved = ops.matmul(ops.reshape(moved, (-1, count, height * channels, width)), across)
    return ops.reshape(moved, (-1, count, height, channels, width))


def moved_logits(moves: tuple[Any, Any], cuts: Any, padding: str, scale: int = 1) -> Any:
    """Mask logits of the moved layers: what each cut out of the previous frame, where its kernel puts it down.

    So a kernel decides where an object is, and an object that is drawn a pixel off is an error of that kernel. Masks
    told at their destination say so again by themselves: the kernel then learns little from what is drawn.

    Args:
        moves: row and column taps, [B, M, K] each.
        cuts: [B, H, W, M] of the type of the products, linear.
        padding: "zero" or "edge".
        scale: a pixel stands for so many rows and columns of those that taps count in.

    Returns:
        [B, M, H, W] of the type of the products, between minus and plus `CUT_STRENGTH`.
    """
    height, width = cuts.shape[1:3]
    cuts = _bounded(ops.transpose(cuts, (0, 3, 1, 2)))
    down = banded_matrices(moves[0], height, padding, cuts.dtype, scale)
    across = ops.transpose(banded_matrices(moves[1], width, padding, cuts.dtype, scale), (0, 1, 3, 2))
    return ops.matmul(ops.matmul(down, cuts), across)


@fuse_with_gradient
def _bounded(cuts: Any) -> Any:
    """Between minus and plus `CUT_STRENGTH`, of the same type."""
    return ops.cast(CUT_STRENGTH * ops.tanh(ops.cast(cuts, "float32")), cuts.dtype)


def compose(
    moves: tuple[Any, Any],
    logits: tuple[Any, ...],
    layers: list[Any],
    maps: list[Any] | None,
    padding: str,
    *,
    maps_only: bool = False,
    scale: int = 1,
) -> tuple[Any, Any]:
    """The next frame and maps; what is not a matrix product is one fused loop over memory.

    Args:
        moves: row and column taps, [B, M, K] each.
        logits: [B, L, H, W], masks of the known layers before those of the moved ones; of the type of the products. In
            one piece, or in two that follow each other along L.
        layers: known layers: the previous frame, the first one, and what is painted: [B, H, W, 3] or [1, 1, 1, 3] each.
        maps: probability maps [B, H, W, P] on the previous and on the first frame, or None.
        padding: "zero" or "edge".
        maps_only: leave the frame out, and its part of the products; it is then None.
        scale: a pixel of logits, layers and maps stands for so many rows and columns of those that taps count in.

    Returns:
        (frame [B, H, W, 3], maps [B, H, W, P], not normalised, or None), float32.
    """
    shares = _softmax_planes(*logits)
    map_rows = () if maps is None else tuple(_by_rows(known) for known in maps)
    rows = None if maps_only else [_by_rows(layer) for layer in (*layers[:2], ops.concatenate(layers[2:], axis=-1))]
    # One product moves frame and maps together.
    images = [row[0] for row in (rows, map_rows) if row]
    moved = move_rows(
        *moves, images[0] if len(images) == 1 else ops.concatenate(images, axis=2), padding, shares.dtype, scale
    )
    if rows is None:
        return None, _by_rows(_blend_maps(shares, moved, *map_rows))
    if not map_rows:
        return _by_rows(_blend_colours(shares, moved, *rows)), None
    colours, blended = _blend(shares, moved, *rows, *map_rows)
    return _by_rows(colours), _by_rows(blended)


def coarse_frames(frames: Any) -> Any:
    """Means over blocks of pixels: [B, H, W, C] to [B, H/S, W/S, C], with the scale S of drafts."""
    height, width, channels = frames.shape[1:]
    blocks = (-1, height // DRAFT_SCALE, DRAFT_SCALE, width // DRAFT_SCALE, DRAFT_SCALE, channels)
    return ops.mean(ops.reshape(frames, blocks), axis=(2, 4))


def coarse_maps(maps: Any) -> Any:
    """Maps [B, H, W, P] to [B, H/S, W/S, P]: a pixel goes to its two nearest rows and columns, by nearness.

    So a map keeps its mean, which sums over blocks would move by up to half a pixel (but at the border).
    """
    height, width = maps.shape[1:3]
    down, across = (ops.convert_to_tensor(_nearness(size), "float32") for size in (height, width))
    return ops.einsum("rh,bhwp,cw->brcp", down, maps, across)


def _nearness(size: int) -> np.ndarray:
    """[size/S, size]: how much of each pixel goes to each coarse one; columns sum to 1."""
    places = (np.arange(size) + 0.5) / DRAFT_SCALE - 0.5
    coarse = np.arange(size // DRAFT_SCALE)
    return np.maximum(0.0, 1.0 - np.abs(coarse[:, None] - np.clip(places, 0, len(coarse) - 1))).astype(np.float32)


def _by_rows(images: Any) -> Any:
    """[B, H, W, C] to [B, H, C, W], and back."""
    return ops.transpose(images, (0, 1, 3, 2))


def _weights(logits: Any) -> Any:
    """Bounded rather than shifted by the largest of all layers, which would be another pass; float32."""
    return ops.exp(ops.clip(ops.cast(logits, "float32"), -_LARGEST_LOGIT, _LARGEST_LOGIT))


def _softmax(*logits: Any) -> Any:
    """Softmax over the layers [B, L, H, W], in one or two pieces, of the same type, in one.

    In two pieces whatever came: for a result that is put together XLA writes a loop twice as fast (1.5 and 2.6 ms for
    100 x 10 planes of 32x32).
    """
    pieces = logits if len(logits) == 2 else (logits[0][:, :1], logits[0][:, 1:])
    weights = [_weights(piece) for piece in pieces]
    scale = 1 / sum(ops.sum(each, axis=1, keepdims=True) for each in weights)
    return ops.concatenate([ops.cast(each * scale, logits[0].dtype) for each in weights], axis=1)


def _softmax_gradient(*tensors: Any) -> list[Any]:
    """Gradients of `_softmax`, each in one piece: the derived one cuts and joins as it does."""
    *logits, upstream = tensors
    num_first = logits[0].shape[1]
    charged = [ops.cast(each, "float32") for each in (upstream[:, :num_first], upstream[:, num_first:])[: len(logits)]]
    weights = [_weights(piece) for piece in logits]
    total = sum(ops.sum(each, axis=1, keepdims=True) for each in weights)
    mean = sum(ops.sum(each * to, axis=1, keepdims=True) for each, to in zip(weights, charged, strict=True)) / total
    return [
        ops.cast(ops.where(ops.abs(piece) <= _LARGEST_LOGIT, each * (to - mean) / total, 0.0), piece.dtype)
        for piece, each, to in zip(logits, weights, charged, strict=True)
    ]


_softmax_planes = fuse_with_gradient(_softmax, _softmax_gradient)


# The shares enter the loops below as memory: inside one loop with them, their exponentials would be computed anew for
# every colour.


def _share(shares: Any, index: int) -> Any:
    return ops.cast(shares[:, index, :, None], "float32")  # [B, H, 1, W]


def _moved_sum(shares: Any, moved: Any, channels: slice) -> Any:
    """Sum over the moved layers, the last ones: [B, H, C, W]."""
    count = moved.shape[1]
    first = shares.shape[1] - count
    parts = [
        ops.cast(moved[:, index, :, channels], "float32") * _share(shares, first + index) for index in range(count)
    ]
    return sum(parts[1:], start=parts[0])


def _colours(shares: Any, moved: Any, previous: Any, first: Any, painted: Any) -> Any:
    """Colours [B, H, 3, W] of the moved layers, the previous frame, the first one and what is painted."""
    total = _moved_sum(shares, moved, slice(0, 3)) + _share(shares, 0) * previous + _share(shares, 1) * first
    for index in range(painted.shape[2] // 3):
        total = total + _share(shares, 2 + index) * painted[:, :, 3 * index : 3 * index + 3]
    return total


def _maps(shares: Any, moved: Any, maps: Any, first_maps: Any) -> Any:
    """Maps [B, H, P, W]. A painted pixel shows what nothing came to: its share of the last map is given up.

    What lay there went elsewhere, or is hidden. Left where it was, the map of a pushed object trails behind it.
    """
    channels = slice(moved.shape[3] - maps.shape[2], None)  # behind the colours, if these were moved
    return _moved_sum(shares, moved, channels) + _share(shares, 0) * maps + _share(shares, 1) * first_maps


def _both(shares: Any, moved: Any, previous: Any, first: Any, painted: Any, maps: Any, first_maps: Any) -> Any:
    """Colours and maps."""
    return _colours(shares, moved, previous, first, painted), _maps(shares, moved, maps, first_maps)


# The derived gradients pad every slice back to its whole tensor and add them: eight times as slow. Written out, each
# is one short loop.


def _gradient(shares: Any, moved: Any, previous: Any, first: Any, painted: list[Any], upstream: Any) -> list[Any]:
    """Gradients of the sum of all layers, [B, H, C, W] from above; colours are the first channels.

    Args:
        shares: [B, L, H, W].
        moved: [B, M, H, C, W].
        previous: [B, H, C, W] or [1, H, C, W], as `first`.
        first: the first frame and its maps.
        painted: what is painted, [B, H, 3, W] or [1, 1, 3, 1] each; other channels have no such layers.
        upstream: [B, H, C, W] float32.

    Returns:
        To shares, moved, previous and first, and to each painted layer.
    """
    count, first_moved = shares.shape[1], shares.shape[1] - moved.shape[1]

    def dot(layer: Any) -> Any:  # [B, H, W]: what the layer's share is charged
        return sum(upstream[:, :, each] * ops.cast(layer[:, :, each], "float32") for each in range(layer.shape[2]))

    layers = [previous, first, *painted, *(moved[:, index] for index in range(moved.shape[1]))]
    charged = [ops.cast(dot(layer), shares.dtype) for layer in layers]
    if not painted:  # layers that nobody sees
        charged[2:2] = [ops.zeros_like(charged[0])] * (first_moved - 2)
    carried = [_share(shares, index) * upstream for index in (0, 1, *range(first_moved, count))]  # [B, H, C, W] each
    to_painted = [
        _summed_like(layer, _share(shares, 2 + index) * upstream[:, :, :3]) for index, layer in enumerate(painted)
    ]
    to_known = [_summed_like(layer, value) for layer, value in zip((previous, first), carried, strict=False)]
    to_moved = ops.stack([ops.cast(value, moved.dtype) for value in carried[2:]], axis=1)
    return [ops.stack(charged, axis=1), to_moved, *to_known, *to_painted]


def _summed_like(layer: Any, gradient: Any) -> Any:
    """The gradient of a layer that stood for all of an axis."""
    axes = [axis for axis in (0, 1, 3) if layer.shape[axis] == 1]
    return ops.sum(gradient, axis=axes, keepdims=True) if axes else gradient


def _palette(painted: Any) -> list[Any]:
    return [painted[:, :, 3 * index : 3 * index + 3] for index in range(painted.shape[2] // 3)]


def _colours_gradient(shares: Any, moved: Any, previous: Any, first: Any, painted: Any, upstream: Any) -> list[Any]:
    maps = moved.shape[3] - 3  # moved beside the colours, and not read here
    to_shares, to_moved, *to_known = _gradient(shares, moved[:, :, :, :3], previous, first, _palette(painted), upstream)
    to_moved = ops.pad(to_moved, ((0, 0), (0, 0), (0, 0), (0, maps), (0, 0))) if maps else to_moved
    return [to_shares, to_moved, *to_known[:2], ops.concatenate(to_known[2:], axis=2)]


def _maps_gradient(shares: Any, moved: Any, maps: Any, first_maps: Any, upstream: Any) -> list[Any]:
    colours = moved.shape[3] - maps.shape[2]  # moved beside the maps, and not read here
    to_shares, to_moved, *to_maps = _gradient(shares, moved[:, :, :, colours:], maps, first_maps, [], upstream)
    to_moved = ops.pad(to_moved, ((0, 0), (0, 0), (0, 0), (colours, 0), (0, 0))) if colours else to_moved
    return [to_shares, to_moved, *to_maps]


def _both_gradient(*tensors: Any) -> list[Any]:
    shares, moved, previous, first, painted, maps, first_maps, *upstream = tensors
    joined = (ops.concatenate(pair, axis=2) for pair in ((previous, maps), (first, first_maps), upstream))
    frames, firsts, charged = joined
    to_shares, to_moved, *to_known = _gradient(shares, moved, frames, firsts, _palette(painted), charged)
    to_frames = [value[:, :, :3] for value in to_known[:2]]
    to_maps = [value[:, :, 3:] for value in to_known[:2]]
    return [to_shares, to_moved, *to_frames, ops.concatenate(to_known[2:], axis=2), *to_maps]


_blend_colours = fuse_with_gradient(_colours, _colours_gradient)
_blend_maps = fuse_with_gradient(_maps, _maps_gradient)
_blend = fuse_with_gradient(_both, _both_gradient)


def blend_rows(moves: tuple[Any, Any], masks: Any, images: Any, padding: str, dtype: Any) -> Any:
    """The sum over m of mask m times image m transformed.

    Args:
        moves: row and column taps, [B, M, K] each.
        masks: [B, M, H, W] float32.
        images: [B, H, W, C] float32.
        padding: "zero" or "edge".
        dtype: of the products.

    Returns:
        [B, H, W, C] float32.
    """
    images = ops.transpose(images, (0, 1, 3, 2))
    moved = move_rows(*moves, images, padding, dtype)
    blended = ops.sum(moved * ops.cast(masks[:, :, :, None, :], dtype), axis=1)  # [B, H, C, W]
    return ops.transpose(ops.cast(blended, "float32"), (0, 1, 3, 2))
