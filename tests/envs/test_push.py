"""The environment: gymnasium's contract, determinism, exact restoring, and what `info` claims."""

import importlib.util
import json
import subprocess
import sys

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import visual_foresight  # noqa: F401  registers the environments
from visual_foresight.envs.physics import OBJECT_GROUP, STATE_SIZE
from visual_foresight.envs.push import PushEnv
from visual_foresight.envs.registration import PUSH_ID
from visual_foresight.envs.scene import BIN_HALF_SIZE
from visual_foresight.envs.tasks import sample_task


def play(env, actions):
    """Observations and infos of a run."""
    return [(observation, info) for observation, _, _, _, info in map(env.step, actions)]


def assert_equal_runs(first, second):
    """Equal to the last bit, pixels included."""
    for (observation_a, info_a), (observation_b, info_b) in zip(first, second, strict=True):
        for a, b in ((observation_a, observation_b), (info_a, info_b)):
            assert a.keys() == b.keys()
            for name in a:
                np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture
def env():
    return PushEnv()


@pytest.fixture
def actions():
    return np.random.default_rng(5).uniform(-1, 1, (6, 2)).astype(np.float32)


def test_passes_the_environment_checker():
    """Gymnasium's own contract holds."""
    check_env(gymnasium.make(PUSH_ID, render_mode="rgb_array").unwrapped)


def test_observation_action_and_info():
    """Shapes and types of everything that crosses the door."""
    env = gymnasium.make(PUSH_ID, num_objects=(2, 2), image_size=(48, 64), render_mode="rgb_array", render_size=96)
    observation, info = env.reset(seed=0)
    assert observation["image"].shape == (48, 64, 3) and observation["image"].dtype == np.uint8
    assert observation["state"].shape == (2,) and observation["state"].dtype == np.float32
    assert env.action_space == gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    assert {name: np.shape(value) for name, value in info.items()} == {
        "object_positions": (4, 3),
        "object_pixels": (4, 2),
        "object_hidden": (4,),
        "object_present": (4,),
        "contact": (),
        "tip_pixel": (2,),
    }
    assert info["object_present"].tolist() == [True, True, False, False]
    assert not info["object_positions"][2:].any() and not info["object_pixels"][2:].any()
    assert env.render().shape == (96, 96, 3)


def test_an_action_moves_the_finger_by_its_metres():
    """In free space an action of (a, b) moves the finger by 0.03 m times (a, b), as near as the documentation says."""
    env = PushEnv(num_objects=1)
    scene = _scene_with_tip(env, (-0.1, -0.1), (0.15, 0.15))
    actions = [(1.0, 0.0), (0.0, 1.0), (0.27, -0.46), *np.random.default_rng(0).uniform(-1, 1, (60, 2))]
    for action in np.array(actions):
        observation, _ = env.restore(scene)
        there = env.step(action)[0]["state"]
        np.testing.assert_allclose(there - observation["state"], 0.03 * action, atol=2.5e-3)
        back = env.step(-action)[0]["state"]
        np.testing.assert_allclose(back - there, -0.03 * action, atol=6.01e-3)


def _scene_with_tip(env, tip, position):
    from dataclasses import replace

    env.reset(seed=0)
    scene = env.scene
    return replace(scene, tip_position=tip, objects=(replace(scene.objects[0], position=position),))


def test_pushing_moves_an_object_and_reports_contact():
    """An object in the finger's way is moved, and contact is on while it is pushed and off before."""
    env = PushEnv(num_objects=1)
    _, info = env.restore(_scene_with_tip(env, (-0.1, 0.0), (0.0, 0.0)))
    assert not info["contact"]
    start = info["object_positions"][0, :2]
    results = play(env, np.tile([1.0, 0.0], (5, 1)))
    assert all(info["contact"] for _, info in results[2:])
    assert np.linalg.norm(results[-1][1]["object_positions"][0, :2] - start) > 0.02


def test_same_seed_same_pixels(actions):
    """Two environments with one seed give equal runs; another seed gives another run."""
    runs = []
    for seed in (11, 11, 12):
        env = PushEnv()
        runs.append([env.reset(seed=seed), *play(env, actions)])
    assert_equal_runs(runs[0], runs[1])
    assert not np.array_equal(runs[0][0][0]["image"], runs[2][0][0]["image"])


def test_restoring_continues_to_the_last_bit(env, actions):
    """From a saved state the same actions lead to the same pixels, in any environment; so does a reset."""
    env.reset(seed=3)
    play(env, actions[:3])
    saved = env.save_state()
    first = [*play(env, actions), env.reset()]
    env.restore_state(saved)
    assert_equal_runs(first, [*play(env, actions), env.reset()])
    other = PushEnv(split="novel")
    other.reset(seed=99)
    observation, info = other.reset(options={"state": saved})
    env.restore_state(saved)
    assert_equal_runs([(observation, info)], [env.reset(options={"state": saved})])
    assert_equal_runs(first[:-1], play(other, actions))


_CONTINUE = """
import json, sys, zlib
import numpy as np
from visual_foresight.envs.push import PushEnv
saved, actions = json.load(sys.stdin)
env = PushEnv()
env.reset(options={"state": saved})
for action in actions:
    observation, *_ = env.step(np.array(action))
state = env.save_state()["simulator_state"]
print(zlib.crc32(observation["image"].tobytes()), observation["state"].tobytes().hex(), state.tobytes().hex())
"""


def test_restoring_in_another_process(env, actions):
    """A saved state that went through JSON continues equally in a fresh process."""
    import zlib

    env.reset(seed=8)
    play(env, actions)
    saved = env.save_state()
    text = json.dumps([{**saved, "simulator_state": saved["simulator_state"].tolist()}, actions.tolist()])
    observation = play(env, actions)[-1][0]
    expected = [
        str(zlib.crc32(observation["image"].tobytes())),
        observation["state"].tobytes().hex(),
        env.save_state()["simulator_state"].tobytes().hex(),
    ]
    answer = subprocess.run([sys.executable, "-c", _CONTINUE], input=text, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == expected


def test_golden_trajectory_and_frame(env):
    """Physics and pixels are those that data sets and shipped weights were made with; a change needs a new version."""
    from pathlib import Path

    golden = np.load(Path(__file__).parent / "golden_push.npz")
    env.reset(seed=2024)
    results = play(env, golden["actions"])
    positions = np.stack([info["object_positions"] for _, info in results])
    np.testing.assert_allclose(positions, golden["positions"], atol=1e-6)
    difference = np.abs(results[-1][0]["image"].astype(int) - golden["image"])
    assert difference.max() <= 2 and difference.mean() < 0.01


def test_object_pixels_show_the_object(env):
    """The ray through an object's pixel meets that object first, unless the arm hides it; and then it meets the arm."""
    seen = hidden = 0
    for seed in range(25):
        env.reset(seed=seed, options={"num_objects": 3})
        _, info = play(env, np.random.default_rng(seed).uniform(-1, 1, (4, 2)))[-1]
        model, data = env.physics.model, env.physics.data
        groups, geom = np.array([1, 1, 1, 0, 1, 0], np.uint8), np.zeros(1, np.int32)
        eye = np.array(env.camera.eye)
        for index in np.flatnonzero(info["object_present"]):
            mujoco.mj_ray(model, data, eye, env.camera.rays(info["object_pixels"][index]), groups, 1, -1, geom)
            body = model.body(model.geom_bodyid[geom[0]]).name
            if info["object_hidden"][index]:
                hidden += 1
                assert body == "arm_look"
            else:
                seen += 1
                assert body == f"object{index}" and model.geom_group[geom[0]] == OBJECT_GROUP
    assert seen > 40


def test_nothing_leaves_the_bin():
    """Full-speed pushes into a corner leave every object inside and upright."""
    env = PushEnv(num_objects=(4, 4))
    for seed in range(4):
        env.reset(seed=seed)
        rng = np.random.default_rng(seed)
        for _ in range(30):
            env.physics.step(np.sign(rng.uniform(-1, 1, 2)))
        positions = env.physics.data.qpos[2:].reshape(-1, 4)
        assert np.abs(positions[:, :2]).max() < BIN_HALF_SIZE
        assert np.abs(positions[:, 2]).max() < 2e-3


def test_a_state_that_cannot_be_drawn_changes_nothing():
    """It fits the scene in shape and is finite, so only drawing finds out."""
    env = PushEnv()
    env.reset(seed=0)
    before = env.save_state()
    with pytest.raises(ValueError):
        env.restore_state({**before, "simulator_state": np.asarray(before["simulator_state"]) * 1e30})
    np.testing.assert_array_equal(env.save_state()["simulator_state"], before["simulator_state"])
    observation, *_ = env.step(np.zeros(2))
    assert np.isfinite(observation["state"]).all()


def test_tasks_give_rewards_and_end():
    """With a task the reward is minus the distance to the goal; reaching it ends the episode if that was asked for."""
    task = sample_task(3)
    for terminate in (False, True):
        env = PushEnv(terminate_on_success=terminate)
        _, info = env.reset(options={"task": task})
        _, reward, terminated, _, info = env.step(np.zeros(2))
        position = info["object_positions"][task.object_index, :2]
        assert reward == pytest.approx(-np.linalg.norm(position - task.goal_position))
        assert not terminated
        state = env.save_state()
        state["simulator_state"][1 + 2 + 4 * task.object_index : 1 + 4 + 4 * task.object_index] = task.goal_position
        env.restore_state(state)
        assert env.success and env.task == task
        assert env.step(np.zeros(2))[2] is terminate
    env.reset()
    assert env.task is None and env.step(np.zeros(2))[1] == 0.0


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vector_environments(mode, actions):
    """Vectorised, each environment does what it does alone."""
    seeds = [4, 5]
    vector = gymnasium.make_vec(PUSH_ID, num_envs=2, vectorization_mode=mode)
    try:
        images = [vector.reset(seed=seeds)[0]["image"]]
        for action in actions[:3]:
            observation, _, _, _, info = vector.step(np.stack([action, -action]))
            images.append(observation["image"])
    finally:
        vector.close()
    assert info["object_positions"].shape == (2, 4, 3) and info["object_hidden"].shape == (2, 4)
    for column, (seed, sign) in enumerate(zip(seeds, (1, -1), strict=True)):
        env = PushEnv()
        alone = [env.reset(seed=seed)[0], *(observation for observation, _ in play(env, sign * actions[:3]))]
        np.testing.assert_array_equal([image[column] for image in images], [each["image"] for each in alone])


def test_bad_input_is_refused_by_name(env):
    """Each refusal says what is wrong, and leaves the environment as it was."""
    with pytest.raises(ValueError, match="call reset"):
        env.save_state()
    env.reset(seed=0)
    before = env.save_state()
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        env.step(np.zeros(3))
    with pytest.raises(ValueError, match="must be finite"):
        env.step(np.array([np.nan, 0]))
    with pytest.raises(ValueError, match=r"unknown reset options \['stat'\]"):
        env.reset(options={"stat": {}})
    with pytest.raises(ValueError, match="needs 'scene'"):
        env.reset(options={"simulator_state": np.zeros(STATE_SIZE)})
    with pytest.raises(ValueError, match="must be a Task"):
        env.reset(options={"task": {"seed": 1}})
    with pytest.raises(ValueError, match="not a saved state"):
        env.restore_state({})
    with pytest.raises(ValueError, match=r"lacks \['task'\]"):
        env.restore_state({name: value for name, value in before.items() if name != "task"})
    with pytest.raises(ValueError, match="has shape"):
        env.restore(before["scene"], np.zeros(7))
    with pytest.raises(ValueError, match="must be finite"):
        env.restore(before["scene"], np.full(STATE_SIZE, np.nan))
    with pytest.raises(ValueError, match="random_state is broken"):
        env.restore_state({**before, "random_state": {"bit_generator": "MT19937"}})
    env.reset(seed=1, options={"num_objects": 4})
    crowded = env.save_state()
    env.restore_state(before)
    single = {**before["scene"], "objects": before["scene"]["objects"][:1]}
    with pytest.raises(ValueError, match="more than 1 objects"):
        env.restore(single, crowded["simulator_state"])
    np.testing.assert_array_equal(env.save_state()["simulator_state"], before["simulator_state"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, "unknown split 'test'"),
        ({"num_objects": (0, 2)}, r"within 1\.\.4"),
        ({"image_size": 4}, r"within 8\.\.4096"),
        ({"renderer": "vulkan"}, "unknown renderer 'vulkan'"),
        ({"render_mode": "human"}, "unknown render_mode"),
        ({"supersampling": 0}, r"within 1\.\.8"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    """Each argument is checked when the environment is made."""
    with pytest.raises(ValueError, match=message):
        PushEnv(**arguments)


@pytest.mark.skipif(importlib.util.find_spec("OpenGL") is not None, reason="the extra is installed here")
def test_gl_without_its_extra_says_what_to_install():
    """The optional renderer names its extra."""
    with pytest.raises(ImportError, match=r"visual-foresight\[gl\]"):
        PushEnv(renderer="gl")
