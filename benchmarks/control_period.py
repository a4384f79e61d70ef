"""Whether the control period is kept: `MPC`, which plans while the robot waits, against `AsynchronousMPC`.

Tasks of a set are executed in real time: each control step is due one period after the last. A step is late when its
action comes more than a tenth of a period after that. Both controllers share predictor, objective and planner:

    python benchmarks/control_period.py --period_ms 100 --latency_steps 5 --tasks 10 --output result.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from visual_foresight.benchmark.methods import goal_pixel, make_controller, pixel_objective
from visual_foresight.benchmark.settings import ControlSettings
from visual_foresight.benchmark.simulators import make_simulator
from visual_foresight.benchmark.statistics import wilson_interval
from visual_foresight.cli.control import load_tasks
from visual_foresight.envs.tasks import SUCCESS_PIXELS
from visual_foresight.planners import AsynchronousMPC
from visual_foresight.report import versions
from visual_foresight.video_files import write_text


def make_asynchronous(
    env: Any, task: Any, mpc: Any, settings: ControlSettings, *, latency_steps: int, period_ms: float
) -> AsynchronousMPC:
    """The controller that thinks while it acts, with everything else of `mpc`."""
    return AsynchronousMPC(
        mpc.simulator,
        mpc.planner,
        pixel_objective(env.camera, goal_pixel(env, task), settings),
        action_space=env.action_space,
        rng=0,
        latency_steps=latency_steps,
        period_ms=period_ms,
        context_frames=mpc.context_frames,
        stop_distance=mpc.stop_distance,
    )


def run(environment: Any, controller: Any, task: Any, steps: int, period: float) -> tuple[float, list[float]]:
    """One task in real time: (final distance [px], how late each action was [s])."""
    observation, info = environment.reset(options={"task": task})
    delays, due = [], time.perf_counter()
    for _ in range(steps):
        action = controller.act(observation, pixels=info["object_pixels"][task.object_index][None])
        now = time.perf_counter()
        delays.append(max(0.0, now - due))
        observation, _, _, _, info = environment.step(action)
        due = max(due, now) + period
        time.sleep(max(0.0, due - time.perf_counter()))
    goal = goal_pixel(environment.unwrapped, task)
    return float(np.linalg.norm(info["object_pixels"][task.object_index] - goal)), delays


def summary(distances: list[float], delays: list[list[float]], period: float) -> dict[str, Any]:
    late = np.concatenate(delays)
    reached = int(np.sum(np.array(distances) <= SUCCESS_PIXELS))
    low, high = wilson_interval(reached, len(distances))
    return {
        "reached": reached,
        "tasks": len(distances),
        "interval": [low, high],
        "late_share": float(np.mean(late > 0.1 * period)),
        "delay_milliseconds": {"p50": 1e3 * float(np.median(late)), "p95": 1e3 * float(np.quantile(late, 0.95)),
                               "max": 1e3 * float(late.max())},
        "seconds_an_episode": float(np.mean([sum(each) + period * len(each) for each in delays])),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task_set", default="push-seen-v1")
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--preset", default="push_fast")
    parser.add_argument("--precision", default="mixed_bfloat16")
    parser.add_argument("--period_ms", type=float, default=100.0)
    parser.add_argument("--latency_steps", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30, help="of MPC; the other has its latency on top")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()

    environment = gymnasium.make("VisualForesight/Push-v0")
    env: Any = environment.unwrapped
    simulator = make_simulator("learned", environment, args.preset, dtype=args.precision)
    settings, period = ControlSettings(), args.period_ms / 1e3
    whole_set = load_tasks(args.task_set, episodes=None, seed=0, split="train")
    tasks = [whole_set[index] for index in range(min(args.tasks, len(whole_set)))]
    results: dict[str, Any] = {}
    for name in ("MPC", "AsynchronousMPC"):
        distances, delays = [], []
        for number, task in enumerate(tasks):
            environment.reset(options={"task": task})
            mpc = make_controller(env, simulator, goal_pixel(env, task), task.object_index, settings, 0, task=task)
            if name == "MPC":
                controller, steps = mpc, args.steps
            else:
                controller = make_asynchronous(
                    env, task, mpc, settings, latency_steps=args.latency_steps, period_ms=args.period_ms
                )
                steps = args.steps + args.latency_steps
            if number == 0:  # compiles
                run(environment, controller, task, 2 * args.latency_steps + 2, 0.0)
                controller.reset(0)
            distance, late = run(environment, controller, task, steps, period)
            distances.append(distance)
            delays.append(late)
            print(f"{name}, task {number + 1} of {len(tasks)}: {distance:.1f} px from the goal", file=sys.stderr)
            if name != "MPC":
                controller.close()
        results[name] = summary(distances, delays, period)
        print(name, json.dumps(results[name]))
    settings_used = {key: value for key, value in vars(args).items() if key != "output"}
    machine = {"date": datetime.date.today().isoformat(), "load": os.getloadavg()[0], "versions": versions()}
    report = {**machine, **settings_used, "controllers": results}
    if args.output:
        write_text(args.output, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
