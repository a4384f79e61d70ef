"""How long one batch of candidates takes by how it is imagined.

In parts side by side, as drafts or whole pictures, with weights that are constants of the graph or read from variables.

Every way has a compiled graph of its own, and all are measured in turns:

    python benchmarks/side_by_side.py --precision mixed_bfloat16 --output benchmarks/results/side_by_side.json
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import time
from pathlib import Path

import numpy as np

from visual_foresight import LearnedSimulator, VideoPredictor, constant_weights, unrolling
from visual_foresight.planners.objectives import PixelDistance
from visual_foresight.planners.simulation import cost_function
from visual_foresight.report import versions
from visual_foresight.speed.imagining import scene
from visual_foresight.video_files import write_text


def make_costs(args: argparse.Namespace, candidates: np.ndarray) -> dict:
    """A compiled cost function for each way; each has judged the candidates."""
    costs = {}
    most_weights = constant_weights._MOST_WEIGHTS
    for pictures, weights, count in itertools.product(args.pictures, args.weights, args.parts):
        unrolling._SIDE_BY_SIDE = count  # read when the function is compiled, as the next two
        unrolling._SMALLEST_PART = 1  # of few candidates, too
        constant_weights._MOST_WEIGHTS = most_weights if weights == "constants" else 0
        predictor = VideoPredictor.from_preset(args.preset, dtype=args.precision)
        predictor.backbone.drafts = pictures == "drafts"
        simulator = LearnedSimulator(predictor)
        name = f"{count} parts, {'whole pictures' if pictures == 'whole' else pictures}, {weights}"
        costs[name] = cost_function(simulator, scene(simulator), PixelDistance(np.array([16.0, 16.0])))
        costs[name](candidates)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="push_fast")
    parser.add_argument("--precision", default="mixed_bfloat16", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--parts", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pictures", nargs="+", default=["whole", "drafts"], choices=("whole", "drafts"))
    parser.add_argument("--weights", nargs="+", default=["constants"], choices=("constants", "variables"))
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--horizon", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()

    stride = VideoPredictor.from_preset(args.preset).config.stride
    rng = np.random.default_rng(0)
    candidates = rng.uniform(-1, 1, (args.candidates, args.horizon, 2)).astype(np.float32)
    costs = make_costs(args, candidates)
    seconds: dict[str, list[float]] = {name: [] for name in costs}
    cores: dict[str, list[float]] = {name: [] for name in costs}
    for _ in range(args.rounds):
        for name, cost in costs.items():
            processor, wall = time.process_time(), time.perf_counter()
            cost(candidates)
            seconds[name].append(time.perf_counter() - wall)
            cores[name].append((time.process_time() - processor) / seconds[name][-1])
    leaps = args.candidates * args.horizon // stride
    rows = {
        name: {
            "milliseconds": 1e3 * float(np.median(seconds[name])),
            "milliseconds_a_leap": 1e3 * float(np.median(seconds[name])) / leaps,
            "cores_busy": float(np.median(cores[name])),
        }
        for name in costs
    }
    sizes = {name: getattr(args, name) for name in ("preset", "precision", "candidates", "horizon", "rounds")}
    machine = {"date": datetime.date.today().isoformat(), "load": os.getloadavg()[0], "versions": versions()}
    report = {**machine, **sizes, "stride": stride, "ways": rows}
    print(json.dumps(report, indent=1))
    if args.output:
        write_text(args.output, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
