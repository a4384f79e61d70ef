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
from visual_foresight.predictor.fusing import fuse_with_gradient
from visual_foresight.predictor.products import Conv2D

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
            layer = Conv2D(channels, size, padding="same", activation=_leaky, dtype=self.dtype_policy)
            layer.build((None, None, None, inputs))
            convolutions.append(layer)
            inputs = channels
        self.convolutions = convolutions
        self.picture_features = dense((_SIDE // _STEM) ** 2 * inputs, num_features, dtype=self.dtype_policy)
        self.way_features = dense(_num_way(), num_features, use_bias=False)
        self.hidden = _SharedDense(NUM_HIDDEN, dtype="float32")
        self.hidden.build((None, num_features + num_pooled + 2))
        self.hidden_2 = dense(NUM_HIDDEN, NUM_HIDDEN, activation=_leaky)
        self.push_head = dense(NUM_HIDDEN, 2, kernel_initializer="zeros")
        self.built = True

    def call(self, frame: Any, way: Any, training: bool = False) -> Seen:
        """Look.

        Args:
            frame: [B, H, W, 3]; [1, H, W, 3] beside more ways than one.
            way: [B, moments, 2] (row, column) in [-1, 1] across the image, the first one where the glimpse begins.
            training: whether no gradient flows to the frame and to how the way turns it. Where the robot's points lie
                is learned from what happens there, not from what a glimpse of elsewhere would have shown; a planner
                asks what else would come of another way, and needs all of it.
        """
        held = ops.stop_gradient if training else _as_it_is
        way = way * self.extent  # from the middle of the image
        origin, path = way[:, 0], held(way[:, 1:] - way[:, :1])
        axes = _axes(path[:, -1])
        blocks = view(ops.cast(frame, self.compute_dtype), origin, axes, training)
        for layer in self.convolutions:
            blocks = layer(blocks)
        flat = ops.reshape(blocks, (-1, self.picture_features.kernel.shape[0]))
        turned = _along(path, axes) / _LENGTH
        numbers = [ops.reshape(turned, (-1, _num_way() - 4)), axes[:, 0], held(origin) / _UNIT * 2]
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
        offset = _along(place * self.extent - seen.origin[:, None], seen.axes) / _LENGTH
        hidden = self.hidden_2(_leaky(self.hidden(seen.features, ops.concatenate([pooled, offset], axis=-1))))
        push, axes = self.push_head(hidden), seen.axes[:, None]
        return hidden, push[..., :1] * axes[:, :, 0] + push[..., 1:] * axes[:, :, 1]


class _SharedDense(layers.Dense):
    """A dense layer of which the first inputs are the same for all places.

    In two parts: the product of what is shared is taken once, and not repeated for each place. A layer of its own, so
    that its variables are read as float32 inside a network that computes in bfloat16.
    """

    def build(self, input_shape: Any) -> None:
        """Make the variables; inputs come in two parts, which no single shape describes."""
        super().build(input_shape)
        self.input_spec = None

    def call(self, shared: Any, own: Any) -> Any:
        """Inputs [B, S] of all places and [B, M, N] of each to [B, M, units]."""
        kernel = ops.convert_to_tensor(self.kernel)
        of_all = ops.matmul(shared, kernel[: shared.shape[-1]]) + ops.convert_to_tensor(self.bias)
        return of_all[:, None] + ops.matmul(own, kernel[shared.shape[-1] :])


def _along(vectors: Any, axes: Any) -> Any:
    """Parts of the vectors [B, N, 2] along the axes [B, 2, 2]. Written out: products of so small matrices are slow."""
    return vectors[..., :1] * axes[:, None, :, 0] + vectors[..., 1:] * axes[:, None, :, 1]


def _leaky(values: Any) -> Any:
    """Never without a slope: in training, units of a plain ReLU all died before anything read them."""
    return ops.leaky_relu(values, 0.1)


def _as_it_is(values: Any) -> Any:
    return values


def view(frame: Any, origin: Any, axes: Any, training: bool = False) -> Any:
    """The picture as seen along a way.

    Args:
        frame: [B, H, W, 3], or [1, H, W, 3] beside more ways than one.
        origin: [B, 2] (row, column), where the way begins, from the middle of the image.
        axes: [B, 2, 2], unit vectors forward and to the side.
        training: whether no gradient flows to the frame.

    Returns:
        [B, 8, 8, 12] of the frame's type, blocks of 2x2 points that are two lengths apart, forward along the first
        axis: colours about their middle, multiplied by `_CONTRAST`.
    """
    # With each row's colours one after the other, as the compositor leaves its frames: no copy is made of those.
    rows = ops.transpose(_coarse(ops.stop_gradient(frame) if training else frame), (0, 1, 3, 2))
    look = _look_in_training if training else _look
    return ops.reshape(look(rows, origin, axes), (-1, _SIDE // _STEM, _SIDE // _STEM, 3 * _STEM**2))


def _colours(rows: Any, origin: Any, axes: Any) -> Any:
    """[B, N, 3]: the points of the grid in the rows of a frame, [B, H, 3, W] or [1, H, 3, W]."""
    height, _, width = rows.shape[1:]
    grid = _grid()
    places = [
        (origin[:, axis, None] + grid[:, 0] * axes[:, 0, axis, None] + grid[:, 1] * axes[:, 1, axis, None])
        * (height / _UNIT)
        + (size / 2 - 0.5)
        for axis, size in enumerate((height, width))
    ]
    return ops.cast(_CONTRAST * (sample(rows, *places) - 0.5), rows.dtype)


@fuse_with_gradient
def _look(rows: Any, origin: Any, axes: Any) -> Any:
    return _colours(rows, origin, axes)


@fuse_with_gradient
def _look_in_training(rows: Any, origin: Any, axes: Any) -> Any:
    """A function of its own: the other one's gradient would sum up over pixels what nobody asks for."""
    return _colours(ops.stop_gradient(rows), origin, axes)


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


def sample(images: Any, down: Any, across: Any) -> Any:
    """Colours between pixels, bilinear; outside an image its rim goes on.

    One loop over the points when compiled: with a table of the four pixels around each, TensorFlow took six times as
    long (4.3 and 0.7 ms for 100 glimpses), most of it for making the table.

    Args:
        images: [B, H, C, W], or [1, H, C, W] beside more sets of points than one; at least two rows and columns.
        down: [B, N], the points' rows in pixels.
        across: [B, N], their columns.

    Returns:
        [B, N, C] float32.
    """
    height, channels, width = images.shape[1:]
    flat = ops.reshape(images, (-1,))
    down, across = ops.clip(down, 0.0, height - 1), ops.clip(across, 0.0, width - 1)
    # The upper left one of the four pixels around a point; on the lower and the right rim one before the last.
    row, column = (
        ops.minimum(ops.floor(ops.stop_gradient(each)), size - 2.0) for each, size in ((down, height), (across, width))
    )
    first = ops.cast(row * (channels * width) + column, "int32")
    if images.shape[0] != 1:
        first = first + ops.arange(ops.shape(images)[0], dtype="int32")[:, None] * (height * channels * width)
    first = first[:, None] + width * ops.arange(channels, dtype="int32")[:, None]  # [B, C, N]
    upper_left, upper_right, lower_left, lower_right = (
        ops.cast(ops.take(flat, first + step), "float32") for step in (0, 1, channels * width, channels * width + 1)
    )
    below, right = (down - row)[:, None], (across - column)[:, None]
    upper = upper_left * (1 - right) + upper_right * right
    lower = lower_left * (1 - right) + lower_right * right
    return ops.transpose(upper * (1 - below) + lower * below, (0, 2, 1))
