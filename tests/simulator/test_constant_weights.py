"""Rollouts are compiled with the weights as constants; nobody may notice but by the clock."""

import keras
import numpy as np
import pytest
from keras import ops

import visual_foresight as vf
from visual_foresight import constant_weights
from visual_foresight.constant_weights import compile_with_weights
from visual_foresight.planners.objectives import PixelDistance


@pytest.fixture
def layer():
    layer = keras.layers.Dense(3)
    layer.build((None, 2))
    return layer


ONES = np.ones((4, 2), np.float32)


def test_the_same_as_reading_the_variables(layer):
    """Nested arguments, None among them, several shapes."""

    def function(carry, offset):
        result = layer(carry["x"])
        return {"x": carry["x"], "y": None}, result if offset is None else result + offset

    compiled = compile_with_weights(function, layer)
    for count in (4, 2, 4):
        carry, result = compiled({"x": ops.convert_to_tensor(ONES[:count])}, None)
        np.testing.assert_allclose(result, layer(ONES[:count]), atol=1e-6)
        assert carry["y"] is None
    np.testing.assert_allclose(compiled({"x": ONES}, np.ones((4, 3), np.float32))[1], layer(ONES) + 1, atol=1e-6)


def test_each_change_of_weights_is_seen_at_the_next_call(layer):
    """Of one number among them, too; and again after the function has gone over to reading the variables."""
    compiled = compile_with_weights(lambda x: layer(x), layer)
    np.testing.assert_allclose(compiled(ONES), layer(ONES), atol=1e-6)
    for value in (7.0, -2.0, 0.5):
        bias = np.zeros(3, np.float32)
        bias[1] = value
        layer.bias.assign(bias)
        np.testing.assert_allclose(compiled(ONES), layer(ONES), atol=1e-6)


def test_weights_that_an_optimizer_changes_in_place_are_seen(layer):
    """A training step is compiled and updates the variables where they lie."""
    compiled = compile_with_weights(lambda x: layer(x), layer)
    before = np.array(compiled(ONES))
    model = keras.Sequential([layer])
    model.compile("sgd", "mse")
    model.fit(ONES, np.full((4, 3), 5.0, np.float32), verbose=0)
    after = np.array(compiled(ONES))
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, layer(ONES), atol=1e-6)


def test_weights_that_are_no_numbers_are_not_compared_for_ever(layer):
    """NaN equals nothing: the function reads the variables."""
    layer.bias.assign(np.full(3, np.nan, np.float32))
    compiled = compile_with_weights(lambda x: layer(x), layer)
    assert np.isnan(compiled(ONES)).all()
    layer.bias.assign(np.zeros(3, np.float32))
    np.testing.assert_allclose(compiled(ONES), layer(ONES), atol=1e-6)


def test_large_networks_keep_their_variables(layer, monkeypatch):
    """Each compiled size of a function would hold the weights again."""
    monkeypatch.setattr(constant_weights, "_MOST_WEIGHTS", 8)
    compiled = compile_with_weights(lambda x: layer(x), layer)
    layer.bias.assign(np.ones(3, np.float32))
    np.testing.assert_allclose(compiled(ONES), layer(ONES), atol=1e-6)


def test_a_simulator_sees_weights_that_change(predictor, context, actions):
    """Rollouts, single steps, costs and their gradients after a change are those of a new simulator."""
    config = predictor.config
    own = vf.VideoPredictor(config)
    own.set_weights(predictor.get_weights())
    simulator = vf.LearnedSimulator(own)
    pixels, objective = [(20.0, 30.0)], PixelDistance([[40.0, 20.0]])
    candidates = np.repeat(actions, 3, axis=1)  # whole leaps

    def look(simulator):
        start = simulator.start(**context, pixels=pixels)
        costs, gradients = simulator.cost_gradient(start, objective, candidates)
        rollout = simulator.rollout(start, candidates)
        return rollout.frames, rollout.states, costs, gradients, simulator.advance(start, candidates[:1, 0]).frame

    before = look(simulator)
    for variable in own.trainable_variables:
        variable.assign(variable * 0.9)
    after = look(simulator)
    assert np.abs(after[0] - before[0]).max() > 1e-3
    for found, expected in zip(after, look(vf.LearnedSimulator(own)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
