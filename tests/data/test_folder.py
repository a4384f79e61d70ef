"""Folders of videos and pictures with tables beside them."""

import numpy as np
import pytest
from PIL import Image
from smooth_pictures import close, smooth_frames

from visual_foresight.formats import LeftOutWarning, detect_format, read_episodes
from visual_foresight.formats.picture import rgb_of
from visual_foresight.video_files import write_mp4

RNG = np.random.default_rng(8)
STORED = {"preprocess": "none"}


def write_pictures(folder, frames):
    folder.mkdir(parents=True)
    for step, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"frame_{step}.png")
    return folder


def write_csv(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_folder_of_videos_and_pictures_is_a_data_set(tmp_path):
    """Videos and folders of pictures with CSV or npz beside them, in the order of their numbers."""
    frames = RNG.integers(0, 256, (12, 6, 8, 3), dtype=np.uint8)
    write_pictures(tmp_path / "push_2", frames)
    rows = [f"{step},{-step},{step / 2},{step % 2}" for step in range(12)]
    write_csv(tmp_path / "push_2.csv", "action_x,action_y,state_x,gripper", *rows)
    movie = smooth_frames(5)
    write_mp4(tmp_path / "push_10.mp4", movie)
    np.savez(tmp_path / "push_10.npz", actions=np.ones((4, 3)), note=np.arange(2))
    write_mp4(tmp_path / "push_11.mp4", movie)
    assert detect_format(tmp_path) == "folder"
    pictures, video, bare = read_episodes(tmp_path, **STORED)
    np.testing.assert_array_equal(pictures.frames, frames)  # frame_10 follows frame_9
    np.testing.assert_array_equal(pictures.actions, [[step, -step] for step in range(11)])
    np.testing.assert_array_equal(pictures.extras["final_action"], [11, -11])
    np.testing.assert_array_equal(pictures.states[:, 0], np.arange(12) / 2)
    np.testing.assert_array_equal(pictures.extras["gripper"], np.arange(12) % 2)
    assert close(video.frames, movie) and video.actions.shape == (4, 3)
    np.testing.assert_array_equal(video.extras["note"], [0, 1])
    assert bare.actions is None and bare.metadata == {"source": "push_11.mp4"}


def test_a_single_folder_or_video_is_one_episode(tmp_path):
    """The path may be one episode itself; actions may lie inside the folder; T-1 lines are actions alone."""
    frames = RNG.integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    folder = write_pictures(tmp_path / "one", frames)
    write_csv(folder / "actions.csv", "action_0", "1", "2")
    (episode,) = read_episodes(folder, **STORED)
    np.testing.assert_array_equal(episode.actions, [[1], [2]])
    assert "final_action" not in episode.extras
    video = write_mp4(tmp_path / "a.mp4", smooth_frames(3))
    (episode,) = read_episodes(video, **STORED)
    assert episode.num_frames == 3


def test_the_last_action_may_be_left_empty(tmp_path):
    """Empty cells in the last line mean that nothing was commanded after the last frame."""
    folder = write_pictures(tmp_path / "one", smooth_frames(3))
    write_csv(tmp_path / "one.csv", "action_0,state_0", "1,1", "2,2", ",3")
    (episode,) = read_episodes(folder, **STORED)
    assert "final_action" not in episode.extras and len(episode.states) == 3


def test_folders_are_resized_and_cut(tmp_path):
    """Crop, resize, first frames and image-only reading work as in any format."""
    write_pictures(tmp_path / "one", smooth_frames(4))
    write_csv(tmp_path / "one.csv", "action_0", "1", "2", "3", "4")
    (episode,) = read_episodes(tmp_path, image_size=(16, 16), preprocess="antialias", max_frames=2)
    assert episode.frames.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(episode.actions, [[1]])
    np.testing.assert_array_equal(episode.extras["final_action"], [2])
    (episode,) = read_episodes(tmp_path, image_size=(16, 16), use_state=False)
    assert episode.actions is None and dict(episode.extras) == {}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["action_0", "1"], "one.csv does not fit the 4 frames of one: .*needs 3 actions"),
        (["action_0", "1", "2", "three"], "one.csv, line 4: could not convert string to float: 'three'"),
        (["action_0,action_1", "1,2", "3"], "one.csv, line 3: 1 cells, but 2 column names"),
        (["1,2", "3,4"], "begins with numbers: it needs a line of column names"),
        ([""], "one.csv is empty"),
        (["action_0", "1", "", "2"], "needs 3 actions"),
        (["action_0,b", "1,1", ",1", "3,1"], "actions must be finite"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, lines, message):
    """The file, the line and the reason."""
    write_pictures(tmp_path / "one", smooth_frames(4))
    write_csv(tmp_path / "one.csv", *lines)
    with pytest.raises(ValueError, match=message):
        list(read_episodes(tmp_path, **STORED))


def test_pictures_of_sixteen_bits_are_scaled(tmp_path):
    """The upper half of the numbers would else all be white."""
    folder = tmp_path / "deep"
    folder.mkdir()
    values = np.linspace(0, 65535, 32 * 48).astype(np.uint16).reshape(32, 48)
    for index in range(3):
        Image.fromarray(values).save(folder / f"frame_{index}.png")
    (episode,) = read_episodes(folder, **STORED)
    expected = np.rint(values / 257.0)[..., None].repeat(3, axis=-1)
    np.testing.assert_array_equal(episode.frames[0], expected)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_numbers_that_are_no_colours_are_refused(kind):
    with pytest.raises(ValueError, match="numbers of mode"):
        rgb_of(Image.fromarray(np.ones((32, 48), kind)))


@pytest.mark.parametrize(("kept", "gap"), [([0, 1, 2, 4, 5], True), ([0, 2, 4], False), ([7, 8, 9], False)])
def test_a_missing_picture_is_not_passed_over(tmp_path, kept, gap):
    """The actions behind it would belong to other frames; pictures that were thinned out evenly are whole."""
    folder = tmp_path / "one"
    folder.mkdir()
    for number, frame in zip(kept, smooth_frames(len(kept)), strict=True):
        Image.fromarray(frame).save(folder / f"frame_{number}.png")
    if gap:
        with pytest.raises(ValueError, match=r"missing between frame_2.png and frame_4.png"):
            list(read_episodes(folder, **STORED))
    else:
        (episode,) = read_episodes(folder, **STORED)
        assert episode.num_frames == len(kept)


def test_wrong_pictures_and_videos_are_refused(tmp_path, damage):
    """Damaged pictures and videos, differing sizes, two tables for one episode: named, the others are still read."""
    write_pictures(tmp_path / "good", smooth_frames(2))
    folder = write_pictures(tmp_path / "sizes", smooth_frames(2))
    Image.fromarray(smooth_frames(1, 10, 10)[0]).save(folder / "frame_2.png")
    folder = write_pictures(tmp_path / "text", smooth_frames(2))
    (folder / "frame_1.png").write_text("no picture")
    video = write_mp4(tmp_path / "whole.mp4", smooth_frames(8))
    damage(video, tmp_path / "cut.mp4", cut=video.stat().st_size // 2)
    folder = write_pictures(tmp_path / "twice", smooth_frames(2))
    write_csv(tmp_path / "twice.csv", "action_0", "1")
    np.savez(tmp_path / "twice.npz", actions=np.ones((1, 1)))
    faults = []
    read = list(read_episodes(tmp_path, skip_bad=True, on_fault=faults.append, **STORED))
    assert [episode.metadata["source"] for episode in read] == ["good", "whole.mp4"]
    messages = {fault.file.name: fault.message for fault in faults}
    assert set(messages) == {"sizes", "text", "cut.mp4", "twice"}
    assert "frame 2 is (10, 10) pixels, the ones before are (32, 48)" in messages["sizes"]
    assert "the picture frame_1.png cannot be decoded" in messages["text"]
    assert "the video cannot be decoded" in messages["cut.mp4"]
    assert "has both twice.csv and twice.npz" in messages["twice"]
    assert not [text for text in messages.values() if "@ 0x" in text or "at 0x" in text], "places in memory"


def test_a_gap_is_the_fault_of_its_own_folder(tmp_path):
    """The others are read; without passing over, the message names the folder."""
    write_pictures(tmp_path / "good", smooth_frames(3))
    write_pictures(tmp_path / "gap", smooth_frames(5)).joinpath("frame_2.png").unlink()
    (episode,) = read_episodes(tmp_path, skip_bad=True, **STORED)
    assert episode.num_frames == 3
    with pytest.raises(ValueError, match=r"gap.*missing between frame_1.png and frame_3.png"):
        list(read_episodes(tmp_path, **STORED))


def test_tables_that_belong_to_no_episode_are_named(tmp_path):
    """By a slip in a name an episode would lose its actions, and nobody would know; other files may lie about."""
    write_pictures(tmp_path / "push_1", smooth_frames(4))
    write_csv(tmp_path / "push_1.csv", "action_0", "1", "2", "3")
    (tmp_path / "notes.txt").write_text("mine")
    (episode,) = read_episodes(tmp_path, **STORED)
    assert episode.actions is not None
    (tmp_path / "push_1.csv").rename(tmp_path / "push_01.csv")
    write_csv(tmp_path / "push_1" / "action.csv", "action_0", "1", "2", "3")
    np.savez(tmp_path / "push_2.npz", actions=np.zeros((3, 1)))
    with pytest.warns(LeftOutWarning, match=r"without push_01.csv, push_2.npz, push_1/action.csv: a table has"):
        (episode,) = read_episodes(tmp_path, **STORED)
    assert episode.actions is None
