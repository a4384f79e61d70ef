"""Rows and records that were made up, for tests of what is made of them."""

import numpy as np
import pytest

from visual_foresight.control_record import ControlRecord, Decision
from visual_foresight.envs.tasks import TaskSet


@pytest.fixture(scope="session")
def task():
    """A task of the shipped set with two objects."""
    return next(task for task in TaskSet.shipped("push-seen-v1") if task.num_objects == 2)


@pytest.fixture
def make_row():
    """`make_row(task, seed, success, ...)`: a row as `episode_row` writes it."""

    def make(task=0, planner_seed=0, success=True, *, method="learned", shift="none", distance=None, **more):
        distance = (1.0 if success else 8.0) if distance is None else distance
        return {
            "method": method,
            "shift": shift,
            "task": task,
            "planner_seed": planner_seed,
            "name": f"made up #{task}",
            "task_seed": 1000 + task,
            "num_objects": 1 + task % 3,
            "shape": ("box", "L")[task % 2],
            "direction": ("towards", "across", "away")[task % 3],
            "distance": "10-13 px",
            "success": success,
            "success_any_time": success,
            "success_4px": success,
            "tolerance_px": 3.0,
            "first_distance_px": 12.0,
            "final_distance_px": distance,
            "improvement_px": 12.0 - distance,
            "final_distance_cm": 0.9 * distance,
            "improvement_cm": 0.9 * (12.0 - distance),
            "distances_px": [12.0, distance],
            "decision_seconds": [0.1, 0.3],
            "decision_iterations": [3, 2],
            "cause": None if success else "stuck",
            "signs": [] if success else ["stuck"],
            **more,
        }

    return make


@pytest.fixture
def make_record(task):
    """`make_record(pixels, ...)`: a record whose designated pixel took a path, in a 64 x 64 picture."""

    def make(pixels, *, goal=(32.0, 40.0), predicted=None, hidden=None, others=None, place=None):
        pixels = np.asarray(pixels, float)
        count = len(pixels)
        positions = np.zeros((count, 2, 2))
        positions[:, task.object_index] = task.goal_position if place is None else place
        if others is not None:
            positions[:, 1 - task.object_index, 0] = others
        decisions = []
        for step in range(0, count - 1, 2):
            expected = None if predicted is None else np.asarray(predicted, float)[step + 1 :]
            decisions.append(Decision(step, np.zeros((4, 2)), 1.0, 0.1, pixels=expected, iterations=3))
        final = np.linalg.norm(pixels[-1] - goal)
        return ControlRecord(
            name="made up",
            frames=np.zeros((count, 64, 64, 3), np.uint8),
            pixels=pixels,
            goal=np.asarray(goal),
            tolerance=3.0,
            actions=np.zeros((count - 1, 2)),
            success=bool(final <= 3.0),
            decisions=decisions,
            hidden=np.zeros(count, bool) if hidden is None else np.asarray(hidden),
            positions=positions,
        )

    return make
