"""Predictors by name."""

import builtins
import subprocess
import sys
import types

import pytest

from visual_foresight.predictor import PredictorConfig, VideoPredictor, presets


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A presets directory with one small predictor named `tiny_push`."""
    config = PredictorConfig(backbone="fast", image_height=8, image_width=8, num_masks=1, width=0.1)
    VideoPredictor(config, metadata={"note": "small"}).save(tmp_path / "tiny_push")
    (tmp_path / "no_predictor").mkdir()
    found = presets.find_presets
    monkeypatch.setattr(presets, "find_presets", lambda root=tmp_path: found(root))
    return tmp_path


def test_presets_are_found_by_name(shelf):
    """A directory with a config is a preset; others are not."""
    assert list(presets.find_presets()) == ["tiny_push"]
    assert VideoPredictor.from_preset("tiny_push").metadata["note"] == "small"


def test_a_directory_is_a_preset(shelf):
    """As a string and as a path."""
    assert VideoPredictor.from_preset(shelf / "tiny_push").metadata["note"] == "small"
    assert VideoPredictor.from_preset(str(shelf / "tiny_push")).metadata["note"] == "small"


def test_unknown_name_lists_the_valid_and_the_nearest(shelf):
    """A typing mistake gets its answer."""
    with pytest.raises(
        ValueError, match=r"unknown preset 'tiny_pusch'; valid names are: tiny_push; did you mean 'tiny_push'"
    ):
        VideoPredictor.from_preset("tiny_pusch")
    with pytest.raises(FileNotFoundError, match="runs/best is no directory"):
        VideoPredictor.from_preset("runs/best")


def test_every_shipped_preset_loads():
    """What is in the package opens, and says where its data come from."""
    for name, directory in presets.PRESETS.items():
        assert directory.name == name
        assert VideoPredictor.from_preset(name).metadata["preprocessing"]


def test_hub_needs_its_extra(monkeypatch):
    """Without huggingface_hub the message names the extra; a malformed address is refused first."""
    real = builtins.__import__

    def without_hub(name, *args, **kwargs):
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_hub)
    with pytest.raises(ImportError, match=r"pip install 'visual-foresight\[hub\]'"):
        VideoPredictor.from_preset("hf://someone/push")
    with pytest.raises(ValueError, match="is no hub address; expected hf://organisation/name"):
        VideoPredictor.from_preset("hf://push")


def test_hub_downloads_only_the_predictor(shelf, monkeypatch):
    """The repository, its revision, and only the two files of a saved predictor."""
    asked = {}

    def snapshot_download(repository, **options):
        asked.update(options, repository=repository)
        return str(shelf / "tiny_push")

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
    assert VideoPredictor.from_preset("hf://someone/push@v2").metadata["note"] == "small"
    assert asked == {
        "repository": "someone/push",
        "revision": "v2",
        "allow_patterns": ["config.json", "model.weights.h5"],
    }


@pytest.mark.parametrize(
    "words",
    [("predict", "--preset"), ("evaluate", "--bank=push-seen-v1", "--model_dir"), ("plan", "--tasks=1", "--preset")],
)
def test_a_wrong_name_is_told_before_keras_is_loaded(words, tmp_path):
    """Which takes seconds."""
    program = (
        "import sys; from visual_foresight import cli; code = cli.main(sys.argv[1:]); "
        "sys.exit(code if 'keras' not in sys.modules else 99)"
    )
    command = [sys.executable, "-c", program, *words, "push_fats"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and "unknown preset 'push_fats'" in done.stderr
