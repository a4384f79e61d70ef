"""Blocks of pixels as channels and back, and the weights that read or paint blocks of fewer pixels.

Letters: B batch, H rows, W columns, C channels, K size of a kernel, F filters, L layers.
"""

from typing import Any

from keras import ops


def space_to_depth(images: Any, block: int) -> Any:
    """[B, H, W, C] to [B, H/block, W/block, block*block*C].

    By way of [B, H, C, W], as the compositor leaves its frames: turned there and back, a graph copies them once less.
    """
    height, width, channels = images.shape[1:]
    images = ops.transpose(images, (0, 1, 3, 2))
    images = ops.reshape(images, (-1, height // block, block, channels, width // block, block))
    images = ops.transpose(images, (0, 1, 4, 2, 5, 3))
    return ops.reshape(images, (-1, height // block, width // block, block * block * channels))


def coarse_kernel(kernel: Any, whole: int, block: int) -> Any:
    """The kernel [K, K, 3*whole*whole, F] that reads blocks of pixels, for blocks of fewer that stand for several."""
    size, scale = kernel.shape[0], whole // block
    if scale == 1:
        return kernel
    parts = ops.reshape(kernel, (size, size, block, scale, block, scale, 3, -1))
    return ops.reshape(ops.sum(parts, axis=(3, 5)), (size, size, 3 * block**2, -1))


def mean_of_blocks(weights: Any, whole: int, block: int) -> Any:
    """Weights [..., whole*whole*L] that give a value to each pixel of a block, for the means that fewer pixels show."""
    scale = whole // block
    parts = ops.reshape(weights, (*weights.shape[:-1], block, scale, block, scale, -1))
    means = ops.mean(parts, axis=(-4, -2))
    return ops.reshape(means, (*weights.shape[:-1], -1))


def means_of_heads(weights: list[Any], whole: int, block: int) -> Any:
    """`mean_of_blocks` of several heads' weights, as those of one head that gives each pixel the layers of all."""
    parts = [ops.reshape(each, (*each.shape[:-1], whole**2, each.shape[-1] // whole**2)) for each in weights]
    joined = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)
    return mean_of_blocks(ops.reshape(joined, (*joined.shape[:-2], -1)), whole, block)


def depth_to_space(images: Any, block: int) -> Any:
    """[B, H, W, block*block*C] to [B, H*block, W*block, C]; the inverse of `space_to_depth`."""
    height, width, depth = images.shape[1:]
    channels = depth // block**2
    images = ops.reshape(images, (-1, height, width, block, block, channels))
    images = ops.transpose(images, (0, 1, 3, 2, 4, 5))
    return ops.reshape(images, (-1, height * block, width * block, channels))


def depth_to_planes(images: Any, block: int) -> Any:
    """[B, H, W, block*block*C] to [B, C, H*block, W*block]: `depth_to_space` with the channels in front."""
    height, width, depth = images.shape[1:]
    channels = depth // block**2
    images = ops.reshape(images, (-1, height, width, block, block, channels))
    images = ops.transpose(images, (0, 5, 1, 3, 2, 4))
    return ops.reshape(images, (-1, channels, height * block, width * block))
