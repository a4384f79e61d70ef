"""`bench --compare`: our planners and others on the same costs, at equal candidates and iterations."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from visual_foresight.benchmark.methods import pixel_objective
from visual_foresight.benchmark.settings import ControlSettings
from visual_foresight.cli import control
from visual_foresight.pixel_accuracy import interval
from visual_foresight.planners import CostFn
from visual_foresight.speed.pushing import ACTION_SPACE, pushing_cost
from visual_foresight.speed.solvers import Budget, SolveFn, installed_solvers

PACKAGES = ("torch", "pytorch_icem", "pytorch_mppi", "stable-worldmodel")

YARDSTICK = "iCEM"
"""Costs of the other planners are also given as differences from this one's."""


class Problem(NamedTuple):
    """What planners are given: the first seed the first cost, and so on, from the front again when there are no more.

    Attributes:
        costs: one or more cost functions.
        space: of the actions.
    """

    costs: Sequence[CostFn]
    space: spaces.Box


class CountedCost:
    """A cost function that remembers what was asked of it: evaluations, its own time, the lowest cost.

    Args:
        cost: candidates [K, H, A] to costs [K].
    """

    def __init__(self, cost: CostFn) -> None:
        """Begin with nothing asked."""
        self.uncounted = cost
        self.evaluations, self.seconds, self.lowest = 0, 0.0, np.inf

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        """Costs [K]."""
        start = time.perf_counter()
        costs = self.uncounted(candidates)
        self.seconds += time.perf_counter() - start
        self.evaluations += len(candidates)
        self.lowest = min(self.lowest, float(np.min(costs)))
        return costs


def compare(args: argparse.Namespace, settings: ControlSettings) -> dict[str, Any]:
    """Run the comparison that the options ask for.

    Raises:
        ImportError: no other planner is installed.
    """
    import gymnasium

    solvers, missing = installed_solvers()
    budget = Budget(
        settings.candidates, settings.iterations, min(settings.elites, settings.candidates), settings.horizon
    )
    problems = {"pushing, NumPy": Problem([pushing_cost], ACTION_SPACE)}
    with closing(gymnasium.make(control.DEFAULT_ENVIRONMENT)) as environment:
        space: Any = environment.action_space
        problems[f"predictor {args.preset}"] = Problem(_predicted_costs(environment, args, settings), space)
        rows = compare_solvers(solvers, problems, budget, seeds=args.seeds, warmup=args.warmup)
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "-"
    return {"comparison": rows, "budget": vars(budget), "missing": missing, "compared_versions": versions}


def _predicted_costs(environment: Any, args: argparse.Namespace, settings: ControlSettings) -> list[CostFn]:
    """What `plan` would make small in the first decision of drawn tasks, one for each seed, by the predictor."""
    from visual_foresight.planners.simulation import cost_function

    env: Any = environment.unwrapped
    simulator = control.make_simulator(
        "learned", environment, args.preset, dtype=control.predictor_dtype(args)
    ).simulator
    count = simulator.predictor.config.context_frames
    costs = []
    for task in control.choose_tasks(None, episodes=args.seeds, seed=settings.seed, split="train"):
        observation, info = environment.reset(options={"task": task})
        start = simulator.start(
            np.repeat(observation["image"][None], count, axis=0),
            np.zeros((count - 1, *env.action_space.shape), np.float32),
            np.repeat(np.asarray(observation["state"], np.float32)[None], count, axis=0),
            pixels=info["object_pixels"][task.object_index][None],
        )
        costs.append(
            cost_function(simulator, start, pixel_objective(env.camera, control.goal_pixel(env, task), settings))
        )
    return costs


def compare_solvers(
    solvers: Mapping[str, SolveFn],
    problems: Mapping[str, Problem],
    budget: Budget,
    *,
    seeds: int,
    warmup: int,
    report: Callable[[str], Any] = lambda line: print(line, file=sys.stderr),
) -> list[dict[str, Any]]:
    """Solve every problem with every solver under every seed, the solvers in turns.

    Returns:
        A row for each problem and solver: times of a solve and of the part outside the cost function [ms], lowest cost
        found and cost of the plan that is answered (means over seeds), how much more the latter is than the yardstick's
        with the same seed, evaluations.
    """
    rows = []
    for problem, (costs, space) in problems.items():
        records: dict[str, list[dict[str, float]]] = {name: [] for name in solvers}
        for seed in range(-warmup, seeds):
            for name, solve in solvers.items():
                record = solve_once(solve, costs[seed % len(costs)], space, budget, abs(seed))
                if seed >= 0:
                    records[name].append(record)
        for name, found in records.items():
            row = {
                "problem": problem,
                "planner": name,
                "seeds": seeds,
                "costs": min(len(costs), seeds),
                **summary(found),
            }
            row |= _differences(found, records.get(YARDSTICK))
            report(f"{problem}, {name}: {row['milliseconds_median']:.4g} ms, best cost {row['best_cost_mean']:.4g}")
            rows.append(row)
    return rows


def solve_once(solve: SolveFn, cost: CostFn, space: spaces.Box, budget: Budget, seed: int) -> dict[str, float]:
    """Return time, time outside the cost, evaluations, lowest cost seen and cost of the answer, of one solve."""
    counted = CountedCost(cost)
    start = time.perf_counter()
    actions = solve(counted, space, budget, seed)
    seconds = time.perf_counter() - start
    expected = (budget.horizon, *space.shape)
    if actions.shape != expected:
        raise ValueError(f"a planner answered a plan of shape {list(actions.shape)}, expected {list(expected)}")
    answer = float(cost(actions[None])[0])
    return {
        "seconds": seconds,
        "overhead": seconds - counted.seconds,
        "evaluations": counted.evaluations,
        "best": min(counted.lowest, answer),  # a mean is answered without having been judged
        "answer": answer,
    }


def summary(records: list[dict[str, float]]) -> dict[str, Any]:
    """Return medians of times [ms] and means and deviations of costs over seeds."""
    columns = {name: np.array([record[name] for record in records]) for name in records[0]}
    return {
        "milliseconds_median": 1e3 * float(np.median(columns["seconds"])),
        "milliseconds_p95": 1e3 * float(np.percentile(columns["seconds"], 95)),
        "overhead_milliseconds_median": 1e3 * float(np.median(columns["overhead"])),
        "evaluations": float(np.mean(columns["evaluations"])),
        "best_cost_mean": float(np.mean(columns["best"])),
        "best_cost_deviation": float(np.std(columns["best"])),
        "answer_cost_mean": float(np.mean(columns["answer"])),
        "answer_cost_deviation": float(np.std(columns["answer"])),
    }


def _differences(records: list[dict[str, float]], yardstick: list[dict[str, float]] | None) -> dict[str, Any]:
    """Return by how much the answer costs more than the yardstick's, seed by seed; 95 % bootstrap interval."""
    if yardstick is None or records is yardstick:
        return {}
    values = np.array([one["answer"] - other["answer"] for one, other in zip(records, yardstick, strict=True)])
    return {f"answer_cost_above_{YARDSTICK}": interval(values, seed=0)}


def comparison_table(results: Mapping[str, Any]) -> str:
    """Return the comparison as a table."""
    budget = results["budget"]
    lines = [
        f"{budget['candidates']} candidates x {budget['iterations']} iterations, {budget['elites']} elites, "
        f"{budget['horizon']} control steps; costs: mean (deviation) over seeds; above {YARDSTICK}: seed by seed, 95 %",
        f"{'cost':<24}{'planner':<24}{'solve':>11}{'of it planner':>15}{'evaluated':>11}"
        f"{'best found':>18}{'answered':>18}{f'above {YARDSTICK}':>30}",
    ]
    for row in results["comparison"]:
        best = f"{row['best_cost_mean']:.4g} ({row['best_cost_deviation']:.2g})"
        answer = f"{row['answer_cost_mean']:.4g} ({row['answer_cost_deviation']:.2g})"
        lines.append(
            f"{row['problem']:<24}{row['planner']:<24}{row['milliseconds_median']:>8.1f} ms"
            f"{row['overhead_milliseconds_median']:>12.1f} ms{row['evaluations']:>11.0f}{best:>18}{answer:>18}"
            f"{above(row):>30}"
        )
    lines += [f"not installed: {module}" for module in results["missing"]]
    return "\n".join(lines)


def above(row: Mapping[str, Any]) -> str:
    """Return by how much the answers of a row cost more than the yardstick's, as text; "" where that is not known."""
    found = row.get(f"answer_cost_above_{YARDSTICK}")
    if not found or found["mean"] is None:
        return ""
    return f"{found['mean']:+.3g} ({found['low']:+.3g} to {found['high']:+.3g})"
