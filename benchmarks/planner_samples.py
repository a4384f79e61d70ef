"""How many candidates iCEM needs for what CEM reaches at the field's published budget, on pushing tasks.

Both plan the first decision of each task with the physics itself (the model is perfect, so only the search is judged)
and the objective of the demo. CEM has 200 candidates x 3 iterations; the target of a task is the median over seeds of
the cost it reaches. iCEM then searches on until it is there, or gives up.

    python benchmarks/planner_samples.py --output benchmarks/results/2026-11-22-planner-samples.json

The settings of iCEM were chosen on the tasks of `--tuning`, which are never measured. Its noise has a colour only where
actions are free: held for 5 of 15 steps, three macro actions are left, which is too few to have one.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from visual_foresight.cli.control import ControlSettings, goal_pixel, make_controller
from visual_foresight.envs import TrueSimulator
from visual_foresight.envs.tasks import Task, sample_task
from visual_foresight.planners import CEM, ICEM, Planner
from visual_foresight.planners.simulation import cost_function
from visual_foresight.report import processor_name

MEASURED_SEEDS, TUNING_SEEDS = range(810_000, 810_999), range(820_000, 820_999)
BUDGET = 600  # candidates of CEM: 200 x 3
GIVE_UP = 1800  # candidates of iCEM

HORIZON = 15
ICEM_SETTINGS: dict[bool, dict[str, Any]] = {  # by whether actions are held
    False: {
        "num_candidates": 40,
        "num_elites": 5,
        "initial_deviation": 0.8,
        "noise_exponent": 2.0,
        "num_iterations": 90,
    },
    True: {
        "num_candidates": 64,
        "num_elites": 6,
        "initial_deviation": 1.0,
        "noise_exponent": 2.0,
        "deviation_floor": 0.1,
        "num_iterations": 90,
    },
}


class Counted:
    """A cost function that remembers the lowest cost after each candidate, and ends a search that has arrived."""

    def __init__(self, cost_fn: Any, target: float = -np.inf) -> None:
        self.cost_fn, self.target, self.lowest = cost_fn, target, np.zeros(0)

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        if len(self.lowest) and (self.lowest[-1] <= self.target or len(self.lowest) >= GIVE_UP):
            return np.full(len(candidates), np.inf)  # costs nothing and changes nothing
        costs = np.asarray(self.cost_fn(candidates), np.float64)
        before = self.lowest[-1:] if len(self.lowest) else np.array([np.inf])
        self.lowest = np.append(self.lowest, np.minimum.accumulate(np.append(before, costs))[1:])
        return costs

    def samples_to(self, target: float) -> int | None:
        """How many candidates were enough, or None."""
        there = np.flatnonzero(self.lowest <= target)
        return int(there[0]) + 1 if len(there) else None


def cost_of_task(environment: Any, task: Task) -> Any:
    """The cost function of the first decision of a task."""
    environment.reset(options={"task": task})
    env = environment.unwrapped
    simulator = TrueSimulator(env, num_threads=1)
    goal = goal_pixel(env, task)
    objective = make_controller(env, simulator, goal, task.object_index, ControlSettings(), 0)._make_objective(None)
    return cost_function(simulator, simulator.start(), objective)


def searched(planner: Planner, cost_fn: Any, space: Any, seed: int, target: float = -np.inf) -> Counted:
    """A search with its candidates counted."""
    counted = Counted(cost_fn, target)
    planner.plan(counted, space, rng=np.random.default_rng(seed))
    return counted


def measure_task(environment: Any, task: Task, cem: CEM, icem: ICEM, num_seeds: int) -> dict[str, Any]:
    """Samples of both planners on one task, for each seed."""
    cost_fn, space = cost_of_task(environment, task), environment.action_space
    of_cem = [searched(cem, cost_fn, space, seed) for seed in range(num_seeds)]
    target = float(np.median([one.lowest[-1] for one in of_cem]))
    of_icem = [searched(icem, cost_fn, space, 1000 + seed, target).samples_to(target) for seed in range(num_seeds)]
    return {
        "task_seed": task.seed,
        "target_cost": target,
        "cem_final_costs": [float(one.lowest[-1]) for one in of_cem],
        "cem_samples": [one.samples_to(target) for one in of_cem],
        "icem_samples": of_icem,
    }


def summary(rows: list[dict[str, Any]], rng: np.random.Generator) -> dict[str, Any]:
    """Ratios with 95 % bootstrap intervals over tasks; a search that gave up counts as long as it searched."""
    icem = np.array([np.median([count or GIVE_UP for count in row["icem_samples"]]) for row in rows])
    cem = np.array([np.median([count or BUDGET for count in row["cem_samples"]]) for row in rows])
    every = [count for row in rows for count in row["icem_samples"]]
    found: dict[str, Any] = {
        "num_tasks": len(rows),
        "icem_samples_median": float(np.median(icem)),
        "cem_samples_to_own_target_median": float(np.median(cem)),
        "icem_gave_up": sum(count is None for count in every),
        "icem_searches": len(every),
    }
    for name, ratios in (("budget_ratio", BUDGET / icem), ("samples_ratio", cem / icem)):
        logs = np.log(ratios)
        means = np.exp(logs[rng.integers(len(logs), size=(2000, len(logs)))].mean(axis=1))
        found[name] = float(np.exp(logs.mean()))
        found[f"{name}_interval_95"] = [float(value) for value in np.quantile(means, [0.025, 0.975])]
    return found


def run(seeds: range, num_tasks: int, num_seeds: int, action_repeat: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Measure the first tasks that the seeds give."""
    environment = gymnasium.make("VisualForesight/Push-v0")
    cem = CEM(horizon=HORIZON, action_repeat=action_repeat)
    usual = ICEM(horizon=HORIZON, action_repeat=action_repeat, **ICEM_SETTINGS[action_repeat > 1])
    icem = replace(usual, **changes)
    rows = []
    for seed in seeds:
        if len(rows) == num_tasks:
            break
        try:
            task = sample_task(seed)
        except ValueError:  # no goal fits into this scene
            continue
        rows.append(measure_task(environment, task, cem, icem, num_seeds))
    return {
        "action_repeat": action_repeat,
        "cem": repr(cem),
        "icem": repr(icem),
        "summary": summary(rows, np.random.default_rng(0)),
        "tasks": rows,
    }


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_tasks", type=int, default=20)
    parser.add_argument("--num_seeds", type=int, default=5)
    parser.add_argument("--action_repeat", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--tuning", action="store_true", help="the tasks on which settings are chosen")
    parser.add_argument("--icem", type=json.loads, default={}, help="settings to change, as JSON")
    parser.add_argument("--date", default="")
    parser.add_argument("--device", default=processor_name())
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    seeds = TUNING_SEEDS if args.tuning else MEASURED_SEEDS
    runs = [run(seeds, args.num_tasks, args.num_seeds, repeat, args.icem) for repeat in args.action_repeat]
    for one in runs:
        print(json.dumps({"action_repeat": one["action_repeat"], "icem": one["icem"], **one["summary"]}, indent=1))
    if args.output:
        names = ("numpy", "gymnasium", "mujoco-core", "visual-foresight")
        about = {
            "benchmark": "planner_samples",
            "date": args.date,
            "device": args.device,
            "versions": {name: version(name) for name in names} | {"python": platform.python_version()},
            "simulator": "true",
            "tuning_tasks": args.tuning,
            "budget_of_cem": BUDGET,
            "give_up_of_icem": GIVE_UP,
        }
        args.output.write_text(json.dumps({**about, "runs": runs}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
