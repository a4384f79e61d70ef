"""The fit as a whole: it learns, repeats, continues exactly, and stops for good reasons."""

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import world  # noqa: E402

from visual_foresight.backend import silence_start_up  # noqa: E402
from visual_foresight.episode import Episode  # noqa: E402
from visual_foresight.formats import write_episodes  # noqa: E402
from visual_foresight.train.config import TrainingConfig  # noqa: E402
from visual_foresight.train.trainer import Segment, fit, horizons, plan_segments  # noqa: E402

silence_start_up()


EPISODES = world.world(200)


def small(folder, **changes) -> TrainingConfig:
    """A network and a run that learn the moving square in seconds."""
    fields = {
        "output_dir": str(folder / "out"), "event_log_dir": str(folder / "events"), "backbone": "fast", "width": 0.5,
        "num_masks": 4, "image_size": (16, 16), "sequence_length": 4, "batch_size": 16, "learning_rate": 0.01,
        "num_iterations": 120, "log_every": 20, "validate_every": 60, "checkpoint_every": 60, "validation_batches": 1,
        "schedsamp_k": 20.0, "seed": 1,
    }  # fmt: skip
    return TrainingConfig(**(fields | changes))


def weights_of(predictor) -> list[np.ndarray]:
    return [np.asarray(variable.numpy()) for variable in predictor.variables]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """One uninterrupted run, and its folder."""
    folder = tmp_path_factory.mktemp("learned")
    state = random.getstate()
    result = fit(small(folder), EPISODES, show_progress=False)
    assert random.getstate() == state  # the caller's random numbers are untouched
    return result, folder


def test_it_learns_a_trivial_world(learned):
    """Far better than copying, on episodes that were not trained on, fed with its own predictions."""
    result, _ = learned
    assert result.iteration == 120 and result.stopped == "finished"
    assert result.validation["psnr"] > result.validation["copy_psnr"] + 4
    assert result.log[-1]["train_loss"] < result.log[0]["train_loss"] / 4


def test_the_log_has_every_row_and_the_baseline_beside_each_figure(learned):
    result, folder = learned
    assert [row["iteration"] for row in result.log] == [20, 40, 60, 80, 100, 120]
    assert all("train_copy_psnr" in row for row in result.log)
    assert ["val_psnr" in row for row in result.log] == [False, False, True, False, False, True]
    assert [row["num_ground_truth"] for row in result.log][-1] == 1  # 16 * 20 / (20 + exp(6)) = 0.76
    assert result.log[-1]["learning_rate"] == pytest.approx(0.01)
    assert [path.name for path in sorted((folder / "out" / "videos").iterdir())] == [
        "iteration_00000060.gif",
        "iteration_00000120.gif",
    ]


def test_the_events_hold_the_originals_names_and_the_videos(learned):
    from visual_foresight.backend import import_tensorflow

    tensorflow = import_tensorflow()
    _, folder = learned
    (path,) = (folder / "events").iterdir()
    tags = set()
    for record in tensorflow.data.TFRecordDataset(str(path)):
        tags |= {value.tag for value in tensorflow.compat.v1.Event.FromString(record.numpy()).summary.value}
    for prefix in ("train", "val"):
        names = ["loss", "psnr_all", "recon_cost0", "recon_cost1", "psnr0", "psnr1", "state_cost0", "copy_psnr"]
        assert {f"{prefix}_{name}" for name in names} <= tags
        assert f"{prefix}_psnr2" not in tags  # four frames, two of them context
    assert {"val_predicted_video", "val_predicted_frames"} <= tags


def test_checkpoints_are_whole_predictors(learned):
    from visual_foresight.predictor.predictor import VideoPredictor

    result, folder = learned
    loaded = VideoPredictor.load(folder / "out" / "last")
    for ours, theirs in zip(weights_of(result.predictor), weights_of(loaded), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert loaded.metadata["training"]["iteration"] == 120
    assert loaded.metadata["preprocessing"] == {"preprocess": "seed", "image_size": [16, 16]}
    assert loaded.metadata["action_low"] == [-1, -1] and loaded.metadata["action_high"] == [1, 1]
    assert result.best.name == f"iteration_{result.best_iteration:08d}"


class _Killed(Exception):
    pass


def test_a_stopped_run_continues_bit_for_bit(learned, tmp_path, monkeypatch):
    """Killed at step 75, after the checkpoint of step 60: the rest gives the same weights as the uninterrupted run."""
    from visual_foresight.train.run import RunCallback

    result, _ = learned
    original = RunCallback.on_train_batch_end

    def fail_at_75(self, batch, logs=None):
        original(self, batch, logs)
        if self.progress.iteration == 75:
            raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunCallback, "on_train_batch_end", fail_at_75)
        with pytest.raises(_Killed):
            fit(small(tmp_path), EPISODES, show_progress=False)
    assert Path(tmp_path / "out" / "last").resolve().name == "iteration_00000060"
    continued = fit(small(tmp_path, resume=True), EPISODES, show_progress=False)
    assert continued.iteration == 120
    for ours, theirs in zip(weights_of(result.predictor), weights_of(continued.predictor), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert continued.validation == result.validation
    ours, theirs = ([{**row, "seconds": 0} for row in each.log] for each in (result, continued))
    assert ours == theirs


def test_resuming_is_refused_when_it_cannot_be_exact(learned):
    _, folder = learned
    with pytest.raises(ValueError, match=r"batch_size: 16 -> 8; seed: 1 -> 2.*--init_from"):
        fit(small(folder, resume=True, batch_size=8, seed=2), EPISODES, show_progress=False)
    with pytest.raises(ValueError, match="the data is not what the run"):
        fit(small(folder, resume=True), world.world(200, first_seed=1), show_progress=False)


def test_a_run_that_was_copied_without_its_links_is_refused(learned, tmp_path):
    """At the end of the training, where the link would be set, it is too late."""
    _, folder = learned
    shutil.copytree(folder / "out", tmp_path / "out")
    with pytest.raises(ValueError, match=r"(last|best) is a folder where a link belongs.*cp -a"):
        fit(small(tmp_path, resume=True, num_iterations=121), EPISODES, show_progress=False)


def test_what_is_passed_over_and_nothing_to_do_are_said_before_the_training(learned, tmp_path, capsys):
    _, folder = learned
    shutil.copytree(folder / "out", tmp_path / "out", symlinks=True)
    fit(small(tmp_path, resume=True, num_iterations=100), EPISODES)
    assert "nothing is left to do: the run has 120 iterations, --num_iterations is 100" in capsys.readouterr().err
    write_episodes(tmp_path / "data" / "long.npz", EPISODES[:40])
    write_episodes(tmp_path / "data" / "short.npz", world.world(3, num_frames=3))
    config = small(
        tmp_path / "new", data_dir=str(tmp_path / "data"), split_by="episode", preprocess="none", num_iterations=1
    )
    fit(config)
    assert "3 episodes passed over: shorter than --sequence_length 4" in capsys.readouterr().err


def test_a_run_is_not_replaced_by_accident(learned):
    _, folder = learned
    with pytest.raises(ValueError, match="--resume=1 to continue it, --overwrite=1"):
        fit(small(folder), EPISODES, show_progress=False)


def test_starting_from_a_predictor_that_does_not_fit_is_refused(learned, tmp_path):
    result, _ = learned
    with pytest.raises(ValueError, match=r"num_masks: 4 there, 3 here"):
        fit(small(tmp_path, pretrained_model=str(result.last), num_masks=3), EPISODES, show_progress=False)
    with pytest.raises(ValueError, match=r"--num_masks=3 contradicts the predictor"):
        fit(small(tmp_path, init_from=str(result.last), num_masks=3), EPISODES, show_progress=False)


def test_fine_tuning_begins_where_the_predictor_is_and_takes_its_network(learned, tmp_path):
    """One step at a rate too small to matter leaves the weights; neither masks nor width are given again."""
    result, _ = learned
    config = TrainingConfig(
        output_dir=str(tmp_path / "out"), event_log_dir=str(tmp_path / "events"), init_from=str(result.last),
        sequence_length=3, batch_size=4, num_iterations=1, learning_rate=1e-12, schedsamp_k=-1, validation_batches=1,
    )  # fmt: skip
    tuned = fit(config, world.world(40, first_seed=500), show_progress=False)
    assert tuned.predictor.config == result.predictor.config
    np.testing.assert_array_equal(tuned.predictor.statistics.state_mean, result.predictor.statistics.state_mean)
    for ours, theirs in zip(weights_of(result.predictor), weights_of(tuned.predictor), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_the_curriculum_cuts_training_into_equal_parts():
    config = TrainingConfig(num_iterations=100, sequence_length=12, rollout_curriculum=(2, 4, 7, 9), log_every=40)
    assert horizons(config) == [(0, 3), (25, 5), (50, 8), (75, 10)]
    assert list(plan_segments(config, 0)) == [
        Segment(0, 1, 25, 3), Segment(25, 1, 15, 5), Segment(40, 1, 10, 5), Segment(50, 1, 25, 8),
        Segment(75, 1, 5, 10), Segment(80, 1, 20, 10),
    ]  # fmt: skip


@pytest.mark.parametrize("start", [0, 1, 39, 40, 57, 999])
def test_segments_cover_every_step_once_and_rows_end_at_the_same_places(start):
    config = TrainingConfig(num_iterations=1000, log_every=40, rollout_curriculum=(1, 3, 7))
    covered, ends = [], set()
    for segment in plan_segments(config, start):
        for epoch in range(segment.epochs):
            first = segment.start + epoch * segment.steps
            covered += range(first, first + segment.steps)
            ends.add(first + segment.steps)
    assert covered == list(range(start, 1000))
    assert ends >= {end for end in range(40, 1001, 40) if end > start}


def test_too_little_data_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match="1 to train on and 0 to validate on|leaves 0 to train on|give more episodes"):
        fit(small(tmp_path), world.world(1), show_progress=False)
    images = [Episode(episode.frames) for episode in world.world(40)]
    with pytest.raises(ValueError, match="--use_state=0"):
        fit(small(tmp_path), images, show_progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_killed_process_continues_exactly(learned, tmp_path):
    """SIGKILL at an arbitrary moment of another process, then --resume: the same weights."""
    result, _ = learned
    config = small(tmp_path, checkpoint_every=20)
    script = textwrap.dedent("""
        import sys
        sys.path.insert(0, sys.argv[1])
        import world
        from visual_foresight.train import TrainingConfig, fit
        fit(TrainingConfig.from_json(sys.argv[2]), world.world(200), show_progress=False)
    """)
    words = [sys.executable, "-c", script, str(Path(__file__).parent), config.to_json()]
    process = subprocess.Popen(words)
    last = tmp_path / "out" / "last"
    while process.poll() is None and not last.exists():
        signal.sigtimedwait([], 0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    continued = fit(dataclasses.replace(config, resume=True), EPISODES, show_progress=False)
    for ours, theirs in zip(weights_of(result.predictor), weights_of(continued.predictor), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.slow
def test_every_setting_at_once_trains(tmp_path):
    """Curriculum, several steps in a call, motion weight, clipping, bfloat16, early stopping, a budget of time."""
    config = small(
        tmp_path, rollout_curriculum=(0, 1), steps_per_execution=5, motion_weight=4.0,
        gradient_clip=1.0, precision="mixed_bfloat16", learning_rate_schedule="cosine", num_iterations=80,
        validate_every=20, keep_checkpoints=1, early_stop_patience=3, schedsamp_k=-1.0,
    )  # fmt: skip
    result = fit(config, EPISODES, show_progress=False)
    assert result.iteration == 80
    assert [row["self_fed_steps"] for row in result.log] == [0, 0, 1, 1]
    assert result.log[1]["learning_rate"] == pytest.approx(0.01 * (1 + 0.01) / 2)
    assert result.log[-1]["learning_rate"] == pytest.approx(0.0001)
    folders = {path.name for path in (tmp_path / "out").glob("iteration_*")}
    assert folders == {result.last.name, result.best.name}
    shutil.rmtree(tmp_path / "out")
    result = fit(dataclasses.replace(config, max_minutes=1e-6), EPISODES, show_progress=False)
    assert result.stopped == "out of time" and result.iteration == 5


def test_a_damaged_checkpoint_is_removed_and_the_one_before_goes_on(tmp_path, capfd):
    """As the message says: without it the run ends where it would have, also where the best one was removed."""
    config = small(tmp_path, num_iterations=4, log_every=2, validate_every=2, checkpoint_every=2)
    whole = fit(config, EPISODES, show_progress=False)
    newest = tmp_path / "out" / "iteration_00000004"
    weights = newest / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:1000])
    again = dataclasses.replace(config, resume=True)
    with pytest.raises(ValueError, match=f"{weights} is truncated .*; remove {newest}, and --resume goes on"):
        fit(again, EPISODES, show_progress=False)
    shutil.rmtree(newest)
    continued = fit(again, EPISODES, show_progress=False)
    assert continued.iteration == 4
    for ours, theirs in zip(weights_of(continued.predictor), weights_of(whole.predictor), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    capfd.readouterr()
    fit(again, EPISODES)
    said = capfd.readouterr().err
    assert "nothing is left to do" in said and "step/s" not in said and "%|" not in said
