"""What both controllers share: whose objective, when to stand still, room for proposals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from visual_foresight.planners.context import Context
from visual_foresight.planners.objectives.maps import checked_pixels
from visual_foresight.planners.objectives.objective import Objective
from visual_foresight.planners.settings import require_number
from visual_foresight.planners.step_planner import StepPlanner


class StopRule:
    """Whether every designated pixel is near its goal.

    Args:
        stop_distance: how near [px]; None never stops.
        goals: [P, 2] as (row, col); None takes them from the objective.
        objective: one with goals, or a sum that has one; None where each decision makes its own.

    Raises:
        ValueError: a negative distance, no goals to stop at, or goals without a distance.
    """

    def __init__(self, stop_distance: float | None, goals: np.ndarray | None, objective: Objective | None) -> None:
        self.stop_distance, self.goals = stop_distance, None
        if stop_distance is None:
            if goals is not None:
                raise ValueError("goals say where to stop, and nothing stops without stop_distance: pass both or none")
            return
        require_number("stop_distance", stop_distance, 0.0)
        found = goals if goals is not None else _find_goals(objective)
        if found is None:
            raise ValueError("stop_distance needs to know where to stop: pass goals=[(row, col), ...]")
        self.goals = checked_pixels("goals", found)

    def is_near(self, pixels: np.ndarray | None) -> bool:
        """Whether to stand still now.

        Args:
            pixels: [P, 2] designated pixels now, as (row, col).

        Raises:
            ValueError: there is a distance to stop at, and pixels of another shape than the goals', or none.
        """
        if self.stop_distance is None or self.goals is None:
            return False
        if pixels is None or pixels.shape != self.goals.shape:
            given = None if pixels is None else list(pixels.shape)
            raise ValueError(f"stop_distance needs pixels {list(self.goals.shape)} at every step, got {given}")
        return bool(np.linalg.norm(pixels - self.goals, axis=1).max() <= self.stop_distance)


def _find_goals(objective: Any) -> np.ndarray | None:
    if hasattr(objective, "goals"):
        return objective.goals
    for part in getattr(objective, "objectives", {}).values():
        goals = _find_goals(part)
        if goals is not None:
            return goals
    return None


def objective_maker(
    asked_by: str, objective: Objective | None, make_objective: Callable[[Context], Objective] | None
) -> Callable[[Context], Objective]:
    """What gives the objective of each decision.

    Raises:
        ValueError: both or none are given.
    """
    if make_objective is not None and objective is None:
        return lambda context: _checked_objective(make_objective(context))
    if objective is not None and make_objective is None:
        return lambda context: objective
    raise ValueError(f"{asked_by} needs exactly one of objective and make_objective")


def _checked_objective(objective: Any) -> Objective:
    if not hasattr(objective, "outputs") or not callable(objective):
        raise TypeError(
            f"make_objective must return an objective with outputs, such as PixelDistance(...); it gave {objective!r}"
        )
    return objective


def leave_room(proposals: Any, planner: Any, remedy: str = "") -> None:
    """Refuse arrays of proposals that the second decision, which has a last plan, would have no room for.

    Args:
        proposals: as a controller gets them.
        planner: of the controller.
        remedy: what else could be done.

    Raises:
        ValueError: there are as many as candidates, or more.
    """
    if not isinstance(planner, StepPlanner) or not isinstance(proposals, np.ndarray):
        return
    room = planner.counts[0]
    if proposals.ndim == 3 and len(proposals) >= room:
        raise ValueError(
            f"{len(proposals)} proposals and the last plan are more than the {room} candidates of the first iteration; "
            f"pass at most {room - 1}, or raise num_candidates{remedy}"
        )
