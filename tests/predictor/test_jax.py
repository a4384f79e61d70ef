"""The golden frames and states on the JAX backend, in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import golden_recipe
import pytest

ABSOLUTE = 1e-5
SCRIPT = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import golden_recipe
case = sys.argv[2]
predictor = golden_recipe.make_predictor(case)
mask = np.ones((2, 5), bool) if case == "cdna_gt" else None
output = predictor(golden_recipe.read_inputs(), ground_truth_mask=mask)
values = golden_recipe.read_values(case)
errors = [
    float(np.abs(np.moveaxis(np.asarray(output[ours]), 1, 0) - values[theirs]).max())
    for ours, theirs in (("frames", "gen_images"), ("states", "gen_states"))
]
if case == "cdna":
    compiled = predictor.predict_frames(**golden_recipe.read_inputs())
    errors.append(float(np.abs(compiled.frames - np.asarray(output["frames"])).max()))
import keras
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
print(json.dumps(errors))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed: pip install 'visual-foresight[jax]'"
)
@pytest.mark.parametrize("case", sorted(golden_recipe.CASES))
def test_golden_values_on_jax(case):
    """Frames and states within 1e-5, TensorFlow not even imported; the compiled step agrees."""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    words = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), case]
    answer = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr
    errors = json.loads(answer.stdout.splitlines()[-1])
    assert max(errors) <= ABSOLUTE, errors
