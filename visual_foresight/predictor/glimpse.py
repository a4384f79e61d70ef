"""A glimpse: the picture around the way of the robot's finger, turned so that the way always leads forward.

What a push does depends on the outline that the finger meets, on where it meets it, and on how far it goes. Seen from
the finger, pushes in all places and directions of a picture are one and the same, so that a small network learns them
from few examples: told by the simulator where objects went, this one was 0.7 px off after a leap (novel objects 1.2)
when it had seen 143,000 pushes a few times; a predictor is 1.1 (1.5) after hours. Told by pictures alone it learns far
slower (docs/control.md, round 10).

Source: the glimpses of Mnih et al. 2014 (arXiv:1406.6247), which are neither turned nor placed by the robot.
Lengths are in units of 1/64 of the image's height: pixels at 64 rows.
Letters: B batch, H rows, W columns, F features, M transformed images, N points of the glimpse.
"""

from typing import Any, NamedTuple

import numpy as np
from keras import layers, ops

from visual_foresight.predictor import separable

_UNIT = 64
# The glimpse: as wide as an object and as long as a leap and an object behind it; a little of what lies behind. Points
# two pixels apart told as much as every pixel (0.74 and 0.70 px), and cost a quarter; drafts show no more.
_SIDE, _SPACING, _BEHIND = 16, 2, 5
_STEM = 2
_CHANNELS = (48, 64, 32)
NUM_HIDDEN = 128
_LENGTH = 10.0  # lengths enter the network in this unit
_CONTRAST = 4.0  # and colours, about their middle, multiplied by this: numbers about as large as 1
# Added to the way, so that one of no length has a direction, too.
_NUDGE = 1e-3


class Seen(NamedTuple):
    """What a glimpse shows.

    Attributes:
        features: [B, F] float32.
        origin: [B, 2], (row, column) where the way begins.
        axes: [B, 2, 2], the unit vectors (row, column) forward and to the side.
    """

    features: Any
    origin: Any
    axes: Any


class Glimpse(layers.Layer):
    """Looks along the way of one of the robot's points, and says how that moves what it meets.

    Args:
        num_features: F.
        num_pooled: features of a place that `push` gets.
        aspect: columns / rows of the image.
        dtype: Keras dtype policy; places and what is said about motion are float32 whatever it says.
    """

    def __init__(self, num_features: int, num_pooled: int, aspect: float, dtype: Any = None) -> None:
        super().__init__(dtype=dtype, name="glimpse", autocast=False)
        self.num_features = num_features
        self.extent = np.array([_UNIT / 2, _UNIT / 2 * aspect], np.float32)  # from [-1, 1] to lengths
        inputs, convolutions = 3 * _STEM**2, []
        for channels, size in zip(_CHANNELS, (1, 3, 3), strict=True):
            layer = layers.Conv2D(channels, size, padding="same", activation=_leaky, dtype=self.dtype_policy)
            layer.build((None, None, None, inputs))
            convolutions.append(layer)
            inputs = channels
        self.convolutions = convolutions
        self.picture_features = dense((_SIDE // _STEM) ** 2 * inputs, num_features, dtype=self.dtype_policy)
        self.way_features = dense(_num_way(), num_features, use_bias=False)
        self.hidden = dense(num_features + num_pooled + 2, NUM_HIDDEN, activation=_leaky)
        self.hidden_2 = dense(NUM_HIDDEN, NUM_HIDDEN, activation=_leaky)
        self.push_head = dense(NUM_HIDDEN, 2, kernel_initializer="zeros")
        self.built = True

    def call(self, frame: Any, way: Any) -> Seen:
        """Look.

        Args:
            frame: [B, H, W, 3]; [1, H, W, 3] beside more ways than one.
            way: [B, moments, 2] (row, column) in [-1, 1] across the image, the first one where the glimpse begins.
        """
        way = way * self.extent  # from the middle of the image
        origin, path = way[:, 0], ops.stop_gradient(way[:, 1:] - way[:, :1])
        axes = _axes(path[:, -1])
        blocks = _CONTRAST * (view(ops.cast(frame, self.compute_dtype), origin, axes) - 0.5)
        for layer in self.convolutions:
            blocks = layer(blocks)
        flat = ops.reshape(blocks, (-1, self.picture_features.kernel.shape[0]))
        turned = ops.matmul(path, ops.transpose(axes, (0, 2, 1))) / _LENGTH
        numbers = [ops.reshape(turned, (-1, _num_way() - 4)), axes[:, 0], ops.stop_gradient(origin) / _UNIT * 2]
        features = ops.cast(self.picture_features(flat), "float32")
        features = features + self.way_features(ops.concatenate(numbers, axis=-1))
        return Seen(_leaky(features), origin, axes)

    def push(self, seen: Seen, pooled: Any, place: Any) -> tuple[Any, Any]:
        """How what is at some places is pushed.

        Args:
            seen: from `call`.
            pooled: [B, M, num_pooled] float32, features of the places.
            place: [B, M, 2] (row, column) in [-1, 1].

        Returns:
            (hidden [B, M, 128], shift [B, M, 2] of rows and columns, in units that the caller chooses).
        """
        offset = ops.matmul(place * self.extent - seen.origin[:, None], ops.transpose(seen.axes, (0, 2, 1))) / _LENGTH
        shape = (ops.shape(seen.features)[0], place.shape[1], self.num_features)
        features = ops.broadcast_to(seen.features[:, None], shape)
        hidden = self.hidden_2(self.hidden(ops.concatenate([features, pooled, offset], axis=-1)))
        return hidden, ops.matmul(self.push_head(hidden), seen.axes)


def _leaky(values: Any) -> Any:
    """Never without a slope: in training, units of a plain ReLU all died before anything read them."""
    return ops.leaky_relu(values, 0.1)


def view(frame: Any, origin: Any, axes: Any) -> Any:
    """The picture as seen along a way.

    Args:
        frame: [B, H, W, 3], or [1, H, W, 3] beside more ways than one; no gradient flows to it.
        origin: [B, 2] (row, column), where the way begins, from the middle of the image.
        axes: [B, 2, 2], unit vectors forward and to the side.

    Returns:
        [B, 8, 8, 12], blocks of 2x2 points that are two lengths apart: forward along the first axis.
    """
    frame = _coarse(ops.stop_gradient(frame))
    corner = np.array([frame.shape[1] / 2 - 0.5, frame.shape[2] / 2 - 0.5], np.float32)
    points = origin[:, None] + ops.matmul(_grid(), axes)  # [B, N, 2]
    colours = sample(frame, points * (frame.shape[1] / _UNIT) + corner)
    return ops.reshape(colours, (-1, _SIDE // _STEM, _SIDE // _STEM, 3 * _STEM**2))


def dense(inputs: int, units: int, **options: Any) -> layers.Dense:
    """A dense layer with its variables made; float32 if nothing else is asked for."""
    layer = layers.Dense(units, **{"dtype": "float32", **options})
    layer.build((None, inputs))
    return layer


def _num_way() -> int:
    """Numbers that tell the way: three later moments, the direction and the place."""
    return 3 * 2 + 4


def _axes(way: Any) -> Any:
    """[B, 2, 2]: unit vectors (row, column) along the way [B, 2] and to its side."""
    way = way + ops.convert_to_tensor(np.array([_NUDGE, 0.0], np.float32))
    forward = way / ops.sqrt(ops.sum(ops.square(way), axis=-1, keepdims=True) + _NUDGE**2)
    side = ops.stack([-forward[:, 1], forward[:, 0]], axis=-1)
    return ops.stack([forward, side], axis=1)


def _grid() -> np.ndarray:
    """[N, 2] points (forward, to the side), block after block as `space_to_depth` orders pixels."""
    along = _SPACING * np.arange(_SIDE) - _BEHIND
    aside = _SPACING * (np.arange(_SIDE) - (_SIDE - 1) / 2)
    grid = np.stack(np.meshgrid(along, aside, indexing="ij"), axis=-1).astype(np.float32)
    blocks = _SIDE // _STEM
    return grid.reshape(blocks, _STEM, blocks, _STEM, 2).transpose(0, 2, 1, 3, 4).reshape(-1, 2)


def _coarse(frame: Any) -> Any:
    """Means over blocks, so that points `_SPACING` apart leave nothing out; a draft is coarse already."""
    scale = separable.DRAFT_SCALE
    while frame.shape[1] // scale >= _UNIT // _SPACING and frame.shape[1] % scale == frame.shape[2] % scale == 0:
        frame = separable.coarse_frames(frame)
    return frame


def sample(images: Any, points: Any) -> Any:
    """Colours between pixels, bilinear; outside an image its rim goes on.

    Args:
        images: [B, H, W, C], or [1, H, W, C] beside more sets of points than one.
        points: [B, N, 2] (row, column) in pixels.

    Returns:
        [B, N, C] of the images' type. No gradient flows to the images.
    """
    images = ops.stop_gradient(images)
    height, width, channels = images.shape[1:]
    right = ops.concatenate([images[:, :, 1:], images[:, :, -1:]], axis=2)
    both = ops.concatenate([images, right], axis=-1)
    below = ops.concatenate([both[:, 1:], both[:, -1:]], axis=1)
    # The four pixels around a point lie together in memory: one look-up instead of four.
    table = ops.reshape(ops.concatenate([both, below], axis=-1), (-1, 4 * channels))
    last = ops.convert_to_tensor(np.array([height - 1, width - 1], np.float32))
    points = ops.clip(points, 0.0, last)
    first = ops.floor(ops.stop_gradient(points))
    index = ops.cast(first[..., 0] * width + first[..., 1], "int32")  # [B, N]
    if images.shape[0] != 1:
        index = index + ops.arange(ops.shape(images)[0], dtype="int32")[:, None] * (height * width)
    values = ops.take(table, index, axis=0)  # [B, N, 4C]
    part = ops.cast(points - first, images.dtype)
    down, across = part[..., :1], part[..., 1:]
    upper = values[..., :channels] * (1 - across) + values[..., channels : 2 * channels] * across
    lower = values[..., 2 * channels : 3 * channels] * (1 - across) + values[..., 3 * channels :] * across
    return upper * (1 - down) + lower * down
