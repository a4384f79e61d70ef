"""Planners that a user could pick, behind one door: costs of candidates in, the best plan found out.

Each gets the same number of candidates, iterations and elites, the same deviation of its first distribution, and
otherwise the settings it comes with. Where a planner draws outside the Box, the candidates are clipped for it before
they are judged, as its users do.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from gymnasium import spaces

from visual_foresight.planners import CEM, ICEM, MPPI, CostFn

DEVIATION = 0.5
"""Deviation of the first distribution, in units of half the range of the Box."""


@dataclass(frozen=True)
class Budget:
    """What every planner may spend on one solve: candidates of an iteration, iterations, elites, control steps."""

    candidates: int = 200
    iterations: int = 3
    elites: int = 10
    horizon: int = 15


SolveFn = Callable[[CostFn, spaces.Box, Budget, int], np.ndarray]
"""(cost, action space, budget, seed) to the plan [H, A] that the planner answers."""


def _own(planner: Callable[[Budget], Any]) -> SolveFn:
    def solve(cost: CostFn, space: spaces.Box, budget: Budget, seed: int) -> np.ndarray:
        return planner(budget).plan(cost, space, rng=np.random.default_rng(seed)).actions

    return solve


def _sizes(budget: Budget) -> dict[str, Any]:
    return {"horizon": budget.horizon, "num_candidates": budget.candidates, "num_iterations": budget.iterations}


def solve_with_pytorch_icem(cost: CostFn, space: spaces.Box, budget: Budget, seed: int) -> np.ndarray:
    """`pytorch_icem.iCEM`: the cost of a whole trajectory, dynamics that do nothing.

    Its coloured noise comes from a generator of its own that cannot be seeded: two solves differ.
    """
    torch = _seeded_torch(seed)
    from pytorch_icem import iCEM

    size = space.shape[0]
    # Its check of sigma asks for as many axes as there are actions; this shape passes it and broadcasts.
    sigma = torch.full((1,) * (size - 1) + (size,), DEVIATION)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it copies sigma in a way that PyTorch warns of
        planner = iCEM(
            lambda state, action: state,
            lambda states, actions: torch.as_tensor(cost(_clipped(actions.numpy(), space))).float(),
            nx=1,
            nu=size,
            sigma=sigma,
            num_samples=budget.candidates,
            num_elites=budget.elites,
            horizon=budget.horizon,
            warmup_iters=budget.iterations,
        )
        planner.command(torch.zeros(1), shift_nominal_trajectory=False)
    return _clipped(planner.kept_elites[0].numpy(), space)  # the best of the last iteration, which it executes


def solve_with_pytorch_mppi(cost: CostFn, space: spaces.Box, budget: Budget, seed: int) -> np.ndarray:
    """`pytorch_mppi.MPPI`: the cost of a whole trajectory as its terminal cost, dynamics that do nothing.

    Its temperature is in units of the cost, which a user tunes: it is set to 0.2 deviations of the costs of a first
    batch of random candidates (drawn for it, not counted), as ours is.
    """
    torch = _seeded_torch(seed)
    from pytorch_mppi import MPPI as PytorchMPPI

    size = space.shape[0]
    rng = np.random.default_rng(seed)
    first = rng.normal(scale=DEVIATION, size=(budget.candidates, budget.horizon, size)).astype(np.float32)
    judge = getattr(cost, "uncounted", cost)
    temperature = 0.2 * float(np.std(judge(_clipped(first, space))))

    def terminal(states: Any, actions: Any) -> Any:
        return torch.as_tensor(cost(actions[0].numpy()))[None].float()

    planner = PytorchMPPI(
        lambda state, action: state,
        lambda state, action: torch.zeros(len(state)),
        nx=1,
        noise_sigma=torch.eye(size) * DEVIATION**2,
        num_samples=budget.candidates,
        horizon=budget.horizon,
        terminal_state_cost=terminal,
        lambda_=max(temperature, 1e-6),
        u_min=torch.as_tensor(space.low),
        u_max=torch.as_tensor(space.high),
        U_init=torch.zeros(budget.horizon, size),
    )
    for _ in range(budget.iterations):
        planner.command(torch.zeros(1), shift_nominal_trajectory=False)
    return _clipped(planner.U.numpy(), space)


def solve_with_stable_worldmodel(cost: CostFn, space: spaces.Box, budget: Budget, seed: int) -> np.ndarray:
    """`stable_worldmodel.solver.CEMSolver`: a model that knows nothing but costs; it answers its last mean."""
    torch = _seeded_torch(seed)
    from stable_worldmodel.solver import CEMSolver

    def get_cost(scene: dict, candidates: Any) -> Any:
        return torch.as_tensor(cost(_clipped(candidates[0].numpy(), space)))[None].float()

    planner = CEMSolver(
        SimpleNamespace(get_cost=get_cost),
        num_samples=budget.candidates,
        n_steps=budget.iterations,
        topk=budget.elites,
        var_scale=DEVIATION,  # a deviation, whatever its name: it multiplies the noise
        seed=seed,
    )
    batched = spaces.Box(space.low[None], space.high[None], dtype=np.float32)
    planner.configure(action_space=batched, n_envs=1, config=SimpleNamespace(horizon=budget.horizon, action_block=1))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its own time
        answer = planner.solve({"scene": torch.zeros(1, 1)})
    return _clipped(answer["actions"][0].numpy(), space)


SOLVERS: dict[str, tuple[SolveFn, str | None]] = {
    "CEM": (_own(lambda each: CEM(**_sizes(each), num_elites=each.elites, initial_deviation=DEVIATION)), None),
    "iCEM": (
        _own(lambda each: ICEM(**_sizes(each), num_elites=each.elites, initial_deviation=DEVIATION, decay=1.0)),
        None,
    ),
    "MPPI": (_own(lambda each: MPPI(**_sizes(each), deviation=DEVIATION)), None),
    "pytorch_icem": (solve_with_pytorch_icem, "pytorch_icem"),
    "pytorch_mppi": (solve_with_pytorch_mppi, "pytorch_mppi"),
    "stable-worldmodel CEM": (solve_with_stable_worldmodel, "stable_worldmodel"),
}
"""Planners by name: the function, and the module that must be installed for it (None: ours)."""


def installed_solvers() -> tuple[dict[str, SolveFn], list[str]]:
    """Return the solvers that can run here, and the modules that are missing.

    Raises:
        ImportError: none of the others is installed, so there is nothing to compare with.
    """
    missing = [module for _, module in SOLVERS.values() if module and importlib.util.find_spec(module) is None]
    if len(missing) == sum(module is not None for _, module in SOLVERS.values()):
        raise ImportError(
            f"--compare needs at least one of {', '.join(missing)}, none of which is installed; install them with "
            "pip install 'visual-foresight[compare]'"
        )
    found = {name: solve for name, (solve, module) in SOLVERS.items() if module is None or module not in missing}
    for name in found:
        module = SOLVERS[name][1]
        if module is not None:  # importing takes seconds, and is no part of a solve
            importlib.import_module("stable_worldmodel.solver" if module == "stable_worldmodel" else module)
    return found, missing


def _clipped(actions: np.ndarray, space: spaces.Box) -> np.ndarray:
    return np.clip(actions, space.low, space.high).astype(np.float32)


def _seeded_torch(seed: int) -> Any:
    """PyTorch, seeded: these planners draw from its global generator."""
    import torch

    torch.manual_seed(seed)
    return torch
