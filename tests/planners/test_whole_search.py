"""A search as one function of tensors finds what the search that goes back to the host finds."""

import dataclasses

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from visual_foresight.backend import compile_function
from visual_foresight.planners import CEM, ICEM, MPPI, CEMGradient, RandomShooting
from visual_foresight.planners.search import Deadline, Search, run_search
from visual_foresight.planners.whole_search import (
    Draws,
    can_be_whole,
    draw_all,
    make_whole_search,
    record_search,
    result_shapes,
)

BOX = spaces.Box(np.array([-1.0, -0.5], np.float32), np.array([1.0, 2.0], np.float32))
OPEN = spaces.Box(np.array([-np.inf, -0.5], np.float32), np.array([np.inf, np.inf], np.float32))
PLANNERS = {
    "cem": CEM(horizon=5, num_candidates=30, num_elites=6),
    "held": CEM(horizon=7, num_candidates=20, num_elites=4, action_repeat=3, num_iterations=4),
    "icem": ICEM(horizon=6, num_candidates=40, num_elites=5, num_iterations=4),
    "once": ICEM(horizon=3, num_candidates=12, num_elites=12, num_iterations=1),
    "few kept": ICEM(horizon=4, num_candidates=(16, 9, 12), num_elites=3, keep_fraction=0.5, smoothing=0.3),
}


def away(xp, candidates):
    """Smooth, with its lowest place inside the Box and no two candidates alike."""
    steps = candidates.shape[1]
    target = np.stack([np.linspace(-0.6, 0.7, steps), np.linspace(0.9, -0.2, steps)], axis=-1).astype(np.float32)
    return xp.sum(xp.square(candidates - target), axis=(1, 2))


def whole(planner, problem, cost=lambda candidates: away(ops, candidates)):
    """Compiled, as it is used."""
    function = make_whole_search(planner, cost)
    found = compile_function(lambda *draws: function(Draws(*draws)))(*draw_all(planner, problem))
    assert {name: tuple(value.shape) for name, value in found.items()} == result_shapes(planner, 2)
    search = Search()
    return record_search(planner, search, found), search, found


def stepwise(planner, problem, cost=lambda candidates: away(np, candidates)):
    search = Search()
    return run_search(search, planner.steps(problem, search), cost, Deadline(None))


def pose(planner, seed, box=BOX, **given):
    return planner.pose(box, rng=np.random.default_rng(seed), **given)


def assert_same(plan, expected):
    np.testing.assert_allclose(plan.actions, expected.actions, atol=1e-5)
    np.testing.assert_allclose(plan.cost, expected.cost, rtol=1e-4)
    np.testing.assert_allclose(plan.first_cost, expected.first_cost, rtol=1e-4)
    np.testing.assert_allclose(plan.elites, expected.elites, atol=1e-5)
    np.testing.assert_allclose(plan.elite_costs, expected.elite_costs, rtol=1e-4)
    assert (plan.num_evaluations, plan.num_iterations) == (expected.num_evaluations, expected.num_iterations)
    for record, other in zip(plan.history, expected.history, strict=True):
        np.testing.assert_allclose(dataclasses.astuple(record), dataclasses.astuple(other), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("box", [BOX, OPEN], ids=["limited", "open"])
@pytest.mark.parametrize("name", list(PLANNERS))
def test_it_finds_what_the_search_on_the_host_finds(name, box):
    """From nothing, and from what is left of an earlier plan; the generator ends in the same state."""
    planner = PLANNERS[name]
    first = stepwise(planner, pose(planner, 0, box))
    elites = first.elites if len(first.elites) else first.actions[None]
    warm = {"incumbent": first.actions, "elites": elites + 0.01, "proposals": np.full((2, planner.horizon, 2), 0.1)}
    for given_before in ({}, warm):
        one, other = pose(planner, 3, box, **given_before), pose(planner, 3, box, **given_before)
        done, search, _ = whole(planner, one)
        expected = stepwise(planner, other)
        assert done
        assert_same(search.finish(0.0), expected)
        assert one.rng.bit_generator.state == other.rng.bit_generator.state


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), smoothing=st.floats(0, 0.9), keep=st.floats(0, 1), floor=st.floats(0, 0.5))
def test_it_does_so_for_any_setting(seed, smoothing, keep, floor):
    """Smoothing, kept elites and floors enter alike."""
    planner = ICEM(
        horizon=3, num_candidates=10, num_elites=4, smoothing=smoothing, keep_fraction=keep, deviation_floor=floor
    )
    function = make_whole_search(planner, lambda candidates: away(ops, candidates))
    search = Search()
    assert record_search(planner, search, function(draw_all(planner, pose(planner, seed))))
    assert_same(search.finish(0.0), stepwise(planner, pose(planner, seed)))


def test_costs_that_are_not_finite_never_win():
    """Not a number and minus infinity count as infinite; with enough others the plan is that of the host."""
    planner = PLANNERS["cem"]

    def broken(xp, candidates):
        first = candidates[:, 0, 0]
        costs = away(xp, candidates)
        return xp.where(first > 0.3, np.float32(np.nan), xp.where(first < -0.8, np.float32(-np.inf), costs))

    done, search, _ = whole(planner, pose(planner, 1), lambda candidates: broken(ops, candidates))
    assert done
    assert_same(search.finish(0.0), stepwise(planner, pose(planner, 1), lambda candidates: broken(np, candidates)))


def test_with_too_few_finite_costs_nothing_is_entered():
    """The host goes on with fewer elites; that is left to it."""
    planner = PLANNERS["cem"]
    done, search, found = whole(
        planner, pose(planner, 1), lambda candidates: ops.where(candidates[:, 0, 0] > 2.0, 1.0, np.float32(np.inf))
    )
    assert not done and not search.history and not np.isfinite(np.asarray(found["elite_costs"])).any()


def test_a_planner_that_was_given_a_list_can_be_kept_by():
    """Compiled searches are kept by their planner, so it must have a hash; a list has none."""
    counts = [24, 20, 20]
    planner = CEM(num_candidates=counts, num_elites=5)
    counts.append(3)
    assert hash(planner) == hash(CEM(num_candidates=(24, 20, 20), num_elites=5))
    assert planner.counts == (24, 20, 20)


def test_which_planners_can():
    """The CEM family without gradients, where every iteration has as many candidates as there are elites."""
    assert all(can_be_whole(planner) for planner in PLANNERS.values())
    others = [MPPI(), RandomShooting(), CEMGradient(), CEM(num_candidates=4, num_elites=5)]
    assert not any(can_be_whole(planner) for planner in others)
