"""PredictorConfig says what it refuses."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_foresight.predictor.config import PredictorConfig


@pytest.mark.parametrize(
    "fields,error,message",
    [
        ({"transformation": "cdma"}, ValueError, r"transformation is 'cdma'; valid names are .* did you mean 'cdna'"),
        ({"backbone": "slow"}, ValueError, r"backbone is 'slow'; valid names are seed, fast"),
        ({"transformation": 3}, TypeError, r"transformation must be a string, got 3"),
        ({"image_height": 60}, ValueError, r"image_height must be a multiple of 8, got 60"),
        ({"image_width": 0}, ValueError, r"image_width must be at least 1, got 0"),
        ({"kernel_size": 4}, ValueError, r"kernel_size must be odd .* got 4"),
        ({"num_masks": 2.5}, TypeError, r"num_masks must be an integer, got 2.5"),
        ({"num_masks": 100_000}, ValueError, r"at most 1000, got 100000 x 1"),
        ({"num_masks": True}, TypeError, r"num_masks must be an integer"),
        ({"context_frames": 0}, ValueError, r"context_frames must be at least 1"),
        ({"stride": 0}, ValueError, r"stride must be at least 1, got 0"),
        ({"stride": 2}, ValueError, r"stride must be 1 for the seed backbone, got 2"),
        ({"stride": 2, "backbone": "fast"}, ValueError, r"context_frames must be 1 for a predictor that leaps"),
        ({"use_state": 1}, TypeError, r"use_state must be True or False, got 1"),
        ({"width": 0.0}, ValueError, r"width must be a positive number"),
        ({"width": float("nan")}, ValueError, r"width must be a positive number"),
        ({"width": "1"}, TypeError, r"width must be a number"),
        ({"transformation": "DNA"}, ValueError, r"num_masks must be 1 for dna .*--num_masks=1"),
        ({"transformation": "stp", "num_masks": 1}, ValueError, r"num_masks must be at least 2 for stp on the seed"),
    ],
)
def test_impossible_fields_are_named(fields, error, message):
    """Each message names the field, what it was and what it may be."""
    with pytest.raises(error, match=message):
        PredictorConfig(**fields)


def test_names_are_case_insensitive():
    """The command line's CDNA is cdna."""
    assert PredictorConfig(transformation="CDNA", backbone="Seed") == PredictorConfig()


@given(
    st.sampled_from(["cdna", "stp"]),
    st.sampled_from(["seed", "fast"]),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(2, 12),
    st.booleans(),
    st.floats(0.01, 4),
)
def test_json_round_trip(transformation, backbone, rows, columns, num_masks, use_state, width):
    """A config survives JSON."""
    config = PredictorConfig(
        transformation, backbone, 8 * rows, 8 * columns, num_masks=num_masks, use_state=use_state, width=width
    )
    assert PredictorConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_unknown_field_is_refused():
    """A misspelled field is not silently a default."""
    with pytest.raises(ValueError, match=r"unknown predictor config field 'num_mask'; .* did you mean 'num_masks'"):
        PredictorConfig.from_json({"num_mask": 3})
    with pytest.raises(TypeError, match="must be a JSON object, got list"):
        PredictorConfig.from_json([1])


def test_config_needs_no_keras():
    """Reading a config, or the predictor package's names, does not load Keras or its backend."""
    code = (
        "import sys; import visual_foresight.predictor, visual_foresight.predictor.config, visual_foresight.backend; "
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
