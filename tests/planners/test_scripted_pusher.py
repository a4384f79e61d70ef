"""Scripted pushes as candidates: their geometry, and what they are worth to a search."""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from disc_task import GOAL, ByHand, controller, play, push_to
from gymnasium import spaces
from hypothesis import given

from visual_foresight.planners import AsynchronousMPC, Context, RandomShooting, ScriptedPusher
from visual_foresight.planners.objectives import Homography
from visual_foresight.planners.objectives.approach import way_around
from visual_foresight.planners.scripted_pusher import way_points

IDENTITY = Homography(np.eye(3))  # the disc world's states are pixels
BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)
REACH = 3.2

coordinates = st.floats(-30.0, 30.0).map(lambda value: round(value, 3))
points = st.tuples(coordinates, coordinates).map(np.array)


def context_of(finger, disc, *others):
    pixels = np.array([disc, *others], float)
    return Context(np.zeros((1, 64, 64, 3), np.uint8), np.zeros((0, 2)), np.array([finger], float), pixels, None, {})


def pusher(**changes):
    return ScriptedPusher(IDENTITY, GOAL, **{"step_size": REACH, **changes})


def length(way):
    return np.linalg.norm(np.diff(way, axis=0), axis=1).sum()


def along(way):
    """Many points on the way."""
    shares = np.linspace(0.0, 1.0, 50)[:, None, None]
    return (way[:-1] * (1 - shares) + way[1:] * shares).reshape(-1, 2)


@given(points, points, st.floats(0.5, 6.0), st.sampled_from([-1.0, 1.0]))
def test_ways_begin_and_end_where_they_should_and_keep_clear_of_the_disc(start, end, radius, side):
    way = way_points(start, end, radius, side)
    np.testing.assert_array_equal(way[[0, -1]], [start, end])
    if min(np.linalg.norm(start), np.linalg.norm(end)) >= radius:
        # Between two points of the arc the way cuts the corner a little.
        assert np.linalg.norm(along(way), axis=1).min() > 0.95 * radius


@given(points, points, st.floats(0.5, 6.0))
def test_the_shorter_side_is_as_long_as_the_approach_term_says(start, end, radius):
    if min(np.linalg.norm(start), np.linalg.norm(end)) < radius + 1e-3:
        return
    sides = [length(way_points(start, end, radius, side)) for side in (-1.0, 1.0)]
    assert min(sides) == pytest.approx(float(way_around(start, end, radius)), rel=0.01, abs=1e-6)


@given(points, points, st.sampled_from([-1.0, 1.0]))
def test_a_way_turns_on_its_side(start, end, side):
    way = way_points(start, end, 2.0, side)
    before, after = way[:-1], way[1:]
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    if min(np.linalg.norm(start), np.linalg.norm(end)) >= 2.0:
        assert (side * turns > -1e-6).all()


def test_candidates_go_round_the_disc_and_push_it_to_the_goal(disc_world):
    finger, disc = np.array([34.0, 40.0]), np.array([34.0, 30.0])  # between the disc and its goal: the wrong side
    world = disc_world(finger=finger, disc=disc)
    draw = pusher(num_proposals=40, spread=0.0)(context_of(finger, disc))
    candidates = draw(np.random.default_rng(0), BOX, 20)
    assert candidates.shape == (40, 20, 2) and candidates.dtype == np.float32
    rollout = world.rollout(world.start(None, None, np.array([finger]), pixels=[disc]), candidates)
    ends = np.linalg.norm(rollout.pixels[:, -1, 0] - GOAL, axis=-1)
    assert np.median(ends) < 0.5 * np.linalg.norm(disc - GOAL) and ends.min() < 1.5
    random = np.random.default_rng(1).uniform(-1, 1, (4000, 10, 2)).repeat(2, axis=1).astype(np.float32)
    missed = world.rollout(world.start(None, None, np.array([finger]), pixels=[disc]), random)
    assert np.linalg.norm(missed.pixels[:, -1, 0] - GOAL, axis=-1).min() > ends.min()


def test_candidates_stand_still_where_their_way_ends(disc_world):
    draw = pusher(spread=0.0)(context_of((34.0, 20.0), (34.0, 30.0)))
    candidates = draw(np.random.default_rng(0), BOX, 60)
    assert (candidates[:, -20:] == 0).all() and (np.abs(candidates[:, 0]).max(axis=-1) > 0.1).all()


def test_the_same_generator_draws_the_same_and_another_does_not():
    draw = pusher()(context_of((30.0, 18.0), (32.0, 30.0)))
    first, again, other = (draw(np.random.default_rng(seed), BOX, 9) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_camera_and_further_actions():
    """Places in metres, seen by a camera that mirrors and shrinks; the third action is locked between 0.2 and 0.4."""
    metres = Homography([[0.0, -120.0, 31.5], [120.0, 0.0, 31.5], [0.0, 0.0, 1.0]])
    disc, tip = np.array([0.02, 0.01]), np.array([0.1, 0.08])
    goal = metres.project(np.array([-0.08, 0.01]))
    box = spaces.Box(np.float32([-1, -1, 0.2]), np.float32([1, 1, 0.4]))
    make = ScriptedPusher(metres, goal, step_size=0.03, num_proposals=8, spread=0.0)
    context = context_of((*tip, 9.0), metres.project(disc))
    candidates = make(context)(np.random.default_rng(0), box, 20)
    np.testing.assert_allclose(candidates[..., 2], 0.2, rtol=1e-6)
    places = tip + 0.03 * np.cumsum(candidates[..., :2], axis=1)
    np.testing.assert_allclose(places[:, -1, 1], 0.01, atol=1e-5)  # on the line through disc and goal
    assert (places[:, -1, 0] < disc[0]).all()


def test_an_object_at_its_goal_and_a_finger_in_its_middle_have_candidates_too():
    for finger, disc in (((20.0, 20.0), GOAL), (GOAL, GOAL), ((34.0, 30.0), (34.0, 30.0))):
        candidates = pusher()(context_of(finger, disc))(np.random.default_rng(0), BOX, 9)
        assert np.isfinite(candidates).all()


def test_a_controller_asks_for_them_at_each_decision(world, simulator):
    seen = []

    def make(context):
        seen.append(context)
        return pusher(num_proposals=6)(context)

    control = controller(simulator, RandomShooting(horizon=10, num_candidates=16), make_proposals=make)
    play(world, control, num_steps=3)
    assert [context.pixels.shape for context in seen] == [(1, 2)] * 3
    assert not np.array_equal(seen[0].states[-1], seen[2].states[-1])


def test_while_planning_ahead_they_begin_where_the_finger_will_be(world, simulator):
    made, executor = [], ByHand(automatic_after=1)

    def make(context):
        made.append(context)
        return pusher(num_proposals=5, spread=0.0)(context)

    control = AsynchronousMPC(
        simulator,
        RandomShooting(horizon=10, num_candidates=12),
        push_to(),
        action_space=BOX,
        rng=0,
        latency_steps=2,
        make_proposals=make,
        executor=executor,
    )
    for _ in range(4):
        world.step(control.act(world.observation(), pixels=world.disc[None]))
        executor.tick()
    first, second = made
    assert not first.decided.any() and second.decided.shape == (2, 2) and second.decided.any()
    ahead = second.states + REACH * second.decided.sum(axis=0)
    later = replace(second, states=ahead, decided=np.zeros((0, 2)))
    drawn = [pusher()(context)(np.random.default_rng(0), BOX, 9) for context in (second, later)]
    np.testing.assert_allclose(*drawn, atol=1e-5)
    with pytest.raises(ValueError, match="AsynchronousMPC takes either proposals or make_proposals"):
        AsynchronousMPC(
            simulator,
            RandomShooting(),
            push_to(),
            action_space=BOX,
            rng=0,
            proposals=np.zeros((1, 15, 2)),
            make_proposals=make,
        )


def test_they_help_a_small_search_from_the_wrong_side(disc_world, simulator):
    start = {"finger": (34.0, 40.0), "disc": (34.0, 30.0)}
    planner = RandomShooting(horizon=12, num_candidates=16)
    options = {"replan_interval": 2}
    without = play(disc_world(**start), controller(simulator, planner, **options), num_steps=30)
    helped = play(
        disc_world(**start),
        controller(simulator, planner, make_proposals=pusher(num_proposals=8), **options),
        num_steps=30,
    )
    assert helped < min(2.0, without)


def test_refusals(simulator):
    with pytest.raises(ValueError, match="one goal"):
        ScriptedPusher(IDENTITY, [[1, 2], [3, 4]], step_size=1.0)
    with pytest.raises(ValueError, match="step_size"):
        pusher(step_size=0.0)
    with pytest.raises(ValueError, match="clearance"):
        pusher(clearance=6.0)
    with pytest.raises(ValueError, match="num_proposals"):
        pusher(num_proposals=0)
    with pytest.raises(ValueError, match="to a line"):
        ScriptedPusher(Homography(np.diag([1.0, 0.0, 1.0])), GOAL, step_size=1.0)
    with pytest.raises(TypeError, match="Homography"):
        ScriptedPusher(lambda states: states, GOAL, step_size=1.0)
    make = pusher(index=1)
    with pytest.raises(ValueError, match="index 1, but 1 designated"):
        make(context_of((1.0, 1.0), (5.0, 5.0)))
    blind = Context(np.zeros((1, 64, 64, 3), np.uint8), np.zeros((0, 2)), None, np.zeros((1, 2)), None, {})
    with pytest.raises(ValueError, match="'state'"):
        pusher()(blind)
    with pytest.raises(ValueError, match="size 1"):
        pusher()(context_of((1.0, 1.0), (5.0, 5.0)))(
            np.random.default_rng(0), spaces.Box(-1.0, 1.0, (1,), np.float32), 4
        )
    with pytest.raises(ValueError, match="either proposals or make_proposals"):
        controller(simulator, objective=push_to(), proposals=np.zeros((1, 8, 2)), make_proposals=pusher())
