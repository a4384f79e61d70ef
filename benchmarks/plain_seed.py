"""The `seed` network written plainly: the yardstick of `seed_speed.py`.

Keras layers and `keras.ops` as a first honest version would use them: float32, no custom gradients, no merged taps,
automatic differentiation throughout. It shares no code with the package but copies a predictor's weights, so that both
compute the same frames.

Source: arXiv:1605.07157, figure 1 and appendix A, CDNA.
"""

from typing import Any

import keras
from keras import ops

RELU_SHIFT = 1e-12
LAYER_NORM_EPSILON = 1e-12
LSTM_CHANNELS = (32, 32, 64, 64, 128, 64, 32)
LSTM_STRIDES = (2, 2, 4, 4, 8, 4, 2)
KERNEL_SIZE = 5


class PlainSeed:
    """CDNA at full width, with the weights of a `VideoPredictor`.

    Args:
        predictor: a seed CDNA predictor without normalisation of actions and states; its weights are copied.
    """

    def __init__(self, predictor: Any) -> None:
        """Make the layers and copy the weights."""
        self.num_masks = predictor.config.num_masks
        self.context_frames = predictor.config.context_frames
        values = {name: variable.numpy() for name, variable in predictor.backbone.original_variables().items()}
        self.norms = {name: values[name] for name in values if name.endswith(("gamma", "beta"))}
        self.norms = {name: keras.Variable(array) for name, array in self.norms.items()}
        self.layers: dict[str, keras.layers.Layer] = {}
        self._convolution("scale1_conv1", 32, 5, 2, values, activation=None)
        for name in ("conv2", "conv3"):
            self._convolution(name, values[f"{name}/weights"].shape[-1], 3, 2, values)
        self._convolution("conv4", 64, 1, 1, values)
        for index, channels in enumerate(LSTM_CHANNELS, start=1):
            self._convolution(f"state{index}/Gates", 4 * channels, 5, 1, values, activation=None)
        for name in ("convt1", "convt2", "convt3", "convt4", "convt7"):
            filters, size = values[f"{name}/weights"].shape[2], values[f"{name}/weights"].shape[0]
            linear = name in ("convt3", "convt7")
            activation, stride = (None if linear else "relu"), (1 if size == 1 else 2)
            self._convolution(name, filters, size, stride, values, activation=activation, transposed=True)
        for name in ("cdna_params", "state_pred"):
            self._add(name, keras.layers.Dense(values[f"{name}/biases"].size, dtype="float32"), values)

    def _convolution(self, name: str, filters: int, size: int, stride: int, values: dict, **options: Any) -> None:
        kind = keras.layers.Conv2DTranspose if options.pop("transposed", False) else keras.layers.Conv2D
        bias = f"{name}/biases" in values
        options = {"activation": "relu", "use_bias": bias, "dtype": "float32", **options}
        self._add(name, kind(filters, size, strides=stride, padding="same", **options), values)

    def _add(self, name: str, layer: keras.layers.Layer, values: dict) -> None:
        weights = values[f"{name}/weights"]
        inputs = weights.shape[-1] if isinstance(layer, keras.layers.Conv2DTranspose) else weights.shape[-2]
        layer.build((None,) * (weights.ndim - 1) + (inputs,))
        layer.set_weights([values[f"{name}/{kind}"] for kind in ("weights", "biases") if f"{name}/{kind}" in values])
        self.layers[name] = layer

    @property
    def variables(self) -> list[keras.Variable]:
        """Every weight."""
        return [variable for layer in self.layers.values() for variable in layer.variables] + list(self.norms.values())

    def __call__(self, frames: Any, actions: Any, states: Any) -> dict[str, Any]:
        """Unroll over a sequence.

        Args:
            frames: [B, T, H, W, 3] in [0, 1].
            actions: [B, T, A].
            states: [B, T, S].

        Returns:
            {"frames": [B, T-1, H, W, 3], "states": [B, T-1, S]}.
        """
        batch, length, height, width = frames.shape[:4]
        recurrent = []
        for channels, stride in zip(LSTM_CHANNELS, LSTM_STRIDES, strict=True):
            zeros = ops.zeros((batch, height // stride, width // stride, channels))
            recurrent.append((zeros, zeros))
        frame, state = frames[:, 0], states[:, 0]
        predicted_frames, predicted_states = [], []
        for time in range(length - 1):
            if time < self.context_frames:
                frame = frames[:, time]
            frame, state = self._step(frame, actions[:, time], state, recurrent)
            predicted_frames.append(frame)
            predicted_states.append(state)
        return {"frames": ops.stack(predicted_frames, axis=1), "states": ops.stack(predicted_states, axis=1)}

    def _step(self, frame: Any, action: Any, state: Any, recurrent: list) -> tuple[Any, Any]:
        def lstm(index: int, inputs: Any) -> Any:
            hidden, recurrent[index - 1] = self._lstm(index, inputs, *recurrent[index - 1])
            return self._norm(f"layer_norm{index + 1}", hidden)

        robot = ops.concatenate([action, state], axis=-1)
        enc0 = ops.relu(self._norm("scale1_conv1/layer_norm1", self.layers["scale1_conv1"](frame)))
        enc1 = self.layers["conv2"](lstm(2, lstm(1, enc0)))
        enc2 = self.layers["conv3"](lstm(4, lstm(3, enc1)))
        tiled = ops.tile(robot[:, None, None, :], (1, enc2.shape[1], enc2.shape[2], 1))
        hidden5 = lstm(5, self.layers["conv4"](ops.concatenate([enc2, tiled], axis=-1)))
        hidden6 = lstm(6, self.layers["convt1"](hidden5))
        hidden7 = lstm(7, self.layers["convt2"](ops.concatenate([hidden6, enc1], axis=-1)))
        enc6 = self.layers["convt3"](ops.concatenate([hidden7, enc0], axis=-1))
        enc6 = ops.relu(self._norm("convt3/layer_norm9", enc6))
        generated = ops.sigmoid(self.layers["convt4"](enc6))
        masks = ops.softmax(ops.relu(self.layers["convt7"](enc6)), axis=-1)
        raw = self.layers["cdna_params"](ops.reshape(hidden5, (hidden5.shape[0], -1)))
        next_frame = masks[..., :1] * frame + masks[..., 1:2] * generated
        for index, image in enumerate(self._transformed(frame, raw)):
            next_frame = next_frame + masks[..., 2 + index : 3 + index] * image
        return next_frame, self.layers["state_pred"](robot)

    def _lstm(self, index: int, inputs: Any, cell: Any, hidden: Any) -> tuple[Any, tuple[Any, Any]]:
        gates = self.layers[f"state{index}/Gates"](ops.concatenate([inputs, hidden], axis=-1))
        enter, candidate, forget, leave = ops.split(gates, 4, axis=-1)
        cell = cell * ops.sigmoid(forget + 1.0) + ops.sigmoid(enter) * ops.tanh(candidate)
        hidden = ops.tanh(cell) * ops.sigmoid(leave)
        return hidden, (cell, hidden)

    def _norm(self, name: str, inputs: Any) -> Any:
        mean, deviation_squared = ops.moments(inputs, axes=(1, 2, 3), keepdims=True)
        scaled = (inputs - mean) * ops.rsqrt(deviation_squared + LAYER_NORM_EPSILON)
        return scaled * self.norms[f"{name}/gamma"] + self.norms[f"{name}/beta"]

    def _transformed(self, frame: Any, raw: Any) -> list[Any]:
        """Each image moved by its kernel, a sum of 25 shifted images: the last kernel is unused, as in the original."""
        batch, height, width = frame.shape[:3]
        kernels = ops.relu(ops.reshape(raw, (batch, KERNEL_SIZE**2, self.num_masks)) - RELU_SHIFT) + RELU_SHIFT
        kernels = kernels / ops.sum(kernels, axis=1, keepdims=True)
        margin = KERNEL_SIZE // 2
        padded = ops.pad(frame, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
        shifts = [divmod(tap, KERNEL_SIZE) for tap in range(KERNEL_SIZE**2)]
        patches = ops.stack([padded[:, dy : dy + height, dx : dx + width] for dy, dx in shifts], axis=-1)
        moved = ops.einsum("bhwct,btm->bhwcm", patches, kernels[:, :, : self.num_masks - 1])
        return [moved[..., index] for index in range(self.num_masks - 1)]
