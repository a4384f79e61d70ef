"""How long a gradient step of a planning predictor takes, as its card trains it, and what followed points cost.

Steps with and without `--follow_weight`, in both precisions, on batches of noise, in turns:

    python benchmarks/training_step.py --preset push_fast --output benchmarks/results/training_step.json
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight import VideoPredictor
from visual_foresight.backend import trains_through_xla
from visual_foresight.report import versions
from visual_foresight.speed.measurement import timed_together
from visual_foresight.train import TrainingConfig
from visual_foresight.train.model import TrainingModel
from visual_foresight.train.trainer import make_optimizer
from visual_foresight.video_files import write_text


def make_step(args: argparse.Namespace, precision: str, follow_weight: float) -> Any:
    """A function that makes one step of the preset's own training, on a batch of noise."""
    predictor = VideoPredictor.from_preset(args.preset, dtype=precision)
    network, count = predictor.config, args.batch_size
    settings = TrainingConfig(
        batch_size=count,
        context_frames=network.context_frames,
        stride=network.stride,
        sequence_length=args.leaps * network.stride + network.context_frames,
        motion_weight=4.0,
        coarse_weight=10.0,
        state_weight=5.0,
        follow_weight=follow_weight,
        gradient_clip=1.0,
        learning_rate=1e-4,
    )
    model = TrainingModel(predictor, settings)
    model.compile(optimizer=make_optimizer(settings), jit_compile=trains_through_xla())
    rng = np.random.default_rng(0)
    moments = args.leaps + network.context_frames
    actions = (count, moments - 1, network.stride, network.action_size)
    batch = {
        "frames": rng.integers(0, 256, (count, moments, *network.image_size, 3), dtype=np.uint8),
        "actions": (0.02 * rng.normal(size=actions if network.stride > 1 else actions[:2] + actions[3:])).astype("f4"),
        "states": (0.1 * rng.normal(size=(count, moments, network.state_size))).astype("f4"),
    }
    if follow_weight:
        batch["points"] = rng.integers(4, 60, (count, args.points, 2)).astype("f4")
    return lambda: model.train_on_batch(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="push_fast")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--leaps", type=int, default=3)
    parser.add_argument("--points", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()

    ways = [(precision, weight) for precision in ("float32", "mixed_bfloat16") for weight in (0.0, 0.01)]
    times = timed_together([make_step(args, *way) for way in ways], repeats=args.repeats, warmup=2)
    rows = [
        {
            "precision": precision,
            "followed_points": args.points if weight else 0,
            "milliseconds_median": round(1e3 * float(np.median(seconds)), 1),
            "milliseconds_p95": round(1e3 * float(np.percentile(seconds, 95)), 1),
        }
        for (precision, weight), seconds in zip(ways, times, strict=True)
    ]
    for row in rows:
        print(json.dumps(row))
    settings = {name: getattr(args, name) for name in ("preset", "batch_size", "leaps", "points", "repeats")}
    report = {"date": datetime.date.today().isoformat(), **settings, "rows": rows, "versions": versions()}
    if args.output:
        write_text(args.output, json.dumps(report, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
