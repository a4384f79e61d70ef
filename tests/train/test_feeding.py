"""Batches as Keras takes them: Python that tf.data calls begins nothing more once the process ends."""

import sys
from pathlib import Path

import numpy as np
import pytest

tensorflow = pytest.importorskip("tensorflow")
sys.path.insert(0, str(Path(__file__).parent))
import world  # noqa: E402

from visual_foresight import calls  # noqa: E402
from visual_foresight.formats import write_episodes  # noqa: E402
from visual_foresight.train import feeding  # noqa: E402
from visual_foresight.train.config import TrainingConfig  # noqa: E402
from visual_foresight.train.streaming import StreamedWindows  # noqa: E402

BATCH = {"frames": np.zeros((2, 5, 16, 16, 3), np.uint8)}


class Constant:
    """A source whose batches call no Python, so that only what is laid over them can refuse."""

    def dataset(self, start_index: int = 0):
        return tensorflow.data.Dataset.from_tensors(BATCH).repeat()


def with_masks(folder):
    config = TrainingConfig(
        data_dir=str(folder), sequence_length=5, batch_size=2, image_size=(16, 16), schedsamp_k=10.0
    )
    return feeding.training_batches(Constant(), config, 0)


def listed(folder):
    return feeding.Batches([BATCH] * 3).stream()


def varied(folder):
    write_episodes(folder / "a.npz", world.world(3))
    config = TrainingConfig(
        data_dir=str(folder), preprocess="none", sequence_length=5, batch_size=2, image_size=(16, 16), colour_jitter=0.1
    )
    windows = tensorflow.data.Dataset.from_tensors(
        {**BATCH, "actions": np.zeros((2, 4, 2), np.float32), "states": np.zeros((2, 5, 2), np.float32)}
    )
    source = StreamedWindows(config, "npz", [folder / "a.npz"], sizes=(2, 2), skip_bad=False)
    return source._varied(windows.repeat(), 0)


@pytest.mark.skipif(feeding.backend_name() != "tensorflow", reason="tf.data feeds TensorFlow")
@pytest.mark.parametrize("make", [with_masks, listed, varied])
def test_nothing_begins_once_the_process_ends(tmp_path, monkeypatch, make):
    """Each dataset gives batches, and refuses by name from the moment the end has begun."""
    monkeypatch.setattr(calls, "_CALLS", calls._Calls())
    batch = next(iter(make(tmp_path)))
    assert batch["frames"].shape == (2, 5, 16, 16, 3)
    calls._CALLS.wait_until_quiet()
    with pytest.raises(tensorflow.errors.OpError, match="the process is ending"):
        next(iter(make(tmp_path)))
