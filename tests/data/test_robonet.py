"""RoboNet's HDF5 files, on files written here in their form."""

import numpy as np
import pytest
from smooth_pictures import close, encoded, smooth_frames

from visual_foresight.formats import detect_format, read_episodes
from visual_foresight.video_files import write_mp4

RNG = np.random.default_rng(8)
STORED = {"preprocess": "none"}
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
