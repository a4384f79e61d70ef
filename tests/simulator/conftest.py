"""A small predictor that moves pixels, in two strides, and a scene for it."""

import random

import numpy as np
import pytest

import visual_foresight as vf


def lively(config: vf.PredictorConfig) -> vf.VideoPredictor:
    """A predictor that has learned nothing, but moves pixels: an untrained one only copies."""
    before = random.getstate()
    random.seed(3)  # initialisers without a seed draw one there
    predictor = vf.VideoPredictor(config)
    random.setstate(before)
    rng = np.random.default_rng(3)
    for variable in predictor.trainable_variables:
        variable.assign(variable + 0.04 * rng.standard_normal(variable.shape).astype(np.float32))
    return predictor


STRIDES = {1: {}, 3: {"stride": 3, "context_frames": 1, "kernel_size": 9}}


@pytest.fixture(scope="module", params=STRIDES, ids="stride {}".format)
def predictor(request):
    sizes = STRIDES[request.param]
    return lively(vf.PredictorConfig(backbone="fast", action_size=2, state_size=2, num_masks=2, width=0.25, **sizes))


@pytest.fixture(scope="module")
def simulator(predictor):
    return vf.LearnedSimulator(predictor)


@pytest.fixture(scope="module")
def folder(predictor, tmp_path_factory):
    path = tmp_path_factory.mktemp("simulator") / "lively"
    predictor.save(path)
    return path


@pytest.fixture(scope="module")
def context():
    rng = np.random.default_rng(0)
    return {
        "frames": rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8),
        "actions": rng.uniform(-1, 1, (1, 2)).astype(np.float32),
        "states": rng.uniform(-1, 1, (2, 2)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def start(simulator, context):
    return simulator.start(**context, pixels=[(20, 30), (40.5, 10.25)])


@pytest.fixture(scope="module")
def actions():
    return np.random.default_rng(1).uniform(-1, 1, (5, 4, 2)).astype(np.float32)
