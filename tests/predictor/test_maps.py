"""Probability maps of designated pixels move as the picture moves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visual_foresight.predictor import compositor
from visual_foresight.predictor.backbone import HeadOutputs
from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.predictor import VideoPredictor
from visual_foresight.predictor.transformations import SEED_STYLE, Style, parameter_shape

HEIGHT, WIDTH = 16, 24
LARGE = 30.0


def delta(row, column):
    """A map [1, H, W, 1] with all mass in one pixel."""
    maps = np.zeros((1, HEIGHT, WIDTH, 1), np.float32)
    maps[0, row, column] = 1
    return maps


def shifting_outputs(config, style, down, right):
    """What a backbone says that is sure of one thing: everything moves `down` and `right` by whole pixels."""
    size = config.kernel_size
    shape = parameter_shape(config, style)
    # The tap that reads from where the picture comes from.
    row, column = size // 2 - down, size // 2 - right
    if config.transformation == "dna":
        parameters = np.zeros((1, *shape))
        parameters[..., size * row + column] = LARGE
    elif style.separable:
        parameters = np.zeros((1, config.num_masks, 2, size))
        parameters[:, :, 0, row] = parameters[:, :, 1, column] = LARGE
    elif config.transformation == "cdna":
        parameters = np.zeros((1, size, size, config.num_masks))
        parameters[:, row, column] = LARGE
    else:
        parameters = np.zeros((1, shape[0] // 6, 6))
        parameters[..., 2], parameters[..., 5] = -2 * right / (WIDTH - 1), -2 * down / (HEIGHT - 1)
    layers = compositor.num_layers(config, style)
    logits = np.zeros((1, HEIGHT, WIDTH, layers))
    logits[..., -1] = LARGE
    return HeadOutputs(
        logits.astype(np.float32),
        np.zeros((1, HEIGHT, WIDTH, 3), np.float32),
        parameters.reshape(1, *shape).astype(np.float32),
        None,
    )


@pytest.mark.parametrize("transformation", ["cdna", "separable", "dna", "stp"])
@settings(max_examples=8, deadline=None)
@given(st.integers(-2, 2), st.integers(-2, 2), st.integers(3, 12), st.integers(3, 20))
def test_a_delta_moves_with_its_pixel(transformation, down, right, row, column):
    """Where the bright pixel of the frame goes, there goes the map."""
    style = Style(separable=transformation == "separable")
    config = make_config("cdna" if transformation == "separable" else transformation)
    maps = delta(row, column)
    frame = np.repeat(maps, 3, axis=-1)
    outputs = shifting_outputs(config, style, down, right)
    result = compositor.composite(outputs, frame, config, style, first_frame=frame, maps=maps)
    for image in (np.asarray(result.maps)[0, ..., 0], np.asarray(result.frame)[0, ..., 0]):
        assert np.unravel_index(image.argmax(), image.shape) == (row + down, column + right)
        assert image.max() > 0.99


def make_config(transformation):
    return PredictorConfig(
        transformation=transformation,
        backbone="fast",
        num_masks=1 if transformation == "dna" else 2,
        image_height=HEIGHT,
        image_width=WIDTH,
    )


@pytest.mark.parametrize("style", [SEED_STYLE, Style()], ids=["seed", "fast"])
def test_mass_that_leaves_the_picture_is_never_divided_by_nothing(style):
    """A map whose whole mass moves out keeps its last place, and still sums to 1."""
    config = make_config("dna")
    maps = delta(0, 0)
    outputs = shifting_outputs(config, style, -2, -2)
    logits = np.full_like(outputs.mask_logits, 0.0)
    logits[..., -1] = 1000.0  # nothing of the previous frame stays
    result = compositor.composite(
        outputs._replace(mask_logits=logits, parameters=outputs.parameters * 1000),
        np.repeat(maps, 3, axis=-1),
        config,
        style,
        first_frame=np.zeros((1, HEIGHT, WIDTH, 3), np.float32),
        maps=maps,
    )
    np.testing.assert_allclose(np.asarray(result.maps), maps, atol=1e-6)


def test_edge_padding_keeps_brightness_and_zero_padding_darkens():
    """A white picture stays white at the borders in our style; in the original's its borders darken."""
    white = np.ones((1, HEIGHT, WIDTH, 3), np.float32)
    for transformation, separable in [("cdna", False), ("cdna", True), ("dna", False), ("stp", False)]:
        config, style = make_config(transformation), Style(separable=separable)
        outputs = shifting_outputs(config, style, 2, -1)
        frame = np.asarray(compositor.composite(outputs, white, config, style, first_frame=white).frame)
        np.testing.assert_allclose(frame, 1, atol=1e-5)
    config = make_config("dna")
    outputs = shifting_outputs(config, SEED_STYLE, 2, -1)
    frame = np.asarray(compositor.composite(outputs, white, config, SEED_STYLE).frame)[0, ..., 0]
    assert frame[5, 5] == pytest.approx(1, abs=1e-5)
    assert frame[0, 5] < 0.1 and frame[5, -1] < 0.1


def test_first_frame_brings_back_the_first_map():
    """Where the background of the first frame is uncovered, the pixel is where it was in the first frame."""
    config, style = make_config("cdna"), Style()
    outputs = shifting_outputs(config, style, 0, 0)
    logits = np.zeros_like(outputs.mask_logits)
    logits[..., 1] = LARGE
    first, now = delta(3, 4), delta(9, 9)
    result = compositor.composite(
        outputs._replace(mask_logits=logits),
        np.zeros((1, HEIGHT, WIDTH, 3), np.float32),
        config,
        style,
        first_frame=np.ones((1, HEIGHT, WIDTH, 3), np.float32),
        maps=now,
        first_maps=first,
    )
    np.testing.assert_allclose(np.asarray(result.maps), first, atol=1e-5)
    np.testing.assert_allclose(np.asarray(result.frame), 1, atol=1e-5)


@pytest.mark.parametrize("backbone", ["seed", "fast"])
def test_an_unrolled_sequence_moves_maps_as_its_steps_do(backbone):
    """Maps given to a whole sequence begin on the last given frame, and go where `step` takes them."""
    config = PredictorConfig(
        backbone=backbone, num_masks=2, image_height=16, image_width=16, action_size=2, state_size=2, width=0.25
    )
    predictor = VideoPredictor(config)
    rng = np.random.default_rng(0)
    frames = rng.random((2, 5, 16, 16, 3)).astype(np.float32)
    actions, states = rng.normal(size=(2, 4, 2)).astype(np.float32), rng.normal(size=(2, 5, 2)).astype(np.float32)
    maps = rng.random((2, 16, 16, 3)).astype(np.float32)
    maps /= maps.sum(axis=(1, 2), keepdims=True)
    sequence = {"frames": frames, "actions": actions, "states": states}
    found = predictor({**sequence, "maps": maps})
    np.testing.assert_array_equal(found["frames"], predictor(sequence)["frames"])
    assert "maps" not in predictor(sequence)
    carry = predictor.initial_carry(frames[:, 0], states[:, 0])
    if hasattr(predictor.backbone, "unrolled_start"):
        carry["recurrent"] = predictor.backbone.unrolled_start()
    frame, state, expected = frames[:, 0], states[:, 0], []
    for time in range(4):
        if time == 1:  # the second given frame
            frame = frames[:, 1]
            state = states[:, 1] if predictor.backbone.state_feedback == "context" else state
        carry, prediction = predictor.step(carry, frame, actions[:, time], state, maps if time >= 1 else None)
        frame, state = prediction.frame, prediction.state
        if time >= 1:
            maps = prediction.maps
            expected.append(np.asarray(maps))
    np.testing.assert_allclose(found["maps"], np.stack(expected, axis=1), atol=1e-6)
