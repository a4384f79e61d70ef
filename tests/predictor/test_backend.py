"""The one place that knows the backend."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from visual_foresight import backend


def test_names():
    """The running backend and device."""
    assert backend.backend_name() == keras.backend.backend()
    assert backend.device_kind() in ("cpu", "gpu", "tpu")


def test_compiled_function_gives_the_same_and_sees_new_weights():
    """Nested arguments, None among them, and weights that change between calls."""
    layer = keras.layers.Dense(3)
    layer.build((None, 2))

    def function(carry, offset):
        result = layer(carry["x"])
        return {"x": carry["x"], "y": None}, result if offset is None else result + offset

    compiled = backend.compile_function(function, model=layer)
    x = ops.convert_to_tensor(np.ones((4, 2), np.float32))
    for factor in (1.0, 2.0):
        layer.kernel.assign(np.full((2, 3), factor))
        carry, result = compiled({"x": x}, None)
        np.testing.assert_allclose(result, np.full((4, 3), 2 * factor), atol=1e-6)
        assert carry["y"] is None
    np.testing.assert_allclose(compiled({"x": x}, ops.ones((4, 3)))[1], np.full((4, 3), 5.0), atol=1e-6)


def test_missing_tensorflow_is_named(monkeypatch):
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match="pip install tensorflow"):
        backend.import_tensorflow()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's own chatter")
def test_importing_the_predictor_is_silent():
    """Neither TensorFlow's C++ log nor oneDNN's notice reaches the user."""
    code = "from visual_foresight import backend, predictor; predictor.VideoPredictor; backend.device_kind()"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert answer.stdout + answer.stderr == ""
