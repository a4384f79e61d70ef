"""What other objectives would say of the same futures."""

import gymnasium
import numpy as np
import pytest

from visual_foresight.benchmark import alternatives
from visual_foresight.benchmark.judging import judge_plan, rank_correlations
from visual_foresight.benchmark.methods import goal_pixel, make_imagination, make_pilot
from visual_foresight.benchmark.settings import ControlSettings
from visual_foresight.cli.control import DEFAULT_ENVIRONMENT

SMALL = ControlSettings(steps=3, candidates=8, iterations=1, elites=2, horizon=6, action_repeat=3)
OF_PIXELS = {"pixel, no blur", "pixel, last step"}
OF_PICTURES = {"goal image", "goal image, masked"}


@pytest.fixture
def environment():
    import visual_foresight  # noqa: F401  registers the environments

    made = gymnasium.make(DEFAULT_ENVIRONMENT)
    yield made
    made.close()


def decide(environment, method, task, preset=""):
    observation, info = environment.reset(options={"task": task})
    pilot = make_pilot(environment.unwrapped, make_imagination(method, environment, str(preset)), task, SMALL, 0)
    pilot.act(observation, pixels=info["object_pixels"][task.object_index][None])
    return pilot


@pytest.mark.parametrize(
    ("method", "others"),
    [
        ("learned", OF_PIXELS | OF_PICTURES),
        ("copy", OF_PIXELS | OF_PICTURES),
        ("true", OF_PIXELS),
        ("true-state", set()),
    ],
)
def test_each_method_is_judged_by_what_it_predicts(method, others, environment, task, tiny_predictor):
    pilot = decide(environment, method, task, tiny_predictor)
    judgement = judge_plan(environment, pilot, task, SMALL, 0)
    assert set(judgement["costs"]) == {"cost", "distance", "approach"} | others
    assert {len(values) for values in judgement["costs"].values()} == {32}


def test_with_the_physics_the_last_step_orders_futures_as_the_truth_does(environment, task):
    """It is the true remaining distance, all but the smooth norm."""
    pilot = decide(environment, "true", task)
    judgement = judge_plan(environment, pilot, task, SMALL, 0)
    for _ in range(30):  # until some candidates touch the object
        if np.ptp(judgement["distances"]) > 1.0:
            break
        observation, *_, info = environment.step(pilot.last_plan.actions[0])
        pilot.reset()
        pilot.act(observation, pixels=info["object_pixels"][task.object_index][None])
        judgement = judge_plan(environment, pilot, task, SMALL, 0)
    costs = judgement["costs"]["pixel, last step"]
    np.testing.assert_allclose(costs, judgement["distances"], atol=0.05)
    found = rank_correlations([{"judgements": [judgement]}])
    assert found["pixel, last step"]["value"] > 0.98


def test_the_goal_picture_shows_the_object_at_its_goal_and_all_else_where_it_is(environment, task):
    pilot = decide(environment, "copy", task)
    env = environment.unwrapped
    before = env.save_state()
    present, goal = alternatives._pictures(env, pilot, task)
    np.testing.assert_array_equal(present, env.draw(env.physics))
    np.testing.assert_equal(env.save_state(), before)
    changed = np.argwhere(np.abs(goal.astype(int) - present).max(axis=-1) > 8)
    places = np.stack([env.camera.project(np.array([*task.scene().objects[task.object_index].position, 0.02]))])
    for place in (*places, goal_pixel(env, task)):
        assert np.linalg.norm(changed - place, axis=1).min() < 3.0
    assert len(changed) < 0.2 * 64 * 64
    row, column = np.round(goal_pixel(env, task)).astype(int)
    colour = present[tuple(np.round(places[0]).astype(int))]
    np.testing.assert_allclose(goal[row, column], colour, atol=40)
