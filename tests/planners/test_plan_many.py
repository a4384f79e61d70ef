"""Planning for many environments in one batched search."""

import numpy as np
import pytest
from search_problems import BOX, Squares, quadratic

from visual_foresight.planners import (
    CEM,
    PLANNERS,
    plan_many,
)


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


@pytest.mark.parametrize("name", sorted(PLANNERS))
def test_one_function_for_each_environment_will_do(name):
    """As `planner.plan` takes it, with or without gradients."""
    planner = PLANNERS[name](horizon=4, num_candidates=20, num_iterations=2)
    costs = [Squares(target) for target in np.random.default_rng(1).uniform(-1.0, 1.0, (3, 2))]
    together = plan_many(planner, costs, BOX, rngs=[np.random.default_rng(seed) for seed in range(3)])
    for index, plan in enumerate(together):
        alone = planner.plan(costs[index], BOX, rng=np.random.default_rng(index))
        np.testing.assert_array_equal(plan.actions, alone.actions)
        assert plan.cost == alone.cost


def test_many_environments_need_their_own_generators_and_say_which_one_failed():
    def nothing_is_finite(candidates):
        return np.full(len(candidates), np.nan)

    def rngs():
        return [np.random.default_rng(0), np.random.default_rng(1)]

    with pytest.raises(ValueError, match="same generator"):
        plan_many(CEM(), quadratic, BOX, rngs=[np.random.default_rng(0)] * 2)
    with pytest.raises(ValueError, match="3 functions for 2 generators"):
        plan_many(CEM(), [quadratic] * 3, BOX, rngs=rngs())
    with pytest.raises(TypeError, match=r"such as CEM\(\.\.\.\)"):
        plan_many(CEM, quadratic, BOX, rngs=rngs())
    with pytest.raises(ValueError, match="environment 1 of 2: none of 200 candidates has a finite cost"):
        plan_many(CEM(), [quadratic, nothing_is_finite], BOX, rngs=rngs())
