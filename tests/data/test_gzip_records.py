"""The GZIP records of the Visual Foresight code of 2018, on files written here in their form."""

import numpy as np
import pytest

from visual_foresight.formats import detect_format, read_episodes
from visual_foresight.formats.tfrecord import ExampleWriter

RNG = np.random.default_rng(8)
STORED = {"preprocess": "none"}
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
