"""`predict_frames` says what it refuses, and what it takes."""

import functools

import numpy as np
import pytest

from visual_foresight.predictor import PredictorConfig, VideoPredictor


@functools.cache
def predictor(use_state=True):
    return VideoPredictor(
        PredictorConfig(
            backbone="seed",
            image_height=8,
            image_width=16,
            action_size=2,
            state_size=3,
            num_masks=2,
            width=0.05,
            use_state=use_state,
        )
    )


def make_inputs(batch=2, length=4):
    rng = np.random.default_rng(0)
    return {
        "frames": rng.random((batch, length, 8, 16, 3), np.float32),
        "actions": rng.normal(size=(batch, length - 1, 2)).astype(np.float32),
        "states": rng.normal(size=(batch, length, 3)).astype(np.float32),
    }


@pytest.mark.parametrize(
    "change,error,message",
    [
        ({"frames": np.zeros((2, 4, 8, 16, 3), np.uint8)}, TypeError, r"uint8, expected floats .*frames\.to_float"),
        ({"frames": np.zeros((2, 4, 8, 16, 3), np.int32)}, TypeError, r"must be floats in \[0, 1\], got dtype int32"),
        (
            {"frames": np.zeros((2, 4, 16, 8, 3), np.float32)},
            ValueError,
            r"\[B, T, 8, 16, 3\] .* got \[2, 4, 16, 8, 3\]",
        ),
        ({"frames": np.zeros((4, 8, 16, 3), np.float32)}, ValueError, r"\[B, T, 8, 16, 3\] .* got \[4, 8, 16, 3\]"),
        ({"frames": np.zeros((2, 1, 8, 16, 3), np.float32)}, ValueError, r"at least 1 sequence of 2 frames"),
        ({"frames": np.zeros((0, 4, 8, 16, 3), np.float32)}, ValueError, r"at least 1 sequence of 2 frames"),
        ({"frames": np.full((2, 4, 8, 16, 3), 200.0)}, ValueError, r"lie in \[0, 1\], got values from 200 .*255"),
        ({"frames": np.full((2, 4, 8, 16, 3), np.nan)}, ValueError, r"frames hold nan at index \(0, 0, 0, 0, 0\)"),
        (
            {"actions": np.zeros((2, 2, 2))},
            ValueError,
            r"actions must have the shape \[2, 3 or 4, 2\].* got \[2, 2, 2\]",
        ),
        ({"actions": np.zeros((2, 3, 5))}, ValueError, r"actions must have the shape \[2, 3 or 4, 2\]"),
        ({"actions": np.full((2, 3, 2), np.inf)}, ValueError, r"actions hold inf at index \(0, 0, 0\)"),
        ({"actions": np.array([["a"]])}, TypeError, r"actions must be numbers"),
        ({"actions": None}, TypeError, r"actions are missing; this predictor was made with use_state"),
        ({"states": np.zeros((2, 3, 3))}, ValueError, r"states must have the shape \[2, 4, 3\]"),
        ({"states": np.zeros((1, 4, 3))}, ValueError, r"states must have the shape \[2, 4, 3\]"),
        ({"actions": np.full((2, 3, 2), 1e30)}, ValueError, r"actions contain 1e\+30, beyond 1e\+12"),
        ({"context_frames": 0}, ValueError, r"context_frames must be between 1 and the number of frames, 4; got 0"),
        ({"context_frames": 5}, ValueError, r"context_frames must be between 1 and the number of frames, 4; got 5"),
        ({"context_frames": 1.5}, TypeError, r"context_frames must be an integer"),
    ],
)
def test_bad_input_is_named(change, error, message):
    """Wrong shape, type, range, length and values that are not finite, or that no network survives."""
    with pytest.raises(error, match=message):
        predictor().predict_frames(**{**make_inputs(), **change})


def test_actions_may_have_one_more_step():
    """The action after the last frame leads nowhere."""
    inputs = make_inputs()
    expected = predictor().predict_frames(**inputs)
    longer = np.concatenate([inputs["actions"], np.full((2, 1, 2), 7, np.float32)], axis=1)
    found = predictor().predict_frames(inputs["frames"], longer, inputs["states"])
    np.testing.assert_array_equal(found.frames, expected.frames)


def test_without_state_nothing_but_frames_is_needed():
    """An image-only predictor takes None for actions and states."""
    inputs = make_inputs()
    expected = predictor(use_state=False).predict_frames(**inputs)
    found = predictor(use_state=False).predict_frames(inputs["frames"], None, None)
    np.testing.assert_array_equal(found.frames, expected.frames)


def test_more_context_means_more_truth():
    """With all frames as context each prediction starts from the true frame."""
    inputs = make_inputs()
    free, fed = (predictor().predict_frames(**inputs, context_frames=count).frames for count in (1, 4))
    np.testing.assert_array_equal(free[:, 0], fed[:, 0])
    assert np.abs(free[:, 1:] - fed[:, 1:]).max() > 1e-3


def test_config_must_be_a_config():
    """A dictionary is not taken for a config."""
    with pytest.raises(TypeError, match="needs a PredictorConfig, got dict"):
        VideoPredictor({})
