"""What controllers and planners do when something goes wrong: refuse in words, keep nothing half done."""

import numpy as np
import pytest
from gymnasium import spaces

from visual_foresight.planners import CEM, MPC, MPPI, AsynchronousMPC, RandomShooting
from visual_foresight.planners.controller_parts import goals_to_stop_at, objective_of
from visual_foresight.planners.ensemble import EnsembleCost
from visual_foresight.planners.objectives import (
    ActionMagnitude,
    ActionSmoothness,
    Approach,
    GoalImage,
    Homography,
    PixelDistance,
    RobotState,
    TemporalDistance,
    WeightedSum,
    register,
)
from visual_foresight.rollout import Rollout

BOX = spaces.Box(-1, 1, (2,), np.float32)
PLANNER = CEM(horizon=3, num_candidates=6, num_iterations=1, num_elites=2)


class Recorder:
    """A simulator that remembers what it was shown, and fails when it is told to."""

    def __init__(self, failures=0):
        self.failures, self.shown, self.rollouts = failures, [], 0

    def start(self, frames, actions, states, pixels=None):
        self.shown.append((frames, actions))
        return None

    def rollout(self, start, actions, outputs=("pixels",)):
        self.rollouts += 1
        if self.rollouts <= self.failures:
            raise RuntimeError("no picture")
        return Rollout(actions=actions, pixels=np.cumsum(actions, axis=1)[:, :, None])


def observation(value, size=16):
    return {"image": np.full((size, size, 3), value, np.uint8), "state": np.zeros(3, np.float32)}


@pytest.mark.parametrize("kind", [MPC, AsynchronousMPC])
def test_a_controller_without_a_seed_is_refused(kind):
    with pytest.raises(ValueError, match="rng must be a seed"):
        kind(Recorder(), PLANNER, PixelDistance([[2, 3]]), action_space=BOX, rng=None)


def test_a_failed_decision_leaves_no_frame_behind():
    """Between two frames that a simulator is shown there is exactly one action."""
    simulator = Recorder()
    controller = MPC(simulator, PLANNER, PixelDistance([[2, 3]]), action_space=BOX, rng=0, context_frames=3)
    with pytest.raises(ValueError, match="pixels"):
        controller.act(observation(0), pixels=[[np.nan, 1]])
    executed = [controller.act(observation(0), pixels=[[8, 8]])]
    executed.append(controller.act(observation(1), pixels=[[8, 8]]))
    with pytest.raises(ValueError, match="pixels"):
        controller.act(observation(2))
    controller.act(observation(2), pixels=[[8, 8]])
    frames, actions = simulator.shown[-1]
    assert frames[:, 0, 0, 0].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(actions, executed)


@pytest.mark.parametrize(
    "changed", [observation(0, 24), {"image": observation(0)["image"]}, {"image": np.zeros((16, 16), np.uint8)}]
)
def test_an_observation_unlike_the_last_is_refused(changed):
    controller = MPC(Recorder(), PLANNER, PixelDistance([[2, 3]]), action_space=BOX, rng=0)
    controller.act(observation(0), pixels=[[8, 8]])
    with pytest.raises(ValueError, match="observation"):
        controller.act(changed, pixels=[[8, 8]])
    controller.act(observation(1), pixels=[[8, 8]])


def asynchronous(simulator, **options):
    objective = PixelDistance([[1, 2]])
    return AsynchronousMPC(simulator, PLANNER, objective, action_space=BOX, rng=0, when_late="wait", **options)


def test_a_failed_search_is_told_once_and_another_begins():
    simulator = Recorder(failures=1)
    controller = asynchronous(simulator)
    controller.act(observation(0), pixels=[[3, 3]])
    controller._running.exception()
    with pytest.raises(RuntimeError, match="no picture"):
        controller.act(observation(1), pixels=[[3, 3]])
    controller.act(observation(1), pixels=[[3, 3]])
    controller._running.exception()
    controller.act(observation(2), pixels=[[3, 3]])
    assert simulator.rollouts == 2
    controller.close()
    with pytest.raises(RuntimeError, match="closed"):
        controller.act(observation(3), pixels=[[3, 3]])


def test_a_latency_that_no_plan_outlasts_is_refused():
    with pytest.raises(ValueError, match="latency_steps 4 exceeds"):
        asynchronous(Recorder(), latency_steps=4)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_an_ensemble_does_not_plan_on_one_member_alone(share):
    members = [lambda k: (k**2).sum((1, 2)), lambda k: np.full(len(k), np.nan)]
    with pytest.raises(ValueError, match="finite"):
        planner, rng = RandomShooting(horizon=3, num_candidates=40), np.random.default_rng(0)
        planner.plan(EnsembleCost(members, 1.0, share), BOX, rng=rng)


def test_objectives_keep_their_own_goals():
    goals, state = np.array([[1, 2]], np.float32), np.array([1, 2], np.float32)
    kept = PixelDistance(goals), RobotState(state)
    goals[:], state[:] = 8, 8
    np.testing.assert_array_equal(kept[0].goals, [[1, 2]])
    np.testing.assert_array_equal(kept[1].goal, [1, 2])


@pytest.mark.parametrize("parts", [(None, PLANNER, 1), (Recorder(), CEM, 1), (Recorder(), "cem", 1)])
def test_what_cannot_plan_is_refused_at_once(parts):
    simulator, planner, _ = parts
    with pytest.raises(TypeError, match="must be"):
        MPC(simulator, planner, PixelDistance([[1, 2]]), action_space=BOX, rng=0)


def test_a_huge_incumbent_is_clipped_like_any_other():
    rng, huge = np.random.default_rng(0), np.full((2, 2), 1e39)
    plan = CEM(horizon=2).plan(lambda k: (k**2).sum((1, 2)), BOX, rng=rng, incumbent=huge)
    assert np.isfinite(plan.actions).all()


@pytest.mark.parametrize("deadline", ["5", np.nan, 0.0])
def test_a_deadline_is_a_positive_number(deadline):
    with pytest.raises(ValueError, match="deadline_ms must be positive"):
        PLANNER.plan(lambda k: (k**2).sum((1, 2)), BOX, rng=np.random.default_rng(0), deadline_ms=deadline)


@pytest.mark.parametrize("value", ["a", np.nan, np.array([1, 0])])
def test_a_switch_is_true_or_false(value):
    with pytest.raises(ValueError, match="normalise must be True or False"):
        MPPI(horizon=2, normalise=value)


def test_learned_distances_are_one_for_each_frame():
    rollout = Rollout(actions=np.zeros((3, 2, 2), np.float32), frames=np.zeros((3, 2, 8, 8, 3), np.float32))
    goal = np.zeros((8, 8, 3), np.uint8)
    assert TemporalDistance(lambda frames, _: np.zeros(len(frames), np.float32), goal)(rollout).shape == (3,)
    for wrong in (12, 5, 1):
        with pytest.raises(ValueError, match="a distance for each"):
            TemporalDistance(lambda frames, _, wrong=wrong: np.zeros(wrong, np.float32), goal)(rollout)


@pytest.mark.parametrize("broken", [[["a", "b"]], [[1.0, 2.0], [3.0]], np.zeros((2, 2), complex)])
def test_what_is_no_number_is_told_by_its_name(broken):
    """In words of the argument, not of the library below."""
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="incumbent must be"):
        CEM(horizon=2).plan(lambda k: (k**2).sum((1, 2)), BOX, rng=rng, incumbent=broken)
    with pytest.raises(ValueError, match="costs must be"):
        CEM(horizon=2).plan(lambda _: broken, BOX, rng=rng)
    with pytest.raises(ValueError, match="goals must be"):
        PixelDistance(broken)


def test_an_empty_sum_and_a_broken_rollout_are_named():
    with pytest.raises(ValueError, match="at least one objective"):
        WeightedSum({})
    with pytest.raises(ValueError, match="expected \\[K, T, A\\]"):
        Rollout(actions=np.zeros(3, np.float32))


FRAME = np.random.default_rng(0).random((8, 8, 3))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ((255 * FRAME).astype(np.uint8), "must be floats in .*uint8: .*to_float"),
        ((255 * FRAME).astype(int), "must be floats in .*int64: divide bytes by 255"),
        (255 * FRAME, "must be in .*divide by 255"),
    ],
)
def test_frames_of_bytes_where_floats_belong_have_no_cost(wrong, message):
    """A simulator of one's own that answers in bytes made costs of tens of thousands."""
    with pytest.raises(ValueError, match=f"Rollout.frames {message}"):
        Rollout(actions=np.zeros((1, 1, 2)), frames=wrong[None, None])
    with pytest.raises(ValueError, match="Rollout.frames must be floats"):
        Rollout(actions=np.zeros((1, 1, 2)), frames=(FRAME > 0.5)[None, None])


@pytest.mark.parametrize(
    "wrong, message",
    [(np.where(FRAME > 0.9, np.nan, FRAME), "not finite"), (255 * FRAME, r"must be in \[0, 1\], got .*divide by 255")],
)
def test_frames_that_cannot_be_compared_are_not_registered(wrong, message):
    """Not even with themselves, which gave an answer of confidence 1."""
    with pytest.raises(ValueError, match=f"target .*{message}"):
        register(FRAME, wrong, [[4.0, 4.0]], window=2)
    with pytest.raises(ValueError, match=f"source .*{message}"):
        register(wrong, FRAME, [[4.0, 4.0]], window=2)


def test_what_make_objective_gives_is_looked_at():
    """A function that forgot to return says nothing by itself."""
    with pytest.raises(TypeError, match="must return an objective with outputs.*it gave None"):
        objective_of(None, None, lambda context: None)
    given = PixelDistance([1.0, 2.0])
    assert objective_of(None, None, lambda context: given) is given


def test_goals_without_a_distance_to_stop_at_are_refused():
    """They had been ignored."""
    with pytest.raises(ValueError, match="nothing stops without stop_distance"):
        goals_to_stop_at(None, [[1.0, 2.0]], PixelDistance([1.0, 2.0]))


@pytest.mark.parametrize("kind", [MPC, AsynchronousMPC])
@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"fill": "foo"}, ValueError, "fill must be 'hold', 'zero' or an array"),
        ({"fill": [1.0, 2.0, 3.0]}, ValueError, r"fill must have shape \[2\]"),
        ({"fill": [np.nan, 0.0]}, ValueError, "fill must be finite"),
        ({"proposals": np.zeros((2, 4, 2))}, ValueError, r"must be \[G, 3, 2\] or a callable, got \[2, 4, 2\]"),
        ({"proposals": "abc"}, ValueError, "proposals must be"),
        ({"proposals": np.zeros((8, 3, 2)).tolist()}, ValueError, "8 proposals and the last plan are more than the 8"),
        ({"make_proposals": 3}, TypeError, "make_proposals must be a callable that takes a Context, got 3"),
        ({"make_start": 3}, TypeError, "make_start must be a callable"),
        ({"objective": None, "make_objective": 3}, TypeError, "make_objective must be a callable"),
    ],
)
def test_a_controller_is_refused_before_the_robot_moves(kind, changed, error, message):
    planner = CEM(horizon=3, num_candidates=8, num_iterations=1, num_elites=2)
    settings = {"objective": PixelDistance([1.0, 2.0]), "action_space": spaces.Box(-1, 1, (2,), np.float32), "rng": 0}
    with pytest.raises(error, match=message):
        kind(Recorder(), planner, **{**settings, **changed})


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (ActionMagnitude(scale=[1.0, 2.0, 3.0]), "scale has 3 numbers, and actions have 1"),
        (ActionSmoothness(scale=[1.0, 2.0]), "scale has 2 numbers, and actions have 1"),
        (ActionSmoothness(previous=[1.0, 2.0]), "previous has 2 numbers, and actions have 1"),
        (Approach(lambda states: states[..., :1], [1.0, 2.0]), r"tip_pixels must give pixels \[..., 2\], it gave"),
    ],
)
def test_numbers_for_other_sizes_are_not_repeated_until_they_fit(objective, message):
    actions = np.zeros((4, 5, 1), np.float32)
    places = np.ones((4, 5, 1, 2), np.float32)
    with pytest.raises(ValueError, match=message):
        objective(Rollout(actions, pixels=places, states=places[:, :, 0]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ActionMagnitude(scale=np.ones((2, 3))),
        lambda: ActionMagnitude(scale="a"),
        lambda: RobotState("a"),
        lambda: GoalImage("goal.png"),
        lambda: GoalImage([[1], [1, 2]]),
    ],
)
def test_words_and_ragged_lists_are_no_numbers(make):
    with pytest.raises(ValueError, match=r"(scale|goal) must be"):
        make()


def test_a_list_of_points_is_projected_as_an_array():
    plane = Homography(np.eye(3))
    assert isinstance(plane.project([[1.0, 2.0]]), np.ndarray)
    with pytest.raises(TypeError, match="objectives must map names to objectives"):
        WeightedSum([PixelDistance([1.0, 2.0])])
