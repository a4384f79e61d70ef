"""The `seed` backbone: the network of the original code, number for number, its quirks included.

Source: tensorflow/models `research/video_prediction/prediction_model.py` at f13759f3 (2017-11-21), which is
arXiv:1605.07157, figure 1 and appendix A, plus layer norm. Quirks kept: ReLU on the generated image before its sigmoid
(so that it is at least 0.5) and on the mask logits, a ReLU more on dna's kernels, one cdna kernel too many, the robot
state fed back from the second step on. `docs/parity.md` lists them all.
Differs from it: any image whose sides are multiples of 8, any batch, a factor on the channels (`width`).
"""

from typing import Any

import keras
from keras import ops

from visual_foresight import backend
from visual_foresight.predictor import compositor, transformations
from visual_foresight.predictor.backbone import HeadOutputs
from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.layers import ConvLSTMStep, ImageNorm, TransposedConvolution

# Channels of the seven convolutional LSTMs, and by how much their resolution is reduced.
LSTM_CHANNELS = (32, 32, 64, 64, 128, 64, 32)
LSTM_STRIDES = (2, 2, 4, 4, 8, 4, 2)
STP_HIDDEN = 100
# The heads of full resolution are padded to so many channels where they are one product.
HEADS_MULTIPLE = 8


@keras.saving.register_keras_serializable(package="visual_foresight")
class SeedBackbone(keras.layers.Layer):
    """Seven convolutional LSTMs between three strided and three transposed convolutions, with skips.

    Layers carry the names of the original's variable scopes (`scale1_conv1`, `state1` ... `convt7`, `cdna_params`), see
    `original_variables`.

    Args:
        config: the predictor's config.
    """

    style = transformations.SEED_STYLE
    state_feedback = "first"

    def __init__(self, config: PredictorConfig, **kwargs: Any) -> None:
        """Build all layers; nothing is left for the first call."""
        # The robot state stays in float32 under a mixed policy: bfloat16 would round it to centimetres.
        super().__init__(autocast=False, **kwargs)
        self.predictor_config = config
        self._make_encoder()
        self._make_decoder()
        self._make_heads()
        self.built = True

    def _channels(self, count: int) -> int:
        return max(1, round(count * self.predictor_config.width))

    def _size(self, stride: int) -> tuple[int, int]:
        return self.predictor_config.image_height // stride, self.predictor_config.image_width // stride

    def _convolution(self, name: str, inputs: int, filters: int, size: int, stride: int, **options: Any) -> None:
        """Create and build one (transposed) convolution under `name`; the activation is slim's default ReLU."""
        transposed = options.pop("transposed", False)
        kind = TransposedConvolution if transposed else keras.layers.Conv2D
        options = {"activation": "relu", **options}
        layer = kind(filters, size, strides=stride, padding="same", dtype=self.dtype_policy, name=name, **options)
        layer.build((None, None, None, inputs))
        setattr(self, name, layer)

    def _dense(self, name: str, inputs: int, units: int, activation: str | None = None, dtype: Any = None) -> None:
        layer = keras.layers.Dense(units, activation=activation, dtype=dtype or self.dtype_policy, name=name)
        layer.build((None, inputs))
        setattr(self, name, layer)

    def _norm(self, index: int, channels: int, rectified: bool = False) -> None:
        layer = ImageNorm(rectified=rectified, dtype=self.dtype_policy, name=f"layer_norm{index}")
        layer.build((None, None, None, channels))
        setattr(self, f"layer_norm{index}", layer)

    def _lstm(self, index: int, inputs: int) -> None:
        """LSTM `index` (1 to 7) and the norm of its output."""
        channels = self._channels(LSTM_CHANNELS[index - 1])
        layer = ConvLSTMStep(channels, dtype=self.dtype_policy, name=f"state{index}")
        layer.build((None, None, None, inputs))
        setattr(self, f"state{index}", layer)
        self._norm(index + 1, channels)

    def _make_encoder(self) -> None:
        config, narrow, wide = self.predictor_config, self._channels(32), self._channels(64)
        self._convolution("scale1_conv1", 3, narrow, 5, 2, use_bias=False, activation=None)
        self._norm(1, narrow, rectified=True)
        self._lstm(1, narrow)
        self._lstm(2, narrow)
        self._convolution("conv2", narrow, narrow, 3, 2)
        self._lstm(3, narrow)
        self._lstm(4, wide)
        self._convolution("conv3", wide, wide, 3, 2)
        robot = config.action_size + config.state_size if config.use_state else 0
        self._convolution("conv4", wide + robot, wide, 1, 1)
        self._lstm(5, wide)

    def _make_decoder(self) -> None:
        narrow, wide, widest = self._channels(32), self._channels(64), self._channels(128)
        self._convolution("convt1", widest, widest, 3, 2, transposed=True)
        self._lstm(6, widest)
        joined = wide + narrow
        self._convolution("convt2", joined, joined, 3, 2, transposed=True)
        self._lstm(7, joined)
        self._convolution("convt3", 2 * narrow, wide, 3, 2, transposed=True, use_bias=False, activation=None)
        self._norm(9, wide, rectified=True)

    def _make_heads(self) -> None:
        config, wide = self.predictor_config, self._channels(64)
        height, width = self._size(8)
        features = height * width * self._channels(128)
        painted = config.kernel_size**2 if config.transformation == "dna" else 3
        self._convolution("convt4", wide, painted, 1, 1, transposed=True)
        self._convolution(
            "convt7", wide, compositor.num_layers(config, self.style), 1, 1, transposed=True, activation=None
        )
        if config.transformation == "cdna":
            self._dense("cdna_params", features, transformations.num_parameters(config, self.style))
        if config.transformation == "stp":
            self._dense("fc_stp", features, STP_HIDDEN, "relu")
            for index in range(transformations.num_transformed(config, self.style)):
                self._dense(f"stp_params{index}", STP_HIDDEN, 6)
        self._dense("state_pred", config.action_size + config.state_size, config.state_size, dtype="float32")

    def initial_state(self, frame: Any, state: Any) -> dict:
        """Zeros: {"state1": (c, h), ...}, each [B, H/s, W/s, channels]."""
        del state
        batch = ops.shape(frame)[0]
        recurrent = {}
        for index, (channels, stride) in enumerate(zip(LSTM_CHANNELS, LSTM_STRIDES, strict=True), start=1):
            zeros = ops.zeros((batch, *self._size(stride), self._channels(channels)), self.compute_dtype)
            recurrent[f"state{index}"] = (zeros, zeros)
        return recurrent

    def unrolled_start(self) -> dict:
        """The recurrent state of a sequence that is unrolled in one graph, instead of `initial_state`.

        It says that everything is zero by saying nothing, so that the first step leaves half of each gate convolution
        out, and holds the large kernels in the compute type: cast once, not at each step.
        """
        lstms = [f"state{index}" for index in range(1, len(LSTM_CHANNELS) + 1)]
        return {"kernels": {name: getattr(self, name).cast_kernel() for name in lstms}}

    def call(
        self, frame: Any, action: Any, robot_state: Any, recurrent: dict, training: bool = False
    ) -> tuple[HeadOutputs, dict]:
        """One step, see `backbone`."""
        kernels = recurrent.get("kernels", {})
        following: dict = {"kernels": kernels} if kernels else {}

        def lstm(index: int, inputs: Any) -> Any:
            name = f"state{index}"
            cell, before = recurrent.get(name, (None, None))
            hidden, following[name] = getattr(self, name)(inputs, cell, before, kernel=kernels.get(name))
            return getattr(self, f"layer_norm{index + 1}")(hidden)

        robot = ops.concatenate([action, robot_state], axis=-1)  # [B, A + S]
        enc0 = self.layer_norm1(self.scale1_conv1(frame))  # [B, H/2, W/2, 32]
        enc1 = self.conv2(lstm(2, lstm(1, enc0)))  # [B, H/4, W/4, 32]
        enc2 = self.conv3(lstm(4, lstm(3, enc1)))  # [B, H/8, W/8, 64]
        if self.predictor_config.use_state:
            tiled = ops.broadcast_to(robot[:, None, None, :], (ops.shape(enc2)[0], *enc2.shape[1:3], robot.shape[-1]))
            enc2 = ops.concatenate([enc2, ops.cast(tiled, enc2.dtype)], axis=-1)
        hidden5 = lstm(5, self.conv4(enc2))  # [B, H/8, W/8, 128]
        hidden6 = lstm(6, self.convt1(hidden5))  # [B, H/4, W/4, 64]
        hidden7 = lstm(7, self.convt2(ops.concatenate([hidden6, enc1], axis=-1)))  # [B, H/2, W/2, 32]
        enc6 = self.convt3(ops.concatenate([hidden7, enc0], axis=-1))
        enc6 = self.layer_norm9(enc6)  # [B, H, W, 64]
        painted, mask_logits = self._heads(enc6)
        generated = None if self.predictor_config.transformation == "dna" else ops.sigmoid(painted)
        outputs = HeadOutputs(mask_logits, generated, self._parameters(painted, hidden5), self.state_pred(robot))
        return outputs, following

    def _heads(self, features: Any) -> tuple[Any, Any]:
        """The painted image and the mask logits, both by 1x1 convolutions of [B, H, W, 64].

        On JAX they are one product of matrices: to an accelerator 3 and 11 channels are no multiples of anything, and
        images are copied to be padded.
        """
        heads = (self.convt4, self.convt7)
        if backend.backend_name() != "jax":
            return self.convt4(features), self.convt7(features)
        kernels = [ops.transpose(ops.convert_to_tensor(head.kernel)[0, 0]) for head in heads]  # [64, O]
        counts = [kernel.shape[-1] for kernel in kernels]
        spare = -sum(counts) % HEADS_MULTIPLE
        kernel = ops.pad(ops.concatenate(kernels, axis=-1), ((0, 0), (0, spare)))
        bias = ops.pad(ops.concatenate([ops.convert_to_tensor(head.bias) for head in heads]), (0, spare))
        joined = ops.matmul(features, ops.cast(kernel, features.dtype)) + ops.cast(bias, features.dtype)
        return self.convt4.activation(joined[..., : counts[0]]), joined[..., counts[0] : sum(counts)]

    def _parameters(self, painted: Any, hidden5: Any) -> Any:
        """Raw numbers for the transformation, see `transformations.parameter_shape`."""
        if self.predictor_config.transformation == "dna":
            return painted
        height, width, channels = hidden5.shape[1:]
        features = ops.reshape(hidden5, (-1, height * width * channels))
        if self.predictor_config.transformation == "cdna":
            return self.cdna_params(features)
        features = self.fc_stp(features)
        count = transformations.num_transformed(self.predictor_config, self.style)
        return ops.concatenate([getattr(self, f"stp_params{index}")(features) for index in range(count)], axis=-1)

    def original_variables(self) -> dict[str, Any]:
        """The original's name of every variable (without the leading `model/`) with ours; the shapes are equal."""
        named = {}
        for layer in self._flatten_layers(include_self=False, recursive=False):
            if isinstance(layer, ImageNorm):
                scope = {"layer_norm1": "scale1_conv1/", "layer_norm9": "convt3/"}.get(layer.name, "")
                named[f"{scope}{layer.name}/gamma"] = layer.gamma
                named[f"{scope}{layer.name}/beta"] = layer.beta
                continue
            scope, inner = layer.name, layer
            if isinstance(layer, ConvLSTMStep):
                scope, inner = f"{layer.name}/Gates", layer.gates
            named[f"{scope}/weights"] = inner.kernel
            if inner.use_bias:
                named[f"{scope}/biases"] = inner.bias
        return dict(sorted(named.items()))
