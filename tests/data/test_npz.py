"""The npz format: round trips, plain archives, damage."""

import errno
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from visual_foresight.episode import Episode
from visual_foresight.formats import ShardWriter, read_episodes, write_episodes

STORED = {"preprocess": "none"}


def test_a_name_that_tells_no_format_is_refused(tmp_path):
    """Whoever reads the file could not tell either."""
    episode = Episode(np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"episodes\.txt: name it \*\.npz or \*\.tfrecord, or say which with format="):
        write_episodes(tmp_path / "episodes.txt", [episode])
    assert not list(tmp_path.iterdir())
    assert write_episodes(tmp_path / "episodes.txt", [episode], format="npz") == 1


@pytest.mark.parametrize("name", ["a.npz", "a.tfrecord"])
@pytest.mark.parametrize("encoding", [None, "raw"])
def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path, no_room, make_episode, name, encoding):
    """Also where TensorFlow writes, which calls it a lack of resources as if memory had run out."""
    write_episodes(tmp_path / name, [make_episode(1)])
    with pytest.raises(OSError) as raised, no_room(2000):
        write_episodes(tmp_path / name, [make_episode(seed, size=(32, 32)) for seed in range(9)], encoding=encoding)
    assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(list(read_episodes(tmp_path / name))) == 1


@st.composite
def episodes(draw):
    """Any valid episode of a few small frames."""
    frames = draw(st.integers(1, 4))
    size = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    finite = st.floats(-1e3, 1e3, width=32)
    optional = {
        "actions": arrays.arrays(np.float32, (frames - 1, draw(st.integers(1, 3))), elements=finite),
        "states": arrays.arrays(np.float32, (frames, draw(st.integers(1, 3))), elements=finite),
    }
    dtypes = st.sampled_from([np.bool_, np.int32, np.float64])
    extra = arrays.arrays(dtypes, arrays.array_shapes(min_dims=0, max_dims=2, max_side=3))
    return Episode(
        draw(arrays.arrays(np.uint8, (frames, *size, 3))),
        **{name: draw(strategy) for name, strategy in optional.items() if draw(st.booleans())},
        extras=draw(st.dictionaries(st.sampled_from(["a", "b_1", "c.d"]), extra)),
        metadata=draw(
            st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3) | st.none(), max_size=2)
        ),
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=st.lists(episodes(), min_size=1, max_size=3), encoding=st.sampled_from(["deflate", "raw"]))
def test_npz_gives_back_what_was_written(tmp_path, same_episode, written, encoding):
    """Any episodes come back in order, to the bit, in both encodings."""
    path = tmp_path / "episodes.npz"
    assert write_episodes(path, iter(written), encoding=encoding) == len(written)
    read = list(read_episodes(path, **STORED))
    assert len(read) == len(written)
    for actual, expected in zip(read, written, strict=True):
        same_episode(actual, expected)


def test_equal_episodes_make_equal_files(tmp_path, rich_episode):
    """The archive holds no dates, so two runs can be compared by checksum."""
    write_episodes(tmp_path / "a.npz", [rich_episode])
    write_episodes(tmp_path / "b.npz", [rich_episode])
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_plain_archive_is_one_episode(tmp_path):
    """`np.savez(frames=, actions=, states=, mine=)` is read; what is not known is an extra."""
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "mine.npz", frames=frames, actions=np.ones((2, 4)), mine=np.arange(3))
    (episode,) = read_episodes(tmp_path / "mine.npz", **STORED)
    assert episode.action_size == 4 and episode.states is None
    np.testing.assert_array_equal(episode.extras["mine"], [0, 1, 2])


def test_the_archive_is_plain_numpy(tmp_path, rich_episode):
    """Anyone can read it: NumPy alone, without pickle, finds frames, extras and JSON metadata under their keys."""
    write_episodes(tmp_path / "a.npz", [rich_episode])
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["00000/frames"], rich_episode.frames)
        np.testing.assert_array_equal(archive["00000/extras/contact"], rich_episode.extras["contact"])
        assert json.loads(archive["00000/metadata"].tobytes()) == rich_episode.metadata
        assert json.loads(archive["header"].tobytes())["num_episodes"] == 1


def test_a_folder_is_read_in_the_order_of_its_names(npz_folder):
    """Shards come sorted, records in order; files still being written are not seen."""
    (npz_folder / ".episodes-00009.npz.x.partial").write_bytes(b"half")
    assert [episode.num_frames for episode in read_episodes(npz_folder)] == [6, 7, 8, 6, 7, 8, 6]


def test_image_only_reading_and_the_first_frames(npz_folder):
    """use_state=False leaves actions and states out; max_frames reads the beginning."""
    episode = next(read_episodes(npz_folder, use_state=False, max_frames=4, **STORED))
    assert episode.actions is None and episode.states is None and episode.num_frames == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"frames": np.zeros((2, 8, 8, 3), np.float32)}, "record 0: Episode frames must be uint8"),
        (
            {"frames": np.zeros((2, 8, 8, 3), np.uint8), "actions": np.full((1, 2), np.nan)},
            "record 0: .*must be finite",
        ),
        (
            {"images": np.zeros((2, 8, 8, 3), np.uint8)},
            "the npz archive has no episodes: expected the keys .* found images",
        ),
        ({"00003/actions": np.zeros((2, 2))}, "record 0: has no frames, only actions"),
        (
            {"frames": np.array([{}], dtype=object)},
            "record 0: key .frames. holds Python objects, which are never loaded",
        ),
    ],
)
def test_wrong_archives_are_refused_by_name(tmp_path, content, message):
    """What is wrong is said with the file and the record; objects are never unpickled."""
    path = tmp_path / "wrong.npz"
    np.savez(path, **content)
    with pytest.raises(ValueError, match=message) as caught:
        list(read_episodes(path, **STORED))
    assert str(path) in str(caught.value)


def test_damaged_archives_are_faults(tmp_path, npz_folder, damage):
    """A truncated file is one fault of the file; a flipped byte inside an array is a fault of its record alone."""
    source = npz_folder / "episodes-00001.npz"
    cut = damage(source, tmp_path / "cut.npz", cut=2000)
    with pytest.raises(ValueError, match="cut.npz: the npz archive is truncated or damaged"):
        list(read_episodes(cut))
    faults = []
    flipped = damage(source, tmp_path / "flipped.npz", flip=300)
    assert len(list(read_episodes(flipped, skip_bad=True, on_fault=faults.append))) == 2
    assert [(fault.file.name, fault.record) for fault in faults] == [("flipped.npz", 0)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"not an archive at all", "of another kind"),
        (b"\x80\x04K\x01.", "of another kind"),  # a pickle
        (b"\x93NUMPY\x01\x00", "a single array"),
    ],
)
def test_what_is_no_archive_is_never_advised_to_be_unpickled(command, refused, tmp_path, content, message):
    """NumPy takes any other file for a pickle and tells how to load it unsafely; that advice never gets through."""
    (tmp_path / "junk.npz").write_bytes(content)
    told = refused("data", "inspect", tmp_path / "junk.npz")
    told += command("data", "validate", tmp_path / "junk.npz").out
    with pytest.raises(ValueError) as caught:
        list(read_episodes(tmp_path / "junk.npz"))
    told += str(caught.value)
    assert told.count("junk.npz: not an npz archive: ") == 3 and told.count(message) == 3
    assert "pickle" not in told and "skip_bad" not in str(caught.value)


def test_a_damaged_record_is_told_with_what_any_reader_can_do(tmp_path, npz_folder, damage):
    """Commands without --skip_bad say this as well, so it names the command that leaves such records out."""
    flipped = damage(npz_folder / "episodes-00001.npz", tmp_path / "flipped.npz", flip=300)
    with pytest.raises(ValueError, match="record 0: .*data convert --skip_bad") as caught:
        list(read_episodes(flipped))
    assert "skip_bad=True" not in str(caught.value)


def test_an_npz_of_a_newer_version_is_refused(tmp_path):
    """The header's version is checked."""
    header = np.frombuffer(b'{"version": 99}', np.uint8)
    np.savez(tmp_path / "new.npz", header=header)
    with pytest.raises(ValueError, match=r"newer version of the format \(99\)"):
        list(read_episodes(tmp_path / "new.npz"))


def test_a_header_that_is_no_object_is_a_damaged_file(tmp_path):
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "odd.npz", **{"00000/frames": frames, "header": np.frombuffer(b"[1]", np.uint8)})
    with pytest.raises(ValueError, match="header is list"):
        list(read_episodes(tmp_path / "odd.npz"))


def test_a_shard_is_complete_or_absent(tmp_path, rich_episode):
    """An exception inside the block leaves nothing behind; the end of the block leaves the whole file only."""
    path = tmp_path / "folder" / "shard.npz"
    with pytest.raises(RuntimeError, match="stop"), ShardWriter(path) as shard:
        shard.add(rich_episode)
        assert not path.exists()
        raise RuntimeError("stop")
    assert list(path.parent.iterdir()) == []
    with ShardWriter(path) as shard:
        shard.add(rich_episode)
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(ValueError, match="is not open: use `with ShardWriter"):
        shard.add(rich_episode)


def test_wrong_writing_is_refused(tmp_path, rich_episode):
    """Unknown formats and encodings, and nothing to write, are named."""
    with pytest.raises(ValueError, match=r"unknown data format 'npx' \(did you mean 'npz'\?\)"):
        write_episodes(tmp_path / "a.npz", [rich_episode], format="npx")
    with pytest.raises(ValueError, match="format 'bair' is read only"):
        write_episodes(tmp_path / "a", [rich_episode], format="bair")
    with pytest.raises(ValueError, match="stores frames as one of deflate, raw, got 'png'"):
        write_episodes(tmp_path / "a.npz", [rich_episode], encoding="png")
    with pytest.raises(ValueError, match="quality must be 1 to 100"):
        write_episodes(tmp_path / "a.npz", [rich_episode], quality=0)
    with pytest.raises(ValueError, match="no episode to write"):
        write_episodes(tmp_path / "a.npz", [])
    assert not (tmp_path / "a.npz").exists()


def test_wrong_reading_is_refused(tmp_path):
    """A missing path, an unrecognised file and an unknown setting are named."""
    with pytest.raises(FileNotFoundError, match="does not exist"):
        list(read_episodes(tmp_path / "nothing"))
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(ValueError, match="holds no episodes that any format recognises"):
        list(read_episodes(tmp_path / "a.txt"))
    (tmp_path / "a.tfrecord").write_bytes(bytes(40))
    with pytest.raises(ValueError, match="could be push or bair or visual_foresight, but its first record is damaged"):
        list(read_episodes(tmp_path / "a.tfrecord"))
    (tmp_path / "set" / "train").mkdir(parents=True)
    np.savez(tmp_path / "set" / "train" / "a.npz", frames=np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="its folders train do: pass one of them"):
        list(read_episodes(tmp_path / "set"))
    np.savez(tmp_path / "a.npz", frames=np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="format 'npz' has no setting camera"):
        list(read_episodes(tmp_path / "a.npz", camera="left"))
