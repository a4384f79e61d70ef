"""The learned simulator: its laws, and its agreement with stepping the gymnasium wrappers."""

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import visual_foresight as vf
from visual_foresight import unrolling
from visual_foresight.chunks import filled_size
from visual_foresight.compiled_gradients import CompiledGradients
from visual_foresight.frames import to_float, to_uint8
from visual_foresight.planners.objectives import PixelDistance
from visual_foresight.planners.objectives.maps import expected_pixels
from visual_foresight.planners.simulation import SimulatedCost
from visual_foresight.predictor.fusing import fuses
from visual_foresight.simulator import SimulatorStart, pixel_maps

OUTPUTS = ("frames", "states", "pixel_distributions", "pixels")


def test_a_rollout_has_the_promised_shapes_and_maps_that_sum_to_one(simulator, start, actions):
    rollout = simulator.rollout(start, actions, OUTPUTS)
    assert rollout.frames.shape == (5, 4, 64, 64, 3)
    assert rollout.states.shape == (5, 4, 2)
    assert rollout.pixel_distributions.shape == (5, 4, 2, 64, 64)
    assert rollout.frames.min() >= 0 and rollout.frames.max() <= 1
    np.testing.assert_allclose(rollout.pixel_distributions.sum((3, 4)), 1, atol=1e-5)
    np.testing.assert_array_equal(rollout.actions, actions)


def test_pixels_are_the_expected_positions_of_the_maps(simulator, start, actions):
    rollout = simulator.rollout(start, actions, OUTPUTS)
    rows, columns = np.mgrid[:64, :64]
    expected = np.stack([(rollout.pixel_distributions * axis).sum((3, 4)) for axis in (rows, columns)], axis=-1)
    np.testing.assert_allclose(rollout.pixels, expected, atol=1e-3)


def test_a_rollout_equals_unrolling_the_predictor_itself(predictor, simulator, context, start, actions):
    rollout = simulator.rollout(start, actions)
    frames = to_float(context["frames"])
    for candidate in range(2):
        taken = np.concatenate([context["actions"], actions[candidate]])[None]
        padded = np.concatenate([frames, np.zeros((4, 64, 64, 3), np.float32)])[None]
        states = np.concatenate([context["states"], np.zeros((4, 2), np.float32)])[None]
        prediction = predictor.predict_frames(padded, taken, states, context_frames=2)
        np.testing.assert_allclose(rollout.frames[candidate], prediction.frames[0, 1:].clip(0, 1), atol=1e-5)
        np.testing.assert_allclose(rollout.states[candidate], prediction.states[0, 1:], atol=1e-5)


@pytest.mark.parametrize("budget", [4.2, 8.4, 64.0])
def test_a_rollout_does_not_depend_on_its_batch_or_chunk(predictor, simulator, start, actions, budget):
    whole = simulator.rollout(start, actions, OUTPUTS)
    small = vf.LearnedSimulator(predictor, memory_budget_mb=budget)
    chunked = small.rollout(start, actions[::-1], OUTPUTS)
    alone = small.rollout(start, actions[2:3], OUTPUTS)
    for name in OUTPUTS:
        tolerance = 1e-3 if name == "pixels" else 1e-5
        np.testing.assert_allclose(getattr(chunked, name)[::-1], getattr(whole, name), atol=tolerance)
        np.testing.assert_allclose(getattr(alone, name), getattr(whole, name)[2:3], atol=tolerance)


def test_actions_matter_and_outputs_left_out_are_none(simulator, start, actions):
    rollout = simulator.rollout(start, actions, "states")
    assert rollout.frames is None and rollout.pixel_distributions is None
    assert np.abs(rollout.states[0] - rollout.states[1]).max() > 1e-3


def test_rollouts_equal_stepping_one_environment(folder, context, actions):
    env = gymnasium.make("VisualForesight/LearnedPush-v0", preset=str(folder)).unwrapped
    options = {**context, "pixels": [(20, 30)]}
    env.reset(seed=0, options=options)
    rollout = env.rollout(None, actions, OUTPUTS)
    for candidate in range(2):
        env.reset(seed=0, options=options)
        for time in range(actions.shape[1]):
            observation, reward, terminated, truncated, info = env.step(actions[candidate, time])
            np.testing.assert_allclose(env.current.frame[0].clip(0, 1), rollout.frames[candidate, time], atol=1e-5)
            np.testing.assert_array_equal(observation["image"], to_uint8(env.current.frame[0]))
            np.testing.assert_allclose(observation["state"], rollout.states[candidate, time], atol=1e-5)
            expected = rollout.pixel_distributions[candidate, time]
            np.testing.assert_allclose(info["pixel_distributions"], expected, atol=1e-5)
            assert (reward, terminated, truncated) == (0.0, False, False)
    env.close()


def test_many_environments_equal_one_and_take_one_network_call_for_a_step(folder, context, actions, monkeypatch):
    envs = gymnasium.make_vec("VisualForesight/LearnedPush-v0", num_envs=5, preset=str(folder))
    single = gymnasium.make("VisualForesight/LearnedPush-v0", preset=str(folder)).unwrapped
    single.reset(seed=0, options=context)
    rollout = single.rollout(None, actions, ("frames", "states"))
    envs.reset(seed=0, options=context)
    calls = []
    advance = envs.simulator.advance
    monkeypatch.setattr(envs.simulator, "advance", lambda *given: calls.append(1) or advance(*given))
    for time in range(actions.shape[1]):
        observations, *_ = envs.step(actions[:, time])
        np.testing.assert_allclose(envs.current.frame.clip(0, 1), rollout.frames[:, time], atol=1e-5)
        np.testing.assert_allclose(observations["state"], rollout.states[:, time], atol=1e-5)
    assert len(calls) == actions.shape[1]
    envs.close()


def test_a_rollout_at_the_stride_is_the_whole_rollout_seen_more_rarely(simulator, start):
    stride = simulator.stride
    actions = np.random.default_rng(5).uniform(-1, 1, (3, 2 * stride, 2)).astype(np.float32)
    whole = simulator.rollout(start, actions, OUTPUTS)
    seen = simulator.rollout(start, actions, OUTPUTS, every=stride)
    assert seen.every == stride
    np.testing.assert_allclose(seen.states, whole.states, atol=1e-5)
    for name in ("frames", "pixel_distributions", "pixels"):
        tolerance = 1e-3 if name == "pixels" else 1e-5
        expected = getattr(whole, name)[:, stride - 1 :: stride]
        np.testing.assert_allclose(getattr(seen, name), expected, atol=tolerance)
    rarely = simulator.rollout(start, actions, ("pixels", "states"), every=2 * stride)
    np.testing.assert_allclose(rarely.pixels, whole.pixels[:, -1:], atol=1e-3)
    assert rarely.states.shape == whole.states.shape
    with pytest.raises(ValueError, match="must be a multiple of every=5"):
        simulator.rollout(start, actions[:, :1], OUTPUTS, every=5)


@pytest.mark.parametrize("leaps", [2, 7], ids=["written out", "in a loop"])
def test_a_draft_differs_a_little_and_only_where_nobody_looks(simulator, start, leaps):
    """Its first leap sees the true frame; whoever asks for frames or for every step gets them in full."""
    stride = simulator.stride
    actions = np.random.default_rng(12).uniform(-1, 1, (3, leaps * stride, 2)).astype(np.float32)
    outputs = ("states", "pixel_distributions")
    whole = simulator.rollout(start, actions, OUTPUTS, every=stride)
    draft = simulator.rollout(start, actions, outputs, every=stride, draft=True)
    np.testing.assert_allclose(draft.states, whole.states, atol=1e-5)
    assert draft.pixel_distributions.shape == whole.pixel_distributions.shape
    np.testing.assert_allclose(draft.pixel_distributions.sum(axis=(-2, -1)), 1.0, atol=1e-4)
    apart = np.linalg.norm(
        expected_pixels(draft.pixel_distributions) - expected_pixels(whole.pixel_distributions), axis=-1
    )
    assert 1e-4 < apart[:, 0].max() < 0.2 and apart.max() < 2.0, "px"
    pixels = simulator.rollout(start, actions, ("pixels",), every=stride, draft=True).pixels
    np.testing.assert_allclose(pixels, expected_pixels(draft.pixel_distributions), atol=1e-3)
    looked_at = simulator.rollout(start, actions, OUTPUTS, every=stride, draft=True)
    np.testing.assert_array_equal(looked_at.frames, whole.frames)
    np.testing.assert_array_equal(looked_at.pixel_distributions, whole.pixel_distributions)


@pytest.mark.parametrize("outputs", [("pixel_distributions", "states"), OUTPUTS], ids=["no frames", "all"])
def test_candidates_that_run_side_by_side_are_those_that_run_alone(simulator, start, outputs):
    stride = simulator.stride
    actions = np.random.default_rng(11).uniform(-1, 1, (110, 2 * stride, 2)).astype(np.float32)
    assert len(unrolling._parts(filled_size(len(actions)))) == (2 if fuses() else 1)
    many = simulator.rollout(start, actions, outputs, every=stride)
    for first in (0, 54, 105):  # in the first part, across its end, in the padding's part
        few = simulator.rollout(start, actions[first : first + 5], outputs, every=stride)
        for name in outputs:
            tolerance = 1e-3 if name == "pixels" else 1e-5
            np.testing.assert_allclose(
                getattr(many, name)[first : first + 5], getattr(few, name), atol=tolerance, err_msg=name
            )


def test_a_rollout_from_the_middle_of_a_leap_goes_on_with_it(simulator, start):
    actions = np.random.default_rng(6).uniform(-1, 1, (1, 6, 2)).astype(np.float32)
    whole = simulator.rollout(start, actions, OUTPUTS)
    middle = start
    for time in range(2):
        middle = simulator.advance(middle, actions[:, time])
    rest = simulator.rollout(middle, actions[:, 2:], OUTPUTS)
    for name in OUTPUTS:
        tolerance = 1e-3 if name == "pixels" else 1e-5
        np.testing.assert_allclose(getattr(rest, name), getattr(whole, name)[:, 2:], atol=tolerance)


def test_leaps_from_the_middle_of_one_begin_at_the_present_prediction(simulator, start):
    middle = simulator.advance(start, np.array([[0.3, -0.4]], np.float32))
    stride = simulator.stride
    actions = np.random.default_rng(7).uniform(-1, 1, (2, stride, 2)).astype(np.float32)
    from_there = simulator.rollout(middle, actions, ("frames",), every=stride)
    if stride == 1:
        expected = simulator.rollout(middle, actions, ("frames",))
    else:
        assert middle.leap.count == 1 and middle.rebased().leap.count == 0
        expected = simulator.rollout(middle.rebased(), actions, ("frames",), every=stride)
    np.testing.assert_allclose(from_there.frames, expected.frames, atol=1e-5)


def test_the_gradient_of_a_cost_is_its_slope(simulator, start):
    objective = PixelDistance([[30.0, 30.0]], indices=[0])
    actions = np.random.default_rng(8).uniform(-0.5, 0.5, (3, 6, 2)).astype(np.float32)
    cost = SimulatedCost(simulator, start, objective)
    costs, gradients = cost.gradient(actions)
    np.testing.assert_allclose(costs, cost(actions), rtol=1e-4)
    direction = np.random.default_rng(9).standard_normal(actions.shape).astype(np.float32)
    step = np.float32(1e-2)
    slope = (cost(actions + step * direction) - cost(actions - step * direction)) / (2 * step)
    expected = (gradients * direction).sum((1, 2))
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(expected, slope, rtol=0.1, atol=0.05 * np.abs(expected).max())


def test_a_new_goal_costs_no_new_gradient_function(simulator, start, monkeypatch):
    """Objectives of one kind share what was compiled, each with its own goal; what cannot be taken apart does not."""
    actions = np.random.default_rng(3).uniform(-1, 1, (2, 2 * simulator.stride, 2)).astype(np.float32)
    goals = ([3.0, 4.0], [11.0, 9.0])
    alone = []
    for goal in goals:
        monkeypatch.setattr(simulator, "_gradients", None)
        alone.append(simulator.cost_gradient(start, PixelDistance([goal], indices=[0]), actions))
    made = []
    compiled = CompiledGradients._compile
    monkeypatch.setattr(CompiledGradients, "_compile", lambda self, *how: made.append(how) or compiled(self, *how))
    monkeypatch.setattr(simulator, "_gradients", None)
    for goal, (costs, gradients) in zip(goals, alone, strict=True):
        found = simulator.cost_gradient(start, PixelDistance([goal], indices=[0]), actions)
        np.testing.assert_allclose(found[0], costs, rtol=1e-5)
        np.testing.assert_allclose(found[1], gradients, rtol=1e-4, atol=1e-5)
    assert len(made) == 1

    class Opaque(PixelDistance):
        """Says that it has no inputs, but holds what nobody can compare."""

        def __init__(self, goal):
            super().__init__([goal], indices=[0])
            self.anything = {1, 2}

    for _ in range(2):
        opaque = Opaque(goals[1])
        np.testing.assert_allclose(simulator.cost_gradient(start, opaque, actions)[0], alone[1][0], rtol=1e-5)
    assert len(made) == 3


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_learned_environment_passes_gymnasiums_checker(folder):
    from gymnasium.utils.env_checker import check_env

    env = gymnasium.make("VisualForesight/LearnedPush-v0", preset=str(folder), render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=1)
    assert env.render().shape == (64, 64, 3)
    env.close()


def test_scenes_of_a_vector_begin_anew_when_their_time_is_over(folder):
    envs = gymnasium.make_vec(
        "VisualForesight/LearnedPush-v0", num_envs=2, preset=str(folder), vector_kwargs={}, max_episode_steps=2
    )
    envs.reset(seed=4)
    still = np.zeros((2, 2), np.float32)
    assert not envs.step(still)[3].any()
    assert envs.step(still)[3].all()
    before = envs.current.frame.copy()
    _, _, _, truncated, _ = envs.step(still)
    assert not truncated.any()
    assert np.abs(envs.current.frame - before).max() > 0.1
    envs.close()


def test_an_episode_gives_the_context(folder, context):
    episode = vf.Episode(
        np.concatenate([context["frames"], context["frames"]]),
        np.zeros((3, 2), np.float32),
        np.zeros((4, 2), np.float32),
    )
    env = gymnasium.make("VisualForesight/LearnedPush-v0", preset=str(folder)).unwrapped
    observation, _ = env.reset(options={"episode": episode, "start": 1})
    np.testing.assert_array_equal(observation["image"], episode.frames[env.simulator.predictor.config.context_frames])
    for first in (4, 1.5):
        with pytest.raises(ValueError, match=f"from frame {first} does not fit an episode of 4 frames"):
            env.reset(options={"episode": episode, "start": first})
    with pytest.raises(ValueError, match="unknown reset options"):
        env.reset(options={"frame": 1})
    env.close()


@given(
    st.lists(st.tuples(st.floats(0, 31), st.floats(0, 47)), min_size=1, max_size=3),
)
@settings(max_examples=50, deadline=None)
def test_the_map_of_a_pixel_has_the_pixel_as_its_mean(pixels):
    maps = pixel_maps(pixels, (32, 48))
    rows, columns = np.mgrid[:32, :48]
    for (row, column), one in zip(pixels, maps, strict=True):
        assert one.sum() == pytest.approx(1, abs=1e-5)
        assert (one * rows).sum() == pytest.approx(row, abs=1e-3)
        assert (one * columns).sum() == pytest.approx(column, abs=1e-3)


@pytest.mark.parametrize("count", [1, 2])
def test_a_start_keeps_what_it_was_given(simulator, context, actions, count):
    """Robots write their readings into one array again and again."""
    given = {name: np.array(value[-count:]) for name, value in context.items() if name in ("frames", "states")}
    between = np.array(context["actions"][len(context["actions"]) - count + 1 :])
    start = simulator.start(given["frames"], between, given["states"], pixels=[(20.0, 30.0)])
    before = simulator.rollout(start, actions)
    for array in (between, *given.values()):
        array[...] = 0
    after = simulator.rollout(start, actions)
    np.testing.assert_array_equal(after.states, before.states)
    np.testing.assert_array_equal(after.frames, before.frames)


def test_stacked_scenes_come_apart_again(simulator, start, context):
    other = simulator.start(context["frames"][::-1], context["actions"], context["states"], pixels=[(1, 2), (3, 4)])
    both = SimulatorStart.stack([start, other])
    assert both.num_scenes == 2
    np.testing.assert_array_equal(both.select(1).frame, other.frame)
    np.testing.assert_array_equal(both.select(0).pixel_distributions, start.pixel_distributions)
