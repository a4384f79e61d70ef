"""A cost that costs nothing: a disc pushed by a point, in NumPy, deterministic; for comparing planners."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

STEP = 0.08
RADIUS = 0.12
GOAL = (0.45, 0.3)
OBJECT = (0.1, 0.05)
PUSHER = (-0.2, -0.3)

ACTION_SPACE = spaces.Box(-1.0, 1.0, (2,), np.float32)


def pushing_cost(candidates: np.ndarray) -> np.ndarray:
    """Costs [K] of candidates [K, H, 2]: distance of the disc to its goal at the end, and of the pusher to the disc.

    The pusher moves by `STEP` times the action; where it would enter the disc, the disc is moved out of its way along
    the line between their centres (quasi-static, without friction at the contact).
    """
    actions = np.clip(np.asarray(candidates, np.float64), -1.0, 1.0)
    pusher = np.tile(np.array(PUSHER), (len(actions), 1))
    disc = np.tile(np.array(OBJECT), (len(actions), 1))
    reach = np.zeros(len(actions))
    for step in range(actions.shape[1]):
        pusher = pusher + STEP * actions[:, step]
        between = disc - pusher
        distance = np.maximum(np.linalg.norm(between, axis=1, keepdims=True), 1e-9)
        disc = disc + between / distance * np.maximum(RADIUS - distance, 0.0)
        reach += np.maximum(distance[:, 0] - RADIUS, 0.0)
    goal = np.linalg.norm(disc - np.array(GOAL), axis=1)
    return goal + 0.1 * reach / actions.shape[1]
