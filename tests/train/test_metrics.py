"""Metrics against tf.image, slow NumPy versions and known answers."""

import contextlib
import itertools
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visual_foresight import metrics


def _frames(seed, shape=(2, 3, 24, 17, 3)):
    generator = np.random.default_rng(seed)
    frames = generator.random(shape).astype(np.float32)
    return frames, np.clip(frames + generator.normal(0, 0.1, shape), 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def tensorflow():
    from visual_foresight.backend import import_tensorflow

    return import_tensorflow()


@pytest.mark.parametrize("seed", range(3))
def test_psnr_is_tensorflows(tensorflow, seed):
    frames, predicted = _frames(seed)
    np.testing.assert_allclose(
        metrics.psnr(frames, predicted), tensorflow.image.psnr(frames, predicted, 1.0), rtol=1e-5
    )


@pytest.mark.parametrize("seed", range(3))
def test_ssim_is_tensorflows(tensorflow, seed):
    frames, predicted = _frames(seed)
    np.testing.assert_allclose(
        metrics.ssim(frames, predicted), tensorflow.image.ssim(frames, predicted, 1.0), atol=2e-6
    )


def test_equal_frames_are_100_decibels_and_similarity_one():
    frames, _ = _frames(0)
    assert (metrics.psnr(frames, frames) == 100).all()
    np.testing.assert_allclose(metrics.ssim(frames, frames), 1.0)


def test_psnr_of_a_known_error_does_not_depend_on_the_batch():
    frames = np.zeros((4, 16, 16, 3), np.float32)
    predicted = frames + np.float32([0.1, 0.01, 1.0, 0.5])[:, None, None, None]
    np.testing.assert_allclose(metrics.psnr(frames, predicted), [20, 40, 0, 6.0206], atol=1e-4)
    np.testing.assert_allclose(metrics.psnr(frames[1], predicted[1]), 40, atol=1e-4)


@pytest.mark.parametrize(
    ("frames", "predicted", "error", "message"),
    [
        (np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9, 3), np.float32), TypeError, "uint8"),
        (np.zeros((9, 9, 3)), np.zeros((9, 8, 3)), ValueError, r"\(9, 8, 3\)"),
    ],
)
def test_wrong_frames_are_refused(frames, predicted, error, message):
    with pytest.raises(error, match=message):
        metrics.psnr(frames, predicted)


def test_ssim_refuses_frames_smaller_than_its_window():
    with pytest.raises(ValueError, match="at least 11x11"):
        metrics.ssim(np.zeros((10, 64, 3)), np.zeros((10, 64, 3)))


def test_the_bootstrap_interval_covers_the_mean_at_its_rate():
    """90 % intervals of 60 samples miss the true mean about one time in ten (binomial bound over 300 trials)."""
    generator = np.random.default_rng(0)
    hits = 0
    for trial in range(300):
        interval = metrics.bootstrap_interval(
            generator.exponential(size=60), confidence=0.9, num_resamples=400, seed=trial
        )
        hits += interval.low <= 1.0 <= interval.high
    assert 240 <= hits <= 287


def test_the_bootstrap_repeats_ignores_nan_and_shrinks():
    values = np.random.default_rng(1).normal(size=400)
    interval = metrics.bootstrap_interval(values)
    assert interval == metrics.bootstrap_interval(np.concatenate([values, [np.nan]]))
    assert interval.low < interval.mean < interval.high and interval.count == 400
    few = metrics.bootstrap_interval(values[:25])
    assert few.high - few.low > 2 * (interval.high - interval.low)
    assert metrics.bootstrap_interval(np.array([np.nan])).count == 0
    with pytest.raises(ValueError, match="one value per item"):
        metrics.bootstrap_interval(np.zeros((2, 2)))


@given(st.integers(0, 12), st.integers(0, 9), st.integers(0, 12), st.integers(0, 9))
def test_a_map_on_one_pixel_is_off_by_the_distance(row, column, true_row, true_column):
    maps = np.zeros((13, 10))
    maps[row, column] = 1
    distance = np.hypot(row - true_row, column - true_column)
    for error in metrics.pixel_errors(maps, np.array([true_row, true_column])).values():
        np.testing.assert_allclose(error, distance)


@settings(max_examples=30)
@given(st.integers(0, 10000))
def test_pixel_errors_are_the_slow_ones(seed):
    generator = np.random.default_rng(seed)
    maps, pixel = generator.random((2, 6, 7)), generator.random((2, 2)) * 6
    errors = metrics.pixel_errors(maps, pixel)
    for index in range(2):
        weights = maps[index] / maps[index].sum()
        expected, mean = 0.0, np.zeros(2)
        for row in range(6):
            for column in range(7):
                expected += weights[row, column] * np.hypot(row - pixel[index, 0], column - pixel[index, 1])
                mean += weights[row, column] * np.array([row, column])
        np.testing.assert_allclose(errors["expected"][index], expected)
        np.testing.assert_allclose(errors["mean"][index], np.linalg.norm(mean - pixel[index]))
    assert (errors["mean"] <= errors["expected"] + 1e-9).all()  # Jensen


def test_pixel_errors_refuse_shapes_that_disagree():
    with pytest.raises(ValueError, match="must agree"):
        metrics.pixel_errors(np.zeros((2, 5, 5)), np.zeros((3, 2)))


def test_motion_bins():
    bins = metrics.motion_bin(np.array([0, 1.99, 2, 5, 5.01]))
    assert [metrics.MOTION_BINS[index] for index in bins] == ["still", "still", "small", "small", "large"]


def test_rank_correlation_and_regret_of_known_orders():
    true = np.array([3.0, 1.0, 2.0, 10.0])
    assert metrics.rank_correlation(true**3, true) == pytest.approx(1)
    assert metrics.rank_correlation(-true, true) == pytest.approx(-1)
    assert np.isnan(metrics.rank_correlation(np.ones(4), true))
    assert metrics.top_k_regret(-true, true) == 9
    assert metrics.top_k_regret(-true, true, k=2) == 2
    assert metrics.top_k_regret(true, true) == 0
    with pytest.raises(ValueError, match="between 1 and the 4"):
        metrics.top_k_regret(true, true, k=5)
    with pytest.raises(ValueError, match="same two or more"):
        metrics.rank_correlation(true, true[:3])


@settings(max_examples=30)
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=6), st.data())
def test_random_regret_is_the_mean_over_all_choices(true, data):
    """Enumerated: every set of k candidates is as likely as any other."""
    k = data.draw(st.integers(1, len(true)))
    best = [min(chosen) for chosen in itertools.combinations(true, k)]
    assert metrics.random_regret(np.array(true), k) == pytest.approx(np.mean(best) - min(true), abs=1e-9)


def test_random_regret_refuses_impossible_choices():
    with pytest.raises(ValueError, match="between 1 and the 3"):
        metrics.random_regret(np.arange(3.0), 4)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_costs_that_are_not_finite_are_not_ranked(broken):
    """A predictor that diverged would otherwise be given the regret of whatever comes first."""
    true = np.arange(4.0)
    costs = np.array([0.0, broken, 2.0, 3.0])
    for figure in (metrics.rank_correlation, metrics.top_k_regret):
        with pytest.raises(ValueError, match="1 of 4 predicted costs are not finite"):
            figure(costs, true)
        with pytest.raises(ValueError, match="1 of 4 true costs are not finite"):
            figure(true, costs)


def test_lpips_asks_the_network_in_its_own_units(monkeypatch):
    """Pictures in [-1, 1], colours first, one distance for each frame, in order."""

    class Tensor(np.ndarray):
        def numpy(self):
            return np.asarray(self)

    def network(first, second):
        assert first.shape == (6, 3, 8, 9) and first.dtype == np.float32 and first.min() < -0.9 and first.max() <= 1
        return np.abs(first - second).mean(axis=(1, 2, 3), keepdims=True).view(Tensor)

    torch = types.SimpleNamespace(from_numpy=lambda array: array, no_grad=contextlib.nullcontext)
    monkeypatch.setattr(metrics, "require_lpips", lambda: (torch, network))
    frames, predicted = _frames(0, (2, 3, 8, 9, 3))
    distances = metrics.lpips(frames, predicted)
    np.testing.assert_allclose(distances, 2 * np.abs(frames - predicted).mean(axis=(2, 3, 4)), rtol=1e-5)


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=12), st.integers(0, 100))
def test_regret_falls_with_k_to_zero(true, seed):
    true = np.array(true)
    predicted = np.random.default_rng(seed).random(len(true))
    regrets = [metrics.top_k_regret(predicted, true, k) for k in range(1, len(true) + 1)]
    assert all(first >= second for first, second in zip(regrets, regrets[1:], strict=False))
    assert regrets[-1] == 0
