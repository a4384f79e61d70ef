"""Single operations against the original's numbers and gradients (`golden/units.npz`)."""

import golden_recipe
import keras
import numpy as np
import pytest
from keras import ops

from visual_foresight.backend import backend_name, import_tensorflow
from visual_foresight.predictor import transformations
from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.layers import ConvLSTMStep, ImageNorm
from visual_foresight.predictor.transformations import SEED_STYLE

ABSOLUTE = 1e-5


def gradients(function, arrays, weights):
    """Result of `function(*arrays)` and the gradients of its sum weighted with `weights`, by the running backend."""
    if backend_name() == "jax":
        import jax

        result = function(*arrays)
        found = jax.grad(lambda *inputs: (function(*inputs) * weights).sum(), argnums=range(len(arrays)))(*arrays)
        return np.asarray(result), [np.asarray(gradient) for gradient in found]
    tensorflow = import_tensorflow()
    inputs = [tensorflow.constant(array) for array in arrays]
    with tensorflow.GradientTape() as tape:
        tape.watch(inputs)
        result = function(*inputs)
        total = tensorflow.reduce_sum(result * weights)
    return result.numpy(), [np.asarray(gradient) for gradient in tape.gradient(total, inputs)]


def check(found, expected, name, tolerance=1e-5):
    """Within `tolerance` of the largest entry."""
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("operation", ["conv_s2_k5", "conv_s2_k3", "convt_s2_k3", "convt_s1_k1"])
def test_convolutions(operation):
    """SAME padding of strided and transposed convolutions, with gradients."""
    unit = golden_recipe.read_units(operation)
    stride = int(operation.split("_s")[1][0])
    step = ops.conv_transpose if operation.startswith("convt") else ops.conv
    result, (x_gradient, w_gradient) = gradients(
        lambda x, w: step(x, w, strides=stride, padding="same") + unit["b"], [unit["x"], unit["w"]], unit["r"]
    )
    check(result, unit["y"], "y")
    check(x_gradient, unit["d_x"], "d_x")
    check(w_gradient, unit["d_w"], "d_w")


def test_image_norm():
    """Layer norm over rows, columns and channels; a constant example becomes beta."""
    unit = golden_recipe.read_units("layer_norm")
    layer = ImageNorm()
    layer.build(unit["x"].shape)
    layer.set_weights([unit["gamma"], unit["beta"]])
    # The constant example is 0/0 but for the epsilon of 1e-12: equal up to the rounding of its mean, times 1e6.
    np.testing.assert_allclose(np.asarray(layer(unit["x"]))[:2], unit["y"][:2], rtol=0, atol=ABSOLUTE)
    np.testing.assert_allclose(np.asarray(layer(unit["x"]))[2], unit["y"][2], rtol=0, atol=0.2)
    weights = unit["r"][:2]
    _, (x_gradient,) = gradients(layer, [unit["x"][:2]], weights)
    check(x_gradient, unit["d_x"][:2], "d_x")


@pytest.mark.parametrize("operation", ["lstm", "lstm_zero_state"])
def test_conv_lstm_step(operation):
    """Gate order, forget bias, and the state as c and h."""
    unit = golden_recipe.read_units(operation)
    layer = ConvLSTMStep(3)
    layer.build(unit["x"].shape)
    layer.gates.set_weights([unit["w"], unit["b"]])
    state = unit.get("state", np.zeros((1, 8, 8, 6), np.float32))
    hidden, (cell, _) = layer(unit["x"], state[..., :3], state[..., 3:])
    check(hidden, unit["h"], "h")
    check(ops.concatenate([cell, hidden], axis=-1), unit["new_state"], "new_state")


@pytest.mark.skipif(backend_name() != "tensorflow", reason="gradients of variables are compared on TensorFlow")
def test_conv_lstm_gradients():
    """Gradients with respect to the input, the state and the kernel."""
    tensorflow = import_tensorflow()
    unit = golden_recipe.read_units("lstm")
    layer = ConvLSTMStep(3)
    layer.build(unit["x"].shape)
    layer.gates.set_weights([unit["w"], unit["b"]])
    x, state = tensorflow.constant(unit["x"]), tensorflow.constant(unit["state"])
    with tensorflow.GradientTape() as tape:
        tape.watch([x, state])
        _, (cell, hidden) = layer(x, state[..., :3], state[..., 3:])
        total = tensorflow.reduce_sum(tensorflow.concat([cell, hidden], axis=-1) * unit["r"])
    found = tape.gradient(total, [x, state, layer.gates.kernel.value])
    for gradient, name in zip(found, ["d_x", "d_state", "d_w"], strict=True):
        check(gradient, unit[name], name)


def test_cdna():
    """The head and its transformation; a kernel that is all negative becomes uniform."""
    unit = golden_recipe.read_units("cdna")
    # One mask more than the unit has, so that none of the unit's kernels is the one that the original drops.
    config = PredictorConfig(num_masks=4)

    def transformed(frame, features, w):
        raw = ops.reshape(ops.matmul(features, w) + unit["b"], (-1, 25, 3))
        raw = ops.reshape(ops.concatenate([raw, raw[:, :, :1]], axis=-1), (-1, 100))
        moves = transformations.operators(raw, config, SEED_STYLE)
        return ops.transpose(transformations.transform(moves, frame, config, SEED_STYLE), (1, 0, 2, 3, 4))

    arrays = [unit["prev_image"], unit["cdna_input"], unit["w"]]
    result, found = gradients(transformed, arrays, unit["r"])
    check(result, unit["y"], "y")
    for gradient, name in zip(found, ["d_prev_image", "d_cdna_input", "d_w"], strict=True):
        check(gradient, unit[name], name)


def test_dna():
    """One kernel for each pixel; kernels without a positive tap become uniform."""
    unit = golden_recipe.read_units("dna")
    config = PredictorConfig(transformation="dna", num_masks=1)

    def transformed(frame, raw):
        moves = transformations.operators(raw, config, SEED_STYLE)
        return transformations.transform(moves, frame, config, SEED_STYLE)[:, 0]

    result, found = gradients(transformed, [unit["prev_image"], unit["dna_input"]], unit["r"])
    check(result, unit["y"], "y")
    for gradient, name in zip(found, ["d_prev_image", "d_dna_input"], strict=True):
        check(gradient, unit[name], name)


def test_stp():
    """The sampler of the original: scale W/2, zero outside, and its gradients."""
    unit = golden_recipe.read_units("stp")
    config = PredictorConfig(transformation="stp", num_masks=2)
    identity = np.array([1, 0, 0, 0, 1, 0], np.float32)

    def transformed(frame, theta):
        moves = transformations.operators(theta - identity, config, SEED_STYLE)
        return transformations.transform(moves, frame, config, SEED_STYLE)[:, 0]

    result, found = gradients(transformed, [unit["U"], unit["theta"]], unit["r"])
    check(result, unit["y"], "y")
    for gradient, name in zip(found, ["d_U", "d_theta"], strict=True):
        check(gradient, unit[name], name, tolerance=1e-3)


def test_adam():
    """Keras' Adam with epsilon 1e-8 is the optimizer of the original."""
    unit = golden_recipe.read_units("adam")
    variable = keras.Variable(unit["v0"])
    optimizer = keras.optimizers.Adam(0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-8)
    for gradient, expected in zip(unit["grads"], unit["v"], strict=True):
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
        np.testing.assert_allclose(variable.numpy(), expected, rtol=0, atol=1e-6)
