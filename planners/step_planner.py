"""What all planners of this package have in common: settings, their checks, and the way a search is run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Unpack

import numpy as np
from gymnasium import spaces

from visual_foresight.planners.plan import CostFn, Given, Plan
from visual_foresight.planners.search import (
    Deadline,
    Problem,
    Search,
    SearchSteps,
    pose_problem,
    require_gradient,
    run_search,
)
from visual_foresight.planners.settings import check_settings, schedule


@dataclass(frozen=True)
class StepPlanner(ABC):
    """A planner written as a generator of candidates: :meth:`steps` searches, the rest is done here.

    A frozen record of settings; all state enters and leaves through :meth:`plan`. Settings of the same name mean the
    same in every planner, and are checked against the same ranges when a planner is built.

    Args:
        horizon: H, control steps.
        num_candidates: per iteration, or one number for each iteration.
        num_iterations: how often candidates are evaluated.
        action_repeat: hold each action that is searched for this many steps; the search then has H / action_repeat
            macro actions. A given incumbent is evaluated as it is.
        unbounded_scale: scale of dimensions without limits, in place of half their range.

    Raises:
        ValueError: a setting outside its range.
    """

    horizon: int = 15
    num_candidates: int | tuple[int, ...] = 200
    num_iterations: int = 3
    action_repeat: int = 1
    unbounded_scale: float = 1.0
    needs_gradient: ClassVar[bool] = False
    """Whether the search asks for ``cost_fn.gradient``."""
    counts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings, and work out how many candidates each iteration has."""
        check_settings(self)
        fewest = 2 * getattr(self, "num_elites", 0) or 1
        if isinstance(self.num_candidates, list):  # planners are hashed: compiled searches are kept by them
            object.__setattr__(self, "num_candidates", tuple(self.num_candidates))
        decayed = schedule(self.num_candidates, self.num_iterations, getattr(self, "decay", 1.0), fewest)
        object.__setattr__(self, "counts", decayed)

    @abstractmethod
    def steps(self, problem: Problem, search: Search) -> SearchSteps:
        """The search as a generator of candidates [K, H, A] that is sent costs [K]."""

    def plan(
        self,
        cost_fn: CostFn,
        action_space: spaces.Box,
        *,
        rng: np.random.Generator,
        deadline_ms: float | None = None,
        **given: Unpack[Given],
    ) -> Plan:
        """Find a plan; see :class:`visual_foresight.planners.Planner`, also for what may be given."""
        deadline = Deadline(deadline_ms)  # proposals count: they are asked for in `pose`
        if self.needs_gradient:
            require_gradient(cost_fn)
        problem = self.pose(action_space, rng=rng, **given)
        search = Search()
        whole = getattr(cost_fn, "whole_search", None)
        if whole is not None and deadline_ms is None:
            if whole(self, problem, search):
                return search.finish(deadline.elapsed())
        return run_search(search, self.steps(problem, search), cost_fn, deadline)

    def pose(self, action_space: spaces.Box, *, rng: np.random.Generator, **given: Unpack[Given]) -> Problem:
        """Check the arguments of ``plan`` other than the cost."""
        return pose_problem(action_space, self.horizon, self.counts[0], self.unbounded_scale, rng=rng, **given)
