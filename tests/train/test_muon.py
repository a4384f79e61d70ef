"""Muon against its definition: singular values by decomposition, steps by slow NumPy, Adam by Keras' own."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import world  # noqa: E402

from visual_foresight.train import TrainingConfig, fit  # noqa: E402
from visual_foresight.train.muon import Muon, matrix_shape, orthogonalise  # noqa: E402
from visual_foresight.train.trainer import make_optimizer  # noqa: E402

SHAPES = st.tuples(st.integers(16, 40), st.integers(16, 40))


def array(shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def slow_orthogonal(matrix):
    """The same polynomial applied to singular values, one after the other."""
    left, values, right = np.linalg.svd(np.asarray(matrix, np.float64), full_matrices=False)
    values = values / np.sqrt((values**2).sum())
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return (left * values) @ right, values


@given(shape=SHAPES, seed=st.integers(0, 99), scale=st.sampled_from([1e-6, 1.0, 1e4]))
@settings(max_examples=20, deadline=None)
def test_directions_are_made_alike(shape, seed, scale):
    """Singular vectors stay, and singular values become what the polynomial makes of them, at any scale."""
    matrix = array(shape, seed) * scale
    found = keras.ops.convert_to_numpy(orthogonalise(keras.ops.convert_to_tensor(matrix)))
    expected, _ = slow_orthogonal(matrix)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_all_but_the_weakest_directions_come_near_one():
    left, _, right = np.linalg.svd(array((64, 32), 1).astype(np.float64), full_matrices=False)
    values = np.geomspace(1, 0.01, 32)
    found = keras.ops.convert_to_numpy(orthogonalise(keras.ops.convert_to_tensor((left * values) @ right, "float32")))
    sizes = np.linalg.svd(found, compute_uv=False)
    assert sizes.min() > 0.65 and sizes.max() < 1.25


def test_without_a_gradient_kernels_decay_and_vectors_stay():
    kernel, vector = keras.Variable(array((3, 3, 4, 16), 0)), keras.Variable(array((16,), 1))
    optimizer = Muon(0.1)
    optimizer.build([kernel, vector])
    before = [keras.ops.convert_to_numpy(variable) for variable in (kernel, vector)]
    optimizer.apply([keras.ops.zeros(kernel.shape), keras.ops.zeros(vector.shape)])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel), 0.9 * before[0], rtol=1e-5)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(vector), before[1])


def test_kernels_do_not_grow_without_bound():
    """Always the same direction: a kernel ends at a size that the decay decides, whatever the number of steps."""
    variable = keras.Variable(np.zeros((20, 20), np.float32))
    optimizer = Muon(0.05)
    optimizer.build([variable])
    gradient = keras.ops.convert_to_tensor(array((20, 20), 2))
    for _ in range(200):
        optimizer.apply([gradient])
    sizes = np.linalg.svd(keras.ops.convert_to_numpy(variable), compute_uv=False)
    assert sizes.max() < 1.25 * 0.2 * np.sqrt(20) and sizes.max() > 0.6 * 0.2 * np.sqrt(20)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 3, 48, 64), (432, 64)),
        ((92, 128), (92, 128)),
        ((2, 8, 32), (16, 32)),
        ((64,), None),
        ((), None),
        ((256, 4), None),
        ((10, 32), None),
    ],
)
def test_what_is_a_matrix(shape, expected):
    assert matrix_shape(shape) == expected


def test_kernels_follow_the_slow_version():
    start, momentum = array((3, 3, 4, 20), 3), np.zeros((36, 20))
    variable, expected = keras.Variable(start), start.reshape(36, 20).astype(np.float64)
    optimizer = Muon(0.05)
    optimizer.build([variable])
    for step in range(4):
        gradient = array((3, 3, 4, 20), 10 + step)
        optimizer.apply([keras.ops.convert_to_tensor(gradient)])
        flat = gradient.reshape(36, 20)
        momentum = 0.95 * momentum + 0.05 * flat
        direction, _ = slow_orthogonal(0.95 * momentum + 0.05 * flat)
        expected = (1 - 0.05) * expected - 0.05 * 0.2 * np.sqrt(36) * direction
        found = keras.ops.convert_to_numpy(variable).reshape(36, 20)
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_what_is_no_matrix_is_trained_by_adam_at_half_the_rate():
    ours, theirs = keras.Variable(array((9,), 5)), keras.Variable(array((9,), 5))
    muon, adam = Muon(0.02), keras.optimizers.Adam(0.01, epsilon=1e-8)
    muon.build([ours])
    adam.build([theirs])
    for step in range(5):
        gradient = keras.ops.convert_to_tensor(array((9,), 20 + step))
        muon.apply([gradient])
        adam.apply([gradient])
        np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs), atol=1e-6)


def test_the_flag_decides_and_keeps_schedule_and_clipping():
    config = TrainingConfig(
        optimizer="muon", learning_rate=0.02, learning_rate_schedule="cosine", num_iterations=10, gradient_clip=0.5
    )
    optimizer = make_optimizer(config.validate())
    assert isinstance(optimizer, Muon) and optimizer.global_clipnorm == 0.5
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(0.02)
    with pytest.raises(ValueError, match="optimizer must be one of adam, muon; got 'moun'"):
        TrainingConfig(optimizer="moun").validate()


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_rate_rises_first_and_then_is_that_of_the_schedule(optimizer, schedule):
    config = TrainingConfig(
        optimizer=optimizer, learning_rate=0.02, learning_rate_schedule=schedule, num_iterations=100,
        warmup_iterations=10,
    )  # fmt: skip
    warm = make_optimizer(config.validate())
    plain = make_optimizer(dataclasses.replace(config, warmup_iterations=0))
    for step in (0, 4, 9, 50, 99):
        warm.iterations.assign(step)
        plain.iterations.assign(step)
        expected = float(keras.ops.convert_to_numpy(plain.learning_rate)) * min(1, (step + 1) / 10)
        assert float(keras.ops.convert_to_numpy(warm.learning_rate)) == pytest.approx(expected, rel=1e-5)


def test_a_stopped_run_continues_bit_for_bit(tmp_path):
    episodes = world.world(40)
    config = TrainingConfig(
        output_dir=str(tmp_path / "whole"), event_log_dir=str(tmp_path / "events"), backbone="fast", width=0.5,
        num_masks=4, image_size=(16, 16), sequence_length=4, batch_size=4, learning_rate=0.01, num_iterations=6,
        log_every=3, validate_every=3, checkpoint_every=3, validation_batches=1, optimizer="muon",
    )  # fmt: skip
    whole = fit(config, episodes, show_progress=False)
    part = dataclasses.replace(config, output_dir=str(tmp_path / "part"), num_iterations=3)
    fit(part, episodes, show_progress=False)
    continued = fit(dataclasses.replace(part, num_iterations=6, resume=True), episodes, show_progress=False)
    for ours, theirs in zip(whole.predictor.variables, continued.predictor.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs))
    with pytest.raises(ValueError, match="optimizer: 'muon' -> 'adam'"):
        fit(dataclasses.replace(part, optimizer="adam", num_iterations=9, resume=True), episodes, show_progress=False)
