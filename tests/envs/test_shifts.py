"""Shifted worlds: strength 0 changes no bit; looks and matter are changed apart; tasks and their success follow."""

import dataclasses

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visual_foresight.envs import TrueSimulator
from visual_foresight.envs.camera import PUSH_CAMERA
from visual_foresight.envs.push import PushEnv
from visual_foresight.envs.registration import PUSH_ID
from visual_foresight.envs.scene import Scene, SceneObject, sample_scene
from visual_foresight.envs.shapes import sample_shape
from visual_foresight.envs.shifts import (
    SHIFTS,
    UNSHIFTED,
    AppliedShift,
    apply_shift,
    choose_shifts,
    make_shifted,
    parse_shift,
)
from visual_foresight.envs.tasks import sample_task

PICTURE = [name for name, shift in SHIFTS.items() if shift.changes_picture and not shift.changes_dynamics]
DYNAMICS = [name for name, shift in SHIFTS.items() if shift.changes_dynamics and not shift.changes_picture]
ACTIONS = np.random.default_rng(3).uniform(-1, 1, (4, 2))


def run(env, actions=ACTIONS, **options):
    """Pictures and object positions of a run."""
    observation, info = env.reset(**options)
    pictures, positions = [observation["image"]], [info["object_positions"]]
    for action in actions:
        observation, _, _, _, info = env.step(action)
        pictures.append(observation["image"])
        positions.append(info["object_positions"])
    return np.stack(pictures), np.stack(positions)


def pushed_scene():
    """An object just right of the finger: the first action to the right moves it."""
    shape = sample_shape("box", np.random.default_rng(0))
    item = SceneObject(shape, 0.03, 0.15, 0.5, (0.8, 0.1, 0.1), (shape.radius + 0.02, 0.0), 0.3)
    return Scene((item,), (0.0, 0.0))


def start(env, scene):
    """Begins a scene of our own as the environment begins those of tasks: shifted."""
    env._begin(scene, None)
    return env._observation()["image"]


@pytest.mark.parametrize("name", SHIFTS)
def test_strength_zero_is_the_unshifted_world_to_the_last_bit(name):
    expected = run(PushEnv(), seed=4)
    for env in (PushEnv(shift=f"{name}=0"), apply_shift(PushEnv(), name, 0.0)):
        for ours, theirs in zip(run(env, seed=4), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_is_taken_back_to_the_last_bit(name):
    env = apply_shift(PushEnv(), name, SHIFTS[name].strengths[0])
    run(env, seed=4)
    with pytest.raises(ValueError, match="call reset"):
        _ = apply_shift(env, name, 0.0).physics
    for ours, theirs in zip(run(env, seed=4), run(PushEnv(), seed=4), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", PICTURE)
def test_shifted_looks_change_pictures_and_no_motion(name):
    pictures, positions = run(PushEnv(), seed=4)
    for strength in SHIFTS[name].strengths:
        shifted, moved = run(apply_shift(PushEnv(), name, strength), seed=4)
        np.testing.assert_array_equal(moved, positions)
        assert (np.abs(shifted.astype(int) - pictures).mean(axis=(1, 2, 3)) > 0.1).all()


@pytest.mark.parametrize("name", DYNAMICS)
def test_shifted_matter_changes_motion_and_not_the_first_picture(name):
    plain = PushEnv()
    first = start(plain, pushed_scene())
    for strength in SHIFTS[name].strengths:
        shifted = apply_shift(PushEnv(), name, strength)
        np.testing.assert_array_equal(start(shifted, pushed_scene()), first)
        start(plain, pushed_scene())
        for env in (plain, shifted):
            for action in ((1.0, 0.1), (1.0, 0.1), (1.0, 0.1), (0.0, 0.0)):
                env.step(np.array(action))
        assert np.abs(plain.physics.object_poses() - shifted.physics.object_poses()).max() > 1e-5


@pytest.mark.parametrize("name", DYNAMICS)
def test_matter_is_multiplied(name):
    scene = sample_scene(np.random.default_rng(0))
    for strength, factor in ((1, 2.0), (-1, 0.5)):
        for before, after in zip(scene.objects, AppliedShift(name, strength).scene(scene).objects, strict=True):
            assert getattr(after, name) == factor * getattr(before, name)
            assert dataclasses.replace(after, **{name: getattr(before, name)}) == before


@pytest.mark.parametrize("name", SHIFTS)
def test_tasks_keep_places_and_goals(name):
    """Objects begin where they did, and the goal is the same place on the table."""
    task = sample_task(11, num_objects=(1, 3))
    plain, shifted = PushEnv(), make_shifted(name, SHIFTS[name].strengths[0]).unwrapped
    plain.reset(options={"task": task})
    _, info = shifted.reset(options={"task": task})
    count = len(plain.scene.objects)
    np.testing.assert_allclose(info["object_positions"][:count], plain._info()["object_positions"][:count], atol=1e-6)
    assert shifted.task == task and shifted.scene.tip_position == plain.scene.tip_position


def test_the_same_scene_is_always_shifted_alike():
    task = sample_task(11, num_objects=(2, 2))
    for name in ("colour", "distractor"):
        first, second = (apply_shift(PushEnv(), name, 1.0) for _ in range(2))
        second.reset(seed=99)  # what happened before does not matter
        first.reset(options={"task": task}), second.reset(options={"task": task})
        assert first.scene == second.scene


def test_a_shift_draws_nothing_from_the_environment():
    plain, shifted = PushEnv(), PushEnv(shift="distractor=1")
    for _ in range(2):
        plain.reset(seed=None), shifted.reset(seed=None)
    plain.reset(seed=1), shifted.reset(seed=1)
    plain.reset(), shifted.reset()
    assert shifted.scene.objects[:-1] == plain.scene.objects


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_a_distractor_leaves_the_task_possible(seed):
    """It is one more object behind the others, free of all, and neither goal nor the place to push from is taken."""
    try:
        task = sample_task(seed)
    except ValueError:
        return
    scene = task.scene()
    larger = AppliedShift("distractor", 1).scene(scene, task)
    *others, added = larger.objects
    assert tuple(others) == scene.objects and task.reachable_in(larger)
    for other in others:
        assert np.hypot(*np.subtract(added.position, other.position)) > added.shape.radius + other.shape.radius
    assert np.hypot(*np.subtract(added.position, scene.tip_position)) > added.shape.radius


def test_a_full_scene_has_no_room_for_a_distractor():
    with pytest.raises(ValueError, match="4 objects already"):
        PushEnv(shift="distractor=1", num_objects=4).reset(seed=0)


@pytest.mark.parametrize("name", [name for name in SHIFTS if name.startswith("camera")])
@given(strength=st.floats(-3, 3))
@settings(max_examples=15, deadline=None)
def test_cameras_turn_by_the_angle(name, strength):
    """About what they look at (the eye keeps its distance), or where they stand (the eye stays)."""
    moved = AppliedShift(name, strength).camera(PUSH_CAMERA)
    before, after = (np.subtract(camera.eye, camera.target) for camera in (PUSH_CAMERA, moved))
    assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(before))
    assert (
        moved.target == PUSH_CAMERA.target if name in ("camera_yaw", "camera_pitch") else moved.eye == PUSH_CAMERA.eye
    )
    if name in ("camera_pitch", "camera_tilt"):
        angle = np.degrees(np.arccos(np.clip(after @ before / (before @ before), -1, 1)))
        assert angle == pytest.approx(abs(strength), abs=1e-4)
    else:
        heading = np.degrees(np.arctan2(after[0], -after[1]))
        assert abs(heading) == pytest.approx(abs(strength), abs=1e-4)
        assert after[2] == pytest.approx(before[2])


def test_a_raised_camera_is_higher():
    assert AppliedShift("camera_pitch", 3).camera(PUSH_CAMERA).eye[2] > PUSH_CAMERA.eye[2]


def test_pixels_goals_and_success_follow_the_moved_camera():
    """The picture agrees with the projection, and 3 px are measured in the moved picture."""
    task = sample_task(11)
    env = make_shifted("camera_pan", 2.0).unwrapped
    _, info = env.reset(options={"task": task})
    moved = AppliedShift("camera_pan", 2.0).camera(PUSH_CAMERA)
    assert env.camera == moved
    item = env.scene.objects[task.object_index]
    pixel = moved.project(np.array([*item.position, item.height]))
    np.testing.assert_allclose(info["object_pixels"][task.object_index], pixel, atol=1e-3)
    goal = moved.project(np.array([*task.goal_position, item.height]))
    for offset, expected in ((2.9, True), (3.1, False)):
        place = moved.unproject(goal + [0.0, offset], item.height)[:2]
        assert env.shift.reached(task, place, item.height) is expected
    assert UNSHIFTED.reached(task, np.array(task.goal_position), item.height)


def test_the_true_simulator_lives_in_the_shifted_world():
    """Its rollouts equal stepping: matter, camera and light are those of the environment."""
    for text in ("friction=1", "camera_yaw=3", "distractor=1"):
        env = gymnasium.make(PUSH_ID, shift=text).unwrapped
        env.reset(options={"task": sample_task(11)})
        simulator = TrueSimulator(env, num_threads=1)
        rollout = simulator.rollout(simulator.start(), ACTIONS[None], outputs=("pixels", "frames"))
        for step, action in enumerate(ACTIONS):
            observation, _, _, _, info = env.step(action)
            np.testing.assert_allclose(rollout.pixels[0, step, 0], info["object_pixels"][env.task.object_index])
            np.testing.assert_array_equal(np.rint(rollout.frames[0, step] * 255), observation["image"])
        simulator.close()


def test_recorded_scenes_are_restored_as_they_are():
    """A scene that was shifted once is not shifted again."""
    env = PushEnv(shift="friction=1")
    env.reset(seed=2)
    saved, scene = env.save_state(), env.scene
    env.step(ACTIONS[0])
    env.reset(options={"state": saved})
    assert env.scene == scene


def test_light_is_brighter_and_darker():
    pictures = {s: run(apply_shift(PushEnv(), "light", s), (), seed=1)[0].mean() for s in (-0.3, 0.0, 0.3)}
    assert pictures[-0.3] < 0.9 * pictures[0.0] < pictures[0.0] < 0.97 * pictures[0.3]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AppliedShift("colur", 1), "did you mean 'colour'"),
        (lambda: AppliedShift("mass", 9), "from -3 to 3 .doublings., got 9"),
        (lambda: AppliedShift("light", float("nan")), "got nan"),
        (lambda: AppliedShift("distractor", 0.5), "whole numbers"),
        (lambda: parse_shift("mass=much"), "must be a number, got 'much'"),
        (lambda: parse_shift("mass"), "write mass=1"),
        (lambda: choose_shifts("masse"), "did you mean 'mass'"),
        (lambda: choose_shifts(""), "unknown shift ''"),
        (lambda: choose_shifts("mass,all=2"), "all takes each shift at its usual strengths"),
        (lambda: PushEnv(shift="nothing=1"), "unknown shift 'nothing'"),
    ],
)
def test_wrong_shifts_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_only_push_environments_are_shifted():
    with pytest.raises(TypeError, match="needs a PushEnv, got CartPoleEnv"):
        apply_shift(gymnasium.make("CartPole-v1"), "mass", 1)


def test_shifts_are_chosen_by_text():
    assert choose_shifts("mass, light=0.2") == [("mass", -1.0), ("mass", 1.0), ("light", 0.2)]
    assert {name for name, _ in choose_shifts("all")} == set(SHIFTS)
    for name, strength in choose_shifts("all"):
        assert parse_shift(str(AppliedShift(name, strength))) == (name, strength) and strength != 0
