"""What is particular to CEM and iCEM."""

import numpy as np
import pytest
from gymnasium import spaces
from search_problems import BOX, HORIZON, Recorder, quadratic, reach, two_valleys, wall

from visual_foresight.planners import (
    CEM,
    ICEM,
    MPPI,
    RandomShooting,
    shift,
)


def test_cem_finds_the_better_of_two_valleys():
    plan = CEM(horizon=HORIZON, num_iterations=12).plan(two_valleys, BOX, rng=np.random.default_rng(0))
    np.testing.assert_allclose(plan.actions.mean(axis=0), [0.5, 0.5], atol=0.05)


@pytest.mark.parametrize("planner_class", [CEM, ICEM])
def test_kept_elites_are_not_evaluated_again_and_their_cached_costs_are_their_costs(planner_class):
    """Every candidate is scored once, and the mean cost of the elites is that of the best ever scored."""
    recorder = Recorder(quadratic)
    planner = planner_class(horizon=4, num_candidates=30, num_iterations=6, num_elites=5, decay=1.0, keep_fraction=1.0)
    plan = planner.plan(recorder, BOX, rng=np.random.default_rng(0))
    assert max(recorder.times_seen.values()) == 1
    assert plan.num_evaluations == 6 * 30
    everything = np.concatenate(recorder.batches)
    best = np.sort(quadratic(everything))[:5]
    assert plan.history[-1].elite_cost == pytest.approx(best.mean(), rel=1e-6)
    if planner_class is ICEM:
        np.testing.assert_allclose(plan.elite_costs, best, rtol=1e-6)
        np.testing.assert_allclose(plan.elite_costs, quadratic(plan.elites), rtol=1e-6)


def test_without_kept_elites_each_iteration_stands_alone():
    recorder = Recorder(quadratic)
    planner = CEM(horizon=4, num_candidates=30, num_iterations=4, num_elites=5, keep_fraction=0.0)
    plan = planner.plan(recorder, BOX, rng=np.random.default_rng(0))
    for batch, record in zip(recorder.batches, plan.history, strict=True):
        assert record.elite_cost == pytest.approx(np.sort(quadratic(batch))[:5].mean(), rel=1e-6)


def test_the_distribution_is_fitted_to_the_elites():
    """Smoothing 0, no floor: the next candidates have the elites' mean and deviation."""
    recorder = Recorder(quadratic)
    planner = CEM(
        horizon=2, num_candidates=(50, 20000), num_iterations=2, num_elites=8, smoothing=0.0, deviation_floor=0.0
    )
    planner.plan(recorder, spaces.Box(-50.0, 50.0, (2,), np.float32), rng=np.random.default_rng(0))
    first, second = recorder.batches
    elites = first[np.argsort(quadratic(first))[:8]]
    np.testing.assert_allclose(second.mean(axis=0), elites.mean(axis=0), atol=0.05 * elites.std())
    np.testing.assert_allclose(second.std(axis=0), elites.std(axis=0), rtol=0.05)


def test_smoothing_moves_only_part_of_the_way():
    means = []
    for smoothing in (0.0, 0.9):
        recorder = Recorder(quadratic)
        CEM(horizon=2, num_candidates=(200, 5000), num_iterations=2, smoothing=smoothing).plan(
            recorder, BOX, rng=np.random.default_rng(0)
        )
        means.append(recorder.batches[1].mean(axis=0))
    assert np.all(np.abs(means[1]) < 0.5 * np.abs(means[0]))


def test_the_deviation_never_falls_below_its_floor():
    plan = CEM(horizon=3, num_iterations=15, deviation_floor=0.2).plan(quadratic, BOX, rng=np.random.default_rng(0))
    deviations = [record.deviation for record in plan.history]
    assert deviations[0] == pytest.approx(0.7)
    assert min(deviations) == pytest.approx(0.2)


def test_the_deviation_is_in_units_of_half_the_range():
    box = spaces.Box(np.array([0.0, -100.0]), np.array([0.02, 100.0]), dtype=np.float64)
    recorder = Recorder(lambda c: np.zeros(len(c)))
    CEM(horizon=2, num_candidates=5000, num_iterations=1, initial_deviation=0.2).plan(
        recorder, box, rng=np.random.default_rng(0)
    )
    np.testing.assert_allclose(recorder.batches[0].std(axis=(0, 1)), [0.002, 20.0], rtol=0.05)
    np.testing.assert_allclose(recorder.batches[0].mean(axis=(0, 1)) / [0.01, 100.0], [1.0, 0.0], atol=0.02)


def test_the_search_begins_around_the_incumbent():
    recorder = Recorder(quadratic)
    incumbent = np.array([[0.5, -0.5], [0.0, 0.25]])
    CEM(horizon=2, num_candidates=5000, num_iterations=1, initial_deviation=0.05).plan(
        recorder, BOX, rng=np.random.default_rng(0), incumbent=incumbent
    )
    np.testing.assert_allclose(recorder.batches[0].mean(axis=0), incumbent, atol=0.01)


@pytest.mark.parametrize("planner_class", [CEM, ICEM])
def test_candidates_decay_down_to_twice_the_elites(planner_class):
    planner = planner_class(num_candidates=100, num_iterations=6, num_elites=20, decay=1.5)
    plan = planner.plan(quadratic, BOX, rng=np.random.default_rng(0))
    assert [record.num_candidates for record in plan.history] == [100, 66, 44, 40, 40, 40]


@pytest.mark.parametrize(
    ("planner_class", "changes", "message"),
    [
        (CEM, {"smoothing": 1.0}, "smoothing must lie in"),
        (CEM, {"num_elites": 0}, "num_elites must be"),
        (CEM, {"initial_deviation": 0.0}, "initial_deviation must lie in"),
        (CEM, {"deviation_floor": np.nan}, "deviation_floor must lie in"),
        (CEM, {"keep_fraction": 1.5}, "keep_fraction must lie in"),
        (ICEM, {"noise_exponent": -1.0}, "noise_exponent must lie in"),
        (ICEM, {"noise_exponent": 600.0}, "noise_exponent must lie in"),
        (ICEM, {"decay": 0.5}, "decay must lie in"),
        (MPPI, {"temperature": 0.0}, "temperature must lie in"),
        (MPPI, {"deviation_decay": 0.0}, "deviation_decay must lie in"),
        (RandomShooting, {"action_repeat": 2.5}, "action_repeat must be"),
    ],
)
def test_settings_outside_their_range_are_refused(planner_class, changes, message):
    with pytest.raises(ValueError, match=message):
        planner_class(**changes)


def test_icem_tries_the_mean_in_its_last_iteration():
    """With costs that depend on the distance to what the elites surround, the mean is candidate 0 and wins."""
    recorder = Recorder(quadratic)
    planner = ICEM(horizon=4, num_candidates=60, num_iterations=3, deviation_floor=0.0, smoothing=0.0, decay=1.0)
    planner.plan(recorder, BOX, rng=np.random.default_rng(0))
    first, second, third = recorder.batches
    order = np.argsort(quadratic(first))[:10]
    kept = first[order[:3]]
    pool = np.concatenate([kept, second])
    elites = pool[np.argsort(quadratic(pool))[:10]]
    np.testing.assert_allclose(third[0], elites.mean(axis=0), atol=1e-5)


def test_icem_carries_elites_and_takes_them_back():
    planner = ICEM(horizon=HORIZON, num_elites=10, keep_fraction=0.3)
    plan = planner.plan(reach, BOX, rng=np.random.default_rng(0))
    assert plan.elites.shape == (3, HORIZON, 2)
    np.testing.assert_array_equal(plan.elites[0], plan.actions)
    recorder = Recorder(reach)
    moved = shift(plan.elites, 1)
    planner.plan(recorder, BOX, rng=np.random.default_rng(1), incumbent=shift(plan.actions, 1), elites=moved)
    np.testing.assert_array_equal(recorder.batches[0][1:4], moved)


def samples_to_target(planner, cost_fn, target, seed):
    plan = planner.plan(cost_fn, BOX, rng=np.random.default_rng(seed))
    used = 0
    for record in plan.history:
        used += record.num_candidates
        if record.best_cost <= target:
            return used
    return 10 * used


@pytest.mark.parametrize("cost_fn", [quadratic, reach, two_valleys, wall])
def test_icem_needs_far_fewer_samples_than_cem(cost_fn):
    """Median over seeds of the candidates needed for what CEM reaches at its published budget (200 x 3)."""
    seeds = range(7)
    cem = CEM(horizon=HORIZON)
    target = np.median([cem.plan(cost_fn, BOX, rng=np.random.default_rng(seed)).cost for seed in seeds])
    icem = ICEM(horizon=HORIZON, num_candidates=40, num_iterations=40)
    used = np.median([samples_to_target(icem, cost_fn, target, seed) for seed in seeds])
    assert used * 2.7 <= 600, used
