"""Sequences predicted with NumPy in and NumPy out, one compiled step after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from keras import ops

from visual_foresight.predictor.inputs import check_sequence
from visual_foresight.predictor.predictions import Prediction

if TYPE_CHECKING:
    from visual_foresight.predictor.predictor import VideoPredictor


def predict_frames(
    predictor: VideoPredictor,
    frames: np.ndarray,
    actions: np.ndarray | None,
    states: np.ndarray | None,
    context_frames: int | None,
) -> Prediction:
    """The work of `VideoPredictor.predict_frames`, where arguments and errors are described."""
    count = predictor.config.context_frames if context_frames is None else context_frames
    frames, actions, states = check_sequence(frames, actions, states, count, predictor.config)
    if predictor.config.stride > 1:
        return _predict_leaps(predictor, frames, actions, states, count)
    step = predictor.compiled_step
    carry = predictor.initial_carry(frames[:, 0], states[:, 0])
    frame, state = frames[:, 0], states[:, 0]
    predicted_frames, predicted_states = [], []
    for time in range(frames.shape[1] - 1):
        if 0 < time < count:
            frame = frames[:, time]
            state = states[:, time] if predictor.backbone.state_feedback == "context" else state
        inputs = [ops.convert_to_tensor(array, "float32") for array in (frame, actions[:, time], state)]
        carry, frame, state = step(carry, *inputs)
        predicted_frames.append(ops.convert_to_numpy(frame))
        predicted_states.append(ops.convert_to_numpy(state))
    return Prediction(np.stack(predicted_frames, axis=1), np.stack(predicted_states, axis=1))


def _predict_leaps(
    predictor: VideoPredictor, frames: np.ndarray, actions: np.ndarray, states: np.ndarray, count: int
) -> Prediction:
    """Every frame from the start of its leap; leaps follow one another from the last context frame on."""
    step, stride, batch = predictor.compiled_step, predictor.config.stride, len(frames)
    predicted_frames, predicted_states = [], []
    block = np.zeros((batch, stride, actions.shape[2]), np.float32)
    frame, state, carry, position = frames[:, 0], states[:, 0], None, 0
    for time in range(frames.shape[1] - 1):
        if time < count:  # begin anew from the true frame
            frame, state, position = frames[:, time], states[:, time], 0
            carry = predictor.initial_carry(frame, state)
        block *= position > 0
        block[:, position] = actions[:, time]
        inputs = [ops.convert_to_tensor(array, "float32") for array in (frame, block, state)]
        following, seen, moved = step(carry, *inputs)
        predicted_frames.append(ops.convert_to_numpy(seen))
        predicted_states.append(ops.convert_to_numpy(predictor.robot_path(*inputs[1:]))[:, position])
        position += 1
        if position == stride:
            carry, frame, state, position = following, seen, moved, 0
    return Prediction(np.stack(predicted_frames, axis=1), np.stack(predicted_states, axis=1))
