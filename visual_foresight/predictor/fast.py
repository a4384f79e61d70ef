"""The `fast` backbone: made for planning, where a frame may cost a tenth of a millisecond.

It works at a quarter and an eighth of the image's resolution, knows where the robot is through learned position maps,
and mends what the original network gets wrong: action and state reach every scale, kernels begin as the identity,
borders stay bright, every mask has its layer, mask logits are linear, and nothing depends on the image size.

Source: arXiv:1605.07157 for the heads; the background layer of arXiv:1710.05268; a convolutional GRU after
N. Ballas et al., 2016 (arXiv:1511.06432). Differs from them: separable kernels, attention pooling before the kernel
head, position maps.
Letters: B batch, H rows, W columns, A action size, S state size, M transformed images, L layers, K side of a kernel.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from visual_foresight.predictor import compositor, transformations
from visual_foresight.predictor.backbone import HeadOutputs
from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.transformations import Style

# Channels at a quarter of the resolution, at an eighth, and before the heads, for width 1.
_CHANNELS = (32, 48, 48)
_NUM_POSITIONS = 4
_STEM, _COARSE = 4, 8
# An untrained predictor should copy: the previous frame starts with most of each pixel's mask.
_PREVIOUS_MASK_BIAS = 3.0


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
        self.style = Style(identity_bias=2.0, separable=config.transformation == "cdna")
        self._fine, self._coarse, self._last = (_channels(count, config.width) for count in _CHANNELS)
        self._make_trunk()
        self._make_heads()
        self._make_robot()
        self.built = True

    # ---- variables --------------------------------------------------------------------------------------------

    def _convolution(self, inputs: int, filters: int, size: int, **options: Any) -> layers.Conv2D:
        layer = layers.Conv2D(filters, size, padding="same", dtype=self.dtype_policy, **options)
        layer.build((None, None, None, inputs))
        return layer

    def _dense(self, inputs: int, units: int, **options: Any) -> layers.Dense:
        layer = layers.Dense(units, **{"dtype": "float32", **options})
        layer.build((None, inputs))
        return layer

    def _make_trunk(self) -> None:
        fine, coarse, last = self._fine, self._coarse, self._last
        stem = 3 * _STEM**2
        self.encode_frame = self._convolution(stem, fine, 3)
        self.encode_first = self._convolution(stem, fine, 3)
        self.encode_memory = self._convolution(fine, fine, 1, use_bias=False)
        self.to_coarse = self._convolution(fine, coarse, 3, strides=2)
        self.gates = self._convolution(2 * coarse, 2 * coarse, 3)
        self.candidate = self._convolution(2 * coarse, coarse, 3)
        self.to_fine = self._convolution(coarse, 4 * fine, 1)
        self.merge = self._convolution(fine, last, 3)
        self.refine = self._convolution(last, last, 3)

    def _make_heads(self) -> None:
        config, last, coarse = self.config, self._last, self._coarse
        small = keras.initializers.RandomNormal(stddev=0.02, seed=7)
        num_layers = compositor.num_layers(config, self.style)
        self.mask_head = self._convolution(last, _STEM**2 * num_layers, 1, kernel_initializer=small)
        bias = np.zeros((_STEM**2, num_layers), np.float32)
        bias[:, 0] = _PREVIOUS_MASK_BIAS
        self.mask_head.bias.assign(bias.reshape(-1))
        self.generated_head = self._convolution(last, 3 * _STEM**2, 1)
        if config.transformation == "dna":
            taps = transformations.num_parameters(config, self.style)
            self.kernel_head = self._convolution(last, _STEM**2 * taps, 1, kernel_initializer=small)
            return
        per_image = transformations.num_parameters(config, self.style) // config.num_masks
        self.attention_head = self._convolution(coarse, config.num_masks, 1)
        self.kernel_head = self._dense(coarse, per_image, kernel_initializer="zeros")
        self.motion_head = self._dense(self._conditions, per_image * config.num_masks, kernel_initializer=small)

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
        self.encode_positions = self._convolution(8 * _NUM_POSITIONS, fine, 3, use_bias=False)

    @property
    def _conditions(self) -> int:
        """Numbers that tell the robot: action, state and next state; one constant without them."""
        config = self.config
        return config.action_size + 2 * config.state_size if config.use_state else 1

    # ---- one step ---------------------------------------------------------------------------------------------

    def initial_state(self, frame: Any, state: Any) -> dict[str, Any]:
        """Zero memory, and the features of the first frame, computed once.

        Args:
            frame: [B, H, W, 3].
            state: [B, S], unused.
        """
        del state
        first = self.encode_first(space_to_depth(ops.cast(frame, self.compute_dtype), _STEM))
        coarse = (ops.shape(frame)[0], frame.shape[1] // _COARSE, frame.shape[2] // _COARSE, self._coarse)
        return {"first": first, "fine": ops.zeros_like(first), "coarse": ops.zeros(coarse, first.dtype)}

    def call(
        self, frame: Any, action: Any, robot_state: Any, recurrent: dict[str, Any], training: bool = False
    ) -> tuple[HeadOutputs, dict[str, Any]]:
        """One step; see `backbone.BACKBONES` for the contract."""
        del training
        robot = ops.concatenate([action, robot_state], axis=-1)
        next_state = robot_state + self.state_linear(robot) + self.state_output(self.state_hidden(robot))
        fine = self.encode_frame(space_to_depth(ops.cast(frame, self.compute_dtype), _STEM))
        fine = fine + recurrent["first"] + self.encode_memory(recurrent["fine"])
        conditions = self._robot_conditions(robot, next_state)
        if self.config.use_state:
            maps = [self._position_maps(state, frame.shape[1:3]) for state in (robot_state, next_state)]
            fine = fine + self.encode_positions(ops.cast(ops.concatenate(maps, axis=-1), self.compute_dtype))
            fine = fine + self._spread(self.condition_fine, conditions)
        fine = ops.relu(fine)
        coarse = self._remember(fine, recurrent["coarse"], conditions)
        memory = ops.relu(fine + depth_to_space(self.to_fine(coarse), 2))
        features = self.merge(memory)
        if self.config.use_state:
            features = features + self._spread(self.condition_last, conditions)
        features = ops.relu(features)
        features = ops.relu(features + self.refine(features))
        outputs = HeadOutputs(
            mask_logits=depth_to_space(self.mask_head(features), _STEM),
            generated=self._generate(features),
            parameters=self._parameters(features, coarse, conditions),
            next_state=next_state,
        )
        return outputs, {"first": recurrent["first"], "fine": memory, "coarse": coarse}

    def _robot_conditions(self, robot: Any, next_state: Any) -> Any:
        """[B, R] float32: what the robot is doing."""
        if self.config.use_state:
            return ops.concatenate([robot, next_state], axis=-1)
        return ops.ones_like(robot[:, :1])

    def _spread(self, layer: layers.Dense, conditions: Any) -> Any:
        """[B, 1, 1, C]: conditions as a bias of every place."""
        return ops.cast(layer(conditions), self.compute_dtype)[:, None, None, :]

    def _position_maps(self, state: Any, image_size: tuple[int, int]) -> Any:
        """Learned positions of the robot in the picture as Gaussian bumps, at half resolution.

        A convolution cannot turn "x = 0.1 m" into a place; a bump at a learned place can, and it stays sharp however
        blurred the predicted frame has become. Float32: bfloat16 has 8 bits, too few for a position.

        Args:
            state: [B, S] normalised.
            image_size: (H, W).

        Returns:
            [B, H/4, W/4, 4*N], N positions, the four half-resolution pixels of a cell as channels.
        """
        points = ops.reshape(self.positions(state), (-1, _NUM_POSITIONS, 2))  # in [-1, 1] across the image
        width = 0.12 * ops.exp(self.log_width)[:, None]
        rows, columns = (_centres(size // 2) for size in image_size)
        down = ops.exp(-0.5 * ops.square((points[:, :, :1] - rows) / width))
        across = ops.exp(-0.5 * ops.square((points[:, :, 1:] - columns) / width))
        return space_to_depth(ops.einsum("bpi,bpj->bijp", down, across), 2)

    def _remember(self, fine: Any, memory: Any, conditions: Any) -> Any:
        """The convolutional GRU at 1/8 of the resolution."""
        inputs = self.to_coarse(fine)
        if self.config.use_state:
            inputs = inputs + self._spread(self.condition_coarse, conditions)
        inputs = ops.relu(inputs)
        gates = ops.sigmoid(self.gates(ops.concatenate([inputs, memory], axis=-1)))
        update, reset = gates[..., : self._coarse], gates[..., self._coarse :]
        candidate = ops.tanh(self.candidate(ops.concatenate([inputs, reset * memory], axis=-1)))
        return memory + update * (candidate - memory)

    def _generate(self, features: Any) -> Any:
        logits = ops.cast(self.generated_head(features), "float32")
        return depth_to_space(ops.sigmoid(logits), _STEM)

    def _parameters(self, features: Any, coarse: Any, conditions: Any) -> Any:
        """Raw parameters of the transformation, float32.

        Each transformed image looks at the place it moves (attention over the coarse features) and at the robot.
        """
        if self.config.transformation == "dna":
            return ops.cast(depth_to_space(self.kernel_head(features), _STEM), "float32")
        count = self.config.num_masks
        places = coarse.shape[1] * coarse.shape[2]
        attention = ops.reshape(ops.cast(self.attention_head(coarse), "float32"), (-1, places, count))
        flat = ops.reshape(ops.cast(coarse, "float32"), (-1, places, self._coarse))
        pooled = ops.einsum("bnm,bnc->bmc", ops.softmax(attention, axis=1), flat)
        parameters = self.kernel_head(ops.reshape(pooled, (-1, self._coarse)))
        return ops.reshape(parameters, (-1, count * parameters.shape[-1])) + self.motion_head(conditions)


def space_to_depth(images: Any, block: int) -> Any:
    """[B, H, W, C] to [B, H/block, W/block, block*block*C]."""
    height, width, channels = images.shape[1:]
    images = ops.reshape(images, (-1, height // block, block, width // block, block, channels))
    images = ops.transpose(images, (0, 1, 3, 2, 4, 5))
    return ops.reshape(images, (-1, height // block, width // block, block * block * channels))


def depth_to_space(images: Any, block: int) -> Any:
    """[B, H, W, block*block*C] to [B, H*block, W*block, C]; the inverse of `space_to_depth`."""
    height, width, depth = images.shape[1:]
    channels = depth // block**2
    images = ops.reshape(images, (-1, height, width, block, block, channels))
    images = ops.transpose(images, (0, 1, 3, 2, 4, 5))
    return ops.reshape(images, (-1, height * block, width * block, channels))


def _centres(size: int) -> Any:
    """Pixel centres along an axis, in [-1, 1]."""
    return ops.convert_to_tensor((np.arange(size) + 0.5) / size * 2 - 1, "float32")


def _channels(count: int, width: float) -> int:
    """A channel count scaled and rounded to a multiple of 8, which vector units like."""
    return max(8, int(round(count * width / 8)) * 8)
