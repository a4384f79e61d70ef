"""What surrounds the gradient steps: checkpoints, log, stopping on numbers that are not finite, and the command."""

import dataclasses
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import world  # noqa: E402

from visual_foresight.backend import silence_start_up  # noqa: E402
from visual_foresight.train import checkpoints, records  # noqa: E402
from visual_foresight.train.checkpoints import CheckpointFolder, TrainingState, read_state  # noqa: E402
from visual_foresight.train.config import TrainingConfig  # noqa: E402

silence_start_up()


class _Predictor:
    """Saves a folder with one file: all that a checkpoint asks of a predictor."""

    def save(self, directory):
        Path(directory).mkdir()
        (Path(directory) / "weights").write_text("w")


def state_at(iteration):
    arrays = [np.arange(3, dtype=np.float32) + iteration, np.int64(iteration)]
    return TrainingState(iteration, TrainingConfig(rollout_curriculum=(1,)), "f" * 8, arrays, {"best_value": 1.5})


def make_folder(path, iterations, best=(), keep=2):
    folder = CheckpointFolder(path, keep)
    folder.open()
    for iteration in iterations:
        folder.save(_Predictor(), state_at(iteration), best=iteration in best)
    return folder


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def test_a_state_comes_back_as_it_was(tmp_path):
    folder = make_folder(tmp_path, [40])
    state = read_state(folder.path("last"))
    assert (state.iteration, state.fingerprint, state.progress) == (40, "f" * 8, {"best_value": 1.5})
    assert state.config == TrainingConfig(rollout_curriculum=(1,))
    for ours, theirs in zip(state.optimizer, state_at(40).optimizer, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype and ours.shape == np.shape(theirs)


def test_the_newest_and_the_best_are_kept(tmp_path):
    folder = make_folder(tmp_path, [10, 20, 30, 40, 50], best=[10, 20])
    assert folder.iterations() == [20, 40, 50]
    assert folder.path("best").name == "iteration_00000020"
    assert folder.path("last").name == "iteration_00000050"


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    make_folder(tmp_path, [10])
    for name in (".partial-123-20", "..partial-123-20-x1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text("half")
    (tmp_path / "notes.txt").write_text("mine")
    folder = CheckpointFolder(tmp_path, 2)
    folder.open()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "iteration_00000010", "last", "notes.txt"] or (
        sorted(path.name for path in tmp_path.iterdir()) == ["iteration_00000010", "last", "notes.txt"]
    )
    folder.open(clear=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_failed_save_leaves_the_last_checkpoint(tmp_path):
    folder = make_folder(tmp_path, [10])

    class Full:
        def save(self, directory):
            Path(directory).mkdir()
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        folder.save(Full(), state_at(20), best=True)
    assert folder.iterations() == [10] and folder.path("last").name == "iteration_00000010"
    assert folder.path("best") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iteration_00000010", "last"]


def test_a_full_disk_is_named_and_costs_no_checkpoint(tmp_path, no_room):
    """Neither the ones before nor the one that is written again, and what was begun makes room again."""
    folder = make_folder(tmp_path, [10])
    for iteration in (10, 20):
        with pytest.raises(OSError) as raised, no_room(100):
            folder.save(_Predictor(), state_at(iteration), best=False)
        assert raised.value.filename == str(tmp_path / f"iteration_{iteration:08d}" / "training_state.npz")
    state = dataclasses.replace(state_at(10), progress={"best_value": 2.0, "words": "long " * 1000})
    with pytest.raises(OSError, match=r"training_state.json"), no_room(3000):
        folder.save(_Predictor(), state, best=False)
    assert read_state(folder.path("last")).progress == {"best_value": 1.5}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iteration_00000010", "last"]
    assert len(list((tmp_path / "iteration_00000010").iterdir())) == 3
    folder.save(_Predictor(), state_at(20), best=False)
    assert folder.iterations() == [10, 20]


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda path: (path / "training_state.npz").write_bytes(b"PK"), ValueError, "checksum differs"),
        (lambda path: (path / "training_state.json").write_text('{"format_version"'), ValueError, "damaged"),
        (lambda path: (path / "training_state.json").write_text('{"format_version": 9}'), ValueError, "version 9"),
        (lambda path: (path / "training_state.npz").unlink(), FileNotFoundError, "--init_from"),
    ],
)
def test_a_damaged_state_is_refused(tmp_path, damage, error, message):
    folder = make_folder(tmp_path, [10])
    damage(folder.path("last"))
    with pytest.raises(error, match=message):
        read_state(folder.path("last"))


def test_optimizer_arrays_of_another_network_are_refused():
    import keras

    optimizer = keras.optimizers.Adam()
    optimizer.build([keras.Variable(np.zeros(3, np.float32))])
    arrays = checkpoints.optimizer_arrays(optimizer)
    checkpoints.restore_optimizer(optimizer, arrays)
    with pytest.raises(ValueError, match="does not fit this network"):
        checkpoints.restore_optimizer(optimizer, arrays[:-1])


# ---- log ------------------------------------------------------------------------------------------------------------


def test_a_continued_log_drops_what_will_be_written_again(tmp_path):
    path = tmp_path / "log.csv"
    log = records.CsvLog(path)
    for iteration in (20, 40, 60):
        log.row({"iteration": iteration, "train_loss": iteration / 7})
    with open(path, "a") as file:
        file.write("80,0.1,")  # a kill in the middle of a row
    log = records.CsvLog(path, iteration=40)
    log.row({"iteration": 60, "train_loss": 0.5, "val_psnr": 30.0})
    rows = records.read_log(path)
    assert [row["iteration"] for row in rows] == [20, 40, 60]
    assert rows[0]["train_loss"] == pytest.approx(20 / 7, rel=1e-6)
    assert rows[2] == {"iteration": 60, "train_loss": 0.5, "val_psnr": 30.0}


def test_a_log_that_is_removed_while_a_run_goes_on_begins_anew(tmp_path):
    """With its header, so that it can be read."""
    path = tmp_path / "log.csv"
    log = records.CsvLog(path)
    log.row({"iteration": 20, "train_loss": 0.5})
    path.unlink()
    log.row({"iteration": 40, "train_loss": 0.25})
    assert records.read_log(path) == [{"iteration": 40, "train_loss": 0.25}]


def test_a_row_that_finds_no_room_is_named_and_absent(tmp_path, no_room):
    """In the log and in the events; closing says nothing more."""
    writer = records.RunRecords(tmp_path, tmp_path / "events", 0)
    for _ in range(3):
        with pytest.raises(OSError, match=r"log.csv"), no_room(100):
            writer.figures(20, {"train_loss": 0.5}, {"train_loss": 0.5})
    with pytest.raises(OSError, match=r"tfevents"), no_room(1000):
        writer.figures(20, {"train_loss": 0.5}, {f"loss_{index}": 0.5 for index in range(100)})
    writer.close()
    assert [row["iteration"] for row in records.read_log(tmp_path / "log.csv")] == [20]


def test_the_video_shows_truth_above_prediction():
    frames = np.full((2, 3, 8, 8, 3), 100, np.uint8)
    predicted = np.full((2, 2, 8, 8, 3), 0.5, np.float32)
    video = records.comparison_video(frames, predicted, 2, scale=1)
    assert len(video) == 3 and len({picture.shape for picture in video}) == 1
    lower = [picture[-8:, :8] for picture in video]
    assert (lower[0] == 100).all() and (lower[1] == 100).all() and (lower[2] == 128).all()
    assert (video[2][-8 - 12 : -12, :8] == 100).all()


# ---- numbers that are not finite ------------------------------------------------------------------------------------


def make_callback(tmp_path, **changes):
    from visual_foresight.pipeline import WindowSource
    from visual_foresight.predictor import PredictorConfig, VideoPredictor
    from visual_foresight.statistics import Statistics
    from visual_foresight.train.data import TrainingData
    from visual_foresight.train.model import TrainingModel
    from visual_foresight.train.run import Progress, RunCallback

    config = TrainingConfig(sequence_length=4, batch_size=2, image_size=(16, 16), num_iterations=50, **changes)
    source = WindowSource(world.world(6), sequence_length=4, batch_size=2, seed=0)
    labels = [f"shard.npz, record {index}" for index in range(6)]
    data = TrainingData(source, source, Statistics.identity(2, 2), labels)
    folder = make_folder(tmp_path, [10])
    predictor = VideoPredictor(
        PredictorConfig(
            backbone="fast", image_height=16, image_width=16, action_size=2, state_size=2, num_masks=1, width=0.25
        )
    )
    model = TrainingModel(predictor, config)
    model.compile(optimizer="adam")

    class Bar:
        disable = True

        def update(self, count):
            del count

    callback = RunCallback(config, data, None, folder, None, Progress(iteration=20), Bar())
    callback.set_model(model)
    callback.on_epoch_begin(0)
    return callback, data


def test_a_loss_that_is_not_finite_stops_with_batch_and_episodes_named(tmp_path):
    from visual_foresight.train import TrainingDivergedError
    from visual_foresight.train.model import FIGURES

    callback, data = make_callback(tmp_path)
    steps = np.full((len(FIGURES), 2), 0.5)
    callback.on_train_batch_end(0, {"loss": 0.5, "step_means": steps})
    assert callback.progress.iteration == 21
    with pytest.raises(
        TrainingDivergedError, match=r"the loss is not finite at batch 21 .*last good checkpoint is"
    ) as caught:
        callback.on_train_batch_end(1, {"loss": float("nan"), "step_means": steps})
    assert caught.value.iteration == 21
    chosen, _ = data.train.draws(21)
    assert caught.value.episodes == [f"shard.npz, record {index}" for index in dict.fromkeys(chosen.tolist())]
    assert all(episode in str(caught.value) for episode in caught.value.episodes)


def test_losses_that_are_looked_at_later_name_their_own_batch(tmp_path):
    """On an accelerator steps are given ahead: the batch that diverged is named, not the newest."""
    from visual_foresight.train import TrainingDivergedError
    from visual_foresight.train.model import FIGURES

    callback, _ = make_callback(tmp_path)
    callback._steps_ahead = 2
    steps = np.full((len(FIGURES), 2), 0.5)
    for batch, loss in enumerate([0.5, float("nan"), float("nan")]):
        callback.on_train_batch_end(batch, {"loss": loss, "step_means": steps})
    with pytest.raises(TrainingDivergedError, match="at batch 21 "):
        callback.on_train_batch_end(3, {"loss": 0.5, "step_means": steps})
    callback, _ = make_callback(tmp_path)
    callback._steps_ahead = 5
    callback.on_train_batch_end(0, {"loss": float("nan"), "step_means": steps})
    with pytest.raises(TrainingDivergedError, match="at batch 20 "):
        callback.on_epoch_end(0, {})


def test_a_timed_learning_rate_follows_the_clock(tmp_path, monkeypatch):
    from visual_foresight.train import run

    callback, _ = make_callback(tmp_path, learning_rate_schedule="timed", max_minutes=10.0, learning_rate=0.004)
    began, found = callback._start, []
    for minutes in (0.0, 5.0, 10.0, 12.0):
        monkeypatch.setattr(run.time, "monotonic", lambda minutes=minutes: began + 60 * minutes)
        callback.on_epoch_begin(0)
        found.append(float(callback.model.optimizer.learning_rate.numpy()))
    np.testing.assert_allclose(found, [0.004, 0.004 * (0.01 + 0.99 / 2), 4e-5, 4e-5], rtol=1e-5)


def test_a_timed_learning_rate_rises_first(tmp_path, monkeypatch):
    from visual_foresight.train import run

    callback, _ = make_callback(
        tmp_path, learning_rate_schedule="timed", max_minutes=10.0, learning_rate=0.004, warmup_iterations=100
    )
    began, found = callback._start, []
    monkeypatch.setattr(run.time, "monotonic", lambda: began)
    for iteration in (0, 49, 99, 500):
        callback.progress.iteration = iteration
        callback.on_epoch_begin(0)
        found.append(float(callback.model.optimizer.learning_rate.numpy()))
    np.testing.assert_allclose(found, [0.004 / 100, 0.002, 0.004, 0.004], rtol=1e-5)


def test_weights_that_are_not_finite_never_replace_a_checkpoint(tmp_path):
    from visual_foresight.train import TrainingDivergedError

    callback, _ = make_callback(tmp_path)
    variable = callback.model.predictor.trainable_variables[0]
    variable.assign(np.full(variable.shape, np.inf, np.float32))
    with pytest.raises(TrainingDivergedError, match="a weight is not finite"):
        callback.save(best=True)
    assert CheckpointFolder(tmp_path, 2).path("last").name == "iteration_00000010"


# ---- the command ----------------------------------------------------------------------------------------------------


def write_shards(folder, count=3):
    from visual_foresight.formats import write_episodes

    for index in range(count):
        write_episodes(folder / f"shard-{index}.npz", world.world(4, first_seed=4 * index, num_frames=4))


WORDS = (
    "--backbone=fast", "--width=0.25", "--num_masks=1", "--image_size=16", "--preprocess=none", "--batch_size=2",
    "--sequence_length=3", "--num_iterations=2", "--validation_batches=1", "--schedsamp_k=-1", "--quiet",
)  # fmt: skip


def test_the_command_trains_on_files_and_resumes(tmp_path, command):
    """Split by file as the original; images alone; then two more iterations."""
    write_shards(tmp_path / "data")
    words = ["train", f"--data_dir={tmp_path / 'data'}", f"--output_dir={tmp_path / 'out'}", "--train_val_split=0.7"]
    words += [f"--event_log_dir={tmp_path / 'events'}", "--use_state=0", *WORDS]
    answer = command(*words, "--json")
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    assert (report["iteration"], report["stopped"]) == (2, "finished")
    saved = json.loads((tmp_path / "out" / "last" / "config.json").read_text())
    assert saved["config"]["use_state"] is False and saved["config"]["action_size"] == 5
    facts = saved["metadata"]["training"]["data"]
    assert (facts["format"], facts["train_episodes"], facts["validation_episodes"]) == ("npz", 8, 2)
    answer = command(*words, "--resume", "--num_iterations=4")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("finished after 4 iterations")
    assert "copying the last frame" in answer.out


def test_two_robots_in_one_folder_are_named(tmp_path, refused):
    """Which record of which file is the odd one."""
    from visual_foresight.formats import write_episodes

    write_shards(tmp_path / "data", count=1)
    odd = [replace(episode, actions=np.zeros((3, 3), np.float32)) for episode in world.world(1, num_frames=4)]
    write_episodes(tmp_path / "data" / "shard-1.npz", odd)
    where = [f"--data_dir={tmp_path / 'data'}", f"--output_dir={tmp_path / 'out'}", "--split_by=episode", *WORDS]
    error = refused("train", *where)
    assert "shard-1.npz, record 0: its action size is 3, that of shard-0.npz, record" in error
    assert "one robot" in error


def test_a_predictor_that_does_not_fit_says_what_to_do(tmp_path, refused, tiny_predictor):
    write_shards(tmp_path / "data", count=1)
    where = [f"--data_dir={tmp_path / 'data'}", f"--output_dir={tmp_path / 'out'}", "--split_by=episode", *WORDS]
    error = refused("train", *where, f"--pretrained_model={tiny_predictor}")
    assert "num_masks: 2 there, 1 here" in error and "or --init_from, which takes the network" in error


def test_a_table_of_somebody_else_is_no_log(tmp_path, refused):
    """It stays where the log of a run would be, and is named before any data is read."""
    (tmp_path / "log.csv").write_text("day,weight\n1,2\n")
    message = refused("train", "--data_dir", Path(__file__).parent, "--output_dir", tmp_path, "--overwrite=1")
    assert "log.csv exists and is no result of train" in message
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_wrong_input_is_one_line(tmp_path, refused):
    write_shards(tmp_path / "data", count=1)
    where = [f"--data_dir={tmp_path / 'data'}", f"--output_dir={tmp_path / 'out'}", *WORDS]
    assert "--split_by=episode" in refused("train", *where)
    assert "--num_masks=1" in refused("train", "--model=DNA")
    assert "does not exist" in refused("train", f"--data_dir={tmp_path / 'none'}")
    assert "expected a size such as 64 or 48x64" in refused("train", "--image_size=64by64")
    assert "expected 0 or 1" in refused("train", "--use_state=maybe")
    by_episode = [*where, "--split_by=episode"]
    assert "smaller --sequence_length" in refused("train", *by_episode, "--sequence_length=5")
    assert "--cache_gb" in refused("train", *by_episode, "--cache_gb=1e-6")
    assert "stride=3 needs the fast network: pass --backbone=fast" in refused("train", "--stride=3")
    assert "pass --context_frames=1 (got 2)" in refused("train", *where, "--sequence_length=5", "--stride=3")
    assert "unknown preset" in refused("train", *by_episode, "--pretrained_model=push_slow")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
