"""Whether gradients of costs through the network are slopes: beside differences of costs, in random directions.

python benchmarks/slopes.py --preset push_fast push_fast_1 --output slopes.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import visual_foresight as vf
from visual_foresight.planners.objectives import PixelDistance
from visual_foresight.report import versions
from visual_foresight.video_files import write_text

HORIZON, HELD, LARGEST = 9, 3, 1.0  # half of the range of actions


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", nargs="+", default=["push_fast"])
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--candidates", type=int, default=32, help="of each scene")
    parser.add_argument("--directions", type=int, default=4, help="of each candidate")
    parser.add_argument("--step", type=float, default=3e-4, help="length of half a difference, in units of an action")
    parser.add_argument("--output", type=Path, default=None)
    args = parser.parse_args()
    rows = []
    for preset in args.preset:
        simulator = vf.LearnedSimulator.from_preset(preset)  # float32: differences of bfloat16 costs are noise
        pairs = np.concatenate([of_scene(simulator, seed, args) for seed in range(args.scenes)], axis=1)
        rows.append({"preset": preset, **agreement(*pairs)})
        print(rows[-1], flush=True)
    if args.output is not None:
        settings = {name: value for name, value in vars(args).items() if name not in ("output", "preset")}
        write_text(args.output, json.dumps({"settings": settings, "rows": rows, "versions": versions()}))


def of_scene(simulator: Any, seed: int, args: argparse.Namespace) -> np.ndarray:
    """[2, N]: slopes by the gradient, and by differences."""
    env = gymnasium.make("VisualForesight/Push-v0")
    observation, info = env.reset(seed=seed)
    env.close()
    pixel, rng = info["object_pixels"][0], np.random.default_rng(seed)
    size = simulator.predictor.config.action_size
    given = observation["image"][None], np.zeros((0, size), np.float32), observation["state"][None]
    goal = np.clip(pixel + rng.uniform(-12.0, 12.0, 2), 4.0, 60.0)
    cost = simulator.cost_function(simulator.start(*given, pixels=pixel[None]), PixelDistance(goal))
    blocks = rng.uniform(-LARGEST, LARGEST, (args.candidates, HORIZON // HELD, size))
    candidates = np.repeat(blocks, HELD, axis=1)
    gradients = cost.gradient(candidates.astype(np.float32))[1]
    found, expected = [], []
    for _ in range(args.directions):
        direction = np.repeat(rng.normal(size=blocks.shape), HELD, axis=1)
        direction /= np.linalg.norm(direction, axis=(1, 2), keepdims=True)
        sides = (cost.gradient((candidates + sign * args.step * direction).astype(np.float32))[0] for sign in (1, -1))
        expected.append(np.subtract(*(side.astype(np.float64) for side in sides)) / (2 * args.step))
        found.append((gradients * direction).sum((1, 2)))
    return np.stack([np.concatenate(found), np.concatenate(expected)])


def agreement(found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Correlation; the factor that fits best; root of the mean square of what is left, in parts of the slopes' own."""
    error = np.sqrt(np.mean(np.square(found - expected)) / np.mean(np.square(expected)))
    factor = (found * expected).sum() / np.square(expected).sum()
    return {
        "correlation": round(float(np.corrcoef(found, expected)[0, 1]), 4),
        "factor": round(float(factor), 4),
        "relative_error": round(float(error), 4),
    }


if __name__ == "__main__":
    main()
