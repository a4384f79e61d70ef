"""What both controllers share: whose objective, when to stand still, room for proposals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from visual_foresight.given_arrays import given_array
from visual_foresight.planners.bounds import ActionBounds
from visual_foresight.planners.context import Context
from visual_foresight.planners.objectives.maps import checked_pixels
from visual_foresight.planners.objectives.objective import Objective
from visual_foresight.planners.plan import Plan, shift
from visual_foresight.planners.settings import require_number
from visual_foresight.planners.step_planner import StepPlanner


def pixels_inside(pixels: Any, image_size: Sequence[int]) -> np.ndarray:
    """Designated pixels [P, 2] as (row, col), those outside the image moved to its border."""
    return np.clip(checked_pixels("pixels", pixels), 0.0, np.array(image_size, np.float32) - 1.0)


def goals_to_stop_at(
    stop_distance: float | None, goals: np.ndarray | None, objective: Objective | None
) -> tuple[np.ndarray | None, tuple[int, ...] | None]:
    """The goals near which a controller stands still, and whose they are.

    Args:
        stop_distance: how near [px]; None never stops.
        goals: [P, 2] as (row, col), of all designated pixels; None takes them from the objective.
        objective: one with goals, or a sum: of its terms those with goals and a weight above 0, and of their pixels
            those that count; None where each decision makes its own.

    Returns:
        [G, 2], and the G designated pixels that they belong to (None: they are exactly these); None and None where a
        controller never stops.

    Raises:
        ValueError: a negative distance, no goals to stop at, several for one pixel, or goals without a distance.
    """
    if stop_distance is None:
        if goals is not None:
            raise ValueError("goals say where to stop, and nothing stops without stop_distance: pass both or none")
        return None, None
    require_number("stop_distance", stop_distance, 0.0)
    if goals is not None:
        return checked_pixels("goals", goals), None
    terms = list(_terms_with_goals(objective))
    if not terms:
        raise ValueError("stop_distance needs to know where to stop: pass goals=[(row, col), ...]")
    (first, counted), *others = terms
    if not others and len(counted) == len(first.goals) and getattr(first, "indices", None) is None:
        return checked_pixels("goals", first.goals), None
    return _joined_goals(terms)


def is_near(
    pixels: np.ndarray | None,
    goals: np.ndarray | None,
    stop_distance: float | None,
    indices: tuple[int, ...] | None = None,
) -> bool:
    """Whether every designated pixel that has a goal is near it.

    Args:
        pixels: [P, 2] as (row, col).
        goals: [G, 2]; None never stops.
        stop_distance: [px]; None never stops.
        indices: the G pixels that have goals; None: they are exactly these.

    Raises:
        ValueError: there is a distance to stop at, and other pixels than those with goals, or none.
    """
    if stop_distance is None or goals is None:
        return False
    if indices is None:
        fits = pixels is not None and pixels.shape == goals.shape
    else:
        fits = pixels is not None and pixels.ndim == 2 and len(pixels) > max(indices)
    if pixels is None or not fits:
        given = None if pixels is None else list(pixels.shape)
        needed = list(goals.shape) if indices is None else f"[{max(indices) + 1} or more, 2]"
        raise ValueError(f"stop_distance needs pixels {needed} at every step, got {given}")
    chosen = pixels if indices is None else pixels[list(indices)]
    return bool(np.linalg.norm(chosen - goals, axis=1).max() <= stop_distance)


def _joined_goals(terms: Sequence[tuple[Any, list[int]]]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Goals [G, 2] of several terms, and whose they are.

    Raises:
        ValueError: two goals of one pixel.
    """
    found: dict[int, np.ndarray] = {}
    for term, counted in terms:
        goals = checked_pixels("goals", term.goals)
        named = getattr(term, "indices", None)
        indices = range(len(goals)) if named is None else [int(index) for index in named]
        for which in counted:
            known = found.setdefault(indices[which], goals[which])
            if not np.allclose(known, goals[which], rtol=0.0, atol=1e-3):
                raise ValueError(
                    "stop_distance does not know where to stop: the objective has several goals for designated pixel "
                    f"{indices[which]}; pass goals=[(row, col), ...]"
                )
    chosen = sorted(found)
    return np.stack([found[index] for index in chosen]), tuple(chosen)


def _terms_with_goals(objective: Any, weight: float = 1.0) -> Iterator[tuple[Any, list[int]]]:
    """Objectives that draw pixels to goals, and which of their pixels count."""
    if getattr(objective, "goals", None) is not None:
        shares = getattr(objective, "pixel_weights", None)
        counted = [index for index in range(len(objective.goals)) if shares is None or shares[index] > 0.0]
        if weight > 0.0:
            yield objective, counted
        return
    weights = getattr(objective, "weights", {})
    weights = weights if isinstance(weights, Mapping) else {}
    for name, part in getattr(objective, "objectives", {}).items():
        yield from _terms_with_goals(part, weight * weights.get(name, 1.0))


def check_objectives(asked_by: str, objective: Any, make_objective: Any) -> None:
    """Refuse both or none of an objective and what makes one for each decision.

    Raises:
        TypeError: what should make it cannot be called.
        ValueError: says so.
    """
    if (objective is None) == (make_objective is None):
        raise ValueError(f"{asked_by} needs exactly one of objective and make_objective")
    check_callables(make_objective=make_objective)


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


def checked_proposals(
    asked_by: str, proposals: Any, make_proposals: Any, *, horizon: int, action_size: int
) -> np.ndarray | Callable | None:
    """Proposals as an array, a callable or None.

    Raises:
        TypeError: what should make them cannot be called.
        ValueError: they stand beside what makes them for each decision, or are no candidates [G, H, A].
    """
    if proposals is not None and make_proposals is not None:
        raise ValueError(f"{asked_by} takes either proposals or make_proposals, which makes them for each decision")
    check_callables(make_proposals=make_proposals)
    if proposals is None or callable(proposals):
        return proposals
    given = given_array("proposals", proposals)
    if given.ndim != 3 or given.shape[1:] != (horizon, action_size):
        raise ValueError(f"proposals must be [G, {horizon}, {action_size}] or a callable, got {list(given.shape)}")
    return given


def check_callables(**given: Any) -> None:
    """Refuse what cannot be called, by the name of its argument; None is left out.

    Raises:
        TypeError: names it.
    """
    for name, function in given.items():
        if function is not None and not callable(function):
            raise TypeError(f"{name} must be a callable that takes a Context, got {function!r}")


def check_fill(fill: Any, steps: int, action_size: int) -> None:
    """Refuse what a shifted plan cannot be filled up with.

    Args:
        fill: see `shift`.
        steps: executed between two decisions.
        action_size: A.

    Raises:
        ValueError: says what it may be.
    """
    filled = shift(np.zeros((steps, action_size), np.float32), steps, fill=fill)
    if not np.all(np.isfinite(filled)):
        raise ValueError(f"fill must be finite, got {fill!r}")


def check_action_size(simulator: Any, bounds: ActionBounds) -> None:
    """Refuse a Box of other actions than a learned simulator's predictor was trained with.

    Raises:
        ValueError: says both sizes.
    """
    config = getattr(getattr(simulator, "predictor", None), "config", None)
    expected = getattr(config, "action_size", bounds.action_size)
    if expected != bounds.action_size:
        raise ValueError(
            f"action_space has {bounds.action_size} dimensions, the simulator's predictor was trained with {expected}"
        )


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
