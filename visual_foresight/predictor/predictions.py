"""What a predictor predicts: one step, and whole sequences."""

from typing import Any, NamedTuple

import numpy as np


class StepPrediction(NamedTuple):
    """What one step predicts.

    Attributes:
        frame: [B, H, W, 3] float32; in [0, 1] but for the darkened borders of zero padding. None if left out.
        state: [B, S] float32, environment units.
        maps: [B, H, W, P] float32, each sums to 1 over H and W; None where none were given.
        masks: [B, H, W, L] float32, the share of each layer (`VideoPredictor.layer_names`).
    """

    frame: Any
    state: Any
    maps: Any
    masks: Any


class Prediction(NamedTuple):
    """What `predict_frames` returns, in NumPy: `frames[:, t]` and `states[:, t]` predict input frame and state t + 1.

    Attributes:
        frames: [B, T-1, H, W, 3] float32.
        states: [B, T-1, S] float32.
    """

    frames: np.ndarray
    states: np.ndarray
