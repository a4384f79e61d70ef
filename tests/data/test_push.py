"""The push format: the original's golden records, its own reader's rules, round trips, damage."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visual_foresight.backend import import_tensorflow
from visual_foresight.episode import Episode
from visual_foresight.formats import read_episodes, write_episodes
from visual_foresight.formats.checksum import crc32c
from visual_foresight.formats.tfrecord import ExampleWriter, Features, decoder_scale, iterate_records
from visual_foresight.frames import to_float


def test_golden_records_are_read_as_the_original_reads_them(golden_push):
    """Frames, actions and states equal what the original reader yields (20 of 22 steps), to 1e-6."""
    with np.load(golden_push.parent / "push_tiny_expected.npz") as expected:
        chosen = expected["frame_indices"]
        episodes = list(read_episodes(golden_push, max_frames=20))
        assert len(episodes) == 4
        for index, episode in enumerate(episodes):
            assert episode.num_frames == 20
            actions = np.vstack([episode.actions, episode.extras["final_action"]])
            np.testing.assert_allclose(to_float(episode.frames[chosen]), expected["images"][index], atol=1e-6)
            np.testing.assert_allclose(actions, expected["actions"][index], atol=1e-6)
            np.testing.assert_allclose(episode.states, expected["states"][index], atol=1e-6)


def test_the_whole_record_is_read_unless_told(golden_push):
    """22 frames, 21 actions between them and the action after the last."""
    episode = next(read_episodes(golden_push))
    assert episode.frames.shape == (22, 64, 64, 3)
    assert episode.actions.shape == (21, 5) and episode.states.shape == (22, 5)
    assert episode.extras["final_action"].shape == (5,)


def test_antialias_decodes_small_and_equals_the_mean_of_the_full_picture(golden_push):
    """Decoding at 1/8 inside the decoder stays close to averaging 8 x 8 blocks of the full picture."""
    small = next(read_episodes(golden_push, preprocess="antialias", max_frames=2)).frames
    full = next(read_episodes(golden_push, preprocess="none", max_frames=2)).frames
    assert full.shape == (2, 512, 640, 3)
    blocks = full[:, :, 64:576].reshape(2, 64, 8, 64, 8, 3).mean(axis=(2, 4))
    assert np.abs(small - blocks).mean() < 1.5
    assert decoder_scale((512, 640), "antialias", (64, 64)) == 8
    assert decoder_scale((512, 640), "antialias", (100, 100)) == 4
    assert decoder_scale((512, 640), "seed", (64, 64)) == 1


def test_image_only_records_need_no_poses(tmp_path, golden_push):
    """use_state=False reads pictures only, as the original's use_state=0."""
    episode = next(read_episodes(golden_push, use_state=False, max_frames=2))
    assert episode.actions is None and episode.states is None and dict(episode.extras) == {}


@pytest.mark.parametrize("frames", [1, 2, 6])
@pytest.mark.parametrize("sizes", [(5, 5), (2, 3), (None, 3), (2, None), (None, None)])
def test_png_records_give_back_what_was_written(tmp_path, make_episode, same_episode, frames, sizes):
    """PNG is exact; any action and state size, or none, comes back to the bit."""
    episode = make_episode(frames=frames, action_size=sizes[0], state_size=sizes[1], metadata={"seed": 3})
    if frames == 1 and sizes[0] is not None:
        return  # one frame has no action, so nothing remembers how large one would be
    write_episodes(tmp_path / "a.tfrecord", [episode, episode])
    for read in read_episodes(tmp_path / "a.tfrecord", preprocess="none"):
        same_episode(read, episode)


def test_extras_and_metadata_come_back(tmp_path, rich_episode, same_episode):
    """Every extra keeps its dtype and shape, the final action its place, the metadata its values."""
    write_episodes(tmp_path / "a.tfrecord", [rich_episode])
    (read,) = read_episodes(tmp_path / "a.tfrecord", preprocess="none")
    same_episode(read, rich_episode)


def test_jpeg_records_are_close(tmp_path, golden_push):
    """JPEG loses little on pictures of a camera."""
    (episode, *_) = read_episodes(golden_push, preprocess="antialias")
    write_episodes(tmp_path / "a.tfrecord", [episode], encoding="jpeg", quality=95)
    (read,) = read_episodes(tmp_path / "a.tfrecord")
    assert np.abs(read.frames.astype(int) - episode.frames).mean() < 2


def read_as_the_original(path, sequence_length):
    """The original's reader in its own operations: fixed keys, `decode_jpeg`, crop or pad, bicubic, / 255."""
    tf = import_tensorflow()
    record = next(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    image, action, state = (
        "move/{}/image/encoded",
        "move/{}/commanded_pose/vec_pitch_yaw",
        "move/{}/endeffector/vec_pitch_yaw",
    )
    features = {image.format(step): tf.io.FixedLenFeature([1], tf.string) for step in range(sequence_length)}
    for key in (action, state):
        features |= {key.format(step): tf.io.FixedLenFeature([5], tf.float32) for step in range(sequence_length)}
    parsed = tf.io.parse_single_example(record, features)
    frames = []
    for step in range(sequence_length):
        picture = tf.io.decode_jpeg(parsed[image.format(step)][0], channels=3)
        assert picture.shape == (512, 640, 3)  # the original declares this shape
        picture = tf.image.resize_with_crop_or_pad(picture, 512, 512)[None]
        small = tf.raw_ops.ResizeBicubic(images=picture, size=(64, 64), align_corners=False, half_pixel_centers=False)
        frames.append(small[0].numpy() / np.float32(255))
    steps = range(sequence_length)
    return np.stack(frames), *(np.stack([parsed[key.format(step)] for step in steps]) for key in (action, state))


def test_records_in_original_encoding_are_read_by_the_originals_reader(tmp_path, golden_push):
    """Our 640 x 512 JPEG records pass the original's rules and hold the same frames, actions and states."""
    (episode, *_) = read_episodes(golden_push, preprocess="antialias")
    write_episodes(tmp_path / "a.tfrecord", [episode], encoding="original", quality=100)
    frames, actions, states = read_as_the_original(tmp_path / "a.tfrecord", 22)
    assert np.abs(frames - to_float(episode.frames)).max() < 3 / 255
    np.testing.assert_array_equal(actions, np.vstack([episode.actions, episode.extras["final_action"]]))
    np.testing.assert_array_equal(states, episode.states)


def test_without_a_final_action_none_is_invented(tmp_path, make_episode):
    """The last step then has no action key, and the original's reader can take T-1 steps."""
    write_episodes(tmp_path / "a.tfrecord", [make_episode(frames=4, action_size=5, state_size=5)])
    features = Features(next(iterate_records(tmp_path / "a.tfrecord")))
    assert "move/2/commanded_pose/vec_pitch_yaw" in features
    assert "move/3/commanded_pose/vec_pitch_yaw" not in features
    (read,) = read_episodes(tmp_path / "a.tfrecord", preprocess="none")
    assert "final_action" not in read.extras


def test_original_encoding_refuses_sizes_it_cannot_hold(tmp_path, make_episode):
    """A side that does not divide 512 cannot be enlarged exactly."""
    with pytest.raises(ValueError, match=r"side divides 512, got \(9, 9\)"):
        write_episodes(tmp_path / "a.tfrecord", [make_episode(size=(9, 9))], encoding="original")
    assert list(tmp_path.iterdir()) == []


def png(size=(8, 8)):
    stream = io.BytesIO()
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def push_features(steps=3):
    features = {}
    for step in range(steps):
        features[f"move/{step}/image/encoded"] = png()
        features[f"move/{step}/commanded_pose/vec_pitch_yaw"] = np.zeros(5)
        features[f"move/{step}/endeffector/vec_pitch_yaw"] = np.zeros(5)
    return features


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"move/0/image/encoded": None}, "lacks the key 'move/0/image/encoded'"),
        ({"move/1/image/encoded": None}, "key 'move/1/image/encoded' is missing, but the step after it is there"),
        ({"move/1/image/encoded": b"text"}, "key 'move/1/image/encoded': a picture of 4 bytes is neither JPEG nor PNG"),
        ({"move/1/image/encoded": b"\xff\xd8 cut"}, "is cut off: it lacks its end mark"),
        ({"move/1/image/encoded": b"\xff\xd8 bad \xff\xd9"}, "cannot be decoded"),
        ({"move/1/image/encoded": png()[:-30]}, "key 'move/1/image/encoded': a picture of .* cannot be decoded"),
        ({"move/1/image/encoded": png((8, 9))}, r"holds a picture of \(8, 9\), step 0 one of \(8, 8\)"),
        ({"move/1/commanded_pose/vec_pitch_yaw": None}, "lacks the key 'move/1/commanded_pose/vec_pitch_yaw'"),
        ({"move/1/commanded_pose/vec_pitch_yaw": np.zeros(4)}, "holds 4 numbers, step 0 holds 5"),
        ({"move/2/endeffector/vec_pitch_yaw": None}, "lacks the key 'move/2/endeffector/vec_pitch_yaw'"),
        ({"move/2/endeffector/vec_pitch_yaw": b"text"}, "must hold numbers, it holds none"),
        ({"move/2/endeffector/vec_pitch_yaw": np.full(5, np.nan)}, "states must be finite"),
        ({"visual_foresight/metadata": b"{"}, "Expecting property name"),
        ({"visual_foresight/extras/a": b"not an array"}, "magic string"),
    ],
)
def test_damaged_records_are_named(tmp_path, change, message):
    """Each fault names the file, the record and the key; the good records around it are still read."""
    features = {key: value for key, value in (push_features() | change).items() if value is not None}
    path = tmp_path / "a.tfrecord"
    writer = ExampleWriter(path)
    for each in (push_features(), features, push_features()):
        writer.write(each)
    writer.close()
    with pytest.raises(ValueError, match=f"a.tfrecord, record 1: .*{message}"):
        list(read_episodes(path, format="push", preprocess="none"))
    faults = []
    assert len(list(read_episodes(path, preprocess="none", skip_bad=True, on_fault=faults.append))) == 2
    assert [(fault.file, fault.record) for fault in faults] == [(path, 1)]


@pytest.fixture
def three_records(tmp_path, make_episode):
    """A file of three small records."""
    path = tmp_path / "three.tfrecord"
    write_episodes(path, [make_episode(seed) for seed in range(3)])
    return path


def offsets_of(path):
    content, offset, offsets = path.read_bytes(), 0, []
    while offset < len(content):
        offsets.append(offset)
        offset += 16 + struct.unpack_from("<Q", content, offset)[0]
    return offsets


@pytest.mark.parametrize(
    ("place", "good", "message"),
    [
        ("data", [0, 2], "record 1: its .* bytes, from byte .* on, do not match their checksum"),
        ("footer", [0, 2], "record 1: its .* do not match their checksum"),
        ("length", [0], "record 1: the record's length, at byte .*, is damaged; what follows cannot be read"),
    ],
)
def test_a_flipped_byte_costs_no_more_than_it_must(three_records, tmp_path, damage, place, good, message):
    """Damaged data cost one record; a damaged length costs what follows it."""
    offsets = offsets_of(three_records)
    flip = {"data": offsets[1] + 100, "footer": offsets[2] - 1, "length": offsets[1] + 1}[place]
    path = damage(three_records, tmp_path / "damaged.tfrecord", flip=flip)
    with pytest.raises(ValueError, match=f"damaged.tfrecord, {message}"):
        list(read_episodes(path, preprocess="none"))
    faults = []
    read = list(read_episodes(path, preprocess="none", skip_bad=True, on_fault=faults.append))
    originals = list(read_episodes(three_records, preprocess="none"))
    assert len(faults) == 1 and len(read) == len(good)
    for episode, index in zip(read, good, strict=True):
        np.testing.assert_array_equal(episode.frames, originals[index].frames)


@pytest.mark.parametrize("inside", ["header", "data"])
def test_a_truncated_file_is_told_with_what_is_missing(three_records, tmp_path, damage, inside):
    """The whole records are read, and the fault names the record in which the file ends."""
    last = offsets_of(three_records)[2]
    path = damage(three_records, tmp_path / "cut.tfrecord", cut=last + (5 if inside == "header" else 50))
    faults = []
    assert len(list(read_episodes(path, preprocess="none", skip_bad=True, on_fault=faults.append))) == 2
    assert [fault.record for fault in faults] == [2]
    assert "the file is truncated: it ends" in faults[0].message


def test_records_that_are_no_examples_are_faults(tmp_path):
    """Bytes that are not a tf.train.Example are told apart from damage of the file."""
    tf = import_tensorflow()
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(b"\xff\xff text")
    with pytest.raises(ValueError, match="record 0: is not a tf.train.Example"):
        list(read_episodes(tmp_path / "a.tfrecord", format="push"))


@given(data=st.binary(max_size=3000))
def test_the_checksum_is_crc32c(data):
    """The NumPy checksum equals the bit-by-bit definition."""
    slow = 0xFFFFFFFF
    for byte in data:
        slow ^= byte
        for _ in range(8):
            slow = (slow >> 1) ^ (0x82F63B78 if slow & 1 else 0)
    assert crc32c(data) == slow ^ 0xFFFFFFFF


def test_the_checksum_of_the_standards_example():
    """RFC 3720, B.4 and the customary check value."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


def test_frames_of_another_kind_are_still_the_same_picture(tmp_path):
    """PNG and JPEG of the stored size pass `seed` untouched, larger ones are cropped to the centre square."""
    frames = np.random.default_rng(0).integers(0, 256, (2, 12, 20, 3), dtype=np.uint8)
    write_episodes(tmp_path / "a.tfrecord", [Episode(frames)])
    (read,) = read_episodes(tmp_path / "a.tfrecord", image_size=(12, 12))
    np.testing.assert_array_equal(read.frames, frames[:, :, 4:16])
