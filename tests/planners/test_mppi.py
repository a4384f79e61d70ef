"""What is particular to MPPI: its weights, and the mean it scores last."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_problems import BOX, HORIZON, Recorder, quadratic

from visual_foresight.planners import (
    MPPI,
)
from visual_foresight.planners.mppi import softmin_weights


@given(
    costs=st.lists(st.floats(-1e300, 1e300) | st.just(np.inf), min_size=1, max_size=20),
    temperature=st.floats(1e-6, 1e6),
    normalise=st.booleans(),
)
def test_weights_sum_to_one_for_costs_of_any_size(costs, temperature, normalise):
    costs = np.array(costs)
    weights = softmin_weights(costs, temperature, normalise=normalise)
    assert np.all(np.isfinite(weights)) and np.all(weights >= 0.0)
    if np.isfinite(costs).any():
        assert weights.sum() == pytest.approx(1.0)
        assert weights[np.argmin(costs)] == weights.max()
        assert np.all(weights[np.isinf(costs)] == 0.0)
        order = np.argsort(costs)
        assert np.all(np.diff(weights[order]) <= 1e-12)
    else:
        assert not weights.any()


def test_weights_are_the_formula():
    costs = np.array([1.0, 2.0, 4.0, np.inf])
    expected = np.exp(-(costs - 1.0) / 0.7)
    np.testing.assert_allclose(softmin_weights(costs, 0.7, normalise=False), expected / expected.sum(), rtol=1e-12)
    spread = costs[:3].std()
    expected = np.exp(-(costs - 1.0) / (0.7 * spread))
    np.testing.assert_allclose(softmin_weights(costs, 0.7), expected / expected.sum(), rtol=1e-12)


def test_normalised_weights_do_not_know_the_unit_of_the_cost():
    costs = np.random.default_rng(0).normal(size=20)
    np.testing.assert_allclose(softmin_weights(costs, 0.3), softmin_weights(1e6 * costs + 17.0, 0.3), rtol=1e-6)


def test_temperature_goes_from_the_best_to_the_mean():
    costs = np.arange(5.0)
    np.testing.assert_allclose(softmin_weights(costs, 1e-6), [1, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(softmin_weights(costs, 1e9), 0.2, atol=1e-6)


def test_mppi_scores_its_weighted_mean_last():
    recorder = Recorder(quadratic)
    planner = MPPI(horizon=HORIZON, num_candidates=100, num_iterations=1, temperature=0.5)
    plan = planner.plan(recorder, BOX, rng=np.random.default_rng(0))
    first, last = recorder.batches
    weights = softmin_weights(quadratic(first), 0.5)
    np.testing.assert_allclose(last[0], np.einsum("k,kha->ha", weights, first), atol=1e-6)
    assert plan.num_evaluations == 101
    assert plan.num_iterations == 1
    np.testing.assert_array_equal(plan.actions, last[0])  # on a convex cost averaging helps
    assert plan.history[-1].best_cost == plan.cost
