"""What the learned simulator and its environments refuse, and what they keep to themselves."""

import random
from dataclasses import replace

import gymnasium
import numpy as np
import pytest

import visual_foresight as vf
from visual_foresight.envs.learned import LearnedPushVectorEnv
from visual_foresight.planners.objectives import PixelDistance


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": np.zeros((2, 32, 32, 3), np.uint8)}, r"frames must be \[C, 64, 64, 3\]"),
        ({"frames": np.full((2, 64, 64, 3), 255.0)}, "divide bytes by 255"),
        ({"actions": None}, r"actions \[1, 2\] are needed"),
        ({"actions": np.zeros((2, 2))}, r"actions must be \[1, 2\]"),
        ({"states": np.full((2, 2), np.nan)}, "states contain values that are not finite"),
        ({"pixels": [(64, 3)]}, "must lie inside the 64x64 image"),
        ({"pixel_distributions": np.zeros((1, 64, 64))}, "each must have some mass"),
        ({"pixels": [(1, 1)], "pixel_distributions": np.ones((1, 64, 64))}, "not both"),
    ],
)
def test_a_start_says_what_is_wrong_with_its_context(simulator, context, change, message):
    with pytest.raises(ValueError, match=message):
        simulator.start(**{**context, **change})


@pytest.mark.parametrize("dtype", [np.int64, bool, np.complex64, object])
def test_frames_are_bytes_or_floats(simulator, context, dtype):
    frames = np.zeros(context["frames"].shape, dtype)
    with pytest.raises(ValueError, match=r"frames must be uint8, or float in \[0, 1\]"):
        simulator.start(**{**context, "frames": frames})
    with pytest.raises(ValueError, match="lists of different lengths"):
        simulator.start(**{**context, "frames": [[1], [1, 2]]})


@pytest.mark.parametrize(
    ("actions", "outputs", "message"),
    [
        (np.zeros((2, 2)), ("states",), r"actions must be \[K, T, 2\]"),
        (np.zeros((2, 3, 3)), ("states",), r"actions must be \[K, T, 2\]"),
        (np.full((1, 1, 2), np.inf), ("states",), "not finite"),
        (np.full((1, 1, 2), -1e30), ("states",), r"actions contain -1e\+30, beyond 1e\+12: .*check the units"),
        (np.zeros((1, 1, 2)), ("frame",), "unknown rollout outputs"),
    ],
)
def test_a_rollout_says_what_is_wrong_with_its_arguments(simulator, start, actions, outputs, message):
    with pytest.raises(ValueError, match=message):
        simulator.rollout(start, actions, outputs)


@pytest.mark.parametrize("stride", [1, 3])
def test_a_robot_without_sensors_needs_no_states(context, stride):
    """Zeros stood for its states in training, as the predictor's notes say; without the note they are asked for."""
    sizes = {"stride": 3, "context_frames": 1} if stride == 3 else {}
    predictor = vf.VideoPredictor(
        vf.PredictorConfig(backbone="fast", action_size=2, state_size=1, num_masks=2, width=0.25, **sizes)
    )
    known = {name: context[name] for name in ("frames", "actions")}
    with pytest.raises(ValueError, match=r"states \[2, 1\] are needed"):
        vf.LearnedSimulator(predictor).start(**known)
    predictor.metadata["training"] = {"data": {"absent": ["states"]}}
    start = vf.LearnedSimulator(predictor).start(**known)
    assert not start.state.any() and start.state.shape == (1, 1)


def test_a_predictor_of_images_alone_needs_no_actions(context):
    predictor = vf.VideoPredictor(vf.PredictorConfig(backbone="fast", use_state=False, num_masks=2, width=0.25))
    start = vf.LearnedSimulator(predictor).start(context["frames"])
    assert start.num_scenes == 1


def test_a_name_is_no_predictor():
    with pytest.raises(TypeError, match="from_preset"):
        vf.LearnedSimulator("push_fast")


def test_a_start_of_another_predictor_is_refused(simulator, start, actions):
    with pytest.raises(TypeError, match="expected a start"):
        simulator.rollout(None, actions)
    other = replace(start, frame=np.zeros((1, 24, 64, 3), np.float32))
    with pytest.raises(ValueError, match="another predictor: 24x64"):
        simulator.rollout(other, actions)
    with pytest.raises(ValueError, match="another predictor"):
        simulator.advance(replace(start, state=np.zeros((1, 9), np.float32)), actions[:1, 0])


def test_a_start_of_other_weights_is_refused(predictor, simulator, start, context, actions, folder):
    """It would be read as if this network had encoded it; a copy of this network has."""
    other = vf.LearnedSimulator(vf.VideoPredictor(predictor.config))
    theirs = other.start(**context)
    for scenes in (theirs, theirs.on_device(), theirs.select(0), theirs.stack([theirs, theirs])):
        with pytest.raises(ValueError, match="the start is of another predictor, or of other weights"):
            simulator.rollout(scenes, actions[:4])
    with pytest.raises(ValueError, match="of another predictor, or of other weights"):
        simulator.advance(theirs, actions[:1, 0])
    with pytest.raises(ValueError, match="the scenes are of several predictors"):
        theirs.stack([theirs, simulator.start(**context)])
    copied = vf.LearnedSimulator(vf.VideoPredictor.load(folder))
    following = copied.advance(copied.start(**context), actions[:1, 0])
    np.testing.assert_array_equal(
        simulator.rollout(following, actions[:, 1:]).states, copied.rollout(following, actions[:, 1:]).states
    )


def test_no_pixels_no_gradient_of_their_distance(simulator, context, actions):
    start = simulator.start(**context)
    with pytest.raises(ValueError, match="the objective reads designated pixels, the start has none"):
        simulator.cost_gradient(start, PixelDistance([3.0, 4.0]), actions[:, :3])
    with pytest.raises(ValueError, match="must be a multiple of every=True"):
        simulator.rollout(start, actions, every=True)


def test_two_runs_of_imagined_scenes_are_alike(folder):
    """Whatever seeds are, also what begins anew by itself."""

    def pictures(seed):
        many = LearnedPushVectorEnv(2, folder, max_episode_steps=1)
        many.reset(seed=seed)
        found = np.stack([many.step(np.zeros((2, 2), np.float32))[0]["image"] for _ in range(3)])
        many.close()
        return found

    for seed in (3, np.int64(3), [3, 8], np.array([3, 8])):
        np.testing.assert_array_equal(pictures(seed), pictures(seed))
    with pytest.raises(ValueError, match="render_mode must be None or 'rgb_array', got 'human'"):
        LearnedPushVectorEnv(2, folder, render_mode="human")


@pytest.mark.parametrize("index, error", [(1, IndexError), (-2, IndexError), (0.5, TypeError)])
def test_a_scene_that_is_not_there_cannot_be_selected(start, index, error):
    with pytest.raises(error):
        start.select(index)
    np.testing.assert_array_equal(start.select(-1).frame, start.frame)


def test_a_rollout_keeps_its_own_actions(simulator, start, actions):
    given = actions.copy()
    rollout = simulator.rollout(start, given)
    given += 1
    np.testing.assert_array_equal(rollout.actions, actions)


def test_huge_maps_still_sum_to_one(simulator, context):
    start = simulator.start(**context, pixel_distributions=np.full((1, 64, 64), 3e38, np.float32))
    np.testing.assert_allclose(start.pixel_distributions.sum(), 1.0, rtol=1e-5)


def test_futures_of_the_wrapper_are_clipped_as_its_steps_are(folder, context):
    environment = gymnasium.make("VisualForesight/LearnedPush-v0", preset=str(folder)).unwrapped
    environment.reset(options=context)
    wild = np.full((1, 3, 2), 3.0, np.float32)
    imagined = environment.rollout(None, wild)
    for step in range(3):
        observation, *_ = environment.step(wild[0, step])
        np.testing.assert_allclose(imagined.states[0, step], observation["state"], atol=1e-5)


def test_loading_leaves_pythons_random_numbers_alone(folder):
    before = random.getstate()
    vf.VideoPredictor.load(folder)
    assert random.getstate() == before


@pytest.mark.parametrize(
    "options, message",
    [
        ({"start": 2}, "'start' means nothing without 'episode'"),
        ({"actions": np.zeros((1, 2))}, "'actions' means nothing without 'frames'"),
        ({"episode": 1, "frames": 2}, "both"),
        ({"episode": 3}, "'episode' must be an Episode, got int"),
        ("abc", "must be a dictionary"),
    ],
)
def test_reset_options_that_contradict_each_other_are_refused(folder, options, message):
    environment = gymnasium.make("VisualForesight/LearnedPush-v0", preset=str(folder)).unwrapped
    with pytest.raises(ValueError, match=message):
        environment.reset(options=options)


@pytest.mark.parametrize("source", ["CartPole-v1", "VisualForesight/Push-v0"])
def test_a_source_of_another_robot_is_refused(folder, source):
    """Its observations would be shown to a predictor that knows others."""
    options = {} if source == "CartPole-v1" else {"source_options": {"image_size": 32}}
    environment = gymnasium.make("VisualForesight/LearnedPush-v0", preset=str(folder), source=source, **options)
    with pytest.raises(ValueError, match=r"pass options=\{'episode'"):
        environment.reset()


def test_the_single_environment_is_the_simulator_that_planners_know(folder, simulator, context):
    """All that planners ask for, so that planning through it is planning with the simulator."""
    from visual_foresight.planners import CEM
    from visual_foresight.planners.objectives import PixelDistance
    from visual_foresight.planners.simulation import cost_function

    environment = gymnasium.make("VisualForesight/LearnedPush-v0", preset=str(folder)).unwrapped
    start = simulator.start(**context, pixels=[(20, 30)])
    objective = PixelDistance([[40, 20]])
    plans = [
        CEM(horizon=6, num_candidates=16, num_elites=4, num_iterations=2).plan(
            cost_function(one, start, objective), environment.action_space, rng=np.random.default_rng(0)
        )
        for one in (environment, simulator)
    ]
    np.testing.assert_allclose(plans[0].actions, plans[1].actions, atol=1e-5)
    assert environment.stride == simulator.stride and environment.drafts == simulator.drafts
    costs, gradients = environment.cost_gradient(start, objective, np.zeros((2, 3, 2), np.float32))
    assert costs.shape == (2,) and gradients.shape == (2, 3, 2)


@pytest.mark.parametrize("steps", [0, -1, 1.5])
def test_an_episode_has_at_least_a_step(folder, steps):
    with pytest.raises(ValueError, match="max_episode_steps"):
        gymnasium.make_vec("VisualForesight/LearnedPush-v0", num_envs=2, preset=str(folder), max_episode_steps=steps)


def test_costs_of_the_wrapper_are_those_of_clipped_actions(folder, context):
    from visual_foresight.planners.objectives import PixelDistance

    environment = gymnasium.make("VisualForesight/LearnedPush-v0", preset=str(folder)).unwrapped
    environment.reset(options={**context, "pixels": [(20, 30)]})
    cost = environment.cost_function(None, PixelDistance([[40, 20]]))
    wild = np.random.default_rng(0).uniform(-3, 3, (4, 6, 2)).astype(np.float32)
    np.testing.assert_allclose(cost(wild), cost(wild.clip(-1, 1)), rtol=1e-5)
    for found, expected in zip(cost.gradient(wild), cost.gradient(wild.clip(-1, 1)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_search_through_the_wrapper_is_one_call_where_that_of_the_simulator_is(folder, context, monkeypatch):
    """Where costs are computed on the device, after the rehearsals of a benchmark; not beyond the Box."""
    from visual_foresight import tensor_cost
    from visual_foresight.benchmark.simulators import num_rehearsals
    from visual_foresight.kept_by_kind import KeptByKind
    from visual_foresight.planners import CEM
    from visual_foresight.planners.objectives import PixelDistance

    monkeypatch.setattr(tensor_cost, "_JUDGES", KeptByKind(32))  # no objective was here before
    environment = gymnasium.make("VisualForesight/LearnedPush-v0", preset=str(folder)).unwrapped
    environment.reset(options={**context, "pixels": [(20, 30)]})
    environment.simulator.costs_on_device = False
    planner = CEM(horizon=3, num_candidates=12, num_elites=4, num_iterations=2)

    def plan(goal, space=environment.action_space):
        cost = environment.cost_function(None, PixelDistance([goal]))
        return planner.plan(cost, space, rng=np.random.default_rng(0))

    expected = plan([25.0, 33.0])
    assert num_rehearsals(environment) == 1
    environment.simulator.costs_on_device = True
    for rehearsal in range(num_rehearsals(environment)):
        assert not environment.simulator.searches
        plan([40.0, 20.0 + rehearsal])
    assert len(environment.simulator.searches) == 1
    monkeypatch.setattr(type(environment.simulator), "futures", None)  # would fail if it were called
    np.testing.assert_allclose(plan([25.0, 33.0]).actions, expected.actions, atol=1e-4)
    with pytest.raises(TypeError):
        plan([25.0, 33.0], gymnasium.spaces.Box(-2.0, 2.0, (2,), np.float32))
