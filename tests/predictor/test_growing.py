"""A grown predictor is the same function until it is trained, and then uses what it has gained."""

import dataclasses

import numpy as np
import pytest
from keras import ops

from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.growing import grow
from visual_foresight.predictor.predictor import VideoPredictor

HEIGHT, WIDTH, ACTION, STATE = 16, 24, 2, 3


def make_sequence(length=5):
    rng = np.random.default_rng(0)
    return (
        rng.random((2, length, HEIGHT, WIDTH, 3), np.float32),
        rng.normal(size=(2, length - 1, ACTION)).astype(np.float32),
        rng.normal(size=(2, length, STATE)).astype(np.float32),
    )


def make_maps():
    maps = np.random.default_rng(1).random((2, HEIGHT, WIDTH, 2), np.float32) ** 8
    return maps / maps.sum((1, 2), keepdims=True)


def predictor(transformation="cdna", use_state=True, **fields):
    """A small predictor whose weights are away from their start."""
    sizes = {"image_height": HEIGHT, "image_width": WIDTH, "action_size": ACTION, "state_size": STATE, "width": 0.5}
    masks = 1 if transformation == "dna" else 3
    config = PredictorConfig(
        transformation=transformation, backbone="fast", use_state=use_state, num_masks=masks, **(sizes | fields)
    )
    made = VideoPredictor(config)
    rng = np.random.default_rng(5)
    for variable in made.trainable_variables:
        variable.assign(variable + rng.normal(0, 0.05, variable.shape))
    return made


@pytest.mark.parametrize("transformation", ["cdna", "dna", "stp"])
@pytest.mark.parametrize("use_state", [True, False])
def test_growing_changes_no_prediction(transformation, use_state):
    """More channels and more places: frames and states stay the same over several steps of its own predictions."""
    small = predictor(transformation, use_state)
    looks = 3 if transformation == "cdna" else 1
    large = grow(small, dataclasses.replace(small.config, detail=2.0, num_looks=looks))
    assert large.count_params() > small.count_params()
    sequence = make_sequence()
    if not use_state:
        sequence = (sequence[0], None, None)
    before, after = (each.predict_frames(*sequence, context_frames=1) for each in (small, large))
    np.testing.assert_allclose(after.frames, before.frames, atol=1e-5)
    np.testing.assert_allclose(after.states, before.states, atol=1e-6)


def test_what_is_new_is_read_once_its_weights_are_not_zero():
    """Gradients reach what reads the new units, and a step along them changes the prediction."""
    small = predictor()
    large = grow(small, dataclasses.replace(small.config, detail=2.0, num_looks=2))
    frames, actions, states = make_sequence(length=2)
    carry = large.initial_carry(frames[:, 0], states[:, 0])

    def predict():
        return np.asarray(large.step(carry, frames[:, 0], actions[:, 0], states[:, 0], make_maps())[1].frame)

    before = predict()
    rows = large.backbone.kernel_hidden.kernel
    added = rows.shape[0] - small.backbone.kernel_hidden.kernel.shape[0]
    assert added > 0 and not np.asarray(rows)[-added:].any()
    rows.assign(ops.concatenate([rows[:-added], ops.ones((added, rows.shape[1]))], axis=0))
    changed = predict()
    assert np.abs(changed - before).max() > 1e-4
    reader = large.backbone.merge.kernel
    old = small.backbone.merge.kernel.shape[2]
    assert not np.asarray(reader)[:, :, old:].any()
    values = np.array(reader)
    values[:, :, old:] = 0.1
    reader.assign(values)
    assert np.abs(predict() - changed).max() > 1e-4


def test_without_growth_any_predictor_stays_itself():
    """The original network, too, which has none of the layers that grow: `train --init_from` hands it over."""
    config = PredictorConfig(backbone="seed", num_masks=2, image_height=16, image_width=16, width=0.25)
    for one in (predictor(), VideoPredictor(config)):
        assert grow(one, one.config) is one


def test_nothing_shrinks_and_nothing_else_changes():
    small = predictor(detail=2.0)
    for fields, message in (
        ({"detail": 1.0}, "does not shrink: its detail is 2.0, got 1.0"),
        ({"num_masks": 4}, "num_masks is 3, not 4"),
        ({"width": 1.0}, "width is 0.5, not 1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            grow(small, dataclasses.replace(small.config, **fields))


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"detail": 2.0}, ValueError, "detail must be 1 for the seed backbone"),
        ({"num_looks": 2}, ValueError, "num_looks must be 1 for the seed backbone"),
        ({"backbone": "fast", "detail": 0.0}, ValueError, "detail must be a positive number"),
        ({"backbone": "fast", "detail": "x"}, TypeError, "detail must be a number"),
        ({"backbone": "fast", "transformation": "stp", "num_looks": 2}, ValueError, "num_looks must be 1 for stp"),
        ({"backbone": "fast", "num_looks": 0}, ValueError, "num_looks must be at least 1"),
    ],
)
def test_impossible_sizes_are_refused(fields, error, message):
    with pytest.raises(error, match=message):
        PredictorConfig(**fields)
