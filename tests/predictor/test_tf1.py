"""Checkpoints of the original code, written here with the original's own Saver."""

import json

import golden_recipe
import numpy as np
import pytest

from visual_foresight.backend import import_tensorflow
from visual_foresight.predictor import VideoPredictor, tf1

tensorflow = pytest.importorskip("tensorflow", reason="checkpoints of TensorFlow are read by TensorFlow")


SLOW_CASES = ["dna", "stp", "cdna_nostate"]


def write_checkpoint(prefix, weights, full=False):
    """Save variables as the original did: `model/...`, and in full checkpoints all that its two optimizers made."""
    v1 = import_tensorflow().compat.v1
    values = dict(weights)
    if full:
        for scope in ("model/", "val_model/"):
            values[scope + "beta1_power"], values[scope + "beta2_power"] = np.float32(0.9), np.float32(0.999)
            for name, array in weights.items():
                values[f"{scope}{name}/Adam"] = np.full_like(array, 7)
                values[f"{scope}{name}/Adam_1"] = np.full_like(array, 8)
    with v1.Graph().as_default(), v1.Session() as session:
        variables = [v1.Variable(array, name=name) for name, array in values.items()]
        session.run(v1.global_variables_initializer())
        v1.train.Saver(variables, max_to_keep=0).save(session, str(prefix))
    return len(values)


def shrink(weights, cells=1, channels=128):
    """The weights of a network that saw images of `cells` cells of 8x8 pixels."""
    weights = dict(weights)
    for head in ("cdna_params", "fc_stp"):
        if f"model/{head}/weights" in weights:
            weights[f"model/{head}/weights"] = weights[f"model/{head}/weights"][: cells * channels]
    return weights


@pytest.mark.parametrize("case", ["cdna", *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW_CASES)])
def test_import_computes_what_the_original_computed(tmp_path, case):
    """Nothing is told but the path: transformation, masks and state come from the shapes."""
    full = case == "cdna"
    count = write_checkpoint(tmp_path / "model2002", golden_recipe.make_weights(case), full=full)
    if full:
        assert count == 5 * 52 + 4 == 264
    predictor = VideoPredictor.from_tf1_checkpoint(tmp_path / "model2002")
    original = golden_recipe.CASES[case]["hyperparameters"]
    assert predictor.config.transformation == original["model"].lower()
    assert predictor.config.num_masks == original["num_masks"]
    assert predictor.config.use_state == bool(original["use_state"])
    assert predictor.metadata["preprocessing"] == {"preprocess": "seed"}
    assert predictor.count_params() == golden_recipe.CASES[case]["num_parameters"]
    prediction = predictor.predict_frames(**golden_recipe.read_inputs())
    values = golden_recipe.read_values(case)
    np.testing.assert_allclose(np.moveaxis(prediction.frames, 1, 0), values["gen_images"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.moveaxis(prediction.states, 1, 0), values["gen_states"], rtol=0, atol=1e-5)


def test_every_way_to_name_a_checkpoint(tmp_path):
    """Its prefix, each of its files, and its directory."""
    write_checkpoint(tmp_path / "model2", {"model/x": np.zeros(2, np.float32)})
    for path in ["model2", "model2.index", "model2.meta", "model2.data-00000-of-00001", "."]:
        assert tf1.find_prefix(tmp_path / path).name == "model2"
    write_checkpoint(tmp_path / "model4002", {"model/x": np.zeros(2, np.float32)})
    assert tf1.find_prefix(tmp_path).name == "model4002", "the record `checkpoint` names the latest"
    (tmp_path / "checkpoint").unlink()
    with pytest.raises(ValueError, match=r"holds 2 checkpoints \(model2, model4002"):
        tf1.find_prefix(tmp_path)


def test_missing_checkpoints_are_named(tmp_path):
    """No file, no directory."""
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*model9: model9\.index is missing"):
        VideoPredictor.from_tf1_checkpoint(tmp_path / "model9")
    with pytest.raises(FileNotFoundError, match="it holds no file PREFIX.index"):
        VideoPredictor.from_tf1_checkpoint(tmp_path)


@pytest.mark.parametrize("which,end", [("index", 40), ("data-00000-of-00001", 1000)])
def test_truncated_checkpoints_are_refused(tmp_path, which, end):
    """A cut file is named, whether index or data."""
    write_checkpoint(tmp_path / "model", shrink(golden_recipe.make_weights("cdna")))
    path = tmp_path / f"model.{which}"
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(ValueError, match=r"model.*is truncated or corrupt"):
        VideoPredictor.from_tf1_checkpoint(tmp_path / "model")


def test_all_faults_are_named_in_one_message(tmp_path):
    """Missing, surplus and wrongly shaped variables together; optimizer slots do not excuse a missing weight."""
    weights = shrink(golden_recipe.make_weights("cdna"))
    del weights["model/conv2/biases"]
    weights["model/conv9/weights"] = np.zeros((3, 3), np.float32)
    weights["model/model/conv2/biases/Adam"] = np.zeros(32, np.float32)
    weights["model/state7/Gates/biases"] = np.zeros(5, np.float32)
    write_checkpoint(tmp_path / "model", weights)
    with pytest.raises(ValueError) as caught:
        VideoPredictor.from_tf1_checkpoint(tmp_path / "model")
    message = str(caught.value)
    assert "missing model/conv2/biases [32]" in message
    assert "surplus model/conv9/weights [3, 3]" in message
    assert "model/state7/Gates/biases has the shape [5], expected [128]" in message
    assert "Adam" not in message


def test_another_network_is_refused(tmp_path):
    """A checkpoint of something else says what it lacks and what it holds."""
    write_checkpoint(tmp_path / "model", {"resnet/conv1": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match=r"no checkpoint of the original .* lacks model/convt7/weights.*resnet/conv1"):
        VideoPredictor.from_tf1_checkpoint(tmp_path / "model")


def test_diverged_weights_are_refused(tmp_path):
    """NaN in a variable names the variable."""
    weights = shrink(golden_recipe.make_weights("cdna"))
    weights["model/conv3/biases"][3] = np.nan
    write_checkpoint(tmp_path / "model", weights)
    with pytest.raises(ValueError, match=r"model/conv3/biases holds values that are not finite"):
        VideoPredictor.from_tf1_checkpoint(tmp_path / "model")


def test_contradicting_arguments_are_refused(tmp_path):
    """What the caller says is checked against the shapes."""
    write_checkpoint(tmp_path / "model", shrink(golden_recipe.make_weights("cdna")))
    for wish, message in [
        ({"transformation": "STP"}, r"transformation='cdna', but transformation='stp' was asked for"),
        ({"num_masks": 4}, r"num_masks=10, but num_masks=4"),
        ({"use_state": False}, r"use_state=True, but use_state=False"),
    ]:
        with pytest.raises(ValueError, match=message):
            VideoPredictor.from_tf1_checkpoint(tmp_path / "model", **wish)


def test_image_sizes_come_from_the_shapes(tmp_path):
    """A square is inferred; another shape must be told, and is checked."""
    write_checkpoint(tmp_path / "square", shrink(golden_recipe.make_weights("cdna"), cells=4))
    assert VideoPredictor.from_tf1_checkpoint(tmp_path / "square").config.image_size == (16, 16)
    write_checkpoint(tmp_path / "wide", shrink(golden_recipe.make_weights("stp"), cells=6))
    with pytest.raises(ValueError, match=r"images of 6 cells of 8x8 pixels, which is no square; pass image_size"):
        VideoPredictor.from_tf1_checkpoint(tmp_path / "wide")
    with pytest.raises(ValueError, match=r"image_size \(64, 64\) does not fit"):
        VideoPredictor.from_tf1_checkpoint(tmp_path / "wide", image_size=(64, 64))
    predictor = VideoPredictor.from_tf1_checkpoint(tmp_path / "wide", transformation="STP", image_size=(16, 24))
    assert predictor.config.image_size == (16, 24)
    frames = np.random.default_rng(0).random((1, 3, 16, 24, 3), np.float32)
    states = np.zeros((1, 3, 5), np.float32)
    assert np.isfinite(predictor.predict_frames(frames, states[:, 1:], states).frames).all()


def test_command_line(tmp_path, command, refused):
    """`import-checkpoint PATH OUT` writes a predictor that loads; it does not overwrite unasked."""
    write_checkpoint(tmp_path / "model", shrink(golden_recipe.make_weights("cdna")), full=True)
    source, out = tmp_path / "model", tmp_path / "predictor"
    answer = command("import-checkpoint", source, out, "--model=CDNA", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["config"]["num_masks"] == 10
    assert VideoPredictor.load(out).config.image_size == (8, 8)
    assert "exists; choose another name or pass --overwrite" in refused("import-checkpoint", source, out)
    answer = command("import-checkpoint", source, out, "--overwrite", "--use_state=1")
    assert answer.code == 0 and "CDNA, 10 masks, 8x8, use_state=1" in answer.out
    for option in ("--model=DNA", "--num_masks=3", "--use_state=0"):
        message = refused("import-checkpoint", source, tmp_path / "x", option)
        assert f"{option} was asked for; leave {option.split('=')[0]} out" in message
    message = refused("import-checkpoint", source, tmp_path / "x", "--image_size", 3, 5)
    assert "--image_size 3 5: rows and columns must be multiples of 8 px" in message
    assert not (tmp_path / "x").exists()
    assert "no checkpoint at" in refused("import-checkpoint", tmp_path / "nothing", tmp_path / "x")
