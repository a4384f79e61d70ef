"""What is particular to CEM, iCEM and MPPI, and planning for many environments."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from visual_foresight.planners import (
    CEM,
    ICEM,
    MPPI,
    PLANNERS,
    CEMGradient,
    GradientDescent,
    RandomShooting,
    plan_many,
    shift,
)
from visual_foresight.planners.mppi import softmin_weights

BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)
HORIZON = 15


def reach(candidates):
    """A point moves by 0.1 of each action and should be at a goal, early."""
    places = np.cumsum(0.1 * candidates, axis=1)
    return np.linalg.norm(places - np.array([0.8, -0.5]), axis=-1).mean(axis=1)


def two_valleys(candidates):
    """The mean action has two good places; the better one is at (0.5, 0.5)."""
    mean = candidates.mean(axis=1)
    good = np.square(mean - 0.5).sum(axis=-1)
    decoy = np.square(mean + 0.5).sum(axis=-1) + 0.2
    return np.minimum(good, decoy) + 0.05 * candidates.var(axis=1).sum(axis=-1)


def wall(candidates):
    """The optimum lies outside the Box: the best is its corner."""
    return np.square(candidates - np.array([1.5, -2.0])).mean(axis=(1, 2))


def quadratic(candidates):
    return np.square(candidates - np.array([0.4, -0.3])).mean(axis=(1, 2))


class Recorder:
    """A cost function that remembers every candidate and its cost, by the candidate's bytes."""

    def __init__(self, cost_fn):
        self.cost_fn, self.batches, self.times_seen = cost_fn, [], {}

    def __call__(self, candidates):
        self.batches.append(candidates.copy())
        for candidate in candidates:
            self.times_seen[candidate.tobytes()] = self.times_seen.get(candidate.tobytes(), 0) + 1
        return self.cost_fn(candidates)


class Squares:
    """Squared distance to a target, with its gradient."""

    def __init__(self, target, weights=1.0):
        self.target, self.weights = target, weights

    def __call__(self, candidates):
        return (self.weights * np.square(candidates - self.target)).sum(axis=(1, 2))

    def gradient(self, candidates):
        return self(candidates), 2.0 * self.weights * (candidates - self.target)


# ---- CEM


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
        (ICEM, {"decay": 0.5}, "decay must lie in"),
        (MPPI, {"temperature": 0.0}, "temperature must lie in"),
        (MPPI, {"deviation_decay": 0.0}, "deviation_decay must lie in"),
        (RandomShooting, {"action_repeat": 2.5}, "action_repeat must be"),
    ],
)
def test_settings_outside_their_range_are_refused(planner_class, changes, message):
    with pytest.raises(ValueError, match=message):
        planner_class(**changes)


# ---- iCEM


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


# ---- MPPI


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


# ---- gradients


def test_a_cost_function_without_a_gradient_is_refused_at_once():
    for planner in (GradientDescent(), CEMGradient()):
        recorder = Recorder(quadratic)
        with pytest.raises(ValueError, match="the cost function has none"):
            planner.plan(recorder, BOX, rng=np.random.default_rng(0))
        assert not recorder.batches


def test_gradients_of_another_shape_are_refused():
    cost_fn = Squares(np.zeros(2))
    cost_fn.gradient = lambda c: (cost_fn(c), np.zeros((len(c), 2)))
    with pytest.raises(ValueError, match=r"gradients of shape \[16, 2\], expected \[16, 15, 2\]"):
        GradientDescent().plan(cost_fn, BOX, rng=np.random.default_rng(0))


@pytest.mark.parametrize("repeat", [1, 4])
def test_descent_is_adam_written_out(repeat):
    """One start, an ill-conditioned quadratic, the algorithm of the paper in a loop; held actions share a gradient."""
    weights, target = np.array([30.0, 0.2]), np.array([0.2, -0.4])
    box = spaces.Box(np.array([-1.0, -0.3]), np.array([1.0, 0.5]), dtype=np.float64)
    recorder = Recorder(Squares(target, weights))
    recorder.gradient = lambda c: (recorder(c), recorder.cost_fn.gradient(c)[1])
    planner = GradientDescent(horizon=6, num_candidates=1, num_iterations=8, learning_rate=0.3, action_repeat=repeat)
    incumbent = np.tile([0.9, 0.4], (6, 1))
    planner.plan(recorder, box, rng=np.random.default_rng(0), incumbent=incumbent)

    blocks = [range(start, min(start + repeat, 6)) for start in range(0, 6, repeat)]
    scale, lengths = np.array([1.0, 0.4]), np.array([[len(block)] for block in blocks])
    point, first, second = np.tile([0.9, 0.4], (len(blocks), 1)), 0.0, 0.0
    unit = None
    for iteration in range(8):
        expected = np.concatenate([np.repeat(point[[index]], len(block), axis=0) for index, block in enumerate(blocks)])
        np.testing.assert_allclose(recorder.batches[iteration][0], expected, atol=1e-5)
        gradient = 2.0 * weights * (point - target) * lengths * scale
        unit = np.abs(gradient / scale).max() if unit is None else unit
        gradient = gradient / unit
        first, second = 0.9 * first + 0.1 * gradient, 0.99 * second + 0.01 * gradient**2
        corrected = first / (1 - 0.9 ** (iteration + 1)), second / (1 - 0.99 ** (iteration + 1))
        rate = 0.3 * 0.5 * (1 + np.cos(np.pi * iteration / 7))
        point = np.clip(point - rate * scale * corrected[0] / (np.sqrt(corrected[1]) + 1e-8), box.low, box.high)


def test_steps_do_not_know_the_unit_of_the_cost():
    plans = [
        GradientDescent(horizon=4).plan(Squares(np.array([0.3, 0.1]), unit), BOX, rng=np.random.default_rng(0))
        for unit in (1.0, 2.0**40, 2.0**-40)
    ]
    for plan in plans[1:]:
        np.testing.assert_allclose(plan.actions, plans[0].actions, atol=1e-4)


def test_only_the_cheapest_starts_go_on():
    recorder = Recorder(Squares(np.zeros(2)))
    recorder.gradient = lambda c: (recorder(c), np.zeros(c.shape))  # so that candidates stay where they are
    planner = GradientDescent(horizon=3, num_candidates=(20, 20, 5, 1), num_iterations=4)
    planner.plan(recorder, BOX, rng=np.random.default_rng(0))
    first = recorder.batches[0]
    order = np.argsort(recorder.cost_fn(first))
    np.testing.assert_array_equal(recorder.batches[2], first[order[:5]])
    np.testing.assert_array_equal(recorder.batches[3], first[order[:1]])
    with pytest.raises(ValueError, match="must not rise"):
        GradientDescent(num_candidates=(5, 6), num_iterations=2)


def test_a_start_whose_gradient_is_not_finite_stays_where_it_is():
    recorder = Recorder(Squares(np.zeros(2)))

    def gradient(candidates):
        costs, gradients = recorder.cost_fn.gradient(candidates)
        gradients[0, 1, 0] = np.nan
        return recorder(candidates), gradients

    recorder.gradient = gradient
    GradientDescent(horizon=3, num_candidates=4, num_iterations=2).plan(recorder, BOX, rng=np.random.default_rng(0))
    first, second = recorder.batches
    moved = [not any(np.array_equal(start, after) for after in second) for start in first]
    assert moved == [False, True, True, True]


def test_the_gradient_polishes_what_cem_found():
    """Same seed, same CEM iterations; the elites descend further than sampling at its floor can."""
    cost_fn = Squares(np.array([0.35, -0.6]))
    cem = CEM(horizon=HORIZON).plan(cost_fn, BOX, rng=np.random.default_rng(0))
    both = CEMGradient(horizon=HORIZON, num_gradient_steps=15).plan(cost_fn, BOX, rng=np.random.default_rng(0))
    assert both.history[:3] == cem.history
    assert both.cost < 0.2 * cem.cost
    assert both.num_evaluations == 600 + 16 * 10


# ---- many environments


@pytest.mark.parametrize("name", sorted(PLANNERS))
def test_many_environments_get_the_plans_they_would_get_alone(name):
    planner = PLANNERS[name](horizon=5, num_candidates=30, num_iterations=3)
    targets = np.random.default_rng(0).uniform(-1.0, 1.0, (4, 2))
    incumbents = [None, np.full((5, 2), 0.2), None, np.zeros((5, 2))]
    calls = []

    class Batched:
        def __call__(self, candidates):
            calls.append(candidates.shape)
            return np.square(candidates - targets[:, None, None]).sum(axis=(2, 3))

        def gradient(self, candidates):
            return self(candidates), 2.0 * (candidates - targets[:, None, None])

    rngs = [np.random.default_rng(seed) for seed in range(4)]
    together = plan_many(planner, Batched(), BOX, rngs=rngs, incumbents=incumbents)
    assert calls[0] == (4, 30, 5, 2)
    assert len(calls) == len(together[0].history) + (name == "mppi")
    for index, plan in enumerate(together):
        alone = planner.plan(
            Squares(targets[index]), BOX, rng=np.random.default_rng(index), incumbent=incumbents[index]
        )
        np.testing.assert_array_equal(plan.actions, alone.actions)
        assert plan.cost == alone.cost
        assert plan.history == alone.history


def test_many_environments_need_as_many_of_everything():
    with pytest.raises(ValueError, match="incumbent: 1 entries for 2 generators"):
        plan_many(CEM(), quadratic, BOX, rngs=[np.random.default_rng(0)] * 2, incumbents=[None])
    with pytest.raises(ValueError, match="at least one"):
        plan_many(CEM(), quadratic, BOX, rngs=[])
    with pytest.raises(ValueError, match=r"expected \[2, 200\]"):
        plan_many(CEM(), lambda c: np.zeros(3), BOX, rngs=[np.random.default_rng(0), np.random.default_rng(1)])
