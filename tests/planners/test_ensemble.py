"""Ensembles: mean plus penalty times deviation, of costs that are known."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from visual_foresight.planners import CEM, MPC, Ensemble, GradientDescent
from visual_foresight.planners.ensemble import EnsembleCost
from visual_foresight.planners.objectives import PixelDistance
from visual_foresight.planners.simulation import cost_function
from visual_foresight.rollout import Rollout

BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)


class Drift:
    """A simulator of one pixel that moves by gain times the action; its gradient is written out by hand."""

    def __init__(self, gain, stride=1, smooth=True):
        self.gain, self.stride = np.asarray(gain, float), stride
        if not smooth:
            self.cost_gradient = None

    def start(self, frames, actions, states, *, pixels):
        return np.asarray(pixels, float)[0]

    def rollout(self, start, actions, outputs=("states", "pixels"), every=1):
        places = start + np.cumsum(self.gain * np.asarray(actions, float), axis=1)
        seen = places[:, every - 1 :: every, None].astype(np.float32)
        states = places.astype(np.float32) if "states" in outputs else None
        return Rollout(np.asarray(actions), states=states, pixels=seen, every=every)

    def cost_gradient(self, start, objective, actions):
        """Of the squared distance to (5, 5) at the end, whatever the objective."""
        end = start + (self.gain * np.asarray(actions, float)).sum(axis=1)
        costs = np.square(end - 5.0).sum(axis=-1)
        return costs, np.broadcast_to((2.0 * self.gain * (end - 5.0))[:, None], actions.shape)


def members_of(candidates, simulators, objective):
    return np.stack([objective(one.rollout(np.zeros(2), candidates)) for one in simulators])


@given(penalty=st.floats(-2.0, 5.0), seed=st.integers(0, 1000))
def test_costs_are_the_mean_plus_penalty_times_the_deviation(penalty, seed):
    simulators = [Drift(1.0), Drift(2.0), Drift([1.0, -1.0])]
    objective, candidates = PixelDistance([3.0, 4.0]), np.random.default_rng(seed).normal(size=(6, 4, 2))
    ensemble = Ensemble(simulators, penalty=penalty)
    start = ensemble.start(None, None, None, pixels=[[0.0, 0.0]])
    costs = cost_function(ensemble, start, objective)(candidates)
    each = members_of(candidates, simulators, objective).astype(float)
    np.testing.assert_allclose(costs, each.mean(axis=0) + penalty * each.std(axis=0), rtol=1e-5, atol=1e-6)


@given(share=st.floats(0.01, 0.99), seed=st.integers(0, 1000), penalty=st.floats(0.0, 2.0))
def test_a_second_opinion_is_asked_for_the_best_alone(share, seed, penalty):
    """The first member judges all, the other the best share; those cost what both say and come before the rest."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, 12))
    first[rng.random(12) < 0.1] = np.nan
    asked = []

    def other(candidates):
        asked.append(candidates[:, 0, 0].astype(int))
        return second[asked[-1]]

    candidates = np.arange(12.0).reshape(12, 1, 1)
    costs = EnsembleCost([lambda candidates: first, other], penalty, share)(candidates)
    order = np.argsort(np.where(np.isnan(first), np.inf, first), kind="stable")
    count = int(np.ceil(share * 12))
    np.testing.assert_array_equal(np.concatenate(asked), order[:count])
    judged = [index for index in order[:count] if np.isfinite(first[index])]
    rest = [index for index in order[count:] if np.isfinite(first[index])]
    both = np.stack([first, second])[:, judged]
    np.testing.assert_allclose(costs[judged], both.mean(axis=0) + penalty * both.std(axis=0))
    if judged and rest:
        assert costs[rest].min() >= costs[judged].max()
        np.testing.assert_allclose(np.diff(costs[rest]), np.diff(first[rest]), atol=1e-12)
    assert not np.isnan(costs).any() and np.isinf(costs[np.isnan(first)]).all()


def test_members_that_agree_are_as_one():
    ensemble, objective = Ensemble([Drift(1.5), Drift(1.5)], penalty=7.0), PixelDistance([3.0, 4.0])
    candidates = np.random.default_rng(0).normal(size=(6, 4, 2))
    start = ensemble.start(None, None, None, pixels=[[0.0, 0.0]])
    alone = objective(Drift(1.5).rollout(np.zeros(2), candidates))
    np.testing.assert_allclose(cost_function(ensemble, start, objective)(candidates), alone, rtol=1e-5)


@pytest.mark.parametrize(("penalty", "second"), [(0.0, 1.0), (0.5, 1.0), (2.0, -1.0)])
def test_a_planner_leaves_what_the_members_disagree_about(penalty, second):
    """Action 0 gains 1 for sure; action 1 gains 0 or 2: on average as much, and its deviation is as large."""
    cost = EnsembleCost(
        [lambda c: 4.0 - c[:, 0, 0], lambda c: 2.0 - c[:, 0, 0] - 2.0 * c[:, 0, 1]],
        penalty,
    )
    plan = CEM(horizon=1, num_candidates=100, num_iterations=8).plan(cost, BOX, rng=np.random.default_rng(0))
    np.testing.assert_allclose(plan.actions[0], [1.0, second], atol=0.05)


def test_a_member_that_fails_makes_the_candidate_lose():
    cost = EnsembleCost([lambda c: np.array([1.0, np.nan, 3.0]), lambda c: np.array([2.0, 2.0, 3.0])], 1.0)
    costs = cost(np.zeros((3, 1, 2)))
    np.testing.assert_allclose(costs[[0, 2]], [2.0, 3.0])
    assert not np.isfinite(costs[1])


@given(penalty=st.floats(0.0, 3.0), seed=st.integers(0, 1000))
def test_gradients_are_those_of_finite_differences(penalty, seed):
    ensemble = Ensemble([Drift(1.0), Drift(2.0), Drift([1.0, -1.0])], penalty=penalty)
    cost = cost_function(ensemble, ensemble.start(None, None, None, pixels=[[0.0, 0.0]]), PixelDistance([5, 5]))
    candidates = np.random.default_rng(seed).uniform(-1, 1, (3, 4, 2))
    costs, gradients = cost.gradient(candidates)
    for index in np.ndindex(4, 2):
        step = np.zeros((1, 4, 2))
        step[(0, *index)] = 1e-3
        slope = (cost.gradient(candidates + step)[0] - cost.gradient(candidates - step)[0]) / 2e-3
        # A simulator is asked in float32, hence the tolerance.
        np.testing.assert_allclose(gradients[(slice(None), *index)], slope, rtol=0.02, atol=0.1)
    assert costs.shape == (3,)


def test_gradient_descent_plans_through_an_ensemble_and_is_refused_where_a_member_has_no_gradient():
    ensemble = Ensemble([Drift(1.0), Drift(1.2)])
    start = ensemble.start(None, None, None, pixels=[[2.0, 2.0]])
    cost = cost_function(ensemble, start, PixelDistance([5, 5]))
    plan = GradientDescent(horizon=4).plan(cost, BOX, rng=np.random.default_rng(0))
    assert cost.gradient(plan.actions[None])[0][0] < cost.gradient(np.zeros((1, 4, 2)))[0][0] / 10.0
    rigid = Ensemble([Drift(1.0), Drift(1.2, smooth=False)])
    with pytest.raises(ValueError, match="has no gradient"):
        GradientDescent(horizon=4).plan(
            cost_function(rigid, start, PixelDistance([5, 5])), BOX, rng=np.random.default_rng(0)
        )


def test_rollouts_are_the_members_mean_also_when_they_leap():
    ensemble = Ensemble([Drift(1.0, stride=2), Drift(3.0, stride=2)])
    assert ensemble.stride == 2
    start = ensemble.start(None, None, None, pixels=[[0.0, 0.0]])
    actions = np.ones((2, 4, 2))
    rollout = ensemble.rollout(start, actions, outputs=("states", "pixels"), every=2)
    np.testing.assert_allclose(rollout.pixels[:, :, 0], np.broadcast_to([[4.0], [8.0]], (2, 2, 2)))
    np.testing.assert_allclose(rollout.states[0, :, 0], [2.0, 4.0, 6.0, 8.0])
    assert rollout.every == 2


def test_a_controller_takes_an_ensemble_as_its_simulator():
    controller = MPC(
        Ensemble([Drift(1.0), Drift(1.1)]),
        CEM(horizon=4, num_candidates=40, num_elites=5),
        PixelDistance([5.0, 8.0]),
        action_space=BOX,
        rng=0,
    )
    action = controller.act({"image": np.zeros((16, 16, 3), np.uint8)}, pixels=[[5.0, 2.0]])
    assert action[1] > 0.5
    assert BOX.contains(action)


@pytest.mark.parametrize(
    ("simulators", "penalty", "message"),
    [
        ([Drift(1.0)], 1.0, "two or more simulators"),
        ([Drift(1.0), Drift(1.0, stride=5)], 1.0, r"strides \[1, 5\]"),
        ([Drift(1.0), Drift(1.0)], float("nan"), "penalty must be a finite number"),
    ],
)
def test_what_is_no_ensemble_is_refused(simulators, penalty, message):
    with pytest.raises(ValueError, match=message):
        Ensemble(simulators, penalty=penalty)
