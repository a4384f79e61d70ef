"""Layers that Keras does not have: layer norm over a whole image, and the convolutional LSTM step."""

from typing import Any

import keras
from keras import ops

# The original's contrib.layer_norm used 1e-12; 1e-6 would already shift frames by 4e-5.
LAYER_NORM_EPSILON = 1e-12


@keras.saving.register_keras_serializable(package="visual_foresight")
class ImageNorm(keras.layers.Layer):
    """Layer norm with mean and biased variance over rows, columns and channels of each example together.

    Scale and offset are per channel. Statistics are computed in float32 whatever the dtype policy.

    Reference: J. L. Ba et al., "Layer Normalization", 2016 (arXiv:1607.06450), as in `tf.contrib.layers.layer_norm`.

    Args:
        epsilon: added to the variance.

    Input and output shape: [B, H, W, C].
    """

    def __init__(self, epsilon: float = LAYER_NORM_EPSILON, **kwargs: Any) -> None:
        """Keep the arguments."""
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: tuple) -> None:
        """Create gamma and beta, [C] each."""
        self.gamma = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="beta")
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Normalise; the formula is tf.nn.batch_normalization's, for the same rounding as the original."""
        values = ops.cast(inputs, "float32")
        mean = ops.mean(values, axis=(1, 2, 3), keepdims=True)
        squares = ops.mean(ops.square(values - mean), axis=(1, 2, 3), keepdims=True)
        scale = ops.cast(self.gamma, "float32") * ops.rsqrt(squares + self.epsilon)  # [B, 1, 1, C]
        offset = ops.cast(self.beta, "float32") - mean * scale
        return ops.cast(values * scale + offset, self.compute_dtype)

    def get_config(self) -> dict:
        """Every argument under its own name."""
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="visual_foresight")
class ConvLSTMStep(keras.layers.Layer):
    """One step of a convolutional LSTM: c' = c s(f+1) + s(i) tanh(j), h = tanh(c') s(o).

    One convolution of [input, h] makes the gates i, j, f, o; zero padding, no peepholes.

    Reference: X. Shi et al., "Convolutional LSTM Network", 2015 (arXiv:1506.04214).
    Differs from it: no peepholes; 1 is added to the forget gate, as in the original's `lstm_ops.py`.

    Args:
        filters: channels of c and h.
        kernel_size: side of the convolution [px].

    Input shape: [B, H, W, C] and the state (c, h), [B, H, W, filters] each.
    Output shape: h and the state (c', h).
    """

    def __init__(self, filters: int, kernel_size: int = 5, **kwargs: Any) -> None:
        """Create the convolution of the gates."""
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.gates = keras.layers.Conv2D(
            4 * filters, kernel_size, padding="same", dtype=self.dtype_policy, name="gates"
        )

    def build(self, input_shape: tuple) -> None:
        """Build the one convolution."""
        self.gates.build((*input_shape[:-1], input_shape[-1] + self.filters))
        self.built = True

    def call(self, inputs: Any, cell: Any, hidden: Any) -> tuple[Any, tuple[Any, Any]]:
        """Advance by one step."""
        gates = self.gates(ops.concatenate([inputs, hidden], axis=-1))
        enter, candidate, forget, leave = ops.split(gates, 4, axis=-1)
        cell = cell * ops.sigmoid(forget + 1.0) + ops.sigmoid(enter) * ops.tanh(candidate)
        hidden = ops.tanh(cell) * ops.sigmoid(leave)
        return hidden, (cell, hidden)

    def get_config(self) -> dict:
        """Every argument under its own name."""
        return {**super().get_config(), "filters": self.filters, "kernel_size": self.kernel_size}
