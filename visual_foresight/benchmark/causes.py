"""Why an episode failed: rules on what was recorded, in the order in which they explain.

Every rule that holds is kept as a sign; the first is the cause. Thresholds are in pixels at 64 x 64.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight.control_record import ControlRecord

if TYPE_CHECKING:
    from visual_foresight.envs.tasks import Task

CAUSES = {
    "wrong object": "another object was moved by 3 px or more, and farther than the designated one",
    "never touched": "the designated object moved less than 0.5 px in the whole episode",
    "out of reach": "the object ended where the finger does not fit behind it on the line to the goal",
    "stopped short": "it ended 3 to 4 px from the goal",
    "pushed past": "it had been at the goal, or went 3 px or more beyond it",
    "hidden": "the arm hid the designated pixel in 30 % or more of the frames",
    "model error": "had the predictions of the executed steps come true, it would have ended 4 px or more nearer",
    "out of time": "it was still coming nearer, by 1 px or more in the last 5 steps",
    "stuck": "none of the above",
}
WRONG_OBJECT, UNTOUCHED, SHORT, BEYOND, HIDDEN_SHARE, OPTIMISM, GAIN = 3.0, 0.5, 4.0, 3.0, 0.3, 4.0, 1.0
_LAST_STEPS = 5


def failure_evidence(record: ControlRecord, task: "Task") -> dict[str, float]:
    """Return the numbers that the rules look at [px at 64 x 64], JSON-plain."""
    scale = 64 / record.frames.shape[1]
    distances, pixels = record.distances * scale, np.asarray(record.pixels, np.float64) * scale
    goal = np.asarray(record.goal, np.float64) * scale
    ahead = goal - pixels[0]
    ahead = ahead / max(float(np.linalg.norm(ahead)), 1e-9)
    evidence = {
        "moved_px": float(np.linalg.norm(pixels - pixels[0], axis=1).max()),
        "others_moved_px": _others_moved(record, task.object_index),
        "beyond_goal_px": float(((pixels - goal) @ ahead).max()),
        "hidden_share": 0.0 if record.hidden is None else float(np.mean(record.hidden)),
        "optimism_px": optimism(record) * scale,
        "gain_at_end_px": float(distances[-min(_LAST_STEPS + 1, len(distances))] - distances[-1]),
        "room_behind_cm": 100 * _room_behind(record, task),
    }
    return {name: round(value, 3) for name, value in evidence.items()}


def failure_signs(record: ControlRecord, evidence: dict[str, float]) -> list[str]:
    """Return the names of all rules that hold for a failed episode, the cause first; empty after a success."""
    if record.success:
        return []
    scale = 64 / record.frames.shape[1]
    distances = record.distances * scale
    tolerance = record.tolerance * scale
    others, moved = evidence["others_moved_px"], evidence["moved_px"]
    holds = {
        "wrong object": others >= WRONG_OBJECT and others > moved,
        "never touched": moved < UNTOUCHED,
        "out of reach": evidence["room_behind_cm"] < 0,
        "stopped short": distances[-1] <= SHORT,
        "pushed past": evidence["beyond_goal_px"] >= BEYOND or distances.min() <= tolerance,
        "hidden": evidence["hidden_share"] >= HIDDEN_SHARE,
        "model error": evidence["optimism_px"] >= OPTIMISM,
        "out of time": evidence["gain_at_end_px"] >= GAIN,
    }
    return [name for name in CAUSES if holds.get(name, False)] or ["stuck"]


def optimism(record: ControlRecord) -> float:
    """Return by how much nearer [px] the object should have come than it did, summed over the executed parts of plans.

    Each plan's expectation is read at the step at which the next one was made, so it is compared with what the executed
    actions did, never with actions that were dropped. Plans without expected pixels count nothing.
    """
    ends = [*(decision.step for decision in record.decisions), record.num_steps][1:]
    total = 0.0
    for decision, end in zip(record.decisions, ends, strict=False):
        expected = decision.pixels
        if expected is None:
            continue
        end = min(end, decision.step + len(expected))
        predicted = np.linalg.norm(np.asarray(expected[end - decision.step - 1], np.float64) - record.goal)
        total += float(record.distances[end] - predicted)
    return total


def _others_moved(record: ControlRecord, index: int) -> float:
    if record.positions is None or record.positions.shape[1] < 2:
        return 0.0
    from visual_foresight.benchmark.methods import metres_per_pixel

    moved = np.linalg.norm(record.positions - record.positions[0], axis=-1).max(axis=0)
    return float(np.delete(moved, index).max() / metres_per_pixel())


def _room_behind(record: ControlRecord, task: "Task") -> float:
    """How far [m] the place of the finger behind the object lies inside the finger's reach; negative outside."""
    if record.positions is None:
        return 0.0
    from visual_foresight.envs.scene import TIP_LIMIT, TIP_RADIUS

    position = record.positions[-1, task.object_index]
    away: Any = position - np.asarray(task.goal_position)
    away = away / max(float(np.linalg.norm(away)), 1e-9)
    radius = task.scene().objects[task.object_index].shape.radius
    # The circle around the object is wider than the object: its inscribed half is what the finger needs at least.
    behind = position + away * (0.5 * radius + TIP_RADIUS)
    return float(TIP_LIMIT - np.abs(behind).max())
