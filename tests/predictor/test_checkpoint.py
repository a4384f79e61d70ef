"""A saved predictor is whole or absent, loads with nothing else given, and refuses what does not fit."""

import json

import keras
import numpy as np
import pytest

from visual_foresight.predictor import PredictorConfig, VideoPredictor, checkpoint
from visual_foresight.statistics import Statistics

FRAMES = np.random.default_rng(0).random((2, 3, 8, 16, 3), np.float32)
ACTIONS = np.random.default_rng(1).normal(size=(2, 2, 2)).astype(np.float32)
STATES = np.random.default_rng(2).normal(size=(2, 3, 3)).astype(np.float32)
STATISTICS = Statistics(np.array([0.1, 0.2]), np.array([1.5, 2.0]), np.zeros(3), np.array([1.0, 3.0, 0.3]), 77)
METADATA = {"preprocessing": "antialias", "action_names": ["x", "y"], "action_low": [-1, -1], "action_high": [1, 1]}


def make_predictor(backbone="seed", transformation="cdna", **options):
    return VideoPredictor(
        PredictorConfig(
            transformation=transformation,
            backbone=backbone,
            image_height=8,
            image_width=16,
            action_size=2,
            state_size=3,
            num_masks=1 if transformation == "dna" else 2,
            width=0.05,
        ),
        STATISTICS,
        METADATA,
        **options,
    )


def one_step(predictor):
    """What follows the first frame."""
    carry = predictor.initial_carry(FRAMES[:, 0], STATES[:, 0])
    return predictor.step(carry, FRAMES[:, 0], ACTIONS[:, 0], STATES[:, 0])[1]


@pytest.fixture
def saved(tmp_path):
    """A saved predictor's directory."""
    make_predictor().save(tmp_path / "saved")
    return tmp_path / "saved"


def edit(directory, **changes):
    """Change entries of a saved predictor's config file; None removes one."""
    path = directory / "config.json"
    description = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in description.items() if value is not None}))


@pytest.mark.parametrize("backbone", ["seed", "fast"])
@pytest.mark.parametrize("transformation", ["cdna", "dna", "stp"])
def test_round_trip(tmp_path, backbone, transformation):
    """The loaded predictor predicts the very same numbers, and knows the same."""
    predictor = make_predictor(backbone, transformation)
    predictor.save(tmp_path / "deep" / "saved")
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["saved"]
    loaded = VideoPredictor.load(tmp_path / "deep" / "saved")
    found, expected = (one_step(each) for each in (loaded, predictor))
    np.testing.assert_allclose(found.frame, expected.frame, atol=1e-6)
    np.testing.assert_allclose(found.state, expected.state, atol=1e-6)
    assert loaded.config == predictor.config
    assert loaded.statistics.to_json() == STATISTICS.to_json()
    assert {key: loaded.metadata[key] for key in METADATA} == METADATA
    assert loaded.metadata["versions"]["keras"] == keras.__version__


def test_optimizer_is_not_saved(tmp_path):
    """A predictor that was compiled and trained loads into a fresh one without a warning."""
    predictor = make_predictor()
    predictor.compile(optimizer="adam")
    predictor.optimizer.build(predictor.trainable_variables)
    predictor.save(tmp_path / "saved")
    loaded = VideoPredictor.load(tmp_path / "saved")
    for ours, theirs in zip(predictor.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_saving_again_replaces_a_predictor_and_nothing_else(saved, tmp_path):
    """An earlier predictor gives way; a directory of other things, or a file, does not."""
    other = make_predictor("fast")
    other.save(saved)
    assert VideoPredictor.load(saved).config.backbone == "fast"
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("years of it")
    with pytest.raises(ValueError, match="work exists and is no saved predictor, .* left alone"):
        other.save(tmp_path / "work")
    (tmp_path / "work" / "config.json").write_text('{"lr": 1}')
    with pytest.raises(ValueError, match="work exists and is no saved predictor, .* left alone"):
        other.save(tmp_path / "work")
    with pytest.raises(ValueError, match="thesis.tex exists and is no saved predictor"):
        other.save(tmp_path / "work" / "thesis.tex")
    assert (tmp_path / "work" / "thesis.tex").read_text() == "years of it"
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="or holds something else as well; it is left alone"):
        other.save(saved)
    (saved / "notes.txt").unlink()
    (saved / "config.json").write_text("{")
    with pytest.raises(ValueError, match="saved exists and is no saved predictor"):
        other.save(saved)


def test_saving_through_a_link_replaces_what_it_points_at(saved, tmp_path):
    link = tmp_path / "best"
    link.symlink_to(saved)
    make_predictor("fast").save(link)
    assert link.is_symlink() and VideoPredictor.load(saved).config.backbone == "fast"


def test_failed_save_leaves_the_old_predictor(saved, tmp_path):
    """Nothing is half written: what stood there stays, and no temporary directory remains."""
    predictor = make_predictor("fast")
    predictor.metadata["notes"] = np.zeros(3)
    with pytest.raises(ValueError, match="metadata must be plain JSON"):
        predictor.save(saved)
    assert VideoPredictor.load(saved).config.backbone == "seed"
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_weights_that_keras_wrote_elsewhere_are_not_taken_for_none(saved, monkeypatch):
    """A predictor of no bytes would replace the old one."""
    monkeypatch.setattr(keras.Model, "save_weights", lambda self, path: None)
    with pytest.raises(RuntimeError, match="does not write weights into memory"):
        make_predictor("fast").save(saved)
    assert VideoPredictor.load(saved).config.backbone == "seed"


def test_a_full_disk_leaves_the_old_predictor(saved, tmp_path, no_room):
    """The error names the file, for HDF5 itself is never asked to write; and nothing else stays."""
    with pytest.raises(OSError) as raised, no_room(1000):
        make_predictor("fast").save(saved)
    assert raised.value.filename == str(saved / "model.weights.h5")
    assert VideoPredictor.load(saved).config.backbone == "seed"
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_missing_files_are_named(saved, tmp_path):
    """No directory, no config, no weights."""
    with pytest.raises(FileNotFoundError, match="nowhere is no directory"):
        VideoPredictor.load(tmp_path / "nowhere")
    (saved / "model.weights.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.weights\.h5 is missing"):
        VideoPredictor.load(saved)
    (saved / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        VideoPredictor.load(saved)


def test_a_training_run_is_no_predictor_but_holds_one(saved):
    """Its best one is named."""
    run = saved.parent / "run"
    run.mkdir()
    saved.rename(run / "best")
    with pytest.raises(FileNotFoundError, match=r"run is a training run: pass .*best$"):
        VideoPredictor.load(run)


def test_truncated_weights_are_refused(saved):
    """By their SHA-256, before anything reads them."""
    path = saved / "model.weights.h5"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.weights\.h5 is truncated or changed: its SHA-256 is"):
        VideoPredictor.load(saved)


def test_weights_of_another_config_are_refused(saved):
    """The config was changed to another size."""
    fields = json.loads((saved / "config.json").read_text())["config"]
    edit(saved, config={**fields, "num_masks": 5})
    with pytest.raises(ValueError, match=r"model\.weights\.h5 does not fit the config beside it"):
        VideoPredictor.load(saved)


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"format_version": 99}, r"has format version 99, this program reads version 1; update"),
        ({"format": "zip"}, r"describes no saved predictor"),
        ({"statistics": None}, r"lacks statistics"),
        ({"config": {"num_mask": 3}}, r"unknown predictor config field 'num_mask'.*did you mean 'num_masks'"),
        ({"config": {"image_height": 63}}, r"image_height must be a multiple of 8"),
        ({"config": {"num_masks": "3"}}, r"num_masks must be an integer"),
    ],
)
def test_bad_configs_are_named(saved, changes, message):
    """The message names the file and the fault."""
    edit(saved, **changes)
    with pytest.raises(ValueError, match=r"config\.json.*" + message):
        VideoPredictor.load(saved)


def test_truncated_config_is_refused(saved):
    """Half a JSON file."""
    path = saved / "config.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(ValueError, match=r"config\.json is truncated or corrupt"):
        VideoPredictor.load(saved)


def test_require_match_names_every_difference():
    """Image size, action and state dimension of data or an environment."""
    config = make_predictor().config
    checkpoint.require_match(config, image_size=(8, 16), action_size=2, state_size=3)
    with pytest.raises(
        ValueError, match=r"the camera has image size \(64, 64\), not \(8, 16\); action dimension 4, not 2"
    ):
        checkpoint.require_match(config, image_size=(64, 64), action_size=4, state_size=3, what="the camera")


def test_keras_config_round_trip():
    """Keras can make the same predictor from `get_config`."""
    predictor = make_predictor(dtype="mixed_bfloat16")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(predictor))
    assert isinstance(twin, VideoPredictor)
    assert twin.config == predictor.config and twin.metadata == predictor.metadata
    assert twin.statistics.to_json() == predictor.statistics.to_json()
    assert twin.backbone.dtype_policy.name == "mixed_bfloat16"
    assert keras.saving.get_registered_name(VideoPredictor) == "visual_foresight>VideoPredictor"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, "seed"),
        ({"preprocessing": "antialias"}, "antialias"),
        ({"preprocessing": {"preprocess": "none", "image_size": [8, 8]}}, "none"),
    ],
)
def test_how_frames_were_brought_to_size_is_read_in_every_form(metadata, expected):
    assert checkpoint.preprocess_of(metadata) == expected
