"""A search that is short of time, for every registered planner."""

import numpy as np
import pytest
from planner_cases import BOX, Sloped, every_planner, make, num_iterations, quadratic

from visual_foresight.planners import search


class Clock:
    """Time that passes only when a cost function says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def slow_clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(search, "clock", clock)
    return clock


@every_planner
@pytest.mark.parametrize(("deadline_ms", "expected"), [(1.0, 1), (250.0, 2), (301.0, 3), (1e6, 5)])
def test_deadline_ends_the_search_and_the_iterations_done_are_reported(name, deadline_ms, expected, slow_clock):
    """100 ms an iteration: one is always done, none begins that would end too late."""

    def cost_fn(candidates):
        slow_clock.now += 0.1 * len(candidates) / 24
        return quadratic(candidates)

    planner = make(name, num_iterations=5, num_candidates=(24,) * 5)
    plan = planner.plan(Sloped(cost_fn), BOX, rng=np.random.default_rng(0), deadline_ms=deadline_ms)
    expected = num_iterations(planner) if expected == 5 else expected
    assert plan.num_iterations == expected == len(plan.history)
    assert plan.cost == pytest.approx(quadratic(plan.actions[None])[0])
    assert plan.seconds * 1000.0 <= max(deadline_ms, 100.0) + 1e-6


@every_planner
def test_an_iteration_that_turns_slow_is_the_last(name, slow_clock):
    """The search cannot foresee a slow iteration, but is never later than that one."""
    durations = iter([0.01, 0.5, 0.5, 0.5, 0.5, 0.5])

    def cost_fn(candidates):
        slow_clock.now += next(durations)
        return quadratic(candidates)

    planner = make(name, num_iterations=5)
    plan = planner.plan(Sloped(cost_fn), BOX, rng=np.random.default_rng(0), deadline_ms=100.0)
    assert plan.num_iterations == 2
    assert plan.seconds == pytest.approx(0.51)


@every_planner
def test_time_that_proposals_take_counts(name, slow_clock):
    """Candidates that are drawn by a slow callable leave less time for the search."""

    def proposals(rng, action_space, horizon):
        slow_clock.now += 0.3
        return np.zeros((1, horizon, 2), np.float32)

    def cost_fn(candidates):
        slow_clock.now += 0.01
        return quadratic(candidates)

    planner = make(name, num_iterations=5)
    given = {"rng": np.random.default_rng(0), "deadline_ms": 100.0, "proposals": proposals}
    plan = planner.plan(Sloped(cost_fn), BOX, **given)
    assert plan.num_iterations == 1
    assert plan.seconds == pytest.approx(0.31)
