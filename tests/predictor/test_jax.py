"""The golden frames and states on the JAX backend, in a process of its own."""

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import golden_recipe
import pytest

ABSOLUTE = 1e-5
CASES = sorted(golden_recipe.CASES)
SCRIPT = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import golden_recipe
inputs, errors = golden_recipe.read_inputs(), {}
for case in golden_recipe.CASES:
    predictor = golden_recipe.make_predictor(case)
    mask = np.ones((2, 5), bool) if case == "cdna_gt" else None
    output = predictor(inputs, ground_truth_mask=mask)
    values = golden_recipe.read_values(case)
    for ours, theirs in (("frames", "gen_images"), ("states", "gen_states")):
        found = np.moveaxis(np.asarray(output[ours]), 1, 0)
        errors[case + " " + ours] = float(np.abs(found - values[theirs]).max())
    if case == "cdna":
        compiled = predictor.predict_frames(**inputs).frames
        errors["compiled"] = float(np.abs(compiled - np.asarray(output["frames"])).max())
import keras
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
print(json.dumps(errors))
"""


TRANSPOSED = """
import re, sys
import jax, numpy as np
from keras import ops
from visual_foresight.backend import transposed_convolution
rng = np.random.default_rng(0)
for size, stride, rows in ((3, 2, 5), (3, 2, 8), (1, 1, 4)):
    arguments = rng.normal(size=(2, rows, 6, 4)).astype("f"), rng.normal(size=(size, size, 3, 4)).astype("f")
    weights = rng.normal(size=(2, rows * stride, 6 * stride, 3)).astype("f")
    def ours(inputs, kernel):
        return (weights * transposed_convolution(inputs, kernel, stride)).sum()
    def derived(inputs, kernel):
        return (weights * ops.conv_transpose(inputs, kernel, strides=stride, padding="same")).sum()
    found, expected = (jax.value_and_grad(each, (0, 1))(*arguments) for each in (ours, derived))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5), found, expected)
lowered = jax.jit(jax.grad(lambda i, k: transposed_convolution(i, k, 2).sum(), 1)).lower(
    np.zeros((2, 8, 8, 4), "f"), np.zeros((3, 3, 3, 4), "f")).as_text()
# The window of the kernel's gradient is dilated, never the picture.
assert "lhs_dilate = [2, 2]" not in lowered and "rhs_dilate = [2, 2]" in lowered, lowered
"""


ROUNDED = """
import keras, jax, numpy as np
from visual_foresight.speed.training import make_model

def gradients(dtype):
    keras.utils.set_random_seed(0)
    model, batch = make_model({"width": 0.25, "image_height": 32, "image_width": 32}, dtype, 2, 4)
    model.compile(optimizer=keras.optimizers.SGD(1.0), jit_compile=False)
    before = [np.asarray(variable.value) for variable in model.trainable_variables]
    model.train_on_batch(batch)
    return [old - np.asarray(new.value) for old, new in zip(before, model.trainable_variables)]

for exact, rounded in zip(gradients("float32"), gradients("mixed_bfloat16")):
    size = np.linalg.norm(exact) * np.linalg.norm(rounded)
    assert size == 0 or (exact * rounded).sum() > 0.95 * size, (exact.shape, (exact * rounded).sum() / size)
"""

GATES = """
import jax, jax.numpy as jnp, numpy as np
from visual_foresight.predictor.layers import ConvLSTMStep
layer = ConvLSTMStep(4, dtype="mixed_bfloat16")
layer.build((None, 8, 8, 3))
layer.gates.bias.assign(np.arange(16.0))
images, state = jnp.ones((2, 8, 8, 3), jnp.bfloat16), jnp.ones((2, 8, 8, 4), jnp.bfloat16)
text = jax.jit(lambda *given: layer(*given)[0]).lower(images, state, state).as_text()
convolution, wall, bias = (text.index(word) for word in ("convolution", "optimization_barrier", "stablehlo.add"))
assert convolution < wall < bias, text
"""


def run(script: str) -> None:
    """Run a script on JAX, on the CPU, in a process of its own."""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr


@functools.cache
def errors_on_jax() -> dict[str, float]:
    """Largest error of each case, computed in one process without TensorFlow."""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    words = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent)]
    answer = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed (pip install jax)")
@pytest.mark.parametrize("name", [f"{case} {kind}" for case in CASES for kind in ("frames", "states")] + ["compiled"])
def test_golden_values_on_jax(name):
    """Frames and states within 1e-5; the compiled step agrees with the unrolled graph."""
    errors = errors_on_jax()
    assert errors[name] <= ABSOLUTE, errors


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed (pip install jax)")
def test_gradients_of_transposed_convolutions_on_jax():
    """Those that JAX derives, in the form that accelerators know."""
    run(TRANSPOSED)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed (pip install jax)")
def test_rounded_gradients_point_where_exact_ones_do_on_jax():
    """Norms, gates and heads have gradients of their own there under a mixed policy."""
    run(ROUNDED)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed (pip install jax)")
def test_a_bias_is_no_part_of_the_convolution_of_gates_on_jax():
    """cuDNN has a slower kernel for both together."""
    run(GATES)
