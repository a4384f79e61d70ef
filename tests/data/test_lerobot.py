"""LeRobot data sets, on files written here in their form."""

import json
import sys

import numpy as np
import pytest
from smooth_pictures import close, encoded, smooth_frames

from visual_foresight.formats import detect_format, read_episodes
from visual_foresight.video_files import write_mp4

STORED = {"preprocess": "none"}
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
