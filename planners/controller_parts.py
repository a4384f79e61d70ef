"""What both controllers share: whose objective, when to stand still, room for proposals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from visual_foresight.planners.bounds import ActionBounds
from visual_foresight.planners.context import Context
from visual_foresight.planners.objectives.maps import checked_pixels
from visual_foresight.planners.objectives.objective import Objective
from visual_foresight.planners.plan import Plan
from visual_foresight.planners.settings import require_number
from visual_foresight.planners.step_planner import StepPlanner


def pixels_inside(pixels: Any, image_size: Sequence[int]) -> np.ndarray:
    """Designated pixels [P, 2] as (row, col), those outside the image moved to its border."""
    return np.clip(checked_pixels("pixels", pixels), 0.0, np.array(image_size, np.float32) - 1.0)


def goals_to_stop_at(
    stop_distance: float | None, goals: np.ndarray | None, objective: Objective | None
) -> np.ndarray | None:
    """The goals [P, 2] near which a controller stands still; None where it never does.

    Args:
        stop_distance: how near [px]; None never stops.
        goals: [P, 2] as (row, col); None takes them from the objective.
        objective: one with goals, or a sum that has one; None where each decision makes its own.

    Raises:
        ValueError: a negative distance, no goals to stop at, or goals without a distance.
    """
    if stop_distance is None:
        if goals is not None:
            raise ValueError("goals say where to stop, and nothing stops without stop_distance: pass both or none")
        return None
    require_number("stop_distance", stop_distance, 0.0)
    found = goals if goals is not None else _find_goals(objective)
    if found is None:
        raise ValueError("stop_distance needs to know where to stop: pass goals=[(row, col), ...]")
    return checked_pixels("goals", found)


def is_near(pixels: np.ndarray | None, goals: np.ndarray | None, stop_distance: float | None) -> bool:
    """Whether every designated pixel [P, 2] is near its goal.

    Raises:
        ValueError: there is a distance to stop at, and pixels of another shape than the goals', or none.
    """
    if stop_distance is None or goals is None:
        return False
    if pixels is None or pixels.shape != goals.shape:
        given = None if pixels is None else list(pixels.shape)
        raise ValueError(f"stop_distance needs pixels {list(goals.shape)} at every step, got {given}")
    return bool(np.linalg.norm(pixels - goals, axis=1).max() <= stop_distance)


def _find_goals(objective: Any) -> np.ndarray | None:
    if hasattr(objective, "goals"):
        return objective.goals
    for part in getattr(objective, "objectives", {}).values():
        goals = _find_goals(part)
        if goals is not None:
            return goals
    return None


def check_objectives(asked_by: str, objective: Any, make_objective: Any) -> None:
    """Refuse both or none of an objective and what makes one for each decision.

    Raises:
        ValueError: says so.
    """
    if (objective is None) == (make_objective is None):
        raise ValueError(f"{asked_by} needs exactly one of objective and make_objective")


def objective_of(
    context: Context, objective: Objective | None, make_objective: Callable[[Context], Objective] | None
) -> Objective:
    """The objective of a decision.

    Raises:
        TypeError: `make_objective` gave something else.
    """
    found: Any = objective if make_objective is None else make_objective(context)
    if not hasattr(found, "outputs") or not callable(found):
        raise TypeError(
            f"make_objective must return an objective with outputs, such as PixelDistance(...); it gave {found!r}"
        )
    return found


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


def check_proposals(asked_by: str, proposals: Any, make_proposals: Any) -> None:
    """Refuse proposals beside what makes them for each decision.

    Raises:
        ValueError: says so.
    """
    if proposals is not None and make_proposals is not None:
        raise ValueError(f"{asked_by} takes either proposals or make_proposals, which makes them for each decision")


def keep_unless_better(plan: Plan, incumbent: np.ndarray | None, margin: float, bounds: ActionBounds) -> Plan:
    """The last plan, shifted, unless a new one is cheaper by more than a margin.

    Args:
        plan: the new one, whose first candidate was the incumbent.
        incumbent: [H, A]; None where there was none.
        margin: share of the incumbent's cost, from 0 (any improvement counts).
        bounds: to which the planner clipped the incumbent.
    """
    before = getattr(plan, "first_cost", np.inf)
    if incumbent is None or margin == 0.0 or not np.isfinite(before):
        return plan
    if plan.cost < before - margin * abs(before):
        return plan
    return replace(plan, actions=bounds.clip(incumbent), cost=before)
