"""Windows in memory, splits and weights."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visual_foresight.episode import Episode
from visual_foresight.pipeline import WindowSource, contact_weights, split_episodes, split_files


def numbered_episode(index, frames, *, contact=None):
    """Frame t of episode i is filled with i in red and t in green; action and state t are (i, t)."""
    pictures = np.zeros((frames, 2, 2, 3), np.uint8)
    pictures[..., 0] = index
    pictures[..., 1] = np.arange(frames)[:, None, None]
    rows = np.stack([np.full(frames, index), np.arange(frames)], axis=1)
    extras = {} if contact is None else {"contact": np.asarray(contact)}
    return Episode(pictures, rows[:-1], rows, extras)


LENGTHS = (4, 7, 5, 12, 4)


def numbered_source(**arguments):
    episodes = (numbered_episode(index, length) for index, length in enumerate(LENGTHS))
    return WindowSource(episodes, **({"sequence_length": 4, "batch_size": 3, "seed": 0} | arguments))


def windows_of(batch):
    """(episode, first frame) of each window, after checking that it is one window of one episode."""
    found = []
    for frames, actions, states in zip(batch["frames"], batch["actions"], batch["states"], strict=True):
        index, start = frames[0, 0, 0, 0], frames[0, 0, 0, 1]
        np.testing.assert_array_equal(frames[:, 0, 0, 0], index)
        np.testing.assert_array_equal(frames[:, 0, 0, 1], np.arange(start, start + len(frames)))
        np.testing.assert_array_equal(states[:, 1], np.arange(start, start + len(frames)))
        np.testing.assert_array_equal(actions[:, 1], np.arange(start, start + len(frames) - 1))
        assert (states[:, 0] == index).all() and (actions[:, 0] == index).all()
        found.append((int(index), int(start)))
    return found


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), index=st.integers(0, 1000), batch_size=st.integers(1, 9), length=st.integers(1, 4))
def test_a_batch_depends_on_seed_and_index_alone(seed, index, batch_size, length):
    """Any batch, asked for in any order and from any source of the same data, is the same; windows never mix."""
    arguments = {"seed": seed, "batch_size": batch_size, "sequence_length": length}
    source = numbered_source(**arguments)
    batch = source.batch(index)
    assert batch["frames"].shape == (batch_size, length, 2, 2, 3) and batch["frames"].dtype == np.uint8
    assert batch["actions"].shape == (batch_size, length - 1, 2) and batch["actions"].dtype == np.float32
    windows_of(batch)
    source.batch(index + 5)
    source.batch(0)
    for name, value in numbered_source(**arguments).batch(index).items():
        np.testing.assert_array_equal(source.batch(index)[name], value)


@pytest.mark.parametrize("batch_size", [1, 3, 5, 8])
def test_every_epoch_visits_every_episode_once(batch_size):
    """Whatever the batch size, consecutive runs of num_episodes draws are permutations, and the epochs differ."""
    source = numbered_source(batch_size=batch_size)
    drawn = [window for index in range(40) for window in windows_of(source.batch(index))]
    epochs = [[episode for episode, _ in drawn[start : start + 5]] for start in range(0, 40 * batch_size - 4, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_random_starts_reach_every_window_and_first_starts_only_the_first():
    """Over many epochs each of the num_windows windows is drawn; with start="first" only those at 0."""
    source = numbered_source()
    drawn = {window for index in range(300) for window in windows_of(source.batch(index))}
    assert len(drawn) == source.num_windows == sum(length - 3 for length in LENGTHS)
    first = numbered_source(start="first", shuffle=False)
    assert first.num_windows == 5
    assert windows_of(first.batch(0)) == [(0, 0), (1, 0), (2, 0)]
    assert windows_of(first.batch(1)) == [(3, 0), (4, 0), (0, 0)]
    assert first.batches_per_epoch == 2


def test_seeds_differ():
    """Another seed is another order."""
    a, b = (numbered_source(seed=seed) for seed in (1, 2))
    assert any(windows_of(a.batch(index)) != windows_of(b.batch(index)) for index in range(4))


def test_image_only_data_come_with_zeros_of_the_asked_sizes():
    """Without actions or states, and with use_state=False, zeros of the caller's sizes take their place."""
    bare = [Episode(np.zeros((4, 2, 2, 3), np.uint8))]
    batch = WindowSource(bare, sequence_length=3, batch_size=2, seed=0, action_size=5, state_size=4).batch(0)
    assert batch["actions"].shape == (2, 2, 5) and batch["states"].shape == (2, 3, 4)
    assert not batch["actions"].any() and not batch["states"].any()
    batch = numbered_source(use_state=False, action_size=5, state_size=5).batch(0)
    assert batch["actions"].shape == (3, 3, 5) and not batch["actions"].any()


def test_contact_weights_choose_windows_in_proportion():
    """With share 0 every window drawn holds contact; with share 0.5 the others come up half as often each."""
    contact = [False] * 8 + [True] + [False] * 3
    episodes = [numbered_episode(0, 12, contact=contact)]
    arguments = {"sequence_length": 4, "batch_size": 50, "seed": 0}
    only = WindowSource(episodes, weights=contact_weights(0), **arguments)
    assert {start for index in range(10) for _, start in windows_of(only.batch(index))} == {5, 6, 7, 8}
    half = WindowSource(episodes, weights=contact_weights(0.5), **arguments)
    drawn = [start for index in range(80) for _, start in windows_of(half.batch(index))]
    share = np.mean([5 <= start <= 8 for start in drawn])
    assert abs(share - 4 / (4 + 5 * 0.5)) < 0.03  # four standard errors of 4000 draws
    again = WindowSource(episodes, weights=contact_weights(0.5), **arguments).batch(3)
    for name, value in half.batch(3).items():
        np.testing.assert_array_equal(again[name], value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sequence_length": 5}, "episode 0 has 4 frames, fewer than the sequence_length 5"),
        ({"sequence_length": 0}, "must be at least 1"),
        ({"start": "last"}, "start must be one of random, first"),
        ({"seed": -1}, "seed must not be negative"),
        ({"action_size": 3}, "the data has action size 2, but action_size=3 was asked for"),
        ({"memory_budget": 100}, "more than the memory budget of .*: use stream_windows"),
        ({"weights": lambda episode, length: np.ones(3)}, "weights of episode 0 must be 1 finite numbers"),
        ({"weights": lambda episode, length: np.zeros(episode.num_frames - 3)}, "weights of all windows are zero"),
        ({"weights": contact_weights()}, r"need extras\['contact'\]"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    """Each is refused with the reason."""
    with pytest.raises(ValueError, match=message):
        numbered_source(**arguments)


def test_episodes_that_do_not_agree_are_refused(make_episode):
    """Image, action and state sizes must agree, and either all episodes have actions or none."""
    arguments = {"sequence_length": 2, "batch_size": 1, "seed": 0}
    with pytest.raises(ValueError, match="episode 1 has frames of"):
        WindowSource([make_episode(), make_episode(size=(8, 9))], **arguments)
    with pytest.raises(ValueError, match="episodes differ in state size"):
        WindowSource([make_episode(), make_episode(state_size=4)], **arguments)
    with pytest.raises(ValueError, match="episode 1 has no actions but others do"):
        WindowSource([make_episode(), make_episode(action_size=None)], **arguments)
    with pytest.raises(ValueError, match="no episode"):
        WindowSource([], **arguments)
    with pytest.raises(ValueError, match="must not be negative"):
        numbered_source().batch(-1)
    with pytest.raises(ValueError, match="share must be in"):
        contact_weights(2)


def test_windows_need_no_tensorflow(npz_folder):
    """Reading npz and drawing batches imports neither TensorFlow nor Keras (JAX machines have none)."""
    code = (
        "import sys; from visual_foresight.formats import read_episodes;"
        "from visual_foresight.pipeline import WindowSource;"
        f"episodes = read_episodes({str(npz_folder)!r}, image_size=(4, 4));"
        "WindowSource(episodes, sequence_length=4, batch_size=2, seed=0).batch(0);"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(count=st.integers(1, 40), fraction=st.floats(0.05, 1))
def test_files_split_as_the_original_splits(count, fraction):
    """The first floor(fraction * N) of the sorted names train, the rest validates."""
    names = [f"f{index:03d}" for index in range(count)]
    if int(np.floor(fraction * count)) == 0:
        with pytest.raises(ValueError, match="leave none to train on"):
            split_files(names, fraction)
        return
    train, rest = split_files(list(reversed(names)), fraction)
    assert train + rest == names and len(train) == int(np.floor(fraction * count))


@given(count=st.integers(1, 40), fraction=st.floats(0.05, 1), seed=st.integers(0, 5))
def test_episodes_split_at_random_but_the_same_again(count, fraction, seed):
    """Both parts together are all episodes, in order, without overlap, and depend on the seed alone."""
    train, rest = split_episodes(range(count), fraction, seed)
    assert sorted(train + rest) == list(range(count)) and train == sorted(train) and train
    assert (train, rest) == split_episodes(range(count), fraction, seed)


@pytest.mark.parametrize("split", [split_files, split_episodes])
def test_splits_refuse_what_cannot_be_split(split):
    """Nothing to split and fractions out of range are named; so is a single file."""
    with pytest.raises(ValueError, match="there is no"):
        split([], 0.5)
    with pytest.raises(ValueError, match=r"train_fraction must be in \(0, 1\]"):
        split(["a"], 1.5)
    with pytest.raises(ValueError, match="split by episode"):
        split_files(["only"], 0.95)
