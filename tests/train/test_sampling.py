"""Scheduled sampling: the original's schedule, exact counts, fair and reproducible subsets."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_foresight.train.sampling import ground_truth_count, ground_truth_mask

GOLDEN = Path(__file__).with_name("golden_units.npz")


@pytest.mark.parametrize("batch_size", [2, 8, 32])
def test_the_schedule_is_the_originals(batch_size):
    """Golden counts of the original code, k = 900."""
    with np.load(GOLDEN) as golden:
        iterations = golden["schedule.iterations"].astype(int)
        expected = golden[f"schedule.num_ground_truth_b{batch_size}"]
    counts = [ground_truth_count(iteration, batch_size, 900.0) for iteration in iterations]
    np.testing.assert_array_equal(counts, expected)


@given(st.integers(0, 10**9), st.integers(1, 64), st.floats(1.0, 5000.0))
def test_the_count_never_overflows_and_stays_in_the_batch(iteration, batch_size, k):
    assert 0 <= ground_truth_count(iteration, batch_size, k) <= batch_size


@given(st.integers(0, 20000), st.integers(1, 64))
def test_the_count_never_grows(iteration, batch_size):
    assert ground_truth_count(iteration + 1, batch_size, 900.0) <= ground_truth_count(iteration, batch_size, 900.0)


def test_halves_are_rounded_to_even():
    """exp(0) = 1 = k gives exactly half: 1/2 -> 0, 3/2 -> 2, 5/2 -> 2."""
    expected = [int(round(Fraction(size, 2))) for size in range(1, 8)]
    assert [ground_truth_count(0, size, 1.0) for size in range(1, 8)] == expected == [0, 1, 2, 2, 2, 3, 4]


def test_half_the_truth_at_k_ln_k():
    assert ground_truth_count(round(900 * math.log(900)), 32, 900.0) == 16


@given(st.integers(0, 10000), st.integers(1, 33), st.integers(1, 20), st.integers(0, 5))
def test_every_step_has_the_exact_count(iteration, batch_size, num_steps, seed):
    mask = ground_truth_mask(iteration, batch_size, num_steps, k=900.0, seed=seed)
    assert mask.shape == (batch_size, num_steps) and mask.dtype == bool
    assert (mask.sum(axis=0) == ground_truth_count(iteration, batch_size, 900.0)).all()


def test_minus_one_never_feeds_the_truth():
    assert not ground_truth_mask(0, 8, 9, k=-1, seed=0).any()


def test_the_subset_differs_between_steps_iterations_and_seeds_but_repeats():
    draw = ground_truth_mask(6122, 32, 9, k=900.0, seed=3)
    np.testing.assert_array_equal(draw, ground_truth_mask(6122, 32, 9, k=900.0, seed=3))
    assert (draw != ground_truth_mask(6122, 32, 9, k=900.0, seed=4)).any()
    assert (draw != ground_truth_mask(6123, 32, 9, k=900.0, seed=3)).any()
    assert len({tuple(column) for column in draw.T}) == 9


def test_every_example_is_equally_likely():
    """Binomial bound: 16 of 32 over 4,000 draws stays within five deviations of a half for each example."""
    draws = np.concatenate([ground_truth_mask(6122, 32, 20, k=900.0, seed=seed) for seed in range(200)], axis=1)
    share = draws.mean(axis=1)
    np.testing.assert_allclose(share, 0.5, atol=5 * 0.5 / math.sqrt(draws.shape[1]))
