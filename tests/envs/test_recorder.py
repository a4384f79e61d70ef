"""Episodes recorded around any controller."""

import gymnasium
import numpy as np
import pytest

import visual_foresight  # noqa: F401  registers the environments
from visual_foresight.envs import EpisodeRecorder


@pytest.fixture
def recorder():
    env = EpisodeRecorder(gymnasium.make("VisualForesight/Push-v0"))
    yield env
    env.close()


def test_what_is_recorded_is_what_was_seen_and_done(recorder):
    """Frames, states and actions of this episode only; actions as the environment clips them."""
    recorder.reset(seed=1)
    recorder.step(np.array([0.1, 0.2], np.float32))
    observation, info = recorder.reset(seed=2)
    seen, actions = [observation], np.array([[0.5, -0.25], [3.0, 0.0]], np.float32)
    for action in actions:
        observation, _, _, _, info = recorder.step(action)
        seen.append(observation)
    episode = recorder.episode({"policy": "mine"})
    np.testing.assert_array_equal(episode.frames, [each["image"] for each in seen])
    np.testing.assert_array_equal(episode.states, [each["state"] for each in seen])
    np.testing.assert_array_equal(episode.actions, [[0.5, -0.25], [1.0, 0.0]])
    np.testing.assert_array_equal(episode.extras["object_pixels"][-1], info["object_pixels"].astype(np.float32))
    assert episode.metadata["policy"] == "mine" and episode.metadata["scene"] == recorder.unwrapped.scene.to_json()


def test_a_recorded_episode_happens_again(recorder):
    """Its scene and actions give its frames: nothing is missing that decides them."""
    recorder.reset(seed=5)
    for _ in range(3):
        recorder.step(np.array([0.4, 0.6], np.float32))
    episode = recorder.episode()
    options = {"scene": episode.metadata["scene"], "simulator_state": episode.extras["simulator_state"][0]}
    observation, _ = recorder.reset(options=options)
    frames = [observation["image"]]
    for action in episode.actions:
        frames.append(recorder.step(action)[0]["image"])
    np.testing.assert_array_equal(frames, episode.frames)


def test_nothing_to_record_and_other_environments_are_refused(recorder):
    with pytest.raises(ValueError, match="nothing to record"):
        recorder.episode()
    recorder.reset(seed=0)
    with pytest.raises(ValueError, match=r"reset\(\) and step\(\)"):
        recorder.episode()
    with pytest.raises(TypeError, match=r"TransformAction\(EpisodeRecorder\(env\), \.\.\.\)"):
        EpisodeRecorder(gymnasium.wrappers.TransformAction(recorder.env, lambda action: 0.1 * action, None))
    with pytest.raises(TypeError, match="FlattenObservation changes"):
        EpisodeRecorder(gymnasium.wrappers.FlattenObservation(recorder.env))
    with pytest.raises(TypeError, match="got str"):
        EpisodeRecorder("VisualForesight/Push-v0")
    with pytest.raises(TypeError, match="CartPole"):
        EpisodeRecorder(gymnasium.make("CartPole-v1"))
