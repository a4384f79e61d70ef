"""The BAIR format, on records written here with its exact keys."""

import numpy as np
import pytest

from visual_foresight.formats import detect_format, read_episodes
from visual_foresight.formats.tfrecord import ExampleWriter

RNG = np.random.default_rng(3)
FRAMES = {name: RNG.integers(0, 256, (4, 64, 64, 3), dtype=np.uint8) for name in ("image_main", "image_aux1")}
ACTIONS = RNG.normal(size=(4, 4)).astype(np.float32)
STATES = RNG.normal(size=(4, 3)).astype(np.float32)


def bair_features(cameras=("image_main", "image_aux1")):
    features = {}
    for step in range(4):
        for camera in cameras:
            features[f"{step}/{camera}/encoded"] = FRAMES.get(camera, FRAMES["image_main"])[step].tobytes()
        features[f"{step}/action"] = ACTIONS[step]
        features[f"{step}/endeffector_pos"] = STATES[step]
    return features


def write(folder, *records):
    writer = ExampleWriter(folder / "traj_0_to_255.tfrecords")
    for record in records:
        writer.write(record)
    writer.close()
    return folder


@pytest.mark.parametrize("camera", ["image_main", "image_aux1"])
def test_both_cameras_are_read_exactly(tmp_path, camera):
    """Raw frames, 4 action and 3 state dimensions; the last action is the final one."""
    write(tmp_path, bair_features(), bair_features())
    assert detect_format(tmp_path) == "bair"
    first, second = read_episodes(tmp_path, camera=camera)
    for episode in (first, second):
        np.testing.assert_array_equal(episode.frames, FRAMES[camera])
        np.testing.assert_array_equal(episode.actions, ACTIONS[:3])
        np.testing.assert_array_equal(episode.extras["final_action"], ACTIONS[3])
        np.testing.assert_array_equal(episode.states, STATES)


def test_the_default_camera_is_the_one_of_the_literature(tmp_path):
    """Without a setting it is image_aux1."""
    (episode,) = read_episodes(write(tmp_path, bair_features()))
    np.testing.assert_array_equal(episode.frames, FRAMES["image_aux1"])
    assert episode.metadata["camera"] == "image_aux1"


def test_other_sizes_and_simulated_extras(tmp_path):
    """stored_size tells the size of raw bytes; object positions of simulated records become an extra."""
    record = {f"{step}/image_view0/encoded": bytes(48 * 64 * 3) for step in range(2)}
    record |= {f"{step}/object_pos": np.arange(3) + step for step in range(2)}
    write(tmp_path, record)
    (episode,) = read_episodes(tmp_path, camera="image_view0", stored_size=(48, 64), preprocess="none")
    assert episode.image_size == (48, 64) and episode.actions is None
    np.testing.assert_array_equal(episode.extras["object_pos"], [[0, 1, 2], [1, 2, 3]])


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({}, {"camera": "image_left"}, "has no camera 'image_left': its cameras are image_aux1, image_main"),
        ({"1/image_aux1/encoded": b"short"}, {}, "'1/image_aux1/encoded' holds 5 bytes, not 64 x 64 x 3 = 12288"),
        ({"1/action": None}, {}, "lacks the key '1/action'"),
        ({"2/endeffector_pos": np.zeros(2)}, {}, "holds 2 numbers, step 0 holds 3"),
    ],
)
def test_faults_name_key_and_record(tmp_path, change, settings, message):
    """What a record lacks is told with its place."""
    features = {key: value for key, value in (bair_features() | change).items() if value is not None}
    write(tmp_path, features)
    with pytest.raises(ValueError, match=f"traj_0_to_255.tfrecords, record 0: .*{message}"):
        list(read_episodes(tmp_path, **settings))
