"""How planners ask a simulator: what it must offer, and costs of candidates from what it answers."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

import numpy as np

from visual_foresight.planners.objectives.objective import Objective
from visual_foresight.planners.plan import CostFn
from visual_foresight.rollout import Rollout


class Simulator(Protocol):
    """Anything that encodes a scene once and rolls candidates out from it.

    It may also offer

    ``stride``: control steps between the moments at which it is cheap to look at the scene; ``rollout`` then takes
    ``every``, and planners ask with ``every=stride``; :class:`MPC` executes so many steps of a plan.
    ``drafts``: whether ``rollout`` takes ``draft``, with which planners ask: rough outcomes will do.
    ``cost_function(start, objective)``: a function of candidates [K, H, A] to costs [K], in place of rollout and
    objective.
    ``cost_gradient(start, objective, candidates)``: costs [K] and their gradients [K, H, A].
    """

    def start(self, frames: Any, actions: Any, states: Any, *, pixels: Any = None) -> Any:
        """Encode frames [C, H, W, 3], actions [C-1, A] and states [C, S]."""
        ...

    def rollout(self, start: Any, actions: np.ndarray, outputs: tuple[str, ...] = ()) -> Rollout:
        """Roll out actions [K, T, A]."""
        ...


class SimulatedCost:
    """Costs of candidates by a simulator and an objective: what a planner is given.

    Args:
        simulator: see :class:`Simulator`.
        start: the scene.
        objective: what to reach.
    """

    def __init__(self, simulator: Simulator, start: Any, objective: Objective) -> None:
        """Find out what to ask for."""
        self._simulator, self._start, self._objective = simulator, start, objective
        wanted = [pixel_output(simulator) if name == "pixels" else name for name in objective.outputs]
        self._outputs = tuple(dict.fromkeys(wanted))

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        """Candidates [K, H, A] to costs [K]."""
        if not self._outputs:  # costs of the actions alone need no future; they are those of the same steps as in a sum
            return self._objective(Rollout(actions=whole_leaps(candidates, simulator_stride(self._simulator))))
        return self._objective(rollout_at_stride(self._simulator, self._start, candidates, self._outputs))

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the simulator is asked for; nothing where actions alone have a cost."""
        return self._outputs

    def gradient(self, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Costs [K] and their gradients [K, H, A], through the simulator.

        Raises:
            ValueError: the simulator has no gradients.
        """
        cost_gradient = getattr(self._simulator, "cost_gradient", None)
        if cost_gradient is None:
            raise ValueError(
                f"{type(self._simulator).__name__} has no gradients: plan with the learned simulator, or a planner "
                "that needs costs only (CEM, ICEM, MPPI)"
            )
        stride = simulator_stride(self._simulator)
        padded = whole_leaps(np.asarray(candidates, np.float32), stride)
        costs, gradients = cost_gradient(self._start, self._objective, padded)
        return costs, gradients[:, : candidates.shape[1]]


def cost_function(simulator: Simulator, start: Any, objective: Objective) -> CostFn:
    """Candidates [K, H, A] to costs [K]: the simulator's own function, or else rollout and objective."""
    own = getattr(simulator, "cost_function", None)
    return SimulatedCost(simulator, start, objective) if own is None else own(start, objective)


def simulator_stride(simulator: Any) -> int:
    """Control steps between the moments at which a simulator shows the scene."""
    return int(getattr(simulator, "stride", 1))


def rollout_at_stride(simulator: Simulator, start: Any, actions: np.ndarray, outputs: tuple[str, ...]) -> Rollout:
    """Roll out [K, T, A], looking at the scene as rarely as the simulator's stride says.

    A horizon that is no multiple of the stride ends with standing still: the rollout then is as much longer, and terms
    of actions count these steps, too.
    """
    stride = simulator_stride(simulator)
    options: dict[str, Any] = {"draft": True} if getattr(simulator, "drafts", False) else {}
    if stride > 1:
        options["every"] = stride
    asked: Any = simulator
    return asked.rollout(start, whole_leaps(actions, stride), outputs=outputs, **options)


def whole_leaps(actions: np.ndarray, stride: int) -> np.ndarray:
    """Actions [K, T, A] with standing still behind them, to a multiple of the stride."""
    missing = -actions.shape[1] % stride
    return np.pad(actions, ((0, 0), (0, missing), (0, 0))) if missing else actions


def pixel_output(simulator: Simulator) -> str:
    """The form in which a simulator gives designated pixels: the one among its default outputs."""
    parameter = inspect.signature(simulator.rollout).parameters.get("outputs")
    default = parameter.default if parameter is not None else ()
    only_exact = isinstance(default, tuple) and "pixels" in default and "pixel_distributions" not in default
    return "pixels" if only_exact else "pixel_distributions"


def check_parts(simulator: Any, planner: Any, objective: Any, *, starts: bool = True) -> None:
    """Refuse what can neither imagine, nor plan, nor judge, before the first decision shows it.

    Args:
        simulator: see `Simulator`.
        planner: of any kind.
        objective: None where each decision makes its own.
        starts: whether the simulator encodes scenes itself.

    Raises:
        TypeError: names what is none.
    """
    wanted = (
        ("simulator", simulator, ("start", "rollout") if starts else ("rollout",), "an object with start and rollout"),
        ("planner", planner, ("plan", "horizon"), "a planner such as CEM(...), an object with plan and horizon"),
        ("objective", objective, ("outputs", "__call__"), "an objective with outputs, such as PixelDistance(...)"),
    )
    for name, given, needed, expected in wanted:
        if name == "objective" and given is None:
            continue
        if isinstance(given, type) or not all(hasattr(given, one) for one in needed):
            raise TypeError(f"{name} must be {expected}, got {given!r}")


def check_plan(plan: Any, action_size: int, fewest: int) -> None:
    """Refuse what a planner of somebody's own may give back instead of a plan.

    Args:
        plan: what it gave back.
        action_size: A.
        fewest: actions that will be executed before the next plan.

    Raises:
        ValueError: it has no actions [H, A], too few of them, or some that are not finite.
    """
    actions: Any = getattr(plan, "actions", None)
    if not isinstance(actions, np.ndarray) or actions.ndim != 2 or actions.shape[1] != action_size:
        found = f"actions {list(actions.shape)}" if isinstance(actions, np.ndarray) else type(plan).__name__
        raise ValueError(f"the planner must return a Plan with actions [H, {action_size}], got {found}")
    if len(actions) < fewest:
        raise ValueError(f"the planner returned {len(actions)} actions, and {fewest} are executed before the next plan")
    if not np.isfinite(actions).all():
        raise ValueError("the planner returned actions that are not finite")
