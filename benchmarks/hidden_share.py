"""How often the arm hides an object's centre point, for this environment and for the geometry of the first study.

Both are judged on the same scripted episodes, so only camera and arm differ:

    python benchmarks/hidden_share.py --episodes 400
"""

from __future__ import annotations

import argparse
import json
import math

import numpy as np

from visual_foresight.envs.arm import FOREARM, FOREARM_RADIUS, ROD_RADIUS, TIP_HEIGHT, WRIST_HEIGHT
from visual_foresight.envs.camera import PUSH_CAMERA
from visual_foresight.envs.physics import Physics
from visual_foresight.envs.policies import make_policy
from visual_foresight.envs.scene import TIP_RADIUS, sample_scene

FIRST_STUDY_EYE = np.array([0.0, -0.42, 0.80])
_SHOULDER, _UPPER, _LOWER = np.array([0.06, 0.50, 0.20]), 0.36, 0.38


def this_arm(tip: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Arm of Push-v0 as capsules (start, end, radius) [m] for a tip at x, y."""
    foot = np.array([*tip, 0.0])
    joint, wrist = foot + [0, 0, TIP_HEIGHT], foot + [0, 0, WRIST_HEIGHT]
    return [
        (foot, joint, TIP_RADIUS),
        (joint, wrist, ROD_RADIUS),
        (wrist, wrist + np.array(FOREARM), FOREARM_RADIUS),
    ]


def first_study_arm(tip: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Gripper and two-link arm of the first study as capsules; its elbow leans up and to the right."""
    foot = np.array([*tip, 0.012])
    wrist = foot + [0, 0, 0.168]
    reach = wrist - _SHOULDER
    distance = min(float(np.linalg.norm(reach)), _UPPER + _LOWER - 1e-4)
    along = reach / np.linalg.norm(reach)
    part = (distance**2 + _UPPER**2 - _LOWER**2) / (2 * distance)
    lean = np.array([0.62, 0.0, 0.78])
    lean = lean - along * (along @ lean)
    elbow = _SHOULDER + part * along + math.sqrt(max(_UPPER**2 - part**2, 0)) * lean / np.linalg.norm(lean)
    return [
        (foot, foot + [0, 0, 0.084], 0.012),
        (foot + [-0.03, 0, 0.097], foot + [0.03, 0, 0.097], 0.016),
        (foot + [0, 0, 0.108], wrist, 0.021),
        (wrist, elbow, 0.023),
        (elbow, _SHOULDER, 0.030),
    ]


def segment_distance(p: np.ndarray, q: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Smallest distance [m] between the segments pq and ab, by dense sampling of one and projection on the other."""
    points = p + np.linspace(0, 1, 400)[:, None] * (q - p)
    length = float((b - a) @ (b - a))
    share = np.clip((points - a) @ (b - a) / length, 0, 1)
    return float(np.linalg.norm(points - (a + share[:, None] * (b - a)), axis=1).min())


def hidden_share(num_episodes: int, num_steps: int) -> dict[str, float]:
    """Share of (frame, object) pairs whose centre point is hidden, for both geometries."""
    views = {
        "push_v0": (np.array(PUSH_CAMERA.eye), this_arm),
        "first_study": (FIRST_STUDY_EYE, first_study_arm),
    }
    hidden, total = dict.fromkeys(views, 0), 0
    for episode in range(num_episodes):
        scene = sample_scene(np.random.default_rng([7, episode]))
        physics, policy = Physics(scene), make_policy("scripted")
        physics.start()
        policy.reset(scene, np.random.default_rng([8, episode]))
        for _ in range(num_steps):
            physics.step(policy.act(physics.tip_position, {"object_positions": physics.object_poses()}))
            for pose, height in zip(physics.object_poses(), physics.heights, strict=True):
                point = np.array([pose[0], pose[1], height])
                total += 1
                for name, (eye, arm) in views.items():
                    hidden[name] += any(
                        segment_distance(eye, point, start, end) < radius
                        for start, end, radius in arm(physics.tip_position)
                    )
    return {name: round(count / total, 4) for name, count in hidden.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    print(json.dumps(hidden_share(arguments.episodes, arguments.steps)))
