"""Evaluating: figures of known predictions, independence of the batch, refusals; and the command on real files."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import world  # noqa: E402

from visual_foresight import evaluation, metrics, pixel_accuracy  # noqa: E402
from visual_foresight.backend import silence_start_up  # noqa: E402
from visual_foresight.episode import Episode  # noqa: E402
from visual_foresight.frames import to_float  # noqa: E402
from visual_foresight.replay import replay  # noqa: E402

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
    errors = {name: {} for name in ("expected", "whole", "mode", "no_motion")}
    for episode in tracked(5):
        pixel = episode.extras["object_pixels"][1, :1]
        start = simulator.start(episode.frames[:2], episode.actions[:1], episode.states[:2], pixels=pixel)
        rollout = simulator.rollout(start, episode.actions[None, 1:6])
        truth = episode.extras["object_pixels"][6, 0]
        found = metrics.pixel_errors(np.asarray(rollout.pixel_distributions)[0, 4, 0], truth)
        whole = np.floor(pixel + 0.5)  # the pixel of the picture in which the point lies
        start = simulator.start(episode.frames[:2], episode.actions[:1], episode.states[:2], pixels=whole)
        rollout = simulator.rollout(start, episode.actions[None, 1:6])
        of_whole = metrics.pixel_errors(np.asarray(rollout.pixel_distributions)[0, 4, 0], truth + (whole - pixel)[0])
        found["whole"] = of_whole["expected"]
        moved = np.linalg.norm(truth - pixel[0])
        motion = metrics.MOTION_BINS[int(metrics.motion_bin(moved))]
        for name, value in {**found, "no_motion": moved}.items():
            if name in errors:
                errors[name].setdefault(motion, []).append(value)
    assert set(report["pixels"]) == {"5"}  # nine frames do not reach ten steps
    for name, bins in errors.items():
        assert set(bins) == set(report["pixels"]["5"]) - {"moved"}
        for motion, values in bins.items():
            found = report["pixels"]["5"][motion]["visible"][name]
            assert found["count"] == len(values)
            np.testing.assert_allclose(found["mean"], np.mean(values), rtol=1e-3, atol=1e-4)


def test_a_map_of_a_whole_pixel_is_one_pixel_and_what_stays_is_right():
    """Between pixels a map of a still object is half a pixel off from the start; one of a whole pixel is not."""
    pixels = np.tile([[[4.5, 7.25]]], (6, 1, 1))
    hidden = np.zeros((6, 1), bool)
    window = Episode(np.zeros((6, 16, 16, 3), np.uint8), extras={"object_pixels": pixels, "object_hidden": hidden})
    (starts,) = pixel_accuracy.start_maps([window], 0)
    assert starts.shape == (16, 16, 2)
    assert (starts[..., 0] > 0).sum() == 4 and starts[4, 7, 1] == 1 and starts[..., 1].sum() == 1
    (row,) = pixel_accuracy.pixel_rows(window, np.tile(np.moveaxis(starts, -1, 0), (5, 1, 1, 1)), 1, 0)
    assert row["whole"] == 0
    spread = [(0.375, (0.5, 0.25)), (0.125, (0.5, 0.75)), (0.375, (0.5, 0.25)), (0.125, (0.5, 0.75))]
    assert row["expected"] == pytest.approx(sum(share * np.hypot(*offset) for share, offset in spread), rel=1e-5)
    assert row["mean"] == pytest.approx(0, abs=1e-6)


def test_episodes_may_know_of_different_numbers_of_objects(predictor, report):
    """Of one object less, of none, or of nothing: the others' figures stay what they are."""
    episodes = tracked(5)
    names = ("object_pixels", "object_hidden", "object_present")
    fewer = [
        dataclasses.replace(one, extras={name: one.extras[name][:, : 1 if index % 2 else 2] for name in names})
        for index, one in enumerate(episodes)
    ]
    found = evaluation.evaluate(predictor, fewer, batch_size=5)["pixels"]
    for horizon, bins in report["pixels"].items():
        for motion, places in bins.items():
            for name, figure in places["any"].items():
                again = found[horizon][motion]["any"][name]
                assert again["count"] == figure["count"]
                np.testing.assert_allclose(again["mean"], figure["mean"], rtol=1e-3, atol=1e-4)
    empty = dataclasses.replace(episodes[0], extras={name: episodes[0].extras[name][:, :0] for name in names})
    unknown = dataclasses.replace(episodes[1], extras={})
    some = evaluation.evaluate(predictor, [empty, unknown, episodes[2]], batch_size=3)["pixels"]
    alone = evaluation.evaluate(predictor, [episodes[2]])["pixels"]
    assert {horizon: set(bins) for horizon, bins in some.items()} == {name: set(bins) for name, bins in alone.items()}
    for horizon, bins in alone.items():
        for motion, places in bins.items():
            for name, figure in places["any"].items():
                again = some[horizon][motion]["any"][name]
                assert again["count"] == figure["count"] == 1
                np.testing.assert_allclose(again["mean"], figure["mean"], rtol=1e-3, atol=1e-4)
    wrong = dataclasses.replace(episodes[0], extras={**episodes[0].extras, "object_pixels": np.zeros((9, 2))})
    with pytest.raises(ValueError, match=r"object_pixels must be \[T, M, 2\] and object_hidden \[T, M\], got \[9, 2\]"):
        evaluation.evaluate(predictor, [wrong])
    for setting in ({"batch_size": 0}, {"context_frames": 0}, {"context_frames": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(setting))} must be a whole number of at least 1"):
            evaluation.evaluate(predictor, episodes, **setting)
    assert evaluation.evaluate(predictor, iter(episodes), batch_size=2) == report


def make_predictor(**options):
    from visual_foresight.predictor import PredictorConfig, VideoPredictor

    sizes = {"image_height": 16, "image_width": 16, "action_size": 2, "state_size": 2, "width": 0.25, "num_masks": 2}
    return VideoPredictor(PredictorConfig(backbone="fast", **sizes, **options))


@pytest.fixture(scope="module")
def leaping():
    return make_predictor(stride=3, context_frames=1)


def test_a_leaping_predictor_is_asked_for_every_step(leaping):
    """Frames as `predict_frames` gives them; maps as the simulator's at the ends of leaps."""
    from visual_foresight.simulator import LearnedSimulator

    episodes = tracked(3)
    windows = evaluation.evaluation_windows(episodes, 1, None)
    starts = pixel_accuracy.start_maps(windows, 0)
    said = replay(leaping, leaping.step, windows, 1, starts)
    frames = to_float(np.stack([episode.frames for episode in episodes]))
    arrays = [np.stack([getattr(episode, name) for episode in episodes]) for name in ("actions", "states")]
    expected = leaping.predict_frames(frames, *arrays).frames
    np.testing.assert_allclose(said.frames, np.clip(expected, 0, 1), atol=1e-5)
    simulator = LearnedSimulator(leaping)
    for index, episode in enumerate(episodes):
        pixel = episode.extras["object_pixels"][0, :1]
        start = simulator.start(episode.frames[:1], None, episode.states[:1], pixels=pixel)
        rollout = simulator.rollout(start, episode.actions[None, :6], ("pixel_distributions",), every=3)
        np.testing.assert_allclose(said.maps[index, [2, 5], :1], rollout.pixel_distributions[0], atol=1e-5)


def test_a_leaping_predictor_looks_at_the_last_given_frame(leaping):
    """With two frames given, it says what it says from the second of them alone."""
    windows = evaluation.evaluation_windows(tracked(2), 1, None)
    later = [window.window(1, window.num_frames - 1) for window in windows]
    both, alone = replay(leaping, leaping.step, windows, 2), replay(leaping, leaping.step, later, 1)
    np.testing.assert_array_equal(both.frames, alone.frames)


def test_others_are_compared_on_the_same_windows(predictor, leaping):
    """Paired: the difference is that of the means, the truth behind it the same, and self-comparison is nothing."""
    report = evaluation.evaluate(predictor, tracked(5), compare={"same": predictor, "leaping": leaping}, batch_size=2)
    alone = evaluation.evaluate(leaping, [from_the_second_frame(episode) for episode in tracked(5)], batch_size=2)
    same, other = report["comparisons"]["same"], report["comparisons"]["leaping"]
    assert (other["stride"], report["stride"], len(other["steps"])) == (3, 1, 7)
    for step, row in enumerate(same["steps"]):
        assert row["psnr_difference"] == {"mean": 0, "low": 0, "high": 0, "count": 5}
        theirs, ours = other["steps"][step], report["steps"][step]
        assert theirs["psnr"]["mean"] == pytest.approx(alone["steps"][step]["psnr"]["mean"], rel=1e-4)
        assert theirs["psnr_difference"]["mean"] == pytest.approx(ours["psnr"]["mean"] - theirs["psnr"]["mean"])
    for motion, places in other["pixels"]["5"].items():
        ours = report["pixels"]["5"][motion]["visible"]
        assert places["visible"]["no_motion"] == ours["no_motion"]
        difference = places["visible"]["expected_difference"]["mean"]
        assert difference == pytest.approx(places["visible"]["expected"]["mean"] - ours["expected"]["mean"])


def from_the_second_frame(episode):
    """From the second frame on: where a predictor of two context frames begins to predict."""
    return episode.window(1, episode.num_frames - 1)


def test_the_bin_of_moved_objects_holds_the_two_that_moved(report):
    bins = report["pixels"]["5"]
    assert "moved" in bins and {"small", "large"} & set(bins)
    assert bins["moved"]["any"] == bins["moved"]["visible"]  # nothing is hidden in this world
    parts = [bins[name]["visible"]["no_motion"]["mean"] for name in ("small", "large") if name in bins]
    assert min(parts) - 1e-9 <= bins["moved"]["visible"]["no_motion"]["mean"] <= max(parts) + 1e-9


def test_the_moving_region_is_what_changed_in_truth_and_its_rim():
    """A pixel that changed, and 2 px about it; what is predicted has no say in it."""
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    frames[2, 8, 8] = 255
    truth, copy, moving = evaluation._truth([Episode(frames)], 1)
    assert truth.shape == copy.shape == (1, 2, 16, 16, 3)
    assert not moving[0, 0].any()
    assert moving[0, 1].sum() == 25 and moving[0, 1, 6:11, 6:11].all()


def test_lpips_needs_its_extra(predictor, monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    metrics.require_lpips.cache_clear()
    with pytest.raises(ImportError, match=r"pip install 'visual-foresight\[lpips\]'"):
        evaluation.evaluate(predictor, tracked(1), lpips=True)


def test_no_figure_depends_on_the_batch(predictor, report):
    other = evaluation.evaluate(predictor, tracked(5), batch_size=5)
    for ours, theirs in zip(report["steps"], other["steps"], strict=True):
        for name in ours:
            assert ours[name]["mean"] == pytest.approx(theirs[name]["mean"], rel=1e-4, abs=1e-5, nan_ok=True)


def test_predictions_that_are_no_numbers_are_refused():
    """Left out of the means, a diverged predictor would be judged by what it has not lost yet."""
    from visual_foresight.predictor import PredictorConfig, VideoPredictor

    sizes = {"image_height": 16, "image_width": 16, "action_size": 2, "state_size": 2, "width": 0.25, "num_masks": 2}
    broken = VideoPredictor(PredictorConfig(backbone="fast", **sizes))
    broken.set_weights([np.full_like(weight, np.nan) for weight in broken.get_weights()])
    with pytest.raises(ValueError, match="frames predicted in window 0 .* are not finite: its training diverged"):
        evaluation.evaluate(broken, tracked(3), batch_size=2)


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


def test_each_episode_is_looked_at(predictor):
    """Not the first alone: zeros would be taken for what a later one lacks."""
    first, second = tracked(2)
    without = dataclasses.replace(second, states=None)
    with pytest.raises(ValueError, match="the data has no states"):
        evaluation.evaluate(predictor, [first, without])


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
    predictor.save(tmp_path / "other")
    answer = command(*words, "--limit=2", "--quiet", "--compare", tmp_path / "other")
    assert answer.code == 0 and f"{tmp_path / 'model'} less others" in answer.out
    assert "is named twice" in refused(*words, "--compare", tmp_path / "model")
    wide = dataclasses.replace(tracked(1)[0], actions=np.zeros((8, 4), np.float32))
    write_episodes(tmp_path / "four" / "episodes.npz", [wide])
    error = refused("evaluate", "--model_dir", tmp_path / "model", "--data_dir", tmp_path / "four", "--preprocess=none")
    assert f"{tmp_path / 'model'}: the predictor does not fit: episode 0 of {tmp_path / 'four'} has action" in error
    assert "which predictor" in refused("evaluate", "--data_dir", tmp_path / "data")
    assert "on what" in refused("evaluate", "--model_dir", tmp_path / "model")
    assert "unknown preset 'push_fats'" in refused("evaluate", "--model_dir=push_fats", "--data_dir", tmp_path / "data")
