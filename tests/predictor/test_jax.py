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
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    answer = subprocess.run([sys.executable, "-c", TRANSPOSED], capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr
