"""What happened while a controller worked on one task: the record that demo, plan and report share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from visual_foresight.benchmark.statistics import wilson_interval


@dataclass(frozen=True, eq=False)
class Decision:
    """One plan that was made, and what the simulator expected of it.

    Letters: N steps of the horizon, A action size, H, W rows and columns.

    Args:
        step: the time step at which the plan was made (0 is the first).
        actions: [N, A] the plan, environment units.
        cost: of the plan.
        seconds: what the decision took, imagining the plan for the record not included.
        elite_costs: mean cost of the elites after each iteration; empty when the planner does not iterate.
        best_costs: the best cost after each iteration.
        frames: [N, H, W, 3] uint8 expected pictures, or None when the simulator makes none.
        distributions: [N, H, W] expected probability of the designated pixel, or None.
        pixels: [N, 2] expected (row, col) of the designated pixel, or None.
        iterations: of the search that were done.
    """

    step: int
    actions: np.ndarray
    cost: float
    seconds: float
    elite_costs: Sequence[float] = ()
    best_costs: Sequence[float] = ()
    frames: np.ndarray | None = None
    distributions: np.ndarray | None = None
    pixels: np.ndarray | None = None
    iterations: int = 0


@dataclass(frozen=True, eq=False)
class ControlRecord:
    """One episode of control towards one goal.

    Letters: T executed steps, A action size, H, W rows and columns.

    Args:
        name: what to call the task, for example "push-train-v1 #3".
        frames: [T+1, H, W, 3] uint8; the reset frame is frame 0.
        pixels: [T+1, 2] true (row, col) of the designated pixel.
        goal: [2] (row, col) where it should be.
        tolerance: distance [px] that counts as reached.
        actions: [T, A] executed, environment units.
        success: whether the task's own test says that the goal was reached.
        decisions: the plans, in order.
        hidden: [T+1] bool, whether the arm hides the designated pixel, or None.
        positions: [T+1, M, 2] true x, y of every object [m], or None.
        details: more facts for the report, JSON-plain.
    """

    name: str
    frames: np.ndarray
    pixels: np.ndarray
    goal: np.ndarray
    tolerance: float
    actions: np.ndarray
    success: bool
    decisions: Sequence[Decision] = ()
    hidden: np.ndarray | None = None
    positions: np.ndarray | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_steps(self) -> int:
        """Number of executed actions, T."""
        return len(self.frames) - 1

    @property
    def distances(self) -> np.ndarray:
        """Distance [px] of the designated pixel to the goal at each frame, [T+1]."""
        return np.linalg.norm(np.asarray(self.pixels, np.float64) - np.asarray(self.goal, np.float64), axis=-1)

    @property
    def decision_seconds(self) -> np.ndarray:
        """Time [s] of each decision."""
        return np.array([decision.seconds for decision in self.decisions], np.float64)

    def decision_at(self, step: int) -> Decision | None:
        """Return the plan that was in force at a step: the last one made at or before it."""
        past = [decision for decision in self.decisions if decision.step <= step]
        return past[-1] if past else None

    def summary(self) -> dict[str, Any]:
        """Return the figures of this episode, JSON-plain."""
        distances = self.distances
        return {
            "name": self.name,
            "success": bool(self.success),
            "num_steps": self.num_steps,
            "first_distance_px": float(distances[0]),
            "last_distance_px": float(distances[-1]),
            "smallest_distance_px": float(distances.min()),
            "tolerance_px": float(self.tolerance),
            "decision_seconds": [float(seconds) for seconds in self.decision_seconds],
            **self.details,
        }


def summarize(records: Sequence[ControlRecord]) -> dict[str, Any]:
    """Return success with its interval, distances and decision times over episodes, JSON-plain.

    The first decision of an episode includes building and compiling, so `decision_seconds` counts it apart.
    """
    if not records:
        raise ValueError("there is no episode to summarize")
    successes = sum(bool(record.success) for record in records)
    low, high = wilson_interval(successes, len(records))
    last = np.array([record.distances[-1] for record in records])
    first_decisions = [record.decision_seconds[0] for record in records if len(record.decisions)]
    later = [seconds for record in records for seconds in record.decision_seconds[1:]] or first_decisions
    summary: dict[str, Any] = {
        "num_episodes": len(records),
        "num_successes": successes,
        "success_rate": successes / len(records),
        "success_interval_95": [low, high],
        "first_distance_px_mean": float(np.mean([record.distances[0] for record in records])),
        "last_distance_px_mean": float(last.mean()),
        "last_distance_px_median": float(np.median(last)),
        "episodes": [record.summary() for record in records],
    }
    if later:
        summary["decision_seconds"] = {
            "first": float(first_decisions[0]),
            "p50": float(np.percentile(later, 50)),
            "p95": float(np.percentile(later, 95)),
            "max": float(np.max(later)),
            "hertz": float(1.0 / max(np.mean(later), 1e-9)),
        }
    return summary
