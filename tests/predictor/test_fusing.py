"""Fused chains compute what the same chains compute operation by operation, with their gradients."""

import importlib.util
from pathlib import Path

import golden_recipe
import numpy as np
import pytest
from keras import ops

from visual_foresight.backend import backend_name, import_tensorflow
from visual_foresight.predictor import fusing, glimpse, layers, separable, tapped, transformations, turned

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
        (tapped._shares(2, True), [(2, 6, 4, 5)]),
        (separable._softmax_planes, [(2, 6, 4, 5)]),
        (separable._softmax_planes, [(2, 4, 4, 5), (2, 2, 4, 5)]),
        (separable._bounded, [(2, 3, 4, 5)]),
        (glimpse._look, [(2, 8, 3, 6), (2, 2), (2, 2, 2)]),
        (glimpse._look, [(1, 8, 3, 6), (2, 2), (2, 2, 2)]),
        (separable._blend_colours, [(2, 6, 4, 5), (2, 2, 4, 4, 5), (2, 4, 3, 5), (2, 4, 3, 5), (1, 1, 6, 1)]),
        (separable._blend_colours, [(2, 5, 4, 5), (2, 2, 4, 3, 5), (2, 4, 3, 5), (2, 4, 3, 5), (2, 4, 3, 5)]),
        (separable._blend_maps, [(2, 5, 4, 5), (2, 2, 4, 4, 5), (2, 4, 1, 5), (2, 4, 1, 5)]),
        (separable._blend_maps, [(2, 5, 4, 5), (2, 2, 4, 2, 5), (2, 4, 2, 5), (1, 4, 2, 5)]),
        (
            separable._blend,
            [(2, 6, 4, 5), (2, 2, 4, 5, 5), (2, 4, 3, 5), (2, 4, 3, 5), (1, 1, 6, 1), (2, 4, 2, 5), (2, 4, 2, 5)],
        ),
        (
            separable._blend,
            [(2, 5, 4, 5), (2, 2, 4, 4, 5), (1, 4, 3, 5), (1, 4, 3, 5), (2, 4, 3, 5), (1, 4, 1, 5), (1, 4, 1, 5)],
        ),
        (tapped._add_known, [(2, 3, 4, 5), (2, 2, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5)]),
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


@on_tensorflow
@pytest.mark.parametrize("steps", ["first", "later", "all"])
def test_turned_gradients_are_the_chain_rules(steps):
    """Gradients of kernel, bias and inputs that are made with arrays in exchanged places, against the backend's."""
    tensorflow = import_tensorflow()
    arrays = [random(3, 3, 5, 8), random(8, seed=1)]
    arrays += [random(2, 6, 4, 2, seed=2)] * (steps != "later")
    arrays += [random(2, 6, 4, 5, seed=seed) for seed in (3, 4)] * (steps != "first")

    def convolve_with(prepare):
        def convolve(kernel, bias, *inputs):
            prepared = prepare(kernel)
            return tuple(turned.convolve(step, prepared, bias) for step in inputs)

        return tensorflow.function(convolve, autograph=False)

    calls = (lambda kernel: turned.for_sequence(kernel, 2, "float64"), turned.SequenceKernel)
    arrays[1:] = [array.astype(np.float64) for array in arrays[1:]]
    ours = values_and_gradients(convolve_with(calls[0]), arrays)
    arrays[0] = arrays[0].astype(np.float64)
    theirs = values_and_gradients(convolve_with(calls[1]), arrays)
    assert len(ours) == len(theirs) == 2 * len(arrays) - 2
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_float32_kernels_keep_the_backends_gradient():
    """What is promised for float32 is the original's rounding."""
    assert turned.for_sequence(random(3, 3, 5, 8), 2, "float32").turned is None


@pytest.mark.slow
@on_tensorflow
def test_mixed_gradients_of_gates_are_near_those_in_float32():
    """Of a whole sequence under the bfloat16 policy: the same direction, the same length within a tenth."""
    tensorflow = import_tensorflow()
    inputs = {name: tensorflow.constant(array[:, :4]) for name, array in golden_recipe.read_inputs().items()}
    gradients = []
    for dtype in ("float32", "mixed_bfloat16"):
        predictor = golden_recipe.make_predictor("cdna", dtype=dtype)
        with tensorflow.GradientTape() as tape:
            loss = ops.mean(ops.square(inputs["frames"][:, 1:] - predictor(inputs)["frames"]))
        named = predictor.backbone.original_variables()
        kernels = [named[f"state{index}/Gates/weights"].value for index in range(1, 8)]
        gradients.append([np.asarray(array, np.float64).ravel() for array in tape.gradient(loss, kernels)])
    for expected, found in zip(*gradients, strict=True):
        lengths = np.linalg.norm(expected), np.linalg.norm(found)
        assert lengths[1] == pytest.approx(lengths[0], rel=0.1)
        assert expected @ found > 0.98 * lengths[0] * lengths[1]
