"""What every registered planner promises, whatever it is."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from planner_cases import BOX, TARGET, Sloped, every_planner, make, num_iterations, quadratic

from visual_foresight.planners import Plan, Planner, shift


def inside(plan, box):
    return np.all(plan.actions >= box.low) and np.all(plan.actions <= box.high)


def limits():
    low = st.one_of(st.just(-np.inf), st.floats(-1e6, 1e6), st.floats(-2.0, 2.0))
    width = st.one_of(st.just(np.inf), st.floats(1e-3, 1e6))
    return st.tuples(low, width)


@st.composite
def boxes(draw):
    """Asymmetric, per dimension, one-sided or two-sided infinite, in float32 and float64."""
    pairs = draw(st.lists(limits(), min_size=1, max_size=4))
    low = np.array([pair[0] for pair in pairs])
    width = np.array([pair[1] for pair in pairs])
    high = np.where(np.isfinite(low), low, draw(st.floats(-1e3, 1e3))) + width
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    low, high = low.astype(dtype), high.astype(dtype)
    return spaces.Box(low, np.maximum(high, np.nextafter(low.astype(np.float32), np.float32(np.inf))), dtype=dtype)


@every_planner
@settings(max_examples=25, deadline=None)
@given(box=boxes(), seed=st.integers(0, 2**32 - 1), repeat=st.sampled_from([1, 4]), warm=st.booleans())
def test_plan_and_all_candidates_lie_inside_the_box(name, box, seed, repeat, warm):
    """Exactly inside, also for float64 limits that float32 cannot represent."""
    rng = np.random.default_rng(seed)
    seen = []

    def cost_fn(candidates):
        seen.append(candidates)
        return np.abs(candidates.astype(np.float64)).sum(axis=(1, 2))

    incumbent = rng.normal(0.0, 10.0, (6, box.shape[0])) if warm else None
    planner = make(name, action_repeat=repeat)
    plan = planner.plan(Sloped(cost_fn), box, rng=rng, incumbent=incumbent)
    assert plan.actions.dtype == np.float32
    assert plan.actions.shape == (6, box.shape[0])
    for candidates in [*seen, plan.actions[None]]:
        assert candidates.dtype == np.float32
        assert np.all(candidates.astype(np.float64) >= box.low.astype(np.float64))
        assert np.all(candidates.astype(np.float64) <= box.high.astype(np.float64))


@every_planner
def test_limits_near_the_largest_float_do_not_overflow(name):
    largest = float(np.finfo(np.float32).max)
    box = spaces.Box(-largest, largest, (2,), np.float32)
    plan = make(name).plan(Sloped(lambda c: np.sign(c).sum(axis=(1, 2))), box, rng=np.random.default_rng(0))
    assert np.all(np.isfinite(plan.actions))


@every_planner
def test_same_seed_same_plan_and_other_seed_other_plan(name):
    plans = [make(name).plan(Sloped(quadratic), BOX, rng=np.random.default_rng(seed)) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(plans[0].actions, plans[1].actions)
    assert plans[0].cost == plans[1].cost
    assert plans[0].history == plans[1].history
    assert not np.array_equal(plans[0].actions, plans[2].actions)


@every_planner
def test_a_planner_holds_no_state_between_calls(name):
    """A plan in between, towards something else, changes nothing."""
    planner = make(name)
    first = planner.plan(Sloped(quadratic), BOX, rng=np.random.default_rng(1))
    planner.plan(Sloped(lambda c: -quadratic(c)), BOX, rng=np.random.default_rng(2), incumbent=np.ones((6, 2)))
    np.testing.assert_array_equal(
        first.actions, planner.plan(Sloped(quadratic), BOX, rng=np.random.default_rng(1)).actions
    )


@every_planner
def test_incumbent_is_candidate_zero_clipped_and_never_lost(name):
    box = spaces.Box(-0.5, 0.25, (2,), np.float32)
    incumbent = np.full((6, 2), 0.25) + np.arange(12).reshape(6, 2)  # outside on purpose
    seen = []

    def cost_fn(candidates):
        seen.append(candidates.copy())
        return np.square(candidates - 0.25).sum(axis=(1, 2))  # the clipped incumbent is the optimum

    plan = make(name).plan(Sloped(cost_fn), box, rng=np.random.default_rng(0), incumbent=incumbent)
    np.testing.assert_array_equal(seen[0][0], np.full((6, 2), 0.25, np.float32))
    np.testing.assert_array_equal(plan.actions, seen[0][0])
    assert plan.cost == 0.0


@every_planner
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), noise=st.floats(0.0, 10.0))
def test_best_so_far_is_monotone_and_is_the_best_ever_evaluated(name, seed, noise):
    """Also when the cost function is noise: the plan is the cheapest of all that were scored."""
    judge = np.random.default_rng(seed)
    scored = []

    def cost_fn(candidates):
        costs = quadratic(candidates) + noise * judge.normal(size=len(candidates))
        scored.extend(zip(costs, candidates.copy(), strict=True))
        return costs

    plan = make(name).plan(Sloped(cost_fn), BOX, rng=np.random.default_rng(seed))
    best_cost, best_actions = min(scored, key=lambda pair: pair[0])
    assert plan.cost == best_cost
    np.testing.assert_array_equal(plan.actions, best_actions)
    best = [record.best_cost for record in plan.history]
    assert best == sorted(best, reverse=True)
    assert best[-1] == plan.cost
    assert plan.num_evaluations == len(scored)
    assert plan.num_iterations == len(plan.history) == num_iterations(make(name))


@every_planner
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_cost_that_is_not_finite_never_wins(name, bad):
    """Minus infinity included: an objective that overflows downwards must not be rewarded."""

    def cost_fn(candidates):
        costs = quadratic(candidates)
        costs[::2] = bad
        return costs

    plan = make(name).plan(Sloped(cost_fn), BOX, rng=np.random.default_rng(0))
    assert np.isfinite(plan.cost)
    assert plan.cost == pytest.approx(quadratic(plan.actions[None])[0])
    assert np.all(np.isfinite(plan.actions))
    assert all(np.isfinite(record.mean_cost) and np.isfinite(record.elite_cost) for record in plan.history)


@every_planner
def test_an_iteration_without_finite_costs_keeps_what_was_found(name):
    calls = []

    def cost_fn(candidates):
        calls.append(len(candidates))
        return quadratic(candidates) if len(calls) == 1 else np.full(len(candidates), np.nan)

    plan = make(name).plan(Sloped(cost_fn), BOX, rng=np.random.default_rng(0))
    assert plan.cost == plan.history[0].best_cost
    assert np.isfinite(plan.cost)


@every_planner
@pytest.mark.parametrize("incumbent", [None, np.full((6, 2), 0.5)])
def test_a_single_candidate_is_enough(name, incumbent):
    planner = make(name, num_candidates=1)
    plan = planner.plan(Sloped(quadratic), BOX, rng=np.random.default_rng(0), incumbent=incumbent)
    assert inside(plan, BOX)
    assert plan.num_iterations == num_iterations(planner)
    if incumbent is not None:
        assert plan.cost <= quadratic(incumbent[None].astype(np.float32))[0]


@every_planner
def test_proposals_and_elites_follow_the_incumbent(name):
    """In this order, clipped; elites fill what room is left."""
    incumbent, proposals, elites = np.full((6, 2), 0.1), np.full((2, 6, 2), 5.0), np.full((3, 6, 2), -5.0)
    seen = []

    def cost_fn(candidates):
        seen.append(candidates.copy())
        return quadratic(candidates)

    given = {"incumbent": incumbent, "proposals": proposals, "elites": elites}
    make(name).plan(Sloped(cost_fn), BOX, rng=np.random.default_rng(0), **given)
    np.testing.assert_array_equal(seen[0][:6, 0, 0], np.array([0.1, 1, 1, -1, -1, -1], np.float32))
    seen.clear()
    make(name, num_candidates=4).plan(Sloped(cost_fn), BOX, rng=np.random.default_rng(0), **given)
    np.testing.assert_array_equal(seen[0][:, 0, 0], np.array([0.1, 1, 1, -1], np.float32))


@every_planner
def test_the_plan_tells_what_the_incumbent_costs(name):
    incumbent = np.full((6, 2), 0.9, np.float32)
    plan = make(name).plan(Sloped(quadratic), BOX, rng=np.random.default_rng(0), incumbent=incumbent)
    assert plan.first_cost == pytest.approx(quadratic(incumbent[None])[0])

    def broken(candidates):
        costs = quadratic(candidates)
        costs[0] = np.nan
        return costs

    plan = make(name).plan(Sloped(broken), BOX, rng=np.random.default_rng(0), incumbent=incumbent)
    assert plan.first_cost == np.inf


@every_planner
def test_proposals_may_be_drawn_by_a_callable(name):
    def scripted(rng, action_space, horizon):
        assert isinstance(rng, np.random.Generator)
        assert action_space is BOX
        return np.broadcast_to(TARGET, (1, horizon, 2))

    plan = make(name).plan(Sloped(quadratic), BOX, rng=np.random.default_rng(0), proposals=scripted)
    assert plan.cost == 0.0
    np.testing.assert_array_equal(plan.actions, np.broadcast_to(TARGET, (6, 2)))


@every_planner
def test_candidates_per_iteration_may_be_given(name):
    counts = []

    def cost_fn(candidates):
        counts.append(len(candidates))
        return quadratic(candidates)

    plan = make(name, num_candidates=(30, 12, 5)).plan(Sloped(cost_fn), BOX, rng=np.random.default_rng(0))
    assert counts[:3] == [30, 12, 5]
    assert [record.num_candidates for record in plan.history][:3] == [30, 12, 5]


@every_planner
def test_actions_are_held(name):
    """With action_repeat=4 and horizon 6 every candidate holds its first action for 4 steps and the next for 2."""

    def cost_fn(candidates):
        assert np.all(candidates[:, :4] == candidates[:, :1])
        assert np.all(candidates[:, 4:] == candidates[:, 4:5])
        return quadratic(candidates)

    make(name, action_repeat=4).plan(Sloped(cost_fn), BOX, rng=np.random.default_rng(0))


@every_planner
def test_costs_of_any_size_leave_no_trace_of_overflow(name):
    for factor in (1e-300, 1e300):
        plan = make(name).plan(
            Sloped(
                lambda c, factor=factor: factor * quadratic(c).astype(np.float64),
                lambda c, factor=factor: factor * (c - TARGET).astype(np.float64),
            ),
            BOX,
            rng=np.random.default_rng(0),
        )
        assert np.all(np.isfinite(plan.actions))


@every_planner
def test_equal_costs_change_nothing_but_chance(name):
    plan = make(name).plan(Sloped(lambda c: np.zeros(len(c))), BOX, rng=np.random.default_rng(0))
    assert plan.cost == 0.0
    assert inside(plan, BOX)


@every_planner
@pytest.mark.parametrize(
    ("cost_fn", "optimum", "tolerance"),
    [
        (Sloped(quadratic, lambda c: 2.0 * (c - TARGET)), TARGET, 0.15),
        (
            Sloped(lambda c: np.square(c - [2.0, -3.0]).sum(axis=(1, 2)), lambda c: 2.0 * (c - [2.0, -3.0])),
            np.array([1.0, -1.0]),  # the optimum is outside: the best is on the border
            0.2,
        ),
    ],
    ids=["inside", "on the border"],
)
def test_known_optimum_is_reached(name, cost_fn, optimum, tolerance):
    """Random shooting is asked for less: it has to beat the mean of what it draws."""
    planner = make(name, horizon=3, num_candidates=200, num_iterations=10)
    plan = planner.plan(cost_fn, BOX, rng=np.random.default_rng(0))
    if name == "random_shooting":
        assert plan.cost < 0.6 * plan.history[0].mean_cost
    else:
        assert np.abs(plan.actions - optimum).mean() < tolerance


@every_planner
def test_planning_again_from_the_shifted_plan_never_gets_worse(name):
    """A fixed point stays: with the best as incumbent, the next search begins there."""
    planner = make(name)
    plan = planner.plan(Sloped(quadratic), BOX, rng=np.random.default_rng(0))
    for seed in range(1, 4):
        again = planner.plan(Sloped(quadratic), BOX, rng=np.random.default_rng(seed), incumbent=shift(plan.actions, 0))
        assert again.cost <= plan.cost
        plan = again


@every_planner
def test_every_planner_keeps_the_protocol(name):
    planner = make(name)
    assert isinstance(planner, Planner)
    plan = planner.plan(Sloped(quadratic), BOX, rng=np.random.default_rng(0))
    assert isinstance(plan, Plan)
    assert make(name) == planner
    assert make(name, horizon=5) != planner
    assert "_" not in repr(planner).split("(")[0]
    assert plan.elites.shape[1:] == (6, 2)
    assert len(plan.elites) == len(plan.elite_costs)
