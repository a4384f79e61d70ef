"""Intervals and tests: golden values, laws, and coverage by simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from visual_foresight.benchmark import statistics

outcomes = st.lists(st.booleans(), min_size=1, max_size=40)


@given(outcomes)
def test_one_run_a_task_is_plain_wilson(values):
    """Without repeats, clusters change nothing."""
    plain = statistics.wilson_interval(sum(values), len(values))
    assert statistics.share_interval(values, range(len(values))) == pytest.approx(plain)
    assert statistics.share_interval(values) == pytest.approx(plain)


@given(outcomes, st.integers(2, 4))
def test_repeats_that_always_agree_are_worth_one(values, repeats):
    """Planner seeds that give the same result on each task add no certainty at all."""
    clusters = np.repeat(np.arange(len(values)), repeats)
    assert statistics.effective_trials(np.repeat(values, repeats), clusters) == pytest.approx(len(values))


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=2, max_size=30))
def test_effective_trials_lie_between_tasks_and_episodes(tasks):
    """Clustered trials are worth at least one a task and at most one an episode; the order does not matter."""
    values, clusters = np.array(tasks).ravel(), np.repeat(np.arange(len(tasks)), 3)
    found = statistics.effective_trials(values, clusters)
    assert len(tasks) <= found <= 3 * len(tasks)
    order = np.random.default_rng(0).permutation(len(values))
    assert statistics.effective_trials(values[order], clusters[order]) == pytest.approx(found)
    low, high = statistics.share_interval(values, clusters)
    assert low <= values.mean() <= high


def test_clustered_interval_covers():
    """With seeds of a task alike, the clustered interval covers the true rate about as often as it says; Wilson's does
    not."""
    rng = np.random.default_rng(1)
    num_tasks, clusters = 60, np.repeat(np.arange(60), 3)
    covered = {"clustered": 0, "plain": 0}
    for _ in range(600):
        chances = rng.beta(0.6, 0.4, num_tasks)  # the true rate is 0.6; tasks are easy or hard
        values = rng.random((num_tasks, 3)).T.ravel()[np.argsort(np.tile(np.arange(num_tasks), 3), kind="stable")]
        successes = values < np.repeat(chances, 3)
        for name, groups in (("clustered", clusters), ("plain", None)):
            low, high = statistics.share_interval(successes, groups)
            covered[name] += low <= 0.6 <= high
    assert 0.925 <= covered["clustered"] / 600 <= 0.985
    assert covered["plain"] / 600 < 0.91


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 20))
def test_sign_flips_of_single_pairs_are_mcnemar_exact(only_first, only_second, same):
    """With one pair a task the test is the binomial one on the pairs that differ."""
    differences = [-1] * only_first + [1] * only_second + [0] * same
    if not differences:
        return
    wanted = binomtest(only_first, only_first + only_second).pvalue if only_first + only_second else 1.0
    assert statistics.sign_flip_test(differences) == pytest.approx(wanted)


@given(st.lists(st.lists(st.integers(-1, 1), min_size=3, max_size=3), min_size=1, max_size=8))
def test_sign_flips_are_those_of_a_slow_enumeration(tasks):
    """The convolution gives what trying all signs of tasks gives."""
    sums = [sum(task) for task in tasks]
    signed = [
        abs(sum(sign * size for sign, size in zip(signs, sums, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(sums))
    ]
    wanted = np.mean([value >= abs(sum(sums)) for value in signed])
    clusters = np.repeat(np.arange(len(tasks)), 3)
    assert statistics.sign_flip_test(np.ravel(tasks), clusters) == pytest.approx(float(wanted))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_paired_interval_holds_the_difference_and_mirrors(pairs):
    """The interval holds the observed difference, lies in [-1, 1], and turns its sign with the order."""
    first, second = np.array(pairs, float).T
    low, high = statistics.paired_share_interval(first, second)
    assert -1 - 1e-9 <= low <= second.mean() - first.mean() + 1e-12
    assert second.mean() - first.mean() - 1e-12 <= high <= 1 + 1e-9
    assert statistics.paired_share_interval(second, first) == pytest.approx((-high, -low))
    assert high > low


def test_paired_interval_by_hand():
    """The published formula, written out once more for one table: 36 both, 12 only first, 2 only second, 0 neither."""
    first = np.array([1] * 36 + [1] * 12 + [0] * 2)
    second = np.array([1] * 36 + [0] * 12 + [1] * 2)

    def wilson(share, n, z=1.959964):
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return middle - half, middle + half

    p1, p2 = 48 / 50, 38 / 50
    (l1, u1), (l2, u2) = wilson(p1, 50), wilson(p2, 50)
    phi = (36 * 0 - 12 * 2) / math.sqrt(48 * 2 * 38 * 12)
    low = p2 - p1 - math.sqrt((p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2)
    high = p2 - p1 + math.sqrt((u2 - p2) ** 2 - 2 * phi * (u2 - p2) * (p1 - l1) + (p1 - l1) ** 2)
    assert statistics.paired_share_interval(first, second) == pytest.approx((low, high), abs=1e-9)


def test_paired_interval_covers():
    """Of correlated pairs the interval of the difference covers the truth about as often as it says."""
    rng, covered = np.random.default_rng(2), 0
    for _ in range(800):
        skill = rng.random(80)
        first, second = skill + 0.3 * rng.standard_normal(80) < 0.5, skill + 0.3 * rng.standard_normal(80) < 0.6
        low, high = statistics.paired_share_interval(first, second)
        covered += low <= 0.0902 <= high  # the true difference, by 4e6 draws of the same law
    assert 0.92 <= covered / 800 <= 0.985


def test_mean_interval_is_students_over_tasks():
    """Three tasks with means 1, 2, 3: 2 +- 4.3027 / sqrt(3); repeats in a task do not narrow it."""
    half = 4.302652729911275 / math.sqrt(3)
    assert statistics.mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - half, 2 + half))
    values, clusters = [0.5, 1.5, 2.0, 2.0, 2.0, 4.0], ["a", "a", "b", "b", "c", "c"]
    assert statistics.mean_interval(values, clusters) == pytest.approx((2 - half, 2 + half))
    assert all(math.isnan(end) for end in statistics.mean_interval([1.0]))


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=30))
def test_bootstrap_interval_is_of_the_mean_and_repeatable(values):
    """It lies within the values, holds the mean of all but freak samples, and comes out the same again."""
    low, high = statistics.bootstrap_interval(values, range(len(values)))
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert statistics.bootstrap_interval(values, range(len(values))) == (low, high)


def test_wrong_input_is_named():
    """Outcomes that are none, values that are not finite, lengths that do not fit."""
    with pytest.raises(ValueError, match="0 or 1"):
        statistics.share_interval([0.5])
    with pytest.raises(ValueError, match="0 or 1"):
        statistics.share_interval([])
    with pytest.raises(ValueError, match="as many values as clusters"):
        statistics.mean_interval([1.0, 2.0], [0])
    with pytest.raises(ValueError, match="finite"):
        statistics.bootstrap_interval([float("nan")], [0])
    with pytest.raises(ValueError, match="as many, got 2 and 1"):
        statistics.paired_share_interval([1, 0], [1])
