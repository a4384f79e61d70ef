"""Replaying recorded actions through a predictor of any stride: what it would have said would be seen.

Letters: B episodes, G given frames, P predicted steps, M designated pixels, H rows, W columns, J stride.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight.episode import Episode
from visual_foresight.frames import to_float

if TYPE_CHECKING:
    from visual_foresight.predictor.predictor import VideoPredictor

__all__ = ["Replay", "replay"]


@dataclass(frozen=True, eq=False)
class Replay:
    """What a predictor says of B episodes.

    Args:
        frames: [B, P, H, W, 3] float32 in [0, 1], after each predicted control step.
        maps: [B, P, M, H, W] float32, where the designated pixels are then; None without any.
    """

    frames: np.ndarray
    maps: np.ndarray | None


def replay(
    predictor: VideoPredictor,
    step: Callable[..., Any],
    windows: Sequence[Episode],
    given: int,
    starts: np.ndarray | None = None,
) -> Replay:
    """Predict every frame after the given ones from the true actions; each prediction is fed to the next.

    A predictor of stride J leaps: a frame inside a leap is what it says of the shorter leap to there (the block of
    actions is filled up with zeros), and the next leap begins at the end of the whole one. So every control step has a
    frame, comparable with that of a predictor that makes single steps, and steps J, 2J, ... are those a planner sees.

    Args:
        predictor: any.
        step: `predictor.step`, compiled.
        windows: B episodes of one length.
        given: G; a predictor that leaps looks at the last of them only.
        starts: [B, H, W, M] maps of designated pixels in the last given frame; None: none are followed.
    """
    from keras import ops

    tensor = ops.convert_to_tensor
    stride = predictor.config.stride
    frames = to_float(np.stack([window.frames for window in windows]))
    actions, states = _robot(predictor, windows)
    if stride > 1 and given > 1:
        frames, actions, states, given = frames[:, given - 1 :], actions[:, given - 1 :], states[:, given - 1 :], 1
    maps = None if starts is None else tensor(starts)
    frame, state = tensor(frames[:, 0]), tensor(states[:, 0])
    carry = predictor.initial_carry(frame, state, maps)
    block = np.zeros((len(frames), stride, actions.shape[2]), np.float32)
    predicted, followed = [], []
    for time in range(frames.shape[1] - 1):
        if 0 < time < given:
            frame = tensor(frames[:, time])
            if predictor.backbone.state_feedback == "context":
                state = tensor(states[:, time])
        block[:, time % stride] = actions[:, time]
        following, prediction = step(carry, frame, tensor(block if stride > 1 else block[:, 0]), state, maps)
        if time >= given - 1:  # before, the pixels are where the last given frame shows them
            predicted.append(np.clip(ops.convert_to_numpy(prediction.frame), 0.0, 1.0))
            if maps is not None:
                followed.append(np.moveaxis(ops.convert_to_numpy(prediction.maps), -1, 1))
        if (time + 1) % stride == 0:
            carry, frame, state = following, prediction.frame, prediction.state
            maps = prediction.maps if time >= given - 1 else maps
            block[:] = 0.0
    return Replay(np.stack(predicted, axis=1), np.stack(followed, axis=1) if followed else None)


def _robot(predictor: VideoPredictor, windows: Sequence[Episode]) -> tuple[np.ndarray, np.ndarray]:
    """Actions `[B, T-1, A]` and states `[B, T, S]`; zeros where the predictor or the data is without."""
    config, length = predictor.config, windows[0].num_frames
    actions = np.zeros((len(windows), length - 1, config.action_size), np.float32)
    states = np.zeros((len(windows), length, config.state_size), np.float32)
    for index, window in enumerate(windows):
        if config.use_state and window.actions is not None:
            actions[index] = window.actions
        if config.use_state and window.states is not None:
            states[index] = window.states
    return actions, states
