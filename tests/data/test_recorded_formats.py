"""Formats of other projects, on files written here in their form: 2018 GZIP records, RoboNet, folders, LeRobot."""

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from visual_foresight.formats import FORMATS, detect_format, read_episodes
from visual_foresight.formats.tfrecord import ExampleWriter
from visual_foresight.video_files import write_mp4

RNG = np.random.default_rng(8)
STORED = {"preprocess": "none"}


def smooth_frames(count, height=32, width=48, seed=0):
    """Frames that video codecs keep nearly: a colour gradient that brightens from frame to frame."""
    rows, columns = np.mgrid[:height, :width]
    base = np.stack([rows * 3 + 20, columns * 2 + 20, (rows + columns) + 20 * (seed % 3)], axis=-1)
    return np.clip(base[None] + 8 * np.arange(count)[:, None, None, None], 0, 255).astype(np.uint8)


def encoded(frame, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return stream.getvalue()


def close(actual, expected):
    assert actual.shape == expected.shape
    return np.abs(actual.astype(int) - expected).mean() < 4


# ---------------------------------------------------------------------------------------------- 2018 GZIP records


GZIP_FRAMES = {view: RNG.integers(0, 256, (4, 6, 8, 3), dtype=np.uint8) for view in (0, 1)}
GZIP_ACTIONS, GZIP_STATES = RNG.normal(size=(4, 3)).astype(np.float32), RNG.normal(size=(4, 5)).astype(np.float32)


def write_gzip(root, *, manifest=True, change=None):
    (root / "train").mkdir(parents=True)
    features = {}
    for step in range(4):
        for view, frames in GZIP_FRAMES.items():
            features[f"{step}/env/image_view{view}/encoded"] = frames[step].tobytes()
        features[f"{step}/env/state"] = GZIP_STATES[step]
        features[f"{step}/policy/actions"] = GZIP_ACTIONS[step]
    features = {key: value for key, value in (features | (change or {})).items() if value is not None}
    writer = ExampleWriter(root / "train" / "traj_0_to_1.tfrecords", compression="GZIP")
    for _ in range(2):
        writer.write(features)
    writer.close()
    if manifest:
        lines = ["# DATA MANIFEST", "# Sequence Data", "Timesteps: 4"]
        lines += [f"env/image_view{view}/encoded: (6, 8, 3) - Byte" for view in GZIP_FRAMES]
        lines += ["env/state: (5) - Float", "policy/actions: (3) - Float"]
        (root / "manifest.txt").write_text("\n".join(lines))
    return root / "train"


@pytest.mark.parametrize("camera", [0, 1])
def test_gzip_records_are_read_with_the_size_of_their_manifest(tmp_path, camera):
    """Any camera, raw frames to the bit, actions and states with their sizes."""
    folder = write_gzip(tmp_path)
    assert detect_format(folder) == "visual_foresight"
    episodes = list(read_episodes(folder, camera=camera, **STORED))
    assert len(episodes) == 2
    for episode in episodes:
        np.testing.assert_array_equal(episode.frames, GZIP_FRAMES[camera])
        np.testing.assert_array_equal(np.vstack([episode.actions, episode.extras["final_action"]]), GZIP_ACTIONS)
        np.testing.assert_array_equal(episode.states, GZIP_STATES)


def test_gzip_records_without_a_manifest_need_the_size(tmp_path):
    """Without manifest the setting tells the size; without either the fault says so."""
    folder = write_gzip(tmp_path, manifest=False)
    (episode, _) = read_episodes(folder, stored_size=(6, 8), **STORED)
    np.testing.assert_array_equal(episode.frames, GZIP_FRAMES[0])
    with pytest.raises(ValueError, match=r"record 0: .*not square.*stored_size=\(height, width\)"):
        list(read_episodes(folder, **STORED))


def test_gzip_faults(tmp_path, damage):
    """A missing camera and a file that ends early are named."""
    folder = write_gzip(tmp_path / "a")
    with pytest.raises(ValueError, match="has no camera 4: its cameras are image_view0, image_view1"):
        list(read_episodes(folder, camera=4, **STORED))
    file = folder / "traj_0_to_1.tfrecords"
    cut = damage(file, tmp_path / "cut.tfrecords", cut=file.stat().st_size - 40)
    with pytest.raises(ValueError, match="cut.tfrecords, record [01]: the file ends or is damaged inside this record"):
        list(read_episodes(cut, format="visual_foresight", stored_size=(6, 8), **STORED))


# ------------------------------------------------------------------------------------------------------- RoboNet


ROBONET_FRAMES = smooth_frames(5)
ROBONET_ACTIONS, ROBONET_STATES = RNG.normal(size=(4, 4)), RNG.normal(size=(5, 5))


def write_robonet(path, *, encoding="mp4", image_format="RGB", frames=ROBONET_FRAMES, attribute=5):
    import h5py

    with h5py.File(path, "w") as file:
        file["file_version"] = "0.1.0"
        environment = file.create_group("env")
        environment.attrs["n_cams"] = 1
        environment.attrs["cam_encoding"] = encoding
        group = environment.create_group("cam0_video")
        if encoding == "mp4":
            video = write_mp4(path.with_suffix(".mp4"), frames if image_format == "RGB" else frames[..., ::-1])
            stored = group.create_dataset("frames", data=np.frombuffer(video.read_bytes(), np.uint8))
            stored.attrs["shape"], stored.attrs["T"] = frames.shape[1:], attribute
            stored.attrs["image_format"] = image_format
        else:
            for step, frame in enumerate(frames):
                # cv2.imencode takes what it is given for blue-green-red: RGB arrays come out with swapped colours.
                picture = encoded(frame[..., ::-1] if image_format == "RGB" else frame, "JPEG")
                stored = group.create_dataset(f"frame{step}", data=np.frombuffer(picture, np.uint8))
                stored.attrs["shape"], stored.attrs["image_format"] = frame.shape, image_format
        environment["state"] = ROBONET_STATES
        environment["low_bound"], environment["high_bound"] = -np.ones((1, 5)), np.ones((1, 5))
        file["policy/actions"] = ROBONET_ACTIONS
        metadata = file.create_group("metadata")
        metadata.attrs["robot"], metadata.attrs["object_classes"] = "sawyer", np.array([b"cup", b"towel"])
        file.create_group("misc").create_dataset("goal_reached", data=True)
    return path


@pytest.mark.parametrize("encoding", ["mp4", "jpeg"])
@pytest.mark.parametrize("image_format", ["RGB", "BGR"])
def test_robonet_cameras_come_out_in_true_colours(tmp_path, encoding, image_format):
    """MP4 and JPEG, however their colours are ordered; actions, states, bounds and facts."""
    path = write_robonet(tmp_path / "robot_traj0.hdf5", encoding=encoding, image_format=image_format)
    assert detect_format(path) == "robonet"
    (episode,) = read_episodes(path, **STORED)
    assert close(episode.frames, ROBONET_FRAMES)
    np.testing.assert_allclose(episode.actions, ROBONET_ACTIONS, rtol=1e-6)
    np.testing.assert_allclose(episode.states, ROBONET_STATES, rtol=1e-6)
    np.testing.assert_array_equal(episode.extras["state_low"], -np.ones(5))
    np.testing.assert_array_equal(episode.extras["state_high"], np.ones(5))
    expected = {"robot": "sawyer", "object_classes": ["cup", "towel"], "file_version": "0.1.0", "goal_reached": True}
    assert episode.metadata == expected | {"camera": 0}


def test_robonet_cuts_to_the_shortest_and_says_so(tmp_path):
    """As its own loader; the metadata keep the stored lengths."""
    path = write_robonet(tmp_path / "a.hdf5", encoding="jpeg", frames=smooth_frames(4))
    (episode,) = read_episodes(path, **STORED)
    assert episode.num_frames == 4 and len(episode.actions) == 3
    assert episode.metadata["stored_lengths"] == {"frames": 4, "actions": 4, "states": 5}


def test_robonet_faults(tmp_path, damage):
    """What is missing or damaged is named with the file."""
    import h5py

    path = write_robonet(tmp_path / "a.hdf5", attribute=7)
    with pytest.raises(ValueError, match="a.hdf5: the video .* holds 5 frames, its attribute T says 7"):
        list(read_episodes(path, **STORED))
    with pytest.raises(ValueError, match="has no camera 3: its cameras are cam0_video"):
        list(read_episodes(path, camera=3, **STORED))
    cut = damage(path, tmp_path / "cut.hdf5", cut=3000)
    with pytest.raises(ValueError, match="cut.hdf5: .*truncated file"):
        list(read_episodes(cut, **STORED))
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["numbers"] = np.arange(3)
    with pytest.raises(ValueError, match="other.hdf5: has no /env: it is not a RoboNet file"):
        list(read_episodes(tmp_path / "other.hdf5", **STORED))
    jpeg = write_robonet(tmp_path / "jpeg.hdf5", encoding="jpeg")
    with h5py.File(jpeg, "a") as file:
        del file["env/cam0_video/frame2"]
    with pytest.raises(ValueError, match="has 4 pictures but lacks frame2"):
        list(read_episodes(jpeg, **STORED))


# -------------------------------------------------------------------------------------------------------- folders


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


# -------------------------------------------------------------------------------------------------------- LeRobot


LEROBOT_LENGTHS = (5, 4, 6)
CAMERA = "observation.images.top"


def lerobot_rows(index, length):
    rng = np.random.default_rng(100 + index)
    return rng.normal(size=(length, 3)).astype(np.float32), rng.normal(size=(length, 2)).astype(np.float32)


def write_lerobot(root, *, kind="video", version="v3.0", declared=LEROBOT_LENGTHS):
    """Three episodes: 0 and 1 share a data file and a video, 2 has its own."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    frames = [smooth_frames(length, seed=index) for index, length in enumerate(LEROBOT_LENGTHS)]
    features = {
        CAMERA: {"dtype": kind, "shape": [32, 48, 3], "names": ["height", "width", "channels"]},
        "action": {"dtype": "float32", "shape": [3], "names": ["x", "y", "z"]},
        "observation.state": {"dtype": "float32", "shape": [2], "names": ["x", "y"]},
    }
    info = {
        "codebase_version": version,
        "fps": 10,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": features,
    }
    for folder in ("meta/episodes/chunk-000", "data/chunk-000"):
        (root / folder).mkdir(parents=True)
    (root / "meta" / "info.json").write_text(json.dumps(info))
    episodes, first = [], 0
    for file, members in enumerate([(0, 1), (2,)]):
        rows = []
        start = 0
        for index in members:
            actions, states = lerobot_rows(index, LEROBOT_LENGTHS[index])
            for step in range(LEROBOT_LENGTHS[index]):
                picture = {"bytes": encoded(frames[index][step]), "path": None}
                rows.append(
                    {"action": actions[step], "observation.state": states[step], "timestamp": step / 10}
                    | {"frame_index": step, "episode_index": index, "index": first + step, "task_index": 0}
                    | ({CAMERA: picture} if kind == "image" else {})
                )
            first += LEROBOT_LENGTHS[index]
            place = {"chunk_index": 0, "file_index": file}
            entry = {"episode_index": index, "tasks": ["push"], "length": declared[index]}
            entry |= {f"data/{name}": value for name, value in place.items()}
            if kind == "video":
                entry |= {f"videos/{CAMERA}/{name}": value for name, value in place.items()}
                entry[f"videos/{CAMERA}/from_timestamp"] = start / 10
                start += LEROBOT_LENGTHS[index]
                entry[f"videos/{CAMERA}/to_timestamp"] = start / 10
            episodes.append(entry)
        pq.write_table(pa.Table.from_pylist(rows), root / f"data/chunk-000/file-{file:03d}.parquet")
        if kind == "video":
            movie = np.concatenate([frames[index] for index in members])
            write_mp4(root / f"videos/{CAMERA}/chunk-000/file-{file:03d}.mp4", movie, frames_per_second=10)
    pq.write_table(pa.Table.from_pylist(episodes), root / "meta/episodes/chunk-000/file-000.parquet")
    return frames


@pytest.mark.parametrize("kind", ["video", "image"])
def test_lerobot_episodes_come_out_of_shared_files(tmp_path, kind):
    """Frames, actions and states of each episode, from files that hold several."""
    frames = write_lerobot(tmp_path, kind=kind)
    assert detect_format(tmp_path) == "lerobot"
    episodes = list(read_episodes(tmp_path, camera="top", **STORED))
    assert len(episodes) == 3
    for index, episode in enumerate(episodes):
        actions, states = lerobot_rows(index, LEROBOT_LENGTHS[index])
        assert close(episode.frames, frames[index])
        np.testing.assert_array_equal(np.vstack([episode.actions, episode.extras["final_action"]]), actions)
        np.testing.assert_array_equal(episode.states, states)
        assert episode.metadata == {"camera": CAMERA, "fps": 10, "episode_index": index, "tasks": ["push"]}


def test_lerobot_faults(tmp_path):
    """Version, camera, length and missing files are named; other episodes are still read."""
    write_lerobot(tmp_path / "old", version="v2.1")
    with pytest.raises(ValueError, match=r"is of version v2.1; version v3.0 is read"):
        list(read_episodes(tmp_path / "old"))
    write_lerobot(tmp_path / "new", declared=(5, 9, 6))
    with pytest.raises(ValueError, match="has no camera 'left': its cameras are observation.images.top"):
        list(read_episodes(tmp_path / "new", camera="left"))
    (tmp_path / "new" / "videos" / CAMERA / "chunk-000" / "file-001.mp4").unlink()
    faults = []
    assert len(list(read_episodes(tmp_path / "new", skip_bad=True, on_fault=faults.append))) == 1
    assert [fault.record for fault in faults] == [1, 2]
    assert "has 4 rows, its length is given as 9" in faults[0].message
    assert "does not exist" in faults[1].message


def test_lerobot_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    """The message says what to install."""
    write_lerobot(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"pip install 'visual-foresight\[lerobot\]'"):
        list(read_episodes(tmp_path))


# -------------------------------------------------------------------------------------------------- every format


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_the_contract(name, tmp_path):
    """Name, description and settings are given; a folder without its files holds none; a missing file is told."""
    format = FORMATS[name]
    assert format.name == name and format.description and isinstance(format.settings, tuple)
    assert format.shards(tmp_path) == []
    (tmp_path / "notes.txt").write_text("text")
    assert format.shards(tmp_path / "notes.txt") == [] and format.shards(tmp_path) == []
    with pytest.raises(ValueError, match=f"holds no {name} files"):
        list(read_episodes(tmp_path, format=name))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        list(read_episodes(tmp_path / "missing", format=name))
