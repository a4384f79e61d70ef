"""Pictures of predictions: what is written, what is measured, what is refused."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import visual_foresight as vf
from visual_foresight.cli import predict
from visual_foresight.video_files import check_own_file


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three episodes of six frames in one file."""
    rng = np.random.default_rng(0)
    episodes = [
        vf.Episode(
            rng.integers(0, 256, (6, 64, 64, 3), dtype=np.uint8),
            rng.uniform(-1, 1, (5, 2)).astype(np.float32),
            rng.uniform(-0.2, 0.2, (6, 2)).astype(np.float32),
        )
        for _ in range(3)
    ]
    path = tmp_path_factory.mktemp("data") / "episodes.npz"
    vf.write_episodes(path, episodes)
    return path


def test_predict_writes_two_animations_and_the_errors(command, tmp_path, tiny_predictor, data):
    """Prediction beside truth and the scaled action, each as GIF, MP4 and PNG, and a figure for each step."""
    words = ("--data_dir", data, "--episodes=2", "--steps=3", "--scales=0,1", "--output", tmp_path / "out", "--json")
    answer = command("predict", "--preset", tiny_predictor, *words)
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    names = {f"{name}.{kind}" for name in ("prediction", "scaled_action") for kind in ("gif", "mp4", "png")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert len(report["psnr"]) == len(report["ssim_copy_last_frame"]) == 3
    with Image.open(tmp_path / "out" / "scaled_action.gif") as gif:
        assert gif.n_frames >= 3
    for name in names:  # so the same command may be given again
        check_own_file(tmp_path / "out" / name, "predict")


def test_predict_replaces_its_own_pictures_only(refused, tmp_path, tiny_predictor, data):
    """A film of the same name that somebody else made stays, and nothing is written beside it."""
    (tmp_path / "scaled_action.mp4").write_bytes(b"mine")
    message = refused("predict", "--preset", tiny_predictor, "--data_dir", data, "--output", tmp_path)
    assert "scaled_action.mp4 exists and is no result of predict" in message
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]


def test_predict_records_pictures_of_the_predictors_size(command, tmp_path):
    """Also where they are not square."""
    sizes = {"image_height": 24, "image_width": 32, "action_size": 2, "state_size": 2, "num_masks": 2, "width": 0.25}
    vf.VideoPredictor(vf.PredictorConfig(backbone="fast", **sizes)).save(tmp_path / "flat")
    words = ("--episodes=1", "--steps=2", "--scales=0,1", "--output", tmp_path / "out")
    answer = command("predict", "--preset", tmp_path / "flat", *words)
    assert answer.code == 0, answer.err


def test_predict_records_when_there_is_no_data(command, tmp_path, tiny_predictor):
    """Without data, pushes of held-out objects are recorded in the environment."""
    words = ("--split=novel", "--episodes=1", "--steps=2", "--scales=0,1", "--output", tmp_path)
    answer = command("predict", "--preset", tiny_predictor, *words)
    assert answer.code == 0, answer.err
    assert "PSNR" in answer.out


def test_objects_to_record_beside_data_are_refused(command, tmp_path, tiny_predictor, data):
    """Nothing is recorded then."""
    words = ("--data_dir", data, "--split=novel", "--output", tmp_path / "out")
    answer = command("predict", "--preset", tiny_predictor, *words)
    assert answer.code == 2
    assert "names data, and nothing is recorded, so --split would be ignored" in answer.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("action", "told"), [("60,0", True), ("0.5,0.5", False)])
def test_an_action_that_nobody_took_is_remarked(command, tmp_path, tiny_predictor, data, action, told):
    """The pictures are made all the same."""
    words = ("--data_dir", data, "--episodes=1", "--steps=2", "--scales=0,1", f"--action={action}")
    answer = command("predict", "--preset", tiny_predictor, *words, "--output", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert ("is far from the actions of the training data" in answer.err) == told


def test_numbers_are_said_as_they_are_typed(command, tmp_path, tiny_predictor, data):
    """Also those that begin with a minus, and those that float32 does not hold."""
    words = ("--data_dir", data, "--episodes=1", "--steps=2", "--action", "-60,0.3", "--scales", "-1,1")
    answer = command("predict", "--preset", tiny_predictor, *words, "--output", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert "--action -60,0.3 is far from" in answer.err
    assert "(default: 0,0.25,0.5,0.75,1)" in " ".join(command("predict", "--help").out.split())


def test_an_absurd_action_is_refused_before_anything_is_written(refused, tmp_path, tiny_predictor, data):
    words = ("--data_dir", data, "--steps=2", "--action=1,0.3", "--scales=1,1e30", "--output", tmp_path / "out")
    error = refused("predict", "--preset", tiny_predictor, *words)
    assert "--action times --scales contain 1e+30, beyond 1e+12" in error
    assert not (tmp_path / "out").exists()


def test_data_without_actions_are_refused_in_one_line(refused, tiny_predictor, tmp_path):
    """Although there are fewer episodes than are shown by default, of which another line spoke."""
    vf.write_episodes(tmp_path / "images.npz", [vf.Episode(np.zeros((6, 64, 64, 3), np.uint8))])
    error = refused("predict", "--preset", tiny_predictor, "--data_dir", tmp_path / "images.npz", "--steps=2")
    assert "has no actions and no states" in error


def test_truth_in_the_picture_is_the_data(tiny_predictor, data):
    """The upper row shows the episode's own frames, pixel for pixel."""
    windows = list(vf.read_episodes(data))
    predicted = np.zeros((3, 5, 64, 64, 3), np.uint8)
    movie = predict.beside_truth(windows, predicted, context_frames=2)
    assert len(movie) == 5
    scale = 5
    strip_height = movie[0].shape[0] // 2 - 2 - 64 * scale
    picture = movie[2][strip_height : strip_height + 64 * scale : scale, : 64 * scale : scale]
    np.testing.assert_array_equal(picture, windows[0].frames[3])


def test_scaled_actions_hold_one_action():
    """Each sequence is one action times its factor; by default the largest after the context."""
    actions = np.array([[0.9, 0.9], [0.1, 0.0], [0.0, -0.5], [0.2, 0.0]], np.float32)
    window = vf.Episode(np.zeros((5, 64, 64, 3), np.uint8), actions, np.zeros((5, 2), np.float32))
    config = vf.PredictorConfig(action_size=2, state_size=2, context_frames=2)
    chosen = predict.chosen_action(window, _With(config), None)
    made = predict.scaled_actions(chosen, (0.0, 0.5, 1.0), 3)
    assert made.shape == (3, 3, 2)
    np.testing.assert_allclose(made[:, 0], [[0, 0], [0, -0.25], [0, -0.5]])
    np.testing.assert_array_equal(made[:, 0], made[:, 2])
    with pytest.raises(ValueError, match="--action needs 2 numbers for this predictor, got 3"):
        predict.chosen_action(window, _With(config), (1.0, 2.0, 3.0))


def test_the_scaled_picture_names_its_action():
    """Another action gives another picture, though the frames are the same; all pictures have one size."""
    frames = np.zeros((2, 12, 64, 64, 3), np.uint8)
    first, second = (predict.scaled_side_by_side(frames, (0.0, 1.0), np.array(one)) for one in ((0.5, -1.0), (0.1, 0)))
    assert (first[0] != second[0]).any()
    assert len({picture.shape for picture in first}) == 1


def test_measure_of_a_perfect_prediction():
    """A prediction equal to the truth has the highest PSNR and SSIM 1; copying has less."""
    rng = np.random.default_rng(1)
    windows = [vf.Episode(rng.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8))]
    perfect = np.stack([window.frames[1:] for window in windows])
    errors = predict.measure(windows, perfect, context_frames=2)
    np.testing.assert_allclose(errors["ssim"], 1.0)
    assert min(errors["psnr"]) == 100.0
    assert max(errors["psnr_copy_last_frame"]) < 15


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps=0"], "--steps must be at least 1"),
        (["--data_dir=no/such/folder"], "--data_dir no/such/folder does not exist"),
        (["--scales=0,large"], "is not a list of numbers"),
        (["--preset=push_fats"], "unknown preset 'push_fats'"),
    ],
)
def test_predict_refuses_wrong_input(words, message, refused):
    """Each mistake is answered in one line that names it."""
    assert message in refused("predict", *words)


def test_predict_refuses_short_episodes(refused, tiny_predictor, data):
    """Data whose episodes are too short are named, with the longest there is."""
    error = refused("predict", "--preset", tiny_predictor, "--data_dir", data, "--steps=30")
    assert "no episode has 32 frames" in error
    assert "the longest has 6" in error


class _With:
    """A predictor as far as its config is concerned."""

    def __init__(self, config):
        self.config = config


@pytest.mark.parametrize("missing", ["actions", "states"])
def test_data_without_what_the_predictor_knows_are_refused(missing):
    """Zeros would be taken for it; unless the predictor was trained so, or on images alone."""
    known = {"actions": np.zeros((3, 2), np.float32), "states": np.zeros((4, 2), np.float32)}
    window = vf.Episode(frames=np.zeros((4, 64, 64, 3), np.uint8), **{**known, missing: None})
    predictor = SimpleNamespace(config=vf.PredictorConfig(action_size=2, state_size=2), metadata={})
    with pytest.raises(ValueError, match=f"the data has no {missing}, which the predictor was trained with"):
        predict.check_fit([window], predictor, "the data", "push")
    images = SimpleNamespace(config=vf.PredictorConfig(use_state=False), metadata={})
    predict.check_fit([window], images, "the data", "push")
    blind = {"training": {"data": {"absent": ["states"]}}}
    stateless = SimpleNamespace(config=vf.PredictorConfig(action_size=2, state_size=1), metadata=blind)
    if missing == "states":
        predict.check_fit([window], stateless, "the data", "push")


@pytest.mark.parametrize(
    "shapes, message",
    [
        (((4, 64, 64, 3), (3, 4), (4, 2)), "the data has action dimension 4, not 2"),
        (((4, 64, 64, 3), (3, 2), (4, 5)), "the data has state dimension 5, not 2"),
        (((4, 16, 24, 3), (3, 2), (4, 2)), r"the data has image size \(16, 24\), not \(64, 64\)"),
    ],
)
def test_data_of_another_robot_is_refused(shapes, message):
    frames, actions, states = shapes
    window = vf.Episode(
        frames=np.zeros(frames, np.uint8), actions=np.zeros(actions, np.float32), states=np.zeros(states, np.float32)
    )
    predictor = SimpleNamespace(config=vf.PredictorConfig(action_size=2, state_size=2), metadata={})
    with pytest.raises(ValueError, match=f"push: the predictor does not fit: {message}"):
        predict.check_fit([window], predictor, "the data", "push")
