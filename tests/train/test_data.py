"""From files to training windows: the original's split, limits, what is passed over, and streams."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import world  # noqa: E402

from visual_foresight.episode import Episode  # noqa: E402
from visual_foresight.formats import write_episodes  # noqa: E402
from visual_foresight.train.config import TrainingConfig  # noqa: E402
from visual_foresight.train.data import data_from_episodes, load_data  # noqa: E402
from visual_foresight.train.feeding import training_batches, validation_batches  # noqa: E402
from visual_foresight.train.streaming import StreamedWindows  # noqa: E402


@pytest.fixture
def shards(tmp_path):
    """Ten files of three episodes; every episode has its own first frame."""
    for index in range(10):
        write_episodes(tmp_path / f"shard-{index}.npz", world.world(3, first_seed=3 * index))
    return tmp_path


def configure(folder, **changes):
    fields = {
        "data_dir": str(folder),
        "preprocess": "none",
        "sequence_length": 5,
        "batch_size": 4,
        "image_size": (16, 16),
    }
    return TrainingConfig(**(fields | changes))


def take(batches, count):
    iterator = iter(batches)
    return [{name: np.asarray(value) for name, value in next(iterator).items()} for _ in range(count)]


def test_the_first_files_train_as_in_the_original(shards):
    """floor(0.75 * 10) = 7 files train; the labels say which record is which."""
    data = load_data(configure(shards, train_val_split=0.75))
    assert data.train.num_episodes == 21 and data.validation.num_episodes == 9
    assert data.labels[0] == "shard-0.npz, record 0" and data.labels[-1] == "shard-6.npz, record 2"
    assert data.facts["format"] == "npz" and data.facts["train_frames"] == 21 * 8
    assert data.facts["absent"] == []


def test_a_robot_without_sensors_is_noted(tmp_path):
    """So that nobody asks a predictor for the states of such a robot."""
    bare = [Episode(one.frames, one.actions) for one in world.world(4)]
    write_episodes(tmp_path / "bare.npz", bare)
    data = load_data(configure(tmp_path, split_by="episode", train_val_split=0.5))
    assert data.facts["absent"] == ["states"] and len(data.statistics.state_mean) == 1


def test_a_split_by_episode_uses_every_file_and_depends_on_the_seed(shards):
    data = load_data(configure(shards, split_by="episode", train_val_split=0.9))
    assert (data.train.num_episodes, data.validation.num_episodes) == (27, 3)
    other = load_data(configure(shards, split_by="episode", train_val_split=0.9, seed=1))
    assert data.labels != other.labels
    assert data.fingerprint != other.fingerprint
    assert data.fingerprint == load_data(configure(shards, split_by="episode", train_val_split=0.9)).fingerprint


@pytest.fixture
def two_places(tmp_path):
    """Two folders whose files have the same names: four and eight of them, two episodes each."""
    for place, count in (("known", 4), ("varied, too", 8)):
        (tmp_path / place).mkdir()
        for index in range(count):
            write_episodes(tmp_path / place / f"shard-{index}.npz", world.world(2, first_seed=100 * count + 2 * index))
    return tmp_path


def test_of_several_places_each_gives_its_first_files_to_training(two_places):
    """And each its last ones to validation, whatever stands first."""
    places = f"{two_places / 'known'},{two_places}/four"
    (two_places / "varied, too").rename(two_places / "four")
    data = load_data(configure(places, train_val_split=0.75))
    assert (data.train.num_episodes, data.validation.num_episodes) == (2 * 3 + 2 * 6, 2 * 1 + 2 * 2)
    assert data.labels[0] == "known/shard-0.npz, record 0" and data.labels[-1] == "four/shard-5.npz, record 1"
    whole = load_data(configure(places, split_by="episode", train_val_split=0.75))
    assert whole.train.num_episodes + whole.validation.num_episodes == 24
    streamed = load_data(configure(places, train_val_split=0.75, cache_gb=1e-5))
    assert isinstance(streamed.train, StreamedWindows) and streamed.facts["streamed_files"] == 9


def test_a_folder_with_a_comma_is_one_place(two_places):
    data = load_data(configure(two_places / "varied, too", train_val_split=0.75))
    assert data.labels[0] == "shard-0.npz, record 0" and data.train.num_episodes == 12


def test_places_that_cannot_be_joined_are_refused(two_places):
    known = two_places / "known"
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_data(configure(f"{known},{two_places / 'nowhere'}"))
    with pytest.raises(ValueError, match="names a place twice"):
        load_data(configure(f"{known},{two_places}/./known"))
    with pytest.raises(ValueError, match="names an empty place"):
        load_data(configure(f"{known},"))
    (two_places / "push").mkdir()
    write_episodes(two_places / "push" / "a.tfrecord", world.world(2), format="push")
    with pytest.raises(ValueError, match="known is npz, .*push is push"):
        load_data(configure(f"{known},{two_places / 'push'}"))
    (two_places / "single").mkdir()
    write_episodes(two_places / "single" / "a.npz", world.world(2))
    with pytest.raises(ValueError, match="of 1 files in .*single leaves 0 to train on and 1 to validate on"):
        load_data(configure(f"{known},{two_places / 'single'}"))


def test_a_limit_is_shared_between_training_and_validation(shards):
    data = load_data(configure(shards, train_val_split=0.75, limit_episodes=8))
    assert (data.train.num_episodes, data.validation.num_episodes) == (6, 2)


def test_the_statistics_are_those_of_the_training_episodes_alone(shards):
    data = load_data(configure(shards, train_val_split=0.75))
    states = np.concatenate([world.moving_square(seed).states for seed in range(21)])
    np.testing.assert_allclose(data.statistics.state_mean, states.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(data.statistics.state_deviation, states.std(axis=0), rtol=1e-5)


def test_short_episodes_are_passed_over_and_counted(shards):
    write_episodes(shards / "shard-0.npz", [world.moving_square(0, 4), world.moving_square(1)])
    data = load_data(configure(shards, train_val_split=0.75))
    assert data.train.num_episodes == 19 and data.facts["too_short"] == 1


def test_a_damaged_record_is_named_or_passed_over(shards):
    content = (shards / "shard-1.npz").read_bytes()
    (shards / "shard-1.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"shard-1\.npz.*--skip_bad=1"):
        load_data(configure(shards, train_val_split=0.75))
    data = load_data(configure(shards, train_val_split=0.75, skip_bad=True))
    assert data.train.num_episodes < 21 and data.facts["unreadable"] >= 1


def test_data_that_are_all_damaged_are_said_to_be_so(shards):
    """And not to be short."""
    for shard in shards.iterdir():
        shard.write_bytes(shard.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"damaged records\): mend the data"):
        load_data(configure(shards, train_val_split=0.75, skip_bad=True))


def test_images_alone_get_zeros_of_the_originals_sizes(shards):
    data = load_data(configure(shards, train_val_split=0.75, use_state=False))
    batch = data.train.batch(0)
    assert batch["actions"].shape == (4, 4, 5) and batch["states"].shape == (4, 5, 5)
    assert not batch["actions"].any() and not batch["states"].any()


def test_a_robot_without_sensors_has_one_constant_state():
    episodes = [Episode(each.frames, each.actions) for each in world.world(20)]
    data = data_from_episodes(configure("unused"), episodes)
    assert data.train.batch(0)["states"].shape == (4, 5, 1)


def test_batches_resume_at_any_iteration_with_their_masks(shards):
    config = configure(shards, train_val_split=0.75, schedsamp_k=10.0)
    data = load_data(config)
    whole = take(training_batches(data.train, config, 0), 25)
    later = take(training_batches(data.train, config, 22), 3)
    for first, second in zip(whole[22:], later, strict=True):
        assert set(first) == {"frames", "actions", "states", "ground_truth"}
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])
    assert whole[0]["ground_truth"].sum() == 4 * 4 and whole[23]["ground_truth"].sum() == 2 * 4


def test_threads_hand_batches_on_in_their_order(shards):
    """What JAX is fed: each batch is that of its index, masks too, and stopping waits for none of them."""
    from visual_foresight.train import feeding

    config = configure(shards, train_val_split=0.75, schedsamp_k=10.0)
    data = load_data(config)
    batches = feeding._generator(data.train, config, 3)
    for index in range(3, 40):
        (batch,) = next(batches)
        for name, value in data.train.batch(index).items():
            np.testing.assert_array_equal(batch[name], value)
        np.testing.assert_array_equal(batch["ground_truth"], feeding._mask(config, index))
    batches.close()


@pytest.mark.parametrize("cache_gb", [1.0, 3e-5])
def test_points_are_chosen_in_memory_and_from_the_stream_and_resume(shards, cache_gb):
    config = configure(
        shards, train_val_split=0.75, schedsamp_k=-1, follow_weight=0.01, follow_points=3, cache_gb=cache_gb
    )
    data = load_data(config)
    assert isinstance(data.train, StreamedWindows) == (cache_gb < 1)
    whole = take(training_batches(data.train, config, 0), 6)
    assert whole[0]["points"].shape == (4, 3, 2)
    assert any((batch["points"] >= 0).any() for batch in whole)
    for first, second in zip(whole[4:], take(training_batches(data.train, config, 4), 2), strict=True):
        np.testing.assert_array_equal(first["points"], second["points"])
    assert "points" not in validation_batches(data.validation, 1)[0]


def test_validation_batches_are_the_same_ones_and_no_more_than_there_is(shards):
    data = load_data(configure(shards, train_val_split=0.75))
    batches = validation_batches(data.validation, 8)
    assert len(batches) == 3  # nine episodes in batches of four
    np.testing.assert_array_equal(batches[1]["frames"], validation_batches(data.validation, 8)[1]["frames"])
    assert "ground_truth" not in batches[0]


def test_what_does_not_fit_in_memory_is_streamed_and_resumes(shards):
    config = configure(shards, train_val_split=0.75, cache_gb=3e-5, schedsamp_k=-1)
    data = load_data(config)
    assert isinstance(data.train, StreamedWindows)
    assert data.facts["streamed_files"] == 7
    whole = take(training_batches(data.train, config, 0), 8)
    assert whole[0]["frames"].shape == (4, 5, 16, 16, 3)
    assert len({batch["frames"].tobytes() for batch in whole}) == 8
    for first, second in zip(whole[6:], take(training_batches(data.train, config, 6), 2), strict=True):
        np.testing.assert_array_equal(first["frames"], second["frames"])
    assert data.fingerprint == load_data(config).fingerprint
    with pytest.raises(ValueError, match="stream from disk with --split_by=file"):
        load_data(configure(shards, split_by="episode", cache_gb=3e-5))


def test_frames_of_another_size_are_refused_before_anything_is_built(shards):
    with pytest.raises(ValueError, match=r"shard-\d.npz, record 0: frames are 16x16, --image_size is 24x32: pass"):
        load_data(configure(shards, image_size=(24, 32)))
