"""tf.data pipelines: the same batches as in memory, streamed windows, resume."""

import numpy as np
import pytest
from window_batches import SMALL, assert_same, take

from visual_foresight.backend import import_tensorflow
from visual_foresight.formats import read_episodes, write_episodes
from visual_foresight.pipeline import WindowSource, stream_windows


def test_a_sources_dataset_yields_its_batches_from_any_index(npz_folder):
    """dataset(n) begins with batch(n), with static shapes."""
    source = WindowSource(read_episodes(npz_folder, preprocess="none"), sequence_length=4, batch_size=2, seed=1)
    dataset = source.dataset(start_index=7)
    assert dataset.element_spec["frames"].shape == (2, 4, 8, 8, 3)
    assert dataset.element_spec["actions"].shape == (2, 3, 2)
    assert_same(take(dataset, 3), [source.batch(index) for index in (7, 8, 9)])
    with pytest.raises(ValueError, match="start_index must not be negative"):
        source.dataset(-1)


def test_streams_are_like_sources_and_repeat_exactly(npz_folder):
    """The elements have the specification of a source's; the same call gives the same batches, another seed others."""
    source = WindowSource(read_episodes(npz_folder, preprocess="none"), sequence_length=4, batch_size=2, seed=1)
    stream = stream_windows(npz_folder, **SMALL)
    assert stream.element_spec == source.dataset().element_spec
    first = take(stream, 8)
    assert_same(first, take(stream_windows(npz_folder, **SMALL), 8))
    other = take(stream_windows(npz_folder, **(SMALL | {"seed": 6})), 8)
    assert any((a["frames"] != b["frames"]).any() for a, b in zip(first, other, strict=True))


def test_streams_resume_by_skipping(npz_folder):
    """skip_batches=n continues where n batches were consumed, over epochs."""
    assert_same(
        take(stream_windows(npz_folder, **SMALL), 9)[5:], take(stream_windows(npz_folder, skip_batches=5, **SMALL), 4)
    )


def test_one_epoch_in_order_for_validation(npz_folder):
    """Without shuffling, first windows come in the order of the files, and one epoch ends."""
    stream = stream_windows(npz_folder, start="first", shuffle_buffer=0, num_epochs=1, num_parallel=1, **SMALL)
    batches = take(stream, -1)
    episodes = list(read_episodes(npz_folder, preprocess="none"))
    assert len(batches) == len(episodes) // 2
    for index, batch in enumerate(batches):
        for row in range(2):
            episode = episodes[2 * index + row]
            np.testing.assert_array_equal(batch["frames"][row], episode.frames[:4])
            np.testing.assert_array_equal(batch["actions"][row], episode.actions[:3])
            np.testing.assert_array_equal(batch["states"][row], episode.states[:4])


def test_push_records_stream_whole_windows(tmp_path, make_episode):
    """Random windows of push records are windows of the episodes, actions and states along with the frames."""
    episodes = [make_episode(seed, frames=9) for seed in range(4)]
    write_episodes(tmp_path / "a.tfrecord", episodes[:2])
    write_episodes(tmp_path / "b.tfrecord", episodes[2:])
    starts = set()
    for batch in take(stream_windows(tmp_path, **SMALL), 20):
        for frames, actions, states in zip(batch["frames"], batch["actions"], batch["states"], strict=True):
            (match,) = [
                (episode, start)
                for episode in episodes
                for start in range(6)
                if (episode.frames[start : start + 4] == frames).all()
            ]
            episode, start = match
            np.testing.assert_array_equal(actions, episode.actions[start : start + 3])
            np.testing.assert_array_equal(states, episode.states[start : start + 4])
            starts.add(start)
    assert len(starts) > 3


def test_image_only_streams_have_zeros(npz_folder):
    """use_state=False streams zeros of the asked sizes."""
    (batch,) = take(stream_windows(npz_folder, use_state=False, action_size=5, state_size=5, **SMALL), 1)
    assert batch["actions"].shape == (2, 3, 5) and not batch["actions"].any() and not batch["states"].any()


def test_short_episodes_are_named_or_passed_over(npz_folder):
    """An episode shorter than the windows fails with file and record; with skip_bad it is reported and left out."""
    longer = SMALL | {"sequence_length": 7}
    errors = import_tensorflow().errors
    with pytest.raises((ValueError, errors.OpError), match=r"episodes-00000.npz, record 0: has 6 frames, fewer than"):
        take(stream_windows(npz_folder, **longer), 4)
    faults = []
    take(stream_windows(npz_folder, skip_bad=True, on_fault=faults.append, num_epochs=1, **longer), -1)
    assert {(fault.file.name, fault.record) for fault in faults} >= {
        ("episodes-00000.npz", 0),
        ("episodes-00001.npz", 1),
    }
    with pytest.raises(ValueError, match="no episode of at least 99 frames"):
        stream_windows(npz_folder, skip_bad=True, **(SMALL | {"sequence_length": 99}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": "last"}, "start must be one of"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"skip_batches": -1}, "must not be negative"),
        ({"action_size": 3}, "the data has action size 2, but action_size=3"),
    ],
)
def test_wrong_arguments_are_refused(npz_folder, arguments, message):
    """Each is refused with the reason, before anything is read."""
    with pytest.raises(ValueError, match=message):
        stream_windows(npz_folder, **(SMALL | arguments))
    with pytest.raises(ValueError, match="no file"):
        stream_windows([], **SMALL)
