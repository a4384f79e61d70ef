"""One episode as one row of a results file: the format that `plan` and `demo` share."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight.benchmark.causes import failure_evidence, failure_signs
from visual_foresight.control_record import ControlRecord

if TYPE_CHECKING:
    from visual_foresight.envs.tasks import Task

KEY = ("method", "shift", "task", "planner_seed")
NEAR_PIXELS = 4.0


def row_key(row: dict[str, Any]) -> tuple:
    """Return what tells a row from every other row of a run."""
    return tuple(row[name] for name in KEY)


def unusable_entry(row: Any) -> str | None:
    """Return what a row read from a file lacks of what runs are compared by, or None: "'success' (None)"."""
    kinds: dict[str, Any] = {"method": str, "shift": str, "task": int, "planner_seed": int}
    if isinstance(row, dict) and "skipped" not in row:
        kinds |= {"task_seed": int, "success": bool, "final_distance_px": (int, float)}
    for name, kind in kinds.items():
        found = row.get(name) if isinstance(row, dict) else row
        if not isinstance(row, dict) or not isinstance(found, kind):
            return f"{name!r} ({found!r})"
    return None


_WORDS = ("shape", "direction", "distance")
_SWITCHES = ("success", "success_any_time", "success_4px")
_DISTANCES = ("tolerance_px", "first_distance_px", "final_distance_px", "improvement_px")
_SERIES = ("distances_px", "decision_seconds", "decision_iterations")


def unusable_row(row: Any) -> str | None:
    """As `unusable_entry`, of a journal's row, of which all figures are made."""
    found = unusable_entry(row)
    if found is not None or "skipped" in row:
        return found
    fits = {name: isinstance(row.get(name), str) for name in _WORDS}
    fits |= {name: isinstance(row.get(name), bool) for name in _SWITCHES}
    fits |= {name: _is_number(row.get(name)) for name in (*_DISTANCES, "num_objects")}
    fits |= {name: _is_number(row[name]) for name in ("final_distance_cm", "improvement_cm") if name in row}
    fits |= {name: isinstance(row.get(name), list) and all(map(_is_number, row[name])) for name in _SERIES}
    fits["signs"] = isinstance(row.get("signs"), list) and all(isinstance(sign, str) for sign in row["signs"])
    fits["cause"] = "cause" in row and isinstance(row["cause"], str | None)
    return next((f"{name!r} ({row.get(name)!r})" for name, fit in fits.items() if not fit), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def episode_row(
    record: ControlRecord,
    task: "Task",
    *,
    method: str,
    index: int,
    planner_seed: int,
    shift: str = "none",
    deadline_ms: float | None = None,
) -> dict[str, Any]:
    """Return the figures of one episode, JSON-plain.

    Distances in px are those of the 64 x 64 picture whatever the size of the frames; in cm they lie on the table.

    Args:
        record: what happened.
        task: what was asked.
        method: a name in `METHODS`.
        index: of the task in its set.
        planner_seed: of the planner.
        shift: how the world differed, "none" or "NAME=STRENGTH".
        deadline_ms: time that a decision had, or None.
    """
    row: dict[str, Any] = {"method": method, "shift": shift, "task": index, "planner_seed": planner_seed}
    row |= {"name": record.name, "task_seed": task.seed, **_task_columns(task)}
    row |= _distance_columns(record, task)
    row |= _decision_columns(record, deadline_ms)
    evidence = failure_evidence(record, task)
    signs = failure_signs(record, evidence)
    return {**row, "cause": signs[0] if signs else None, "signs": signs, "evidence": evidence}


def _task_columns(task: "Task") -> dict[str, Any]:
    from visual_foresight.envs.task_strata import stratum

    kind = stratum(task)
    return {
        "split": task.split,
        "num_objects": task.num_objects,
        "shape": kind.shape,
        "direction": kind.direction,
        "distance": kind.distance,
    }


def _distance_columns(record: ControlRecord, task: "Task") -> dict[str, Any]:
    scale = 64 / record.frames.shape[1]
    pixels, tolerance = record.distances * scale, record.tolerance * scale
    reached = np.flatnonzero(pixels <= tolerance)
    columns = {
        "success": bool(record.success),
        "success_any_time": bool(record.success or len(reached)),
        "success_4px": bool(record.success or pixels[-1] <= NEAR_PIXELS),
        "num_steps": record.num_steps,
        "steps_to_goal": int(reached[0]) if len(reached) else None,
        "tolerance_px": float(tolerance),
        "first_distance_px": float(pixels[0]),
        "final_distance_px": float(pixels[-1]),
        "smallest_distance_px": float(pixels.min()),
        "improvement_px": float(pixels[0] - pixels[-1]),
        "distances_px": [round(float(value), 2) for value in pixels],
    }
    if record.positions is not None:
        on_table = 100 * np.linalg.norm(record.positions[:, task.object_index] - np.asarray(task.goal_position), axis=1)
        columns["final_distance_cm"] = float(on_table[-1])
        columns["improvement_cm"] = float(on_table[0] - on_table[-1])
    return columns


def _decision_columns(record: ControlRecord, deadline_ms: float | None) -> dict[str, Any]:
    seconds = [float(value) for value in record.decision_seconds]
    columns: dict[str, Any] = {
        "decision_seconds": [round(value, 6) for value in seconds],
        "decision_iterations": [decision.iterations for decision in record.decisions],
    }
    if deadline_ms is not None:
        columns["missed_deadlines"] = sum(1000 * value > deadline_ms for value in seconds)
    return columns
