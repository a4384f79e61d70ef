"""Layers that Keras does not have: layer norm over a whole image, and the convolutional LSTM step."""

import math
from typing import Any

import keras
from keras import ops

from visual_foresight import backend
from visual_foresight.predictor import turned
from visual_foresight.predictor.fusing import fuse, fuse_with_gradient, fuses
from visual_foresight.predictor.turned import SequenceKernel

# The original's contrib.layer_norm used 1e-12; 1e-6 would already shift frames by 4e-5.
LAYER_NORM_EPSILON = 1e-12


@keras.saving.register_keras_serializable(package="visual_foresight")
class ImageNorm(keras.layers.Layer):
    """Layer norm with mean and biased variance over rows, columns and channels of each example together.

    Scale and offset are per channel. Statistics are computed in float32 whatever the dtype policy.

    Reference: J. L. Ba et al., "Layer Normalization", 2016 (arXiv:1607.06450), as in `tf.contrib.layers.layer_norm`.

    Args:
        epsilon: added to the variance.
        rectified: whether a ReLU follows; here it costs no pass over memory of its own.

    Input and output shape: [B, H, W, C].
    """

    def __init__(self, epsilon: float = LAYER_NORM_EPSILON, rectified: bool = False, **kwargs: Any) -> None:
        """Keep the arguments."""
        # Without autocast: a mixed policy would round gamma and beta to bfloat16.
        super().__init__(autocast=False, **kwargs)
        self.epsilon = epsilon
        self.rectified = rectified
        self._forward, self._backward = fuse(self._formula), fuse(self._gradients)

    def build(self, input_shape: tuple) -> None:
        """Create gamma and beta, [C] each."""
        self.gamma = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="beta")
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Normalise."""
        shape = (1, 1, 1, inputs.shape[-1])
        weights = [ops.cast(ops.reshape(weight, shape), "float32") for weight in (self.gamma, self.beta)]
        if self.compute_dtype == "float32":
            # Fused sums round otherwise than the original's: now and then another ReLU opens, and gradients differ.
            return self._formula(inputs, *weights)

        @ops.custom_gradient
        def normalise(values: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
            # Moments are computed anew for the gradient where that costs less than to store what is between, in one
            # loop; the two numbers of an image themselves are kept where each of their sums is a call of its own.
            moments = () if fuses() else self._moments(values)[1:]

            def gradient(*arguments: Any, upstream: Any = None) -> tuple[Any, Any, Any]:
                return self._backward(values, gamma, beta, arguments[0] if upstream is None else upstream, *moments)

            return self._forward(values, gamma, beta, *moments), gradient

        return normalise(inputs, *weights)

    def _formula(self, inputs: Any, gamma: Any, beta: Any, *moments: Any) -> Any:
        """The formula is tf.nn.batch_normalization's, for the same rounding as the original."""
        values, mean, inverse = (ops.cast(inputs, "float32"), *moments) if moments else self._moments(inputs)
        scale = gamma * inverse  # [B, 1, 1, C]
        normalised = values * scale + (beta - mean * scale)
        return ops.cast(ops.relu(normalised) if self.rectified else normalised, self.compute_dtype)

    def _moments(self, inputs: Any) -> tuple[Any, Any, Any]:
        """The inputs in float32, their mean and the inverse of their deviation, [B, 1, 1, 1]."""
        values = ops.cast(inputs, "float32")
        mean = ops.mean(values, axis=(1, 2, 3), keepdims=True)
        squares = ops.mean(ops.square(values - mean), axis=(1, 2, 3), keepdims=True)
        return values, mean, ops.rsqrt(squares + self.epsilon)

    def _gradients(self, inputs: Any, gamma: Any, beta: Any, upstream: Any, *moments: Any) -> tuple[Any, Any, Any]:
        """Gradients of inputs, gamma and beta.

        Written with the normalised values: what the chain rule makes of `_formula` subtracts two large sums for gamma.
        """
        values, mean, inverse = (ops.cast(inputs, "float32"), *moments) if moments else self._moments(inputs)
        normalised = (values - mean) * inverse
        upstream = ops.cast(upstream, "float32")
        if self.rectified:
            upstream = ops.where(normalised * gamma + beta > 0, upstream, 0.0)
        offsets, scales = _sum_pixels(upstream, upstream * normalised)  # [B, 1, 1, C]
        count = math.prod(inputs.shape[1:])
        level = ops.sum(offsets * gamma, axis=-1, keepdims=True) / count
        slope = ops.sum(scales * gamma, axis=-1, keepdims=True) / count
        found = inverse * (upstream * gamma - level - normalised * slope)
        totals = (ops.sum(scales, axis=0, keepdims=True), ops.sum(offsets, axis=0, keepdims=True))
        return (ops.cast(found, inputs.dtype), *totals)

    def get_config(self) -> dict:
        """Every argument under its own name."""
        return {**super().get_config(), "epsilon": self.epsilon, "rectified": self.rectified}


def _sum_pixels(*images: Any) -> tuple[Any, ...]:
    """[B, H, W, C] to [B, 1, 1, C] each; in two parts, since one long sum in float32 would round more.

    On JAX rows are summed first, and what comes of it is a tensor of its own: XLA would make one sum of both, whose few
    results few of an accelerator's cores work on.
    """
    first, second = (1, 2) if backend.backend_name() == "jax" else (2, 1)
    parts = backend.apart(tuple(ops.sum(each, axis=first, keepdims=True) for each in images))
    return backend.apart(tuple(ops.sum(each, axis=second, keepdims=True) for each in parts))


@keras.saving.register_keras_serializable(package="visual_foresight")
class TransposedConvolution(keras.layers.Conv2DTranspose):
    """Keras' layer with padding "same" and channels last; see `backend.transposed_convolution` for what differs."""

    def call(self, inputs: Any) -> Any:
        """[B, H, W, C] to [B, H * stride, W * stride, filters]."""
        outputs = backend.transposed_convolution(inputs, ops.convert_to_tensor(self.kernel), self.strides[0])
        if self.use_bias:
            outputs = outputs + ops.reshape(ops.convert_to_tensor(self.bias), (1, 1, 1, self.filters))
        return outputs if self.activation is None else self.activation(outputs)


def _next_cell(gates: Any, cell: Any, *bias: Any) -> tuple[Any, Any]:
    """Gates [B, H, W, 4F] and c to (c', h), computed in float32 and kept in the type of `gates`."""
    enter, candidate, forget, leave = _split_gates(gates, *bias)
    kept = ops.cast(cell, "float32") * ops.sigmoid(forget + 1.0) + ops.sigmoid(enter) * ops.tanh(candidate)
    return ops.cast(kept, gates.dtype), ops.cast(ops.tanh(kept) * ops.sigmoid(leave), gates.dtype)


def _first_cell(gates: Any, *bias: Any) -> tuple[Any, Any]:
    """`_next_cell` of a c of zeros."""
    enter, candidate, _, leave = _split_gates(gates, *bias)
    kept = ops.sigmoid(enter) * ops.tanh(candidate)
    return ops.cast(kept, gates.dtype), ops.cast(ops.tanh(kept) * ops.sigmoid(leave), gates.dtype)


def _split_gates(gates: Any, bias: Any = None) -> list[Any]:
    """The four gates in float32, with the bias [4F] where it was not added before."""
    gates = ops.cast(gates, "float32")
    return ops.split(gates if bias is None else gates + bias, 4, axis=-1)


_fused_next_cell, _fused_first_cell = fuse_with_gradient(_next_cell), fuse_with_gradient(_first_cell)


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

    def cast_kernel(self) -> SequenceKernel:
        """The kernel in the compute type: cast once for a whole sequence, it need not be cast at each step."""
        num_inputs = self.gates.kernel.shape[2] - self.filters
        return turned.for_sequence(self.gates.kernel, num_inputs, self.compute_dtype)

    def call(
        self, inputs: Any, cell: Any = None, hidden: Any = None, kernel: SequenceKernel | None = None
    ) -> tuple[Any, tuple[Any, Any]]:
        """Advance by one step.

        Args:
            inputs: [B, H, W, C].
            cell: c; None: the state is zero, and half of the convolution is left out.
            hidden: h, or None with `cell`.
            kernel: from `cast_kernel`; None: cast here.
        """
        if kernel is None:
            kernel = SequenceKernel(ops.cast(self.gates.kernel, self.compute_dtype))
        exact = self.compute_dtype == "float32"  # as `ImageNorm`
        if cell is None or hidden is None:
            gates = self._gates(inputs, kernel)
            cell, hidden = (_first_cell if exact else _fused_first_cell)(*gates)
            return hidden, (cell, hidden)
        gates, *bias = self._gates(ops.concatenate([inputs, hidden], axis=-1), kernel)
        cell, hidden = (_next_cell if exact else _fused_next_cell)(gates, cell, *bias)
        return hidden, (cell, hidden)

    def _gates(self, inputs: Any, kernel: SequenceKernel) -> tuple[Any, ...]:
        """Gates [B, H, W, 4F] with their bias; on JAX (gates, bias), see `backend.apart`."""
        if backend.backend_name() == "jax":
            gates = backend.apart(turned.convolve(inputs, kernel, None))
            # Once for each column, so that its gradient is summed in two parts, as `_sum_pixels` does.
            bias = ops.broadcast_to(ops.cast(self.gates.bias, "float32"), gates.shape[2:])
            return gates, backend.apart(bias)
        return (turned.convolve(inputs, kernel, ops.cast(self.gates.bias, self.compute_dtype)),)

    def get_config(self) -> dict:
        """Every argument under its own name."""
        return {**super().get_config(), "filters": self.filters, "kernel_size": self.kernel_size}
