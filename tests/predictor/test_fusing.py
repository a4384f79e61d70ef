"""Fused chains compute what the same chains compute operation by operation, with their gradients."""

import importlib.util
from pathlib import Path

import golden_recipe
import numpy as np
import pytest
from keras import ops

from visual_foresight.backend import backend_name, import_tensorflow
from visual_foresight.predictor import fusing, layers, transformations

on_tensorflow = pytest.mark.skipif(backend_name() != "tensorflow", reason="chains are fused on TensorFlow only")


def random(*shape, seed=0):
    """Standard normal float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def values_and_gradients(function, arrays):
    """Outputs of a function, and the gradients of their weighted sum."""
    tensorflow = import_tensorflow()
    inputs = [tensorflow.constant(array) for array in arrays]
    with tensorflow.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        total = sum(tensorflow.reduce_sum(output * random(*output.shape, seed=9)) for output in outputs)
    gradients = [gradient for gradient in tape.gradient(total, inputs) if gradient is not None]  # of what was not read
    return [np.asarray(array) for array in (*outputs, *gradients)]


@on_tensorflow
@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (layers._fused_next_cell, [(2, 4, 4, 12), (2, 4, 4, 3)]),
        (layers._fused_first_cell, [(2, 4, 4, 12)]),
        (transformations._sum_of_shifts, [(2, 9, 6, 5), (2, 3, 8, 7)]),
        (transformations._taps_gradient, [(2, 9, 6, 5), (2, 3, 8, 7), (2, 3, 6, 5)]),
        (transformations._planes_gradient, [(2, 9, 6, 5), (2, 3, 6, 5)]),
    ],
)
def test_fused_chain_is_the_chain(function, shapes):
    """Values and gradients, against the function that was wrapped."""
    arrays = [random(*shape, seed=index) for index, shape in enumerate(shapes)]
    fused = values_and_gradients(function, arrays)
    plain = values_and_gradients(function.__wrapped__, arrays)
    for found, expected in zip(fused, plain, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@on_tensorflow
def test_a_build_without_fusion_still_computes(monkeypatch):
    """The wrapped function itself runs where chains cannot be compiled by themselves."""
    arrays = [random(2, 4, 4, 12), random(2, 4, 4, 3, seed=1)]
    fused = values_and_gradients(layers._fused_next_cell, arrays)
    monkeypatch.setattr(fusing, "fuses", lambda: False)
    for found, expected in zip(values_and_gradients(layers._fused_next_cell, arrays), fused, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@on_tensorflow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.05)])
@pytest.mark.parametrize("rectified", [False, True])
def test_gradient_of_image_norm_is_the_chain_rules(dtype, tolerance, rectified):
    """The written gradient against automatic differentiation of the formula in float32."""
    tensorflow = import_tensorflow()
    layer = layers.ImageNorm(rectified=rectified, dtype=dtype)
    layer.build((2, 6, 5, 4))
    layer.set_weights([1 + 0.3 * random(4), 0.3 * random(4, seed=1)])
    inputs, weights = tensorflow.constant(3 + random(2, 6, 5, 4, seed=2)), random(2, 6, 5, 4, seed=3)
    variables = [layer.gamma.value, layer.beta.value]
    with tensorflow.GradientTape() as tape:
        tape.watch(inputs)
        total = tensorflow.reduce_sum(ops.cast(layer(ops.cast(inputs, layer.compute_dtype)), "float32") * weights)
    found = tape.gradient(total, [inputs, *variables])
    with tensorflow.GradientTape() as tape:
        tape.watch(inputs)
        rounded = ops.cast(ops.cast(inputs, layer.compute_dtype), "float32")
        mean, squares = tensorflow.nn.moments(rounded, axes=[1, 2, 3], keepdims=True)
        expected = (rounded - mean) / tensorflow.sqrt(squares) * variables[0] + variables[1]
        total = tensorflow.reduce_sum((ops.relu(expected) if rectified else expected) * weights)
    for ours, theirs in zip(found, tape.gradient(total, [inputs, *variables]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def test_a_missing_state_is_a_state_of_zeros():
    """The LSTM that leaves half of its convolution out gives the numbers of the whole one."""
    layer = layers.ConvLSTMStep(3)
    layer.build((None, 8, 8, 2))
    inputs, zeros = random(2, 8, 8, 2), np.zeros((2, 8, 8, 3), np.float32)
    hidden, (cell, _) = layer(inputs)
    expected_hidden, (expected_cell, _) = layer(inputs, zeros, zeros, kernel=layer.cast_kernel())
    np.testing.assert_allclose(hidden, expected_hidden, atol=1e-6)
    np.testing.assert_allclose(cell, expected_cell, atol=1e-6)


def test_the_plain_network_computes_the_same():
    """The yardstick of the benchmark predicts our frames and states, so that their times may be compared."""
    path = Path(__file__).parents[2] / "benchmarks" / "plain_seed.py"
    specification = importlib.util.spec_from_file_location("plain_seed", path)
    plain_seed = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(plain_seed)
    predictor, inputs = golden_recipe.make_predictor("cdna"), golden_recipe.read_inputs()
    inputs = {name: ops.convert_to_tensor(array[:, :4]) for name, array in inputs.items()}
    plain, ours = plain_seed.PlainSeed(predictor)(**inputs), predictor(inputs)
    for name in ("frames", "states"):
        np.testing.assert_allclose(plain[name], ours[name], rtol=0, atol=1e-4)
