"""What every registered planner refuses, and what it says."""

import numpy as np
import pytest
from gymnasium import spaces
from planner_cases import BOX, Sloped, every_planner, make, quadratic


@every_planner
def test_no_finite_cost_at_all_is_refused(name):
    with pytest.raises(ValueError, match="24 candidates has a finite cost"):
        make(name).plan(Sloped(lambda c: np.full(len(c), np.nan)), BOX, rng=np.random.default_rng(0))


@every_planner
def test_costs_of_another_shape_are_refused(name):
    with pytest.raises(ValueError, match=r"returned shape \[24, 1\], expected \[24\]"):
        make(name).plan(Sloped(lambda c: quadratic(c)[:, None]), BOX, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"returned shape \[\]"):
        make(name).plan(Sloped(lambda c: np.float32(0.0)), BOX, rng=np.random.default_rng(0))


@every_planner
def test_a_cost_function_cannot_edit_the_candidates(name):
    def cost_fn(candidates):
        candidates[:] = 0.0
        return quadratic(candidates)

    with pytest.raises(ValueError, match="read-only"):
        make(name).plan(Sloped(cost_fn), BOX, rng=np.random.default_rng(0))


@every_planner
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"incumbent": np.zeros((5, 2))}, r"incumbent has shape \[5, 2\], expected \[6, 2\]"),
        ({"incumbent": np.full((6, 2), np.nan)}, "incumbent holds actions that are not finite"),
        ({"proposals": np.zeros((6, 2))}, r"proposals has shape \[6, 2\], expected \[N, 6, 2\]"),
        ({"proposals": np.zeros((25, 6, 2))}, "are 25 candidates, the first iteration evaluates 24"),
        ({"elites": np.zeros((1, 6, 3))}, r"elites has shape \[1, 6, 3\]"),
        ({"deadline_ms": 0.0}, "deadline_ms must be positive"),
    ],
)
def test_bad_arguments_are_refused(name, given, message):
    with pytest.raises(ValueError, match=message):
        make(name).plan(Sloped(quadratic), BOX, rng=np.random.default_rng(0), **given)


@every_planner
def test_bad_spaces_and_generators_are_refused(name):
    planner = make(name)
    with pytest.raises(TypeError, match="Box of actions, got Discrete"):
        planner.plan(Sloped(quadratic), spaces.Discrete(3), rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="floating dtype"):
        planner.plan(Sloped(quadratic), spaces.Box(0, 3, (2,), np.int32), rng=np.random.default_rng(0))
    for shape in ((2, 2), (0,)):
        with pytest.raises(ValueError, match=r"shape \[A >= 1\]"):
            planner.plan(Sloped(quadratic), spaces.Box(0, 3, shape, np.float32), rng=np.random.default_rng(0))
    with pytest.raises(TypeError, match="default_rng"):
        planner.plan(Sloped(quadratic), BOX, rng=3)


@every_planner
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 0}, "horizon must be a whole number of at least 1, got 0"),
        ({"num_candidates": 0}, "num_candidates must be"),
        ({"num_candidates": (5, 5)}, "gives 2 iterations"),
        ({"num_iterations": 1.5}, "num_iterations must be a whole number"),
        ({"action_repeat": 0}, "action_repeat must be"),
        ({"unbounded_scale": -1.0}, "unbounded_scale must lie in"),
    ],
)
def test_bad_settings_are_refused_when_the_planner_is_built(name, changes, message):
    with pytest.raises(ValueError, match=message):
        make(name, **changes)
