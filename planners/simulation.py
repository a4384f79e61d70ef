"""How planners ask a simulator: what it must offer, and costs of candidates from what it answers."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

import numpy as np

from visual_foresight.planners.objectives.objective import Objective
from visual_foresight.planners.plan import CostFn
from visual_foresight.rollout import Rollout


class Simulator(Protocol):
    """Anything that encodes a scene once and rolls candidates out from it; may also offer ``cost_function``.

    ``cost_function(start, objective)``, where there is one, returns a function of candidates [K, H, A] to costs [K]:
    rollout and objective compiled into one call.
    """

    def start(self, frames: Any, actions: Any, states: Any, *, pixels: Any = None) -> Any:
        """Encode frames [C, H, W, 3], actions [C-1, A] and states [C, S]."""
        ...

    def rollout(self, start: Any, actions: np.ndarray, outputs: tuple[str, ...] = ()) -> Rollout:
        """Roll out actions [K, T, A]."""
        ...


def cost_function(simulator: Simulator, start: Any, objective: Objective) -> CostFn:
    """Candidates [K, H, A] to costs [K]: the simulator's compiled function, or else rollout and objective."""
    compiled = getattr(simulator, "cost_function", None)
    if compiled is not None:
        return compiled(start, objective)
    wanted = [pixel_output(simulator) if name == "pixels" else name for name in objective.outputs]
    outputs = tuple(dict.fromkeys(wanted))
    if not outputs:  # costs of the actions alone need no future
        return lambda candidates: objective(Rollout(actions=candidates))
    return lambda candidates: objective(simulator.rollout(start, candidates, outputs=outputs))


def pixel_output(simulator: Simulator) -> str:
    """The form in which a simulator gives designated pixels: the one among its default outputs."""
    parameter = inspect.signature(simulator.rollout).parameters.get("outputs")
    default = parameter.default if parameter is not None else ()
    only_exact = isinstance(default, tuple) and "pixels" in default and "pixel_distributions" not in default
    return "pixels" if only_exact else "pixel_distributions"
