"""The true simulator: its rollouts are the environment's own future."""

import gymnasium
import numpy as np
import pytest

import visual_foresight  # noqa: F401  registers the environments
from visual_foresight.envs.push import PushEnv
from visual_foresight.envs.registration import PUSH_ID
from visual_foresight.envs.tasks import sample_task
from visual_foresight.envs.true_simulator import TrueSimulator


@pytest.fixture(params=[1, 2])
def simulator(request):
    env = gymnasium.make(PUSH_ID, num_objects=3)
    env.reset(seed=6)
    towards = env.unwrapped.physics.object_poses()[0, :2] - env.unwrapped.physics.tip_position
    for _ in range(3):
        env.step((0.6 * towards / np.abs(towards).max()).astype(np.float32))
    made = TrueSimulator(env, num_threads=request.param)
    yield made
    made.close()


def test_a_rollout_equals_stepping_the_environment(simulator):
    """States, pixels and frames are equal to the last bit, and the environment is where it was."""
    env = simulator.env
    actions = np.random.default_rng(1).uniform(-1.3, 1.3, (5, 8, 2)).astype(np.float32)
    before = env.save_state()
    rollout = simulator.rollout(simulator.start(), actions, ("states", "pixels", "frames"))
    np.testing.assert_array_equal(env.save_state()["simulator_state"], before["simulator_state"])
    np.testing.assert_array_equal(rollout.actions, actions)
    touched = False
    for candidate in range(5):
        env.restore_state(before)
        for step in range(8):
            observation, _, _, _, info = env.step(actions[candidate, step])
            touched |= info["contact"]
            np.testing.assert_array_equal(rollout.states[candidate, step], observation["state"])
            np.testing.assert_array_equal(rollout.pixels[candidate, step], info["object_pixels"][:3])
            np.testing.assert_array_equal(np.rint(rollout.frames[candidate, step] * 255), observation["image"])
    assert touched


def test_a_candidate_does_not_depend_on_the_others(simulator):
    """One candidate alone, and in chunks of one, gives what it gives among others."""
    actions = np.random.default_rng(2).uniform(-1, 1, (7, 5, 2)).astype(np.float32)
    start = simulator.start(object_indices=[2, 0])
    together = simulator.rollout(start, actions)
    assert together.pixels.shape == (7, 5, 2, 2) and together.frames is None
    np.testing.assert_array_equal(simulator.rollout(start, actions[3:4]).pixels[0], together.pixels[3])
    import visual_foresight.envs.true_simulator as module

    chunk, module._CHUNK_BYTES = module._CHUNK_BYTES, 1
    try:
        np.testing.assert_array_equal(simulator.rollout(start, actions).pixels, together.pixels)
    finally:
        module._CHUNK_BYTES = chunk


def test_designated_objects_follow_the_task():
    """Without indices, the task's object is the designated one; a start outlives the environment's next reset."""
    env = PushEnv()
    task = sample_task(5, num_objects=(2, 2))
    env.reset(options={"task": task})
    simulator = TrueSimulator(env)
    start = simulator.start()
    assert start.object_indices == (task.object_index,)
    actions = np.zeros((1, 2, 2), np.float32)
    first = simulator.rollout(start, actions).pixels
    env.reset(seed=0)
    np.testing.assert_array_equal(simulator.rollout(start, actions).pixels, first)
    simulator.close()


def test_bad_input_is_refused(simulator):
    """Each refusal says what is wrong."""
    start = simulator.start()
    with pytest.raises(ValueError, match=r"\[K, T, 2\]"):
        simulator.rollout(start, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="must be finite"):
        simulator.rollout(start, np.full((1, 1, 2), np.inf))
    with pytest.raises(ValueError, match=r"no outputs \['pixel_distributions'\]"):
        simulator.rollout(start, np.zeros((1, 1, 2)), ("pixel_distributions",))
    with pytest.raises(ValueError, match=r"within 0\.\.2"):
        simulator.start(object_indices=[3])
    with pytest.raises(TypeError, match="needs a PushEnv"):
        TrueSimulator(gymnasium.make("CartPole-v1"))
