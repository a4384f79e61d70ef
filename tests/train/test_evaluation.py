"""Evaluating: figures of known predictions, independence of the batch, refusals; and the command on real files."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import world  # noqa: E402

from visual_foresight import evaluation, metrics  # noqa: E402
from visual_foresight.backend import silence_start_up  # noqa: E402
from visual_foresight.frames import to_float  # noqa: E402

silence_start_up()


def tracked(num_episodes, num_frames=9):
    """The moving square, with the extras of a simulator: its centre, and one object that is not there."""
    episodes = []
    for episode in world.world(num_episodes, num_frames=num_frames):
        centre = episode.states + 1.5
        pixels = np.stack([centre, np.zeros_like(centre)], axis=1)
        extras = {
            "object_pixels": pixels.astype(np.float32),
            "object_hidden": np.zeros((num_frames, 2), bool),
            "object_present": np.tile([True, False], (num_frames, 1)),
        }
        episodes.append(dataclasses.replace(episode, extras=extras))
    return episodes


@pytest.fixture(scope="module")
def predictor():
    """Untrained: whatever it predicts, the figures must be those of its predictions."""
    import random

    from visual_foresight.predictor import PredictorConfig, VideoPredictor

    random.seed(0)
    config = PredictorConfig(
        backbone="fast", image_height=16, image_width=16, action_size=2, state_size=2, width=0.25, num_masks=2
    )
    return VideoPredictor(config)


@pytest.fixture(scope="module")
def report(predictor):
    return evaluation.evaluate(predictor, tracked(5), batch_size=2)


def test_the_frame_figures_are_those_of_predict_frames(predictor, report):
    """Computed once more by another door: the predictor's own unrolled prediction and the plain metrics."""
    episodes = tracked(5)
    frames = to_float(np.stack([episode.frames for episode in episodes]))
    actions = np.stack([episode.actions for episode in episodes])
    states = np.stack([episode.states for episode in episodes])
    predicted = np.clip(predictor.predict_frames(frames, actions, states).frames[:, 1:], 0, 1)
    assert len(report["steps"]) == 7
    for step in range(7):
        expected = metrics.psnr(frames[:, 2 + step], predicted[:, step])
        row = report["steps"][step]
        np.testing.assert_allclose(row["psnr"]["mean"], expected.mean(), rtol=1e-4)
        copied = metrics.psnr(frames[:, 2 + step], frames[:, 1])
        np.testing.assert_allclose(row["copy_psnr"]["mean"], copied.mean(), rtol=1e-6)
        np.testing.assert_allclose(row["psnr_gain"]["mean"], (expected - copied).mean(), rtol=1e-4)
        assert row["psnr"]["low"] <= row["psnr"]["mean"] <= row["psnr"]["high"]
        assert row["ssim"]["count"] == 5


def test_the_pixel_figures_are_those_of_the_simulator(predictor, report):
    """The map after five steps of true actions, through the door that planners use."""
    from visual_foresight.simulator import LearnedSimulator

    simulator = LearnedSimulator(predictor)
    errors = {name: {} for name in ("expected", "mode", "no_motion")}
    for episode in tracked(5):
        pixel = episode.extras["object_pixels"][1, :1]
        start = simulator.start(episode.frames[:2], episode.actions[:1], episode.states[:2], pixels=pixel)
        rollout = simulator.rollout(start, episode.actions[None, 1:6])
        truth = episode.extras["object_pixels"][6, 0]
        found = metrics.pixel_errors(np.asarray(rollout.pixel_distributions)[0, 4, 0], truth)
        moved = np.linalg.norm(truth - pixel[0])
        motion = metrics.MOTION_BINS[int(metrics.motion_bin(moved))]
        for name, value in {**found, "no_motion": moved}.items():
            if name in errors:
                errors[name].setdefault(motion, []).append(value)
    assert set(report["pixels"]) == {"5"}  # nine frames do not reach ten steps
    for name, bins in errors.items():
        assert set(bins) == set(report["pixels"]["5"])
        for motion, values in bins.items():
            found = report["pixels"]["5"][motion]["visible"][name]
            assert found["count"] == len(values)
            np.testing.assert_allclose(found["mean"], np.mean(values), rtol=1e-3, atol=1e-4)


def test_no_figure_depends_on_the_batch(predictor, report):
    other = evaluation.evaluate(predictor, tracked(5), batch_size=5)
    for ours, theirs in zip(report["steps"], other["steps"], strict=True):
        for name in ours:
            assert ours[name]["mean"] == pytest.approx(theirs[name]["mean"], rel=1e-4, abs=1e-5, nan_ok=True)


def test_the_report_is_plain_json(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequence_length": 2}, "nothing to predict after 2"),
        ({"sequence_length": 10}, "no episode has 10 frames, the longest has 9"),
    ],
)
def test_windows_that_cannot_be_are_refused(predictor, options, message):
    with pytest.raises(ValueError, match=message):
        evaluation.evaluate(predictor, tracked(2), **options)


def test_data_of_another_size_is_refused(predictor):
    wider = dataclasses.replace(tracked(1)[0], states=np.zeros((9, 3), np.float32))
    with pytest.raises(ValueError, match="state dimension 3, not 2"):
        evaluation.evaluate(predictor, [wider])
    with pytest.raises(ValueError, match="no episode to evaluate"):
        evaluation.evaluate(predictor, [])


def test_the_command_prints_tables_and_json(predictor, tmp_path, command, refused):
    from visual_foresight.formats import write_episodes

    predictor.save(tmp_path / "model")
    write_episodes(tmp_path / "data" / "episodes.npz", tracked(3))
    words = ["evaluate", "--model_dir", tmp_path / "model", "--data_dir", tmp_path / "data", "--preprocess=none"]
    answer = command(*words, "--quiet")
    assert answer.code == 0
    assert "3 episodes, 2 frames given, 7 predicted" in answer.out
    assert "no motion" in answer.out
    answer = command(*words, "--limit=2", "--sequence_length=4", "--json")
    plain = json.loads(answer.out)
    assert (plain["episodes"], len(plain["steps"]), plain["pixels"]) == (2, 2, {})
    assert "--limit must be at least 1" in refused(*words, "--limit=0")
    assert "does not exist" in refused("evaluate", "--model_dir", tmp_path / "model", "--data_dir", tmp_path / "none")
    assert "unknown preset 'push_fats'" in refused("evaluate", "--model_dir=push_fats", "--data_dir", tmp_path / "data")
