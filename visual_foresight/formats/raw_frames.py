"""Episodes stored as raw pictures and vectors under one key for each step: shared by `bair` and `visual_foresight`."""

from __future__ import annotations

import numpy as np

from visual_foresight.episode import FINAL_ACTION
from visual_foresight.formats.tfrecord import Features

__all__ = ["raw_frames", "step_actions"]


def raw_frames(features: Features, pattern: str, size: tuple[int, int]) -> np.ndarray:
    """Return the frames `[T, H, W, 3]` of the keys `pattern.format(t)`, each H * W * 3 raw bytes.

    Raises:
        KeyError: There is no frame.
        ValueError: A step is missing, or holds another number of bytes.
    """
    height, width = size
    frames = []
    for step in range(features.num_steps(pattern)):
        key = pattern.format(step)
        encoded = features.bytes_at(key)
        if len(encoded) != height * width * 3:
            raise ValueError(
                f"the key {key!r} holds {len(encoded)} bytes, not {height} x {width} x 3 = {height * width * 3}: "
                "pass the setting stored_size=(height, width)"
            )
        frames.append(np.frombuffer(encoded, np.uint8).reshape(height, width, 3))
    return np.stack(frames)


def step_actions(features: Features, pattern: str, num_frames: int) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    """Return the actions between frames `[T-1, A]`, and as an extra the one after the last frame where there is one.

    Raises:
        KeyError: Some steps have an action and others lack it.
    """
    has_final = pattern.format(num_frames - 1) in features
    if num_frames == 1 and not has_final:
        return None, {}
    actions = features.rows(pattern, num_frames if has_final else num_frames - 1)
    if actions is None or not has_final:
        return actions, {}
    return actions[:-1], {FINAL_ACTION: actions[-1]}
