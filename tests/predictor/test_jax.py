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
