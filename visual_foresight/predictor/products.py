"""Small convolutions as products of matrices, on accelerators.

A rollout of the `fast` network is hundreds of kernels of some microseconds each, and starting one takes the host longer
than running it. XLA starts whole chains of loops and products with one call, but a convolution of cuDNN ends the chain.
As a product of unfolded pixels it does not, for a little more traffic of memory.
Letters: B batch, H rows, W columns, C channels, K side of a kernel, F filters.
"""

import functools
from typing import Any

import keras
from keras import ops

from visual_foresight import backend


@functools.cache
def prefers_products() -> bool:
    """Whether convolutions are written as products here."""
    return backend.backend_name() == "jax" and backend.device_kind() != "cpu"


def convolve(images: Any, kernel: Any, stride: int = 1) -> Any:
    """`keras.ops.conv` with padding "same".

    Args:
        images: [B, H, W, C].
        kernel: [K, K, C, F].
        stride: of rows and columns.

    Returns:
        [B, ceil(H / stride), ceil(W / stride), F].
    """
    if not prefers_products():
        return ops.conv(images, kernel, strides=stride, padding="same")
    return ops.matmul(unfold(images, kernel.shape[0], stride), ops.reshape(kernel, (-1, kernel.shape[-1])))


def unfold(images: Any, size: int, stride: int = 1) -> Any:
    """What each place of a convolution with padding "same" reads: [B, H, W, C] to [B, H', W', K*K*C]."""
    if size == stride == 1:
        return images
    counts = [-(-length // stride) for length in images.shape[1:3]]
    reached = [(count - 1) * stride + 1 for count in counts]
    missing = [max(end + size - 1 - length, 0) for end, length in zip(reached, images.shape[1:3], strict=True)]
    edges = [(spare // 2, spare - spare // 2) for spare in missing]
    images = ops.pad(images, ((0, 0), *edges, (0, 0)))
    places = [(row, column) for row in range(size) for column in range(size)]
    read = [images[:, row : row + reached[0] : stride, column : column + reached[1] : stride] for row, column in places]
    return ops.concatenate(read, axis=-1)


class Conv2D(keras.layers.Conv2D):
    """Keras' layer with padding "same" and channels last, by `convolve`.

    Its name is that of Keras's: weights of layers in lists are stored under the names of their classes.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """[B, H, W, C] to [B, H', W', filters], without bias and activation."""
        return convolve(inputs, kernel, self.strides[0])
