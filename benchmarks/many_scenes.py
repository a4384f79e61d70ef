"""Costs of candidates of many scenes: one call of the network for all of them, beside one for each scene, in turns.

python benchmarks/many_scenes.py --scenes 8 --candidates 16 32 64 100 --output many-scenes.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import gymnasium
import numpy as np

import visual_foresight as vf
from visual_foresight.planners.objectives import PixelDistance
from visual_foresight.report import versions
from visual_foresight.simulator import SimulatorStart
from visual_foresight.video_files import write_text

HORIZON = 9


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="push_fast")
    parser.add_argument("--precision", default="mixed_bfloat16", help="Keras dtype policy")
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--candidates", type=int, nargs="+", default=[16, 32, 64, 100], help="of each scene")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, default=None)
    args = parser.parse_args()
    simulator = vf.LearnedSimulator.from_preset(args.preset, dtype=args.precision)
    starts = scenes(simulator, args.scenes)
    objectives = [PixelDistance(np.array([20.0 + 2 * index, 40.0])) for index in range(args.scenes)]
    together = simulator.cost_function(SimulatorStart.stack(starts), objectives)
    alone = [simulator.cost_function(*pair) for pair in zip(starts, objectives, strict=True)]
    rng = np.random.default_rng(0)
    rows = []
    for count in args.candidates:
        shape = (args.scenes, count, HORIZON, simulator.predictor.config.action_size)
        candidates = rng.uniform(-1.0, 1.0, shape).astype(np.float32)
        works = {
            "together": lambda given=candidates: together(given),
            "alone": lambda given=candidates: np.stack([cost(own) for cost, own in zip(alone, given, strict=True)]),
        }
        difference = np.abs(works["together"]() - works["alone"]()).max()  # compiles
        seconds: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(args.repeats):
            for name, work in works.items():
                began = time.perf_counter()
                work()
                seconds[name].append(time.perf_counter() - began)
        row = {f"{name}_ms": round(1e3 * float(np.median(times)), 1) for name, times in seconds.items()}
        rows.append({"candidates": count, **row, "largest_difference_of_costs_px": float(difference)})
        print(rows[-1], flush=True)
    if args.output is not None:
        settings = {name: value for name, value in vars(args).items() if name != "output"}
        result = {"settings": settings, "horizon": HORIZON, "rows": rows, "versions": versions()}
        write_text(args.output, json.dumps(result) + "\n")


def scenes(simulator: vf.LearnedSimulator, count: int) -> list[SimulatorStart]:
    """First moments of the pushing environment, with one designated pixel."""
    env = gymnasium.make("VisualForesight/Push-v0")
    starts = []
    for seed in range(count):
        observation, _ = env.reset(seed=seed)
        arguments = {"states": observation["state"][None], "pixels": [(30.0, 30.0)]}
        starts.append(simulator.start(observation["image"][None], **arguments))
    env.close()
    return starts


if __name__ == "__main__":
    main()
