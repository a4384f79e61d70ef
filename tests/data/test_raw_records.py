"""The encoding "raw" of push records: exact, indexed without reading frames, damage named, windows as anywhere else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from window_batches import SMALL, assert_same, take

from visual_foresight.backend import import_tensorflow
from visual_foresight.episode import Episode
from visual_foresight.formats import Fault, detect_format, read_episodes, write_episodes
from visual_foresight.formats.checksum import crc32c
from visual_foresight.formats.conversion import convert
from visual_foresight.formats.raw_records import RawRecord, index_shard, load_array, read_window, store_array
from visual_foresight.formats.tfrecord import Features
from visual_foresight.pipeline import stream_windows


@pytest.fixture
def raw_folder(tmp_path, make_episode):
    """Two raw shards of three episodes each, of 6 to 8 frames."""
    folder = tmp_path / "raw"
    for shard in range(2):
        episodes = [make_episode(10 * shard + each, frames=6 + each) for each in range(3)]
        write_episodes(folder / f"{shard}.tfrecord", episodes, encoding="raw")
    return folder


def test_raw_records_hold_every_episode_exactly(tmp_path, rich_episode, make_episode, same_episode):
    """Extras, metadata, a final action, missing actions and states: all come back to the bit, the format recognised."""
    episodes = [rich_episode, make_episode(1, action_size=None), make_episode(2, state_size=None)]
    path = tmp_path / "a.tfrecord"
    assert write_episodes(path, episodes, encoding="raw") == 3
    assert detect_format(path) == "push"
    for found, expected in zip(read_episodes(path, preprocess="none"), episodes, strict=True):
        same_episode(found, expected)
    for found, expected in zip(read_episodes(path, preprocess="none", max_frames=3), episodes, strict=True):
        same_episode(found, expected.window(0, 3))


def test_reading_images_only_leaves_actions_out(tmp_path, rich_episode):
    """use_state=False gives neither actions nor states nor a final action."""
    write_episodes(tmp_path / "a.tfrecord", [rich_episode], encoding="raw")
    (episode,) = read_episodes(tmp_path / "a.tfrecord", preprocess="none", use_state=False)
    assert episode.actions is None and episode.states is None and "final_action" not in episode.extras


def test_any_data_set_converts_to_raw_and_back(tmp_path, npz_folder, same_episode):
    """npz to raw push to npz: the same frames, actions and states."""
    convert(npz_folder, tmp_path / "raw", to="push", encoding="raw", episodes_per_file=3)
    convert(tmp_path / "raw", tmp_path / "back.npz")
    pairs = zip(
        read_episodes(npz_folder, preprocess="none"),
        read_episodes(tmp_path / "back.npz", preprocess="none"),
        strict=True,
    )
    for first, last in pairs:
        np.testing.assert_array_equal(first.frames, last.frames)
        np.testing.assert_array_equal(first.actions, last.actions)
        np.testing.assert_array_equal(first.states, last.states)


@given(st.lists(st.integers(0, 5), max_size=4), st.sampled_from(["u1", "<f4", "<i8"]))
def test_stored_arrays_come_back(shape, dtype):
    """load_array(store_array(a)) is a, for every shape."""
    array = np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)
    found = load_array(store_array(array))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_stored_arrays_that_are_cut_or_foreign_are_refused():
    """What is not a whole array, or holds objects, is refused."""
    stored = store_array(np.arange(6, dtype=np.float32))
    with pytest.raises(ValueError, match=r"an array of \[6\] float32 is stored in 23 bytes"):
        load_array(stored[:-1])
    with pytest.raises(ValueError, match="not stored as a .npy file"):
        load_array(b"anything else")
    with pytest.raises(ValueError, match="expected plain rows"):
        load_array(stored.replace(b"'<f4'", b"'|O' "))


@given(st.binary(max_size=200))
def test_short_checksums_equal_long_ones(data):
    """The loop for few bytes gives what the rows give: a checksum of a join is found through either."""
    padded = bytes(100) + data
    assert crc32c(padded[100:]) == _slow_crc32c(data)
    assert crc32c(padded) == _slow_crc32c(padded)


def _slow_crc32c(data):
    remainder = 0xFFFFFFFF
    for value in data:
        remainder ^= value
        for _ in range(8):
            remainder = (remainder >> 1) ^ (0x82F63B78 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


def test_the_index_points_at_the_frames(raw_folder):
    """Offsets found by walking over the file are where TensorFlow's own reading finds the same bytes."""
    tf = import_tensorflow()
    for shard in sorted(raw_folder.iterdir()):
        records = list(index_shard(shard))
        for record, raw in zip(records, tf.data.TFRecordDataset(str(shard)).as_numpy_iterator(), strict=True):
            assert isinstance(record, RawRecord)
            expected = load_array(Features(raw).bytes_at("visual_foresight/frames"))
            assert record.num_frames == len(expected)
            frames = np.empty((3, *expected.shape[1:]), np.uint8)
            read_window(record, 2, frames)
            np.testing.assert_array_equal(frames, expected[2:5])


def test_other_encodings_have_no_index(tmp_path, make_episode):
    """PNG records are told apart by their first record, and then stream the other way."""
    write_episodes(tmp_path / "a.tfrecord", [make_episode()])
    assert index_shard(tmp_path / "a.tfrecord") is None
    assert len(take(stream_windows(tmp_path, **SMALL), 2)) == 2


def test_one_epoch_in_order(raw_folder):
    """Without shuffling, the first windows come in the order of the files, and one epoch ends."""
    batches = take(stream_windows(raw_folder, start="first", shuffle_buffer=0, num_epochs=1, **SMALL))
    episodes = list(read_episodes(raw_folder, preprocess="none"))
    assert len(batches) == 3
    for index, batch in enumerate(batches):
        for row in range(2):
            episode = episodes[2 * index + row]
            np.testing.assert_array_equal(batch["frames"][row], episode.frames[:4])
            np.testing.assert_array_equal(batch["actions"][row], episode.actions[:3])
            np.testing.assert_array_equal(batch["states"][row], episode.states[:4])


def test_each_epoch_holds_every_episode_once_from_any_frame(raw_folder):
    """Windows are windows of the episodes, each episode once an epoch, from any first frame, epochs in new orders."""
    episodes = list(read_episodes(raw_folder, preprocess="none"))
    found = []
    for batch in take(stream_windows(raw_folder, num_epochs=12, **SMALL)):
        for frames, actions, states in zip(batch["frames"], batch["actions"], batch["states"], strict=True):
            ((episode, start),) = [
                (index, start)
                for index, each in enumerate(episodes)
                for start in range(each.num_frames - 3)
                if (each.frames[start : start + 4] == frames).all()
            ]
            np.testing.assert_array_equal(actions, episodes[episode].actions[start : start + 3])
            np.testing.assert_array_equal(states, episodes[episode].states[start : start + 4])
            found.append((episode, start))
    orders = np.array([episode for episode, _ in found]).reshape(12, 6)
    assert (np.sort(orders, axis=1) == np.arange(6)).all()
    assert len({tuple(order) for order in orders}) > 1
    assert {start for _, start in found} == {0, 1, 2, 3, 4}


def test_the_same_call_repeats_and_resumes(raw_folder):
    """The seed decides everything; skip_batches=n is what is left after n batches; epochs need not fit batches."""
    windows = SMALL | {"batch_size": 4}
    first = take(stream_windows(raw_folder, **windows), 9)
    assert_same(first, take(stream_windows(raw_folder, num_parallel=1, **windows), 9))
    assert_same(first[5:], take(stream_windows(raw_folder, skip_batches=5, **windows), 4))
    other = take(stream_windows(raw_folder, **(windows | {"seed": 6})), 9)
    assert any((a["frames"] != b["frames"]).any() for a, b in zip(first, other, strict=True))


def test_windows_are_resized_as_episodes_are(raw_folder):
    """preprocess and image_size give what read_episodes gives."""
    sized = {"preprocess": "antialias", "image_size": (4, 4)}
    stream = stream_windows(raw_folder, start="first", shuffle_buffer=0, num_epochs=1, **(SMALL | sized))
    expected = [episode.frames[:4] for episode in read_episodes(raw_folder, **sized)]
    np.testing.assert_array_equal(np.concatenate([batch["frames"] for batch in take(stream)]), np.stack(expected))


def test_image_only_streams_have_zeros(raw_folder):
    """use_state=False streams zeros of the asked sizes."""
    (batch,) = take(stream_windows(raw_folder, use_state=False, action_size=5, state_size=6, **SMALL), 1)
    assert batch["actions"].shape == (2, 3, 5) and batch["states"].shape == (2, 4, 6)
    assert not batch["actions"].any() and not batch["states"].any()


def _damage(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)


def test_a_damaged_frame_is_named_or_passed_over(raw_folder):
    """A changed byte of a frame fails with file and record as it is read; skip_bad leaves that record out."""
    shard = raw_folder / "1.tfrecord"
    record = list(index_shard(shard))[1]
    _damage(shard, record.offset + 5 * 192)
    errors = import_tensorflow().errors
    with pytest.raises(
        (ValueError, errors.OpError), match=r"1.tfrecord, record 1: frame 5 does not match its checksum"
    ):
        take(stream_windows(raw_folder, num_epochs=20, **SMALL))
    faults = []
    batches = take(stream_windows(raw_folder, skip_bad=True, on_fault=faults.append, num_epochs=2, **SMALL))
    assert [(fault.file.name, fault.record) for fault in faults] == [("1.tfrecord", 1)]
    assert len(batches) == 5


def test_damaged_structure_is_found_when_the_stream_is_made(raw_folder):
    """A length, an action, the end of the file: each names file and record before training begins."""
    shard, whole = raw_folder / "0.tfrecord", (raw_folder / "0.tfrecord").read_bytes()
    record = list(index_shard(shard))[0]
    cases = {
        0: r"0.tfrecord, record 0: the record's length, at byte 0, is damaged",
        whole.index(record.actions.tobytes()) + 1: r"record 0: its actions do not match their checksum",
        whole.index(b"visual_foresight/checksums") + 3: r"record 0: has no checksum",
        record.offset - 60: r"record 0: ",  # the array's header
    }
    for position, message in cases.items():
        shard.write_bytes(whole)
        _damage(shard, position)
        with pytest.raises(ValueError, match=message):
            stream_windows(raw_folder, **SMALL)
    shard.write_bytes(whole[:-700])
    with pytest.raises(ValueError, match=r"record 2: the file is truncated: it ends 700 bytes before the end"):
        stream_windows(raw_folder, **SMALL)
    shard.write_bytes(whole[: len(whole) // 2])
    assert isinstance(list(index_shard(shard))[-1], Fault)


@given(st.data())
def test_no_single_damaged_byte_passes_unnoticed(tmp_path_factory, data):
    """Any changed byte is named, or leaves what a window holds as it was (a key or metadata of no use to it)."""
    path = tmp_path_factory.mktemp("damaged") / "a.tfrecord"
    frames = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 3), dtype=np.uint8)
    write_episodes(path, [Episode(frames, np.ones((3, 2)), np.ones((4, 2)), {}, {"seed": 3})], encoding="raw")
    _damage(path, data.draw(st.integers(0, path.stat().st_size - 1)))
    listing = index_shard(path)
    if listing is None:
        return  # the key itself is damaged: the other way of reading checks the record as a whole
    (found,) = listing
    if isinstance(found, Fault):
        assert found.record == 0 and found.message
        return
    read = np.empty((found.num_frames, *found.image_size, 3), np.uint8)
    try:
        read_window(found, 0, read)
    except ValueError as error:
        assert "a.tfrecord, record 0" in str(error)
        return
    np.testing.assert_array_equal(read, frames)
    for kind, expected in (("actions", np.ones((3, 2))), ("states", np.ones((4, 2)))):
        rows = getattr(found, kind)
        assert rows is None or (rows == expected).all()


def test_short_and_unequal_episodes_are_named(raw_folder, make_episode):
    """Too few frames, another size of actions: file and record, or passed over."""
    with pytest.raises(ValueError, match=r"0.tfrecord, record 0: has 6 frames, fewer than the sequence_length 7"):
        stream_windows(raw_folder, **(SMALL | {"sequence_length": 7}))
    with pytest.raises(ValueError, match="no episode of at least 99 frames"):
        stream_windows(raw_folder, skip_bad=True, **(SMALL | {"sequence_length": 99}))
    with pytest.raises(ValueError, match="the data has action size 2, but action_size=3"):
        stream_windows(raw_folder, action_size=3, **SMALL)
    write_episodes(raw_folder / "2.tfrecord", [make_episode(0, action_size=3)], encoding="raw")
    with pytest.raises(ValueError, match=r"2.tfrecord, record 0: has actions of size 3, the first episode of size 2"):
        stream_windows(raw_folder, **SMALL)
