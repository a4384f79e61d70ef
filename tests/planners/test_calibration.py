"""Rank correlation against SciPy and by its laws; judging decisions in a world where the truth is known."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from visual_foresight.planners.objectives import ActionMagnitude, PixelDistance, WeightedSum
from visual_foresight.planners.objectives.calibration import (
    Judgement,
    RankCorrelation,
    calibrate,
    candidates_to_judge,
    judge,
    judge_decision,
    rank_correlation,
    remaining_distances,
)
from visual_foresight.rollout import Rollout

few_values = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=30)  # many ties


@given(pairs=few_values)
def test_correlation_is_spearmans_also_with_ties(pairs):
    costs, distances = np.array(pairs, float).T
    if np.ptp(costs) == 0 or np.ptp(distances) == 0:
        assert np.isnan(rank_correlation(costs, distances))
    else:
        assert rank_correlation(costs, distances) == pytest.approx(spearmanr(costs, distances).statistic, abs=1e-12)


@given(pairs=few_values)
def test_only_the_order_counts(pairs):
    costs, distances = np.array(pairs, float).T
    found = rank_correlation(costs, distances)
    np.testing.assert_allclose(rank_correlation(np.exp(costs) - 7.0, distances), found)
    np.testing.assert_allclose(rank_correlation(-costs, distances), -found)


def test_a_cost_that_is_not_finite_ranks_last():
    distances = np.array([1.0, 2.0, 3.0])
    assert rank_correlation(np.array([0.0, 5.0, np.nan]), distances) == pytest.approx(1.0)
    assert rank_correlation(np.array([0.0, 5.0, -np.inf]), distances) == pytest.approx(1.0)


def some_judgements(num_decisions, noise, seed=0, num_candidates=12):
    rng = np.random.default_rng(seed)
    for _ in range(num_decisions):
        distances = rng.uniform(0, 20, num_candidates)
        yield Judgement({"cost": distances + noise * rng.normal(size=num_candidates)}, distances)


def test_interval_holds_the_true_mean_about_as_often_as_it_says():
    """100 small experiments; the mean over very many decisions is the truth."""
    truth = calibrate(list(some_judgements(4000, 8.0)), rng=np.random.default_rng(0), num_resamples=2)["cost"].value
    hits = 0
    for seed in range(100):
        found = calibrate(list(some_judgements(20, 8.0, seed + 1)), rng=np.random.default_rng(seed), num_resamples=200)
        hits += found["cost"].low <= truth <= found["cost"].high
    assert 82 <= hits <= 99


def test_same_seed_same_interval_and_counts_are_told():
    judgements = [*some_judgements(5, 3.0), Judgement({"cost": np.arange(4.0)}, np.ones(4))]
    first, again = (calibrate(judgements, rng=np.random.default_rng(3))["cost"] for _ in range(2))
    assert first == again
    assert first.low <= first.value <= first.high
    assert (first.num_decisions, first.num_tied, first.num_candidates) == (5, 1, 60)


def test_decisions_that_say_nothing_give_no_number():
    tied = Judgement({"cost": np.arange(4.0)}, np.ones(4))
    found = calibrate([tied], rng=np.random.default_rng(0))["cost"]
    assert np.isnan(found.value)
    assert found.to_json()["value"] is None
    assert RankCorrelation(0.5, 0.25, 0.75, 1, 0, 4).to_json()["value"] == 0.5


def test_candidates_are_compared_within_their_decision_only():
    """Each decision is ordered perfectly, the two together are not: the far one is cheap."""
    near, far = np.array([1.0, 2.0, 3.0]), np.array([11.0, 12.0, 13.0])
    apart = [Judgement({"cost": near + 100.0}, near), Judgement({"cost": far}, far)]
    assert calibrate(apart, rng=np.random.default_rng(0))["cost"].value == pytest.approx(1.0)
    together = [Judgement.join(apart)]
    assert calibrate(together, rng=np.random.default_rng(0))["cost"].value < 0.0


def test_terms_are_judged_beside_the_whole():
    rng = np.random.default_rng(0)
    rollout = Rollout(rng.normal(size=(9, 4, 2)), pixels=rng.uniform(0, 60, (9, 4, 1, 2)))
    objective = WeightedSum({"pixel": PixelDistance([30, 30]), "size": ActionMagnitude()}, {"size": 0.1})
    distances = remaining_distances(rollout, np.array([30.0, 30.0]))
    found = judge(objective, rollout, distances)
    assert set(found.costs) == {"cost", "pixel", "size"}
    np.testing.assert_allclose(found.costs["pixel"] + found.costs["size"], found.costs["cost"], rtol=1e-5)
    assert set(judge(PixelDistance([30, 30]), rollout, distances).costs) == {"cost"}


def test_a_perfect_model_is_calibrated_and_a_mirrored_one_is_not(disc_world):
    """The finger pushes the disc; the mirrored simulator believes that every action goes the other way."""
    world = disc_world([30.0, 20.0], [30.0, 26.0])
    start = (world.finger, world.disc)

    class Mirrored(disc_world):
        def rollout(self, start, actions, outputs=("states", "pixels")):
            return super().rollout(start, -actions, outputs)

    space, goal = world.action_space, np.array([30.0, 45.0])
    candidates = candidates_to_judge(
        np.tile([0.0, 1.0], (6, 1)), space, rng=np.random.default_rng(0), num_candidates=40, action_repeat=3
    )
    truth = {"true_simulator": world, "true_start": start, "goals": goal}
    objective = PixelDistance(goal, terminal_weight=1e6)
    honest = judge_decision(objective, world, start, candidates, **truth)
    mirrored = judge_decision(objective, Mirrored([0, 0], [0, 0]), start, candidates, **truth)
    np.testing.assert_allclose(honest.costs["cost"], honest.distances, rtol=1e-4)
    assert calibrate([honest], rng=np.random.default_rng(0))["cost"].value > 0.99
    assert calibrate([mirrored], rng=np.random.default_rng(0))["cost"].value < 0.0


def test_candidates_to_judge_hold_the_plan_and_stay_inside():
    space = spaces.Box(-0.5, 1.0, (2,), np.float32)
    plan = np.full((7, 2), 0.25, np.float32)
    found = candidates_to_judge(plan, space, rng=np.random.default_rng(0), num_candidates=10, action_repeat=3)
    assert found.shape == (10, 7, 2)
    np.testing.assert_array_equal(found[0], plan)
    assert np.all((found >= -0.5) & (found <= 1.0))
    assert np.all(found[:, 0] == found[:, 2])
    near, far = np.abs(found[2::2] - plan).mean(), np.abs(found[1::2] - plan).mean()
    assert near < far


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Judgement({"cost": np.zeros(3)}, np.zeros(4)), r"must all be \[K\]"),
        (lambda: Judgement({}, np.zeros(4)), r"must all be \[K\]"),
        (lambda: Judgement.join([]), "same terms"),
        (lambda: rank_correlation(np.zeros(3), np.array([0, 1, np.nan])), "finite distances"),
        (lambda: calibrate([], rng=np.random.default_rng(0)), "calibrate needs decisions"),
        (lambda: remaining_distances(Rollout(np.zeros((1, 2, 2))), [1, 2]), "need exact pixels"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
