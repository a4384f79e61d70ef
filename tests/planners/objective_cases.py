"""One or more of every registered objective, and rollouts for them; imports no test tool, so that JAX runs it too."""

from __future__ import annotations

import numpy as np

from visual_foresight.planners.objectives import (
    ActionMagnitude,
    ActionSmoothness,
    Approach,
    GoalImage,
    Homography,
    PixelDistance,
    RobotState,
    TemporalDistance,
    WeightedSum,
    array_namespace,
)
from visual_foresight.rollout import Rollout

K, T, A, S, P, H, W = 3, 6, 2, 3, 2, 9, 11
GOALS = np.array([[2.5, 3.0], [7.0, 8.25]])
TIP = Homography([[1.0, 0.2, 4.0], [0.1, 2.0, 3.0], [0.01, 0.02, 1.0]], indices=(0, 2))
GOAL_FRAME = np.random.default_rng(9).integers(0, 256, (H, W, 3), dtype=np.uint8)
MASK = np.random.default_rng(8).random((H, W))
FIELDS = ("actions", "frames", "states", "pixel_distributions", "pixels")
IMAGE_LIKE = ("frames", "pixel_distributions", "pixels")


def judge(frames, goal):
    """Steps to the goal, as a judge might see them."""
    xp = array_namespace(frames)
    return 20.0 * xp.mean(xp.square(frames - goal), axis=(1, 2, 3))


CASES = {
    "action_magnitude": lambda: ActionMagnitude(scale=[1.0, 2.0]),
    "action_smoothness": lambda: ActionSmoothness(previous=[0.5, 0.1]),
    "action_smoothness, free start": ActionSmoothness,
    "approach": lambda: Approach(TIP, [2.0, 9.0], index=1),
    "approach, straight": lambda: Approach(TIP, [2.0, 9.0], clearance=0.0, scale=2.0),
    "goal_image": lambda: GoalImage(GOAL_FRAME, mask=MASK, scale=0.01),
    "pixel_distance": lambda: PixelDistance(GOALS),
    "pixel_distance, weighted": lambda: PixelDistance(GOALS, pixel_weights=[0.25, 0.75], smooth=2.0),
    "pixel_distance, one": lambda: PixelDistance(GOALS[1], indices=[1], terminal_weight=1.0),
    "robot_state": lambda: RobotState([0.5, -1.0], indices=[2, 0], scale=[2.0, 0.1], terminal_weight=3.0),
    "temporal_distance": lambda: TemporalDistance(judge, GOAL_FRAME, scale=5.0),
    "weighted_sum": lambda: WeightedSum(
        {"pixel": PixelDistance(GOALS), "approach": Approach(TIP, [2.0, 9.0]), "change": ActionSmoothness()},
        {"approach": 2.0, "change": 0.1},
    ),
}


def some_rollout(every=1, maps=True, seed=0):
    """A random future; image-like fields at every n-th step, and everything that makes gradients difficult."""
    rng = np.random.default_rng(seed)
    num_moments = T // every
    fields = {
        "actions": rng.normal(size=(K, T, A)),
        "frames": rng.random((K, num_moments, H, W, 3)),
        "states": rng.normal(size=(K, T, S)),
        "pixels": rng.uniform(0, 8, (K, num_moments, P, 2)),
    }
    if maps:
        fields["pixel_distributions"] = rng.random((K, num_moments, P, H, W)) ** 4
    fields["actions"][0] = fields["actions"][0, 0]  # no change at all
    fields["pixels"][1] = GOALS  # already there: distance 0
    fields["states"][2, :, [0, 2]] = 0.0
    return Rollout(**{name: array.astype(np.float32) for name, array in fields.items()}, every=every)


def difficult_rollout(every=1):
    """The tip exactly in the object's centre, the object exactly at its goal, everything else alike."""
    rollout = some_rollout(every, maps=False)
    pixels = np.broadcast_to(np.array([2.0, 9.0], np.float32), rollout.pixels.shape).copy()
    states = rollout.states.copy()
    depth = np.linalg.solve(
        np.array([[1.0 - 0.01 * 2.0, 0.2 - 0.02 * 2.0], [0.1 - 0.01 * 9.0, 2.0 - 0.02 * 9.0]]), [2.0 - 4.0, 9.0 - 3.0]
    )
    states[..., 0], states[..., 2] = depth
    return Rollout(rollout.actions, rollout.frames, states, None, pixels, every=every)


def arrays_of(rollout):
    """The fields that are there, by name."""
    return {name: getattr(rollout, name) for name in FIELDS if getattr(rollout, name) is not None}
