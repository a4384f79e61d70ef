"""The losses against slow NumPy versions written from the original's description."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visual_foresight.backend import silence_start_up

silence_start_up()
from visual_foresight.train import loss  # noqa: E402


def _window(seed, steps=4, height=9, width=8):
    generator = np.random.default_rng(seed)
    shape = (2, steps, height, width, 3)
    frames = generator.random(shape).astype(np.float32)
    predicted = generator.random(shape).astype(np.float32)
    states, guesses = generator.normal(size=(2, 2, steps, 5)).astype(np.float32)
    return frames, predicted, states, guesses


def test_the_loss_is_the_originals_sum_over_steps():
    """(sum_t mse + 1e-4 sum_t state mse) / P, each mse over batch and all elements."""
    frames, predicted, states, guesses = _window(0)
    expected = 0.0
    for step in range(4):
        expected += np.mean((frames[:, step] - predicted[:, step]) ** 2)
        expected += 1e-4 * np.mean((states[:, step] - guesses[:, step]) ** 2)
    computed = loss.total_loss(loss.frame_errors(frames, predicted), loss.state_errors(states, guesses))
    np.testing.assert_allclose(computed, expected / 4, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 3), st.floats(0, 9))
def test_motion_weights_are_the_slow_ones(seed, dilation, weight):
    generator = np.random.default_rng(seed)
    frames = (generator.random((1, 2, 9, 8, 3)) < 0.05).astype(np.float32)
    previous = np.zeros_like(frames)
    weights = loss.motion_weights(frames, previous, weight=weight, threshold=0.5, dilation=dilation)
    for step in range(2):
        moving = frames[0, step].max(axis=-1) > 0.5
        for row in range(9):
            for column in range(8):
                near = moving[
                    max(0, row - dilation) : row + dilation + 1, max(0, column - dilation) : column + dilation + 1
                ]
                np.testing.assert_allclose(weights[0, step, row, column, 0], 1 + weight * near.any(), rtol=1e-6)


def test_a_still_scene_weighs_like_the_plain_loss():
    frames, predicted, _, _ = _window(1)
    weights = loss.motion_weights(frames, frames, weight=4.0, threshold=0.1, dilation=2)
    np.testing.assert_allclose(
        loss.weighted_frame_errors(frames, predicted, weights), loss.frame_errors(frames, predicted), rtol=1e-6
    )


def test_a_change_at_the_threshold_does_not_count_as_motion():
    previous = np.zeros((1, 1, 4, 4, 3), np.float32)
    assert (
        np.asarray(loss.motion_weights(previous + 0.25, previous, weight=4.0, threshold=0.25, dilation=0)) == 1
    ).all()
    assert (
        np.asarray(loss.motion_weights(previous + 0.26, previous, weight=4.0, threshold=0.25, dilation=0)) == 5
    ).all()


def slow_coarse_errors(frames, predicted):
    """Three times: mean of each 4 x 4 window at every second pixel, over what of it lies inside; then squares."""
    picture, total = (frames - predicted).astype(np.float64), 0.0
    for _ in range(3):
        sizes = [-(-side // 2) for side in picture.shape[:2]]
        # As much is missing before the first pixel as behind the last, or one less.
        before = [max((size - 1) * 2 + 4 - side, 0) // 2 for size, side in zip(sizes, picture.shape, strict=False)]
        smaller = np.zeros((*sizes, picture.shape[2]))
        for row in range(sizes[0]):
            for column in range(sizes[1]):
                top, left = 2 * row - before[0], 2 * column - before[1]
                window = picture[max(top, 0) : top + 4, max(left, 0) : left + 4]
                smaller[row, column] = window.mean(axis=(0, 1))
        picture = smaller
        total += np.mean(picture**2)
    return total


@pytest.mark.parametrize("size", [(16, 16), (9, 8), (13, 22)])
def test_coarse_errors_are_the_slow_ones(size):
    frames, predicted, _, _ = _window(3, 2, *size)
    expected = [[slow_coarse_errors(frames[row, step], predicted[row, step]) for step in range(2)] for row in range(2)]
    np.testing.assert_allclose(loss.coarse_frame_errors(frames, predicted), expected, rtol=1e-4)
    np.testing.assert_array_equal(loss.coarse_frame_errors(frames, frames), np.zeros((2, 2)))


def _square(column, size=32):
    frame = np.zeros((1, 1, size, size, 3), np.float32)
    frame[:, :, 14:18, column : column + 4] = 1.0
    return frame


def test_coarse_errors_grow_with_the_distance_where_the_plain_error_does_not():
    """A square beside its place: from 4 px on the plain error stays the same, the coarse one tells 4 from 8 from 16."""
    columns = (4, 8, 12, 20)
    plain = [float(loss.frame_errors(_square(4), _square(column))[0, 0]) for column in columns]
    coarse = [float(loss.coarse_frame_errors(_square(4), _square(column))[0, 0]) for column in columns]
    assert plain[0] == coarse[0] == 0.0
    assert plain[1] == pytest.approx(plain[2]) == pytest.approx(plain[3])
    assert coarse[1] > 0.0 and coarse[2] > 1.05 * coarse[1] and coarse[3] > 1.05 * coarse[2]


def test_states_of_size_zero_cost_nothing():
    empty = np.zeros((2, 4, 0), np.float32)
    np.testing.assert_array_equal(loss.state_errors(empty, empty), np.zeros((2, 4)))


def test_psnr_is_capped_where_the_frame_is_perfect():
    np.testing.assert_allclose(loss.psnr(np.float32([1, 0.01, 0])), [0, 20, 100], atol=1e-4)


def test_adam_is_the_originals():
    """Keras' Adam with epsilon 1e-8 gives the golden trace of `tf.train.AdamOptimizer(0.001)`."""
    from pathlib import Path

    import keras

    from visual_foresight.train.config import TrainingConfig
    from visual_foresight.train.trainer import make_optimizer

    with np.load(Path(__file__).with_name("golden_units.npz")) as golden:
        start, gradients, expected = golden["adam.v0"], golden["adam.grads"], golden["adam.v"]
    variable = keras.Variable(start)
    optimizer = make_optimizer(TrainingConfig())
    optimizer.build([variable])
    for gradient, value in zip(gradients, expected, strict=True):
        optimizer.apply([keras.ops.convert_to_tensor(gradient)])
        np.testing.assert_allclose(variable.numpy(), value, atol=2e-7)


def test_the_losses_are_differentiable_where_nothing_moves():
    tensorflow = pytest.importorskip("tensorflow")
    predicted = tensorflow.Variable(np.full((1, 1, 8, 8, 3), 0.5, np.float32))
    frames = np.full((1, 1, 8, 8, 3), 0.5, np.float32)
    with tensorflow.GradientTape() as tape:
        value = loss.total_loss(loss.frame_errors(frames, predicted), np.zeros((1, 1), np.float32))
    assert not np.isnan(tape.gradient(value, predicted)).any()
