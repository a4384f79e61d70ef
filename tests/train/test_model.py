"""The forward pass that trains: what is fed, what is counted, and the original's training run number for number."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "predictor"))
import golden_recipe  # noqa: E402
import world  # noqa: E402

from visual_foresight import metrics  # noqa: E402
from visual_foresight.backend import silence_start_up  # noqa: E402
from visual_foresight.frames import to_float  # noqa: E402
from visual_foresight.pipeline import WindowSource  # noqa: E402
from visual_foresight.train.config import TrainingConfig  # noqa: E402
from visual_foresight.train.records import scalar_tags, summarise  # noqa: E402

silence_start_up()


def make(**changes):
    """An untrained model of the moving square, and one batch."""
    from visual_foresight.predictor import PredictorConfig, VideoPredictor
    from visual_foresight.train.determinism import fresh_layer_names
    from visual_foresight.train.model import TrainingModel
    from visual_foresight.train.trainer import _seeded_initialisers

    config = TrainingConfig(
        **({"image_size": (16, 16), "sequence_length": 5, "batch_size": 3, "backbone": "fast"} | changes)
    )
    size = {"image_height": 16, "image_width": 16, "action_size": 2, "state_size": 2, "num_masks": 2, "width": 0.25}
    with _seeded_initialisers(0), fresh_layer_names():
        predictor = VideoPredictor(PredictorConfig(backbone=config.backbone, **size))
        model = TrainingModel(predictor, config)
    source = WindowSource(world.world(6), sequence_length=5, batch_size=3, seed=0)
    return model, source.batch(0)


def errors(model, batch, training=False, truth=None):
    extra = {} if truth is None else {"ground_truth": truth}
    return {name: np.asarray(value) for name, value in model({**batch, **extra}, training=training).items()}


def test_the_errors_are_those_of_the_predicted_frames():
    """Frames 2, 3, 4 of five are counted, each against the prediction made one step before it."""
    model, batch = make()
    frames = to_float(batch["frames"])
    predicted = model.predictor.predict_frames(frames, batch["actions"], batch["states"])
    found = errors(model, batch)
    for index, time in enumerate((2, 3, 4)):
        expected = np.mean((frames[:, time] - predicted.frames[:, time - 1]) ** 2, axis=(1, 2, 3))
        np.testing.assert_allclose(found["image"][:, index], expected, rtol=1e-4)
        expected = np.mean((batch["states"][:, time] - predicted.states[:, time - 1]) ** 2, axis=1)
        np.testing.assert_allclose(found["state"][:, index], expected, rtol=1e-4)
        expected = np.mean((frames[:, time] - frames[:, 1]) ** 2, axis=(1, 2, 3))
        np.testing.assert_allclose(found["copy"][:, index], expected, rtol=1e-5, atol=1e-9)


def test_coarse_errors_are_charged_with_their_weight_and_leave_the_figures_alone():
    """What trains is the plain error and `coarse_weight` times that of blurred frames; "image" stays the plain one."""
    from visual_foresight.train import loss

    model, batch = make(coarse_weight=2.5)
    frames = to_float(batch["frames"])
    predicted = model.predictor.predict_frames(frames, batch["actions"], batch["states"]).frames[:, 1:]
    coarse = np.asarray(loss.coarse_frame_errors(frames[:, 2:], predicted))
    found, plain = errors(model, batch), errors(make()[0], batch)
    np.testing.assert_allclose(found["image"], plain["image"], rtol=1e-5)
    np.testing.assert_allclose(found["weighted"], plain["image"] + 2.5 * coarse, rtol=1e-4)


@pytest.mark.parametrize("backbone", ["seed", "fast"])
def test_followed_points_are_charged_with_their_weight_in_training_alone(backbone):
    """The maps begin on the last given frame; what they add is `follow_weight` times their distances."""
    from visual_foresight.train import following

    model, batch = make(follow_weight=0.5, backbone=backbone)
    points = np.array([[[5, 6], [9, 9]], [[-1, -1], [-1, -1]], [[8, 3], [4, 4]]], np.float32)
    frames = to_float(batch["frames"])
    maps = following.point_maps(points, 16, 16)
    sequence = {"frames": frames, "actions": batch["actions"], "states": batch["states"], "maps": maps}
    predicted = model.predictor(sequence, training=True)["maps"]
    assert predicted.shape == (3, 3, 16, 16, 2)
    expected = np.asarray(following.map_scores(frames[:, 1:], points, predicted))
    assert (expected[0] > 0).any() and not expected[1].any()
    with_points, without = (
        errors(model, {**batch, "points": points}, training=True),
        errors(model, batch, training=True),
    )
    np.testing.assert_allclose(with_points["weighted"], without["weighted"] + 0.5 * expected, rtol=1e-4, atol=1e-6)
    for name in ("image", "state", "copy"):
        np.testing.assert_array_equal(with_points[name], without[name])
    np.testing.assert_allclose(with_points["follow"], expected, rtol=1e-4, atol=1e-6)
    for found in (with_points, without):
        model.step_means.reset_state()
        model.compute_metrics(None, None, found)
        figures = summarise({"loss": 0.0, "step_means": np.asarray(model.step_means.result())})
        assert figures.get("follow_score") == (None if found is without else pytest.approx(expected.mean(), rel=1e-4))
    np.testing.assert_array_equal(
        errors(model, {**batch, "points": points})["weighted"], errors(model, batch)["weighted"]
    )


def test_followed_points_move_the_weights_that_move_maps():
    """One step of training with points and without them differ in the kernels' head."""
    import keras

    def trained(points):
        model, batch = make(follow_weight=0.5)
        model.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=False)
        model.fit({**batch, "points": points}, batch_size=3, epochs=1, verbose=0, shuffle=False)
        return [np.asarray(variable) for variable in model.predictor.backbone.kernel_head.trainable_variables]

    points = np.array([[[5, 6]], [[9, 9]], [[8, 3]]], np.float32)
    some, none = trained(points), trained(np.full_like(points, -1))
    assert any(np.abs(one - other).max() > 1e-7 for one, other in zip(some, none, strict=True))


def test_validation_never_sees_the_truth_that_training_sees():
    model, batch = make()
    truth = np.ones((3, 4), bool)
    own = errors(model, batch)
    np.testing.assert_array_equal(errors(model, batch, truth=truth)["image"], own["image"])
    sampled = errors(model, batch, training=True, truth=truth)["image"]
    np.testing.assert_allclose(sampled[:, 0], own["image"][:, 0], rtol=1e-5)  # predicted from the last given frame
    assert (np.abs(sampled[:, 1:] - own["image"][:, 1:]) > 1e-7).any()


def test_each_example_is_fed_by_its_own_entry_of_the_mask():
    model, batch = make()
    truth = np.zeros((3, 4), bool)
    truth[1] = True
    mixed = errors(model, batch, training=True, truth=truth)["image"]
    fed = errors(model, batch, training=True, truth=np.ones((3, 4), bool))["image"]
    own = errors(model, batch, training=True, truth=np.zeros((3, 4), bool))["image"]
    np.testing.assert_allclose(mixed[[0, 2]], own[[0, 2]], rtol=1e-5)
    np.testing.assert_allclose(mixed[1], fed[1], rtol=1e-5)


def test_a_shorter_horizon_trains_fewer_steps_and_validates_all():
    model, batch = make()
    model.horizon = 1
    assert errors(model, batch, training=True)["image"].shape == (3, 1)
    assert errors(model, batch)["image"].shape == (3, 3)


def test_moving_pixels_weigh_more_and_the_plain_error_stays():
    plain, batch = make()
    weighted, _ = make(motion_weight=4.0)
    np.testing.assert_allclose(errors(weighted, batch)["image"], errors(plain, batch)["image"], rtol=1e-6)
    assert (errors(weighted, batch)["weighted"] >= errors(weighted, batch)["image"]).all()
    np.testing.assert_array_equal(errors(plain, batch)["weighted"], errors(plain, batch)["image"])


def test_the_figures_are_means_over_batches_and_steps():
    """Two batches of different size of error; a step that was not predicted is left out of every mean."""
    model, _ = make()
    generator = np.random.default_rng(0)
    batches = [generator.random((4, 3, 2)).astype(np.float32) for _ in range(2)]  # [kind, B, P'], P' = 2 of 3
    for image, weighted, state, copy in batches:
        model.compute_metrics(None, None, {"image": image, "weighted": weighted, "state": state, "copy": copy})
    figures = {"loss": 0.0, "step_means": np.asarray(model.step_means.result())}
    assert np.isnan(figures["step_means"][:, 2]).all()
    found = summarise(figures)
    image = np.stack([batch[0] for batch in batches])  # [2, B, P']
    decibel = -10 * np.log10(image)
    assert found["recon_cost"] == pytest.approx(image.mean(), rel=1e-5)
    assert found["psnr"] == pytest.approx(decibel.mean(), rel=1e-5)
    pooled = -10 * np.log10(image.mean(axis=1))  # [2, P']
    assert found["psnr_all"] == pytest.approx(pooled.mean(axis=0).sum(), rel=1e-5)
    tags = scalar_tags("train", figures)
    assert tags["train_psnr1"] == pytest.approx(pooled[:, 1].mean(), rel=1e-5)
    assert tags["train_state_cost0"] == pytest.approx(1e-4 * np.mean([batch[2][:, 0] for batch in batches]), rel=1e-5)
    assert "train_psnr2" not in tags


def test_psnr_in_the_graph_is_the_metric():
    model, batch = make()
    frames = to_float(batch["frames"])
    predicted = model.predictor.predict_frames(frames, batch["actions"], batch["states"]).frames
    model.compute_metrics(None, None, model(batch))
    found = summarise({"loss": 0.0, "step_means": np.asarray(model.step_means.result())})
    assert found["psnr"] == pytest.approx(metrics.psnr(frames[:, 2:], predicted[:, 1:]).mean(), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["cdna", "cdna_gt"])
def test_fit_makes_the_originals_five_steps(case):
    """Golden loss trace of five Adam steps of the original code, through Keras `fit`; with ground truth fed as well."""
    from visual_foresight.train.determinism import repeatable_execution
    from visual_foresight.train.model import TrainingModel
    from visual_foresight.train.trainer import make_optimizer

    config = TrainingConfig(sequence_length=6, batch_size=2, schedsamp_k=900.0 if case == "cdna_gt" else -1)
    model = TrainingModel(golden_recipe.make_predictor(case), config)
    model.compile(optimizer=make_optimizer(config), jit_compile=False)
    batch = golden_recipe.read_inputs()
    if case == "cdna_gt":
        batch["ground_truth"] = np.ones((2, 5), bool)
    values = golden_recipe.read_values(case)
    losses = []
    with repeatable_execution():
        for _ in range(5):
            history = model.fit(batch, batch_size=2, epochs=1, verbose=0, shuffle=False)
            losses.append(history.history["loss"][0])
    np.testing.assert_allclose(losses, values["adam_loss_trace"], rtol=0, atol=1e-5)
