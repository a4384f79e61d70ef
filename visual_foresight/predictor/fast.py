"""The `fast` backbone: made for planning, where a frame may cost a tenth of a millisecond.

It works at a quarter and an eighth of the image's resolution, knows where the robot is through learned position maps,
and leaps: one call predicts the frame after up to `stride` control steps, so that fifteen steps are three calls.
It mends what the original network gets wrong: action and state reach every scale, kernels begin near the identity,
borders stay bright, every mask has its layer, mask logits are linear, and nothing depends on the image size.

Source: arXiv:1605.07157 for the heads; the background layer of arXiv:1710.05268. Differs from them: a plain memory of
features instead of LSTMs, separable kernels, attention pooling before the kernel head, position maps, leaps.
Letters: B batch, H rows, W columns, A action size, S state size, M transformed images, L layers, K taps of a kernel,
J the stride.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from visual_foresight.predictor import compositor, glimpse, separable, transformations
from visual_foresight.predictor.backbone import HeadOutputs
from visual_foresight.predictor.blocks import (
    coarse_kernel,
    depth_to_planes,
    depth_to_space,
    means_of_heads,
    space_to_depth,
)
from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.products import Conv2D, convolve
from visual_foresight.predictor.transformations import Style

# Channels at a quarter of the resolution, at an eighth, and before the heads, for width 1.
_CHANNELS = (32, 64, 48)
_NUM_POSITIONS = 4
# Moments of a leap whose positions are drawn: its ends and two between.
_NUM_MOMENTS = 4
_NUM_BLOCKS, _NUM_COLOURS = 2, 3
_HIDDEN = 128
_STEM = 4
# An untrained predictor should copy: the previous frame starts with most of each pixel's mask.
_PREVIOUS_MASK_BIAS = 3.0
# An untrained kernel is a bump of this deviation around the centre [px]; shifts are learned in units of some pixels.
_KERNEL_DEVIATION, _SHIFT_UNIT = 1.0, 5.0


class FastBackbone(layers.Layer):
    """Small recurrent network at 1/4 and 1/8 of the image's resolution.

    Args:
        config: sizes; `width` multiplies all channel counts.
        dtype: Keras dtype policy; kernels, positions and the next state are float32 whatever it says.
        name: of the layer.
    """

    state_feedback = "context"

    def __init__(self, config: PredictorConfig, dtype: Any = None, name: str | None = None) -> None:
        # Keras would round positions and states to the compute type on the way in.
        super().__init__(dtype=dtype, name=name, autocast=False)
        self.config = config
        # The robot makes many futures of one scene; a predictor blind to it has one future only, which is repeated.
        self.unchanging = ("first",) if config.use_state else None
        self.drafts = separable = config.transformation == "cdna"
        self.style = Style(identity_bias=0.0 if separable else 2.0, separable=separable, palette=_NUM_COLOURS)
        factors = (config.width * config.detail, config.width, config.width)
        self._fine, self._coarse, self._last = map(_channels, _CHANNELS, factors)
        self._make_trunk()
        self._make_heads()
        self._make_robot()
        self._make_glimpse()
        self.built = True

    # ---- variables --------------------------------------------------------------------------------------------

    def _convolution(self, inputs: int, filters: int, size: int, **options: Any) -> Conv2D:
        layer = Conv2D(filters, size, padding="same", dtype=self.dtype_policy, **options)
        layer.build((None, None, None, inputs))
        return layer

    _dense = staticmethod(glimpse.dense)

    def _make_trunk(self) -> None:
        fine, coarse, last = self._fine, self._coarse, self._last
        stem = 3 * _STEM**2
        positions = _NUM_MOMENTS * _NUM_POSITIONS if self.config.use_state else 0
        self.encode_frame = self._convolution(stem + positions, fine, 3)
        self.encode_first = self._convolution(stem, fine, 3)
        self.encode_memory = self._convolution(fine, fine, 1, use_bias=False)
        self.to_coarse = self._convolution(fine, coarse, 3, strides=2)
        self.blocks = [self._convolution(coarse, coarse, 3) for _ in range(_NUM_BLOCKS)]
        self.to_fine = self._convolution(coarse, 4 * fine, 1)
        self.merge = self._convolution(fine, last, 3)
        self.refine = self._convolution(last, last, 3)

    def _make_heads(self) -> None:
        config, last = self.config, self._last
        small = keras.initializers.RandomNormal(stddev=0.02, seed=7)
        num_layers = compositor.num_layers(config, self.style) - config.num_masks * config.moving_masks
        self.mask_head = self._convolution(last, _STEM**2 * num_layers, 1, kernel_initializer=small)
        bias = np.zeros((_STEM**2, num_layers), np.float32)
        bias[:, 0] = _PREVIOUS_MASK_BIAS
        self.mask_head.bias.assign(bias.reshape(-1))
        colours = keras.initializers.RandomNormal(stddev=1.5, seed=9)
        self.colours = self.add_weight(
            name="colours", shape=(3 * _NUM_COLOURS,), initializer=colours, dtype="float32", autocast=False
        )
        if config.transformation == "dna":
            taps = transformations.num_parameters(config, self.style)
            self.kernel_head = self._convolution(last, _STEM**2 * taps, 1, kernel_initializer=small)
            return
        per_image = transformations.num_parameters(config, self.style) // config.num_masks
        self.attention_head = self._convolution(last, config.num_looks * config.num_masks, 1)
        robot = 2 * _NUM_MOMENTS * _NUM_POSITIONS if config.use_state else 0
        seen = config.num_looks * (last + 2 + robot) + self._conditions
        self.kernel_hidden = self._dense(seen, _HIDDEN, activation="relu")
        self.kernel_hidden_2 = self._dense(_HIDDEN, _HIDDEN, activation="relu")
        hidden = _HIDDEN + glimpse.NUM_HIDDEN * bool(config.glimpse)
        self.kernel_head = self._dense(hidden, per_image, kernel_initializer="zeros")
        shifts = 4 if self.style.separable else per_image
        if self.style.separable:
            self.shift_head = self._dense(hidden, shifts, kernel_initializer="zeros")
        self.motion_head = self._dense(self._conditions, shifts * config.num_masks, kernel_initializer=small)

    def _make_robot(self) -> None:
        config = self.config
        fine, coarse, last = self._fine, self._coarse, self._last
        robot = config.action_size + config.state_size
        self.state_linear = self._dense(robot, config.state_size, kernel_initializer="zeros")
        self.state_hidden = self._dense(robot, 32, activation="relu")
        self.state_output = self._dense(32, config.state_size, kernel_initializer="zeros")
        if not config.use_state:
            return
        self.condition_fine = self._dense(self._conditions, fine)
        self.condition_coarse = self._dense(self._conditions, coarse)
        self.condition_last = self._dense(self._conditions, last)
        spread = keras.initializers.RandomNormal(stddev=0.3, seed=8)
        self.positions = self._dense(config.state_size, 2 * _NUM_POSITIONS, kernel_initializer=spread)
        self.log_width = self.add_weight(
            name="log_width", shape=(_NUM_POSITIONS,), initializer="zeros", dtype="float32", autocast=False
        )

    def _make_glimpse(self) -> None:
        """Last of all, with the cuts, so that a predictor that grows has them behind what it had."""
        config, self.glimpse = self.config, None
        if config.moving_masks:
            self.cut_head = self._convolution(self._last, _STEM**2 * config.num_masks, 1, kernel_initializer="zeros")
        if not config.glimpse:
            return
        aspect = config.image_width / config.image_height
        self.glimpse = glimpse.Glimpse(config.glimpse, self._last, aspect, dtype=self.dtype_policy)

    @property
    def _conditions(self) -> int:
        """Numbers that tell the robot: actions, state and next state; one constant without them."""
        config = self.config
        return config.stride * config.action_size + 2 * config.state_size if config.use_state else 1

    # ---- one step ---------------------------------------------------------------------------------------------

    def initial_state(self, frame: Any, state: Any) -> dict[str, Any]:
        """Zero memory, and the features of the first frame, computed once.

        Args:
            frame: [B, H, W, 3].
            state: [B, S], unused.
        """
        del state
        first = self.encode_first(space_to_depth(ops.cast(frame, self.compute_dtype), _STEM))
        return {"first": first, "fine": ops.zeros_like(first)}

    def robot_path(self, action: Any, robot_state: Any) -> Any:
        """Where the robot is after each control step of the leap.

        Args:
            action: [B, J, A] normalised.
            robot_state: [B, S] normalised.

        Returns:
            [B, J, S] normalised, float32.
        """
        path = []
        for step in range(self.config.stride):
            robot = ops.concatenate([action[:, step], robot_state], axis=-1)
            robot_state = robot_state + self.state_linear(robot) + self.state_output(self.state_hidden(robot))
            path.append(robot_state)
        return ops.stack(path, axis=1)

    def call(
        self,
        frame: Any,
        action: Any,
        robot_state: Any,
        recurrent: dict[str, Any],
        training: bool = False,
        draft: bool = False,
    ) -> tuple[HeadOutputs, dict[str, Any]]:
        """One leap; see `backbone.BACKBONES` for the contract."""
        action = ops.reshape(action, (-1, self.config.stride, self.config.action_size))
        path = self.robot_path(action, robot_state)
        conditions = self._robot_conditions(action, robot_state, path[:, -1])
        rows, columns = recurrent["first"].shape[1:3]
        block = frame.shape[1] // rows  # smaller than usual for a draft
        scene = space_to_depth(ops.cast(frame, self.compute_dtype), block)
        points = maps = seen = None
        if self.config.use_state:
            points = self._robot_points(ops.concatenate([robot_state[:, None], path], axis=1))
            maps = ops.cast(self._position_maps(points, rows, columns), self.compute_dtype)
        if self.glimpse is not None:
            way = ops.reshape(points, (-1, _NUM_MOMENTS, _NUM_POSITIONS, 2))[:, :, 0]
            seen = self.glimpse(frame, way, training=training)
        fine = self._encode(scene, maps, block) + recurrent["first"] + self.encode_memory(recurrent["fine"])
        if self.config.use_state:
            fine = fine + self._spread(self.condition_fine, conditions)
        fine = ops.relu(fine)
        coarse = self._look_around(fine, conditions)
        memory = ops.relu(fine + depth_to_space(self.to_fine(coarse), 2))
        features = self.merge(memory)
        if self.config.use_state:
            features = features + self._spread(self.condition_last, conditions, features)
        features = ops.relu(features)
        features = ops.relu(features + self.refine(features))
        mask_logits, cut_logits = self._mask_logits(features, separable.DRAFT_SCALE if draft else 1)
        outputs = HeadOutputs(
            mask_logits=mask_logits,
            generated=ops.sigmoid(self.colours)[None, None, None],
            parameters=self._parameters(features, points, conditions, seen),
            next_state=path[:, -1],
            cut_logits=cut_logits,
        )
        return outputs, {"first": recurrent["first"], "fine": memory}

    def _encode(self, scene: Any, maps: Any, block: int) -> Any:
        """`encode_frame` of the picture and the robot's position maps; one picture with many maps is read once.

        Args:
            scene: [B, H/4, W/4, 3*block*block].
            maps: [B, H/4, W/4, 4*N], or None.
            block: 4, or less for a draft, whose pixels stand for several.
        """
        shared = maps is not None and scene.shape[0] == 1 and maps.shape[0] != 1
        if block == _STEM and not shared:
            return self.encode_frame(scene if maps is None else ops.concatenate([scene, maps], axis=-1))
        kernel = ops.cast(self.encode_frame.kernel, self.compute_dtype)
        bias = ops.cast(self.encode_frame.bias, self.compute_dtype)
        depth = 3 * _STEM**2
        for_scene, for_maps = coarse_kernel(kernel[:, :, :depth], _STEM, block), kernel[:, :, depth:]
        if maps is None:
            return convolve(scene, for_scene) + bias
        if shared:
            return convolve(scene, for_scene) + bias + convolve(maps, for_maps)
        kernel = ops.concatenate([for_scene, for_maps], axis=2)
        return convolve(ops.concatenate([scene, maps], axis=-1), kernel) + bias

    def _mask_logits(self, features: Any, scale: int) -> list[Any]:
        """[B, H/scale, W/scale, L], means of those of the pixels they stand for; the same of the cuts, or None."""
        heads = [self.mask_head, self.cut_head] if self.config.moving_masks else [self.mask_head]
        if scale == 1:
            planes = [depth_to_planes(head(features), _STEM) for head in heads]
        else:  # one convolution for both: that shortens drafts, its gradient would lengthen training
            weights = [head.kernel for head in heads], [head.bias for head in heads]
            means = (means_of_heads(each, _STEM, _STEM // scale) for each in weights)
            kernel, bias = (ops.cast(each, self.compute_dtype) for each in means)
            joined = depth_to_planes(convolve(features, kernel) + bias, _STEM // scale)
            known = self.mask_head.filters // _STEM**2
            planes = [joined[:, :known], joined[:, known:]][: len(heads)]
        # By way of [B, L, H, W], as the compositor wants them: turned there and back, they are copied once less.
        return [*(ops.transpose(each, (0, 2, 3, 1)) for each in planes), None][:2]

    def _robot_conditions(self, action: Any, robot_state: Any, next_state: Any) -> Any:
        """[B, R] float32: what the robot is doing."""
        if self.config.use_state:
            flat = ops.reshape(action, (-1, self.config.stride * self.config.action_size))
            return ops.concatenate([flat, robot_state, next_state], axis=-1)
        return ops.ones_like(robot_state[:, :1])

    def _spread(self, layer: layers.Dense, conditions: Any, features: Any = None) -> Any:
        """[B, 1, 1, C]: conditions as a bias of every place; of the shape of features, if given.

        That is for the sum with a convolution: TensorFlow makes it, and its ReLU, a part of the convolution.
        """
        bias = ops.cast(layer(conditions), self.compute_dtype)[:, None, None, :]
        return bias if features is None else ops.broadcast_to(bias, ops.shape(features))

    def _robot_points(self, places: Any) -> Any:
        """[B, 4*N, 2] float32: N learned points (row, col) of the robot in [-1, 1] across the image, at four moments.

        Args:
            places: [B, J+1, S] normalised states, before the leap and after each of its steps.
        """
        last = places.shape[1] - 1
        moments = [round(index * last / (_NUM_MOMENTS - 1)) for index in range(_NUM_MOMENTS)]
        chosen = ops.stack([places[:, moment] for moment in moments], axis=1)
        return ops.reshape(self.positions(chosen), (-1, _NUM_MOMENTS * _NUM_POSITIONS, 2))

    def _position_maps(self, points: Any, num_rows: int, num_columns: int) -> Any:
        """The robot's points as Gaussian bumps.

        A convolution cannot turn "x = 0.1 m" into a place; a bump at a learned place can, and it stays sharp however
        blurred the predicted frame has become. Float32: bfloat16 has 8 bits, too few for a position.

        Args:
            points: [B, 4*N, 2] in [-1, 1].
            num_rows: R.
            num_columns: C.

        Returns:
            [B, R, C, 4*N].
        """
        width = 0.12 * ops.tile(ops.exp(self.log_width), (_NUM_MOMENTS,))
        rows, columns = (_centres(size)[:, None] for size in (num_rows, num_columns))
        down = ops.exp(-0.5 * ops.square((points[:, None, :, 0] - rows) / width))  # [B, R, 4*N]
        across = ops.exp(-0.5 * ops.square((points[:, None, :, 1] - columns) / width))
        return down[:, :, None] * across[:, None]

    def _look_around(self, fine: Any, conditions: Any) -> Any:
        """Features at 1/8 of the resolution, where one cell sees what a leap can reach."""
        coarse = self.to_coarse(fine)
        if self.config.use_state:
            coarse = coarse + self._spread(self.condition_coarse, conditions, coarse)
        coarse = ops.relu(coarse)
        for block in self.blocks:
            coarse = ops.relu(coarse + block(coarse))
        return coarse

    def _parameters(self, features: Any, points: Any, conditions: Any, glimpsed: glimpse.Seen | None) -> Any:
        """Raw parameters of the transformation, float32.

        Each transformed image looks at the place it moves (attention over the features), where that is as seen from
        the robot's points (how far an object goes depends on where the finger meets it), and at the robot's actions.
        """
        if self.config.transformation == "dna":
            return ops.cast(depth_to_space(self.kernel_head(features), _STEM), "float32")
        count, looks, (height, width) = self.config.num_masks, self.config.num_looks, features.shape[1:3]
        attention = ops.reshape(ops.cast(self.attention_head(features), "float32"), (-1, height * width, looks * count))
        attention = ops.softmax(ops.transpose(attention, (0, 2, 1)), axis=-1)
        flat = ops.reshape(features, (-1, height * width, self._last))  # in its own type: a float32 copy takes longer
        pooled = ops.cast(ops.matmul(ops.cast(attention, flat.dtype), flat), "float32")
        grid = np.stack(np.meshgrid(_centre_values(height), _centre_values(width), indexing="ij"), axis=-1)
        place = ops.matmul(attention, ops.convert_to_tensor(grid.reshape(-1, 2), "float32"))
        seen = [pooled[:, :count], place[:, :count], self._repeat(conditions, count)]
        if points is not None:
            offsets = place[:, :, None] - points[:, None]  # [B, looks * M, 4*N, 2]
            offsets = ops.reshape(offsets, (-1, looks * count, 2 * points.shape[1]))
            seen.append(offsets[:, :count])
        for first in range(count, looks * count, count):  # the other places, behind the first one's numbers
            numbers = [pooled, place] if points is None else [pooled, place, offsets]
            seen += [each[:, first : first + count] for each in numbers]
        hidden = self.kernel_hidden_2(self.kernel_hidden(ops.concatenate(seen, axis=-1)))
        push = None
        if self.glimpse is not None and glimpsed is not None:
            pushed, push = self.glimpse.push(glimpsed, pooled[:, :count], place[:, :count])
            hidden = ops.concatenate([hidden, pushed], axis=-1)
        parameters = self.kernel_head(hidden)  # [B, M, per image]
        motion = ops.reshape(self.motion_head(conditions), (-1, count, self.motion_head.units // count))
        if self.style.separable:
            shifts = self.shift_head(hidden) + motion
            if push is not None:
                shifts = shifts + ops.pad(push, ((0, 0), (0, 0), (0, 2)))  # and no change of the deviations
            parameters = parameters + self._bumps(shifts)
        else:
            parameters = parameters + motion
        return ops.reshape(parameters, (-1, count * parameters.shape[-1]))

    def _bumps(self, raw: Any) -> Any:
        """Logits of kernels that are bumps: one number moves all taps, and a fraction of a pixel is as easy as many.

        Args:
            raw: [B, M, 4], shift of rows and of columns in units of `_SHIFT_UNIT` pixels, and logarithms of the
                deviations relative to `_KERNEL_DEVIATION`.

        Returns:
            [B, M, 2*K]: row taps, then column taps.
        """
        taps = np.arange(self.config.kernel_size) - self.config.kernel_size // 2
        shift = _SHIFT_UNIT * raw[..., :2, None]
        # Bounded, or a kernel could become so sharp that it has no slope, or so wide that it has no place.
        deviation = _KERNEL_DEVIATION * ops.exp(ops.clip(raw[..., 2:, None], -1.2, 1.2))
        distance = (ops.convert_to_tensor(taps, "float32") - shift) / deviation
        logits = -0.5 * ops.square(distance)
        return ops.reshape(logits, (-1, raw.shape[1], 2 * self.config.kernel_size))

    @staticmethod
    def _repeat(conditions: Any, count: int) -> Any:
        return ops.broadcast_to(conditions[:, None], (ops.shape(conditions)[0], count, conditions.shape[-1]))


def _centres(size: int) -> Any:
    """Pixel centres along an axis, in [-1, 1]."""
    return ops.convert_to_tensor(_centre_values(size), "float32")


def _centre_values(size: int) -> np.ndarray:
    return (np.arange(size) + 0.5) / size * 2 - 1


def _channels(count: int, width: float) -> int:
    """A channel count scaled and rounded to a multiple of 8, which vector units like."""
    return max(8, int(round(count * width / 8)) * 8)
