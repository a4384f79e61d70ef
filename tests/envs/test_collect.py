"""Collection: pure in (seed, number), whatever the workers; stopping and resuming loses and repeats nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from visual_foresight.envs.collect import (
    CollectSettings,
    collect_episodes,
    collect_shard,
    make_environment,
    run_episode,
)
from visual_foresight.envs.policies import make_policy
from visual_foresight.envs.push import PushEnv
from visual_foresight.formats import read_episodes

SETTINGS = CollectSettings(episodes=5, steps=4, shard_size=2, seed=3)


def read(directory):
    return list(read_episodes(directory, preprocess="none"))


def assert_same_episodes(first, second):
    assert [each.metadata for each in first] == [each.metadata for each in second]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.actions, b.actions)
        np.testing.assert_array_equal(a.extras["simulator_state"], b.extras["simulator_state"])


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    directory = tmp_path_factory.mktemp("collected")
    return directory, collect_episodes(directory, SETTINGS, workers=1)


def test_the_directory_holds_every_episode_once(collected):
    """Shards hold episodes 0 to N-1 in order, with everything an episode needs."""
    directory, report = collected
    episodes = read(directory)
    assert [episode.metadata["index"] for episode in episodes] == list(range(5))
    assert sorted(path.name for path in directory.iterdir()) == [
        "collection.json",
        *(f"episodes-{shard:05d}.npz" for shard in range(3)),
    ]
    first = episodes[0]
    assert first.frames.shape == (5, 64, 64, 3) and first.actions.shape == (4, 2) and first.states.shape == (5, 2)
    assert {name: (len(value), value.dtype.kind) for name, value in first.extras.items()} == {
        "simulator_state": (5, "f"),
        "object_positions": (5, "f"),
        "object_pixels": (5, "f"),
        "tip_pixel": (5, "f"),
        "object_hidden": (5, "b"),
        "object_present": (5, "b"),
        "contact": (5, "b"),
    }
    assert first.extras["simulator_state"].dtype == np.float64
    for name in ("seed", "policy", "scene", "environment", "environment_version", "mujoco_version", "camera"):
        assert name in first.metadata
    assert first.metadata["metres_per_step"] == 0.03
    assert report["episodes"] == report["new_episodes"] == 5
    assert sum(each["episodes"] for each in report["policies"].values()) == 5
    assert 0 <= report["moved_share"] <= 1 and report["escaped"] == 0


def test_any_recorded_frame_can_be_restored(collected):
    """From a recorded frame, the recorded actions lead to the recorded frames."""
    episode = read(collected[0])[3]
    env = PushEnv()
    env.reset(seed=0)
    observation, _ = env.reset(
        options={"scene": episode.metadata["scene"], "simulator_state": episode.extras["simulator_state"][2]}
    )
    np.testing.assert_array_equal(observation["image"], episode.frames[2])
    for step in (2, 3):
        observation, *_ = env.step(episode.actions[step])
        np.testing.assert_array_equal(observation["image"], episode.frames[step + 1])


def test_episodes_depend_on_seed_and_number_alone(collected):
    """Alone, with another shard size and more workers, an episode is the same; with another seed it is not."""
    episodes = read(collected[0])
    env, policy = make_environment(SETTINGS), make_policy(SETTINGS.policy)
    for index in (4, 1):
        assert_same_episodes([run_episode(env, policy, SETTINGS, index)], [episodes[index]])
    other = run_episode(env, policy, replace(SETTINGS, seed=4), 1)
    assert not np.array_equal(other.frames[0], episodes[1].frames[0])


def test_two_workers_give_what_one_gives(collected, tmp_path):
    """The number of workers and the size of shards change no episode."""
    collect_episodes(tmp_path, replace(SETTINGS, shard_size=1), workers=2)
    assert_same_episodes(read(tmp_path), read(collected[0]))


def test_resuming_adds_only_what_is_missing(collected, tmp_path):
    """A shard that vanished is made again, equal; what is there stays untouched; leftovers of a kill are removed."""
    directory = tmp_path / "copy"
    directory.mkdir()
    for path in collected[0].iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    (directory / "episodes-00001.npz").unlink()
    (directory / ".episodes-00001.npz.abc.partial").write_bytes(b"half")
    kept = (directory / "episodes-00000.npz").stat().st_mtime_ns
    report = collect_episodes(directory, SETTINGS, workers=1, resume=True)
    assert report["new_episodes"] == 2 and report["episodes"] == 5
    assert (directory / "episodes-00000.npz").stat().st_mtime_ns == kept
    assert_same_episodes(read(directory), read(collected[0]))
    assert not list(directory.glob(".*"))
    assert collect_episodes(directory, SETTINGS, workers=1, resume=True)["new_episodes"] == 0
    whole = (directory / "episodes-00001.npz").read_bytes()
    (directory / "episodes-00001.npz").write_bytes(whole[:-100])
    assert collect_episodes(directory, SETTINGS, workers=1, resume=True)["new_episodes"] == 2
    assert_same_episodes(read(directory), read(collected[0]))


def test_a_collection_grows_and_never_shrinks(collected, tmp_path):
    """Asked for more, it keeps full files and makes the last one anew: the collection of that many episodes."""
    shorter = replace(SETTINGS, episodes=3)
    collect_episodes(tmp_path, shorter, workers=1)
    kept = (tmp_path / "episodes-00000.npz").stat().st_mtime_ns
    report = collect_episodes(tmp_path, SETTINGS, workers=1, resume=True)
    assert (report["new_episodes"], report["episodes"]) == (3, 5)  # the third was alone in its file
    assert (tmp_path / "episodes-00000.npz").stat().st_mtime_ns == kept
    assert_same_episodes(read(tmp_path), read(collected[0]))
    assert json.loads((tmp_path / "collection.json").read_text()) == json.loads(
        (collected[0] / "collection.json").read_text()
    )
    with pytest.raises(ValueError, match=r"a collection of 5 episodes, more than 3: --resume makes"):
        collect_episodes(tmp_path, shorter, workers=1, resume=True)


def test_a_shard_is_complete_or_absent(tmp_path):
    """A failure in the middle of a shard leaves no file behind."""

    def fail():
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        collect_shard(SETTINGS, str(tmp_path), 0, fail)
    assert not list(tmp_path.iterdir())


def test_a_killed_collection_can_be_resumed(collected, tmp_path):
    """After kill -9 in the middle, `--resume` gives the collection that an undisturbed run gives."""
    directory = tmp_path / "killed"
    command = [sys.executable, "-m", "visual_foresight", "collect", "--output", str(directory), "--episodes", "5"]
    command += ["--steps", "4", "--shard_size", "2", "--seed", "3", "--workers", "1"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (directory / "episodes-00000.npz").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it was quicker than the kill; resuming must then add nothing
    process.wait()
    assert (directory / "collection.json").is_file()
    report = collect_episodes(directory, SETTINGS, workers=1, resume=True)
    assert report["episodes"] == 5
    assert_same_episodes(read(directory), read(collected[0]))


def test_a_terminated_collection_ends_in_one_line(tmp_path):
    """What is done stays, nothing half written does, and no process complains after the end."""
    command = [sys.executable, "-m", "visual_foresight", "collect", "--output", str(tmp_path), "--episodes", "5000"]
    command += ["--steps", "4", "--shard_size", "2", "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("episodes-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    last = process.communicate(timeout=60)[1].splitlines()[-1]  # what came before is the progress bar
    assert process.returncode == 143
    assert last == "visual-foresight: terminated; the same command with --resume goes on"
    names = {path.name.split("-")[0] for path in tmp_path.iterdir()}
    assert names == {"collection.json", "episodes"}


def test_collections_are_never_mixed(collected, tmp_path):
    """Other settings, a missing --resume, a foreign or damaged directory are refused by name."""
    directory = collected[0]
    with pytest.raises(ValueError, match="--resume"):
        collect_episodes(directory, SETTINGS)
    with pytest.raises(ValueError, match=r"settings\.seed"):
        collect_episodes(directory, replace(SETTINGS, seed=4), resume=True)
    (tmp_path / "episodes-00000.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no collection\.json"):
        collect_episodes(tmp_path, SETTINGS)
    (tmp_path / "collection.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        collect_episodes(tmp_path, SETTINGS, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episodes": 0}, "episodes must be at least 1"),
        ({"steps": -1}, "steps must be at least 1"),
        ({"seed": -1}, "seed must not be negative"),
        ({"policy": "clever"}, "unknown policy 'clever'"),
        ({"format": "mp4"}, "mp4"),
        ({"split": "all"}, "unknown split"),
    ],
)
def test_bad_settings_are_refused(change, message):
    """Each refusal names the setting."""
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **change)


def test_the_command_collects_and_reports(tmp_path, command):
    """`visual-foresight collect --json` prints one JSON report; collecting there again is refused in one line."""
    words = ("collect", "--output", tmp_path, "--episodes", 2, "--steps", 3, "--policy", "uniform", "--workers", 1)
    answer = command(*words, "--json")
    assert answer.code == 0
    report = json.loads(answer.out)
    assert report["episodes"] == 2 and report["policies"]["uniform"]["episodes"] == 2
    assert [episode.num_frames for episode in read(tmp_path)] == [4, 4]
    again = command(*words)
    assert again.code == 2 and again.err.strip().splitlines()[-1].startswith("visual-foresight collect: error:")
    wrong = command("collect", "--output", tmp_path / "x", "--episodes", 2, "--num_objects", "many")
    assert wrong.code == 2 and "--num_objects" in wrong.err


def test_varied_objects_are_collected(tmp_path, command):
    """`--split varied` writes episodes of compounds, and the split stands in each scene."""
    words = ("--split", "varied", "--episodes", 1, "--steps", 2, "--policy", "uniform", "--workers", 1)
    assert command("collect", "--output", tmp_path, *words).code == 0
    (episode,) = read(tmp_path)
    assert episode.metadata["scene"]["split"] == "varied"
    assert {item["shape"] for item in episode.metadata["scene"]["objects"]} == {"compound"}


@pytest.mark.slow
def test_both_formats_hold_the_same_episodes(collected, tmp_path):
    """TFRecords and npz archives of one collection are read as equal episodes."""
    for shard in range(SETTINGS.num_shards):
        collect_shard(replace(SETTINGS, format="push"), str(tmp_path), shard)
    assert_same_episodes(read(tmp_path), read(collected[0]))
