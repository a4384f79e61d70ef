"""What the code of `docs/robot.md` reaches in earnest: its blocks with `few = False`, then many goals.

python benchmarks/own_robot.py --folder own_robot --tries 20 --output own-robot.json
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.report import versions
from visual_foresight.video_files import write_text

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "robot.md"
REACHED = 2.25  # pixels at 48 x 48: 3 at 64 x 64


def main() -> None:
    """Record, train, control, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("own_robot"), help="for the log and the runs")
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--output", type=Path, default=None)
    args = parser.parse_args()
    output = None if args.output is None else args.output.resolve()
    args.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(args.folder)
    blocks = re.findall(r"<!-- run -->\n```python\n(.*?)^```", DOCUMENT.read_text(), re.S | re.M)
    names: dict[str, Any] = {"__name__": "document"}
    began = time.monotonic()
    for number, block in enumerate(blocks[:4]):  # a robot, record, train, plan
        exec(compile(block.replace("few = True", "few = False"), f"{DOCUMENT.name}, block {number}", "exec"), names)
    rows = []
    for tracking in ("truth", "predicted"):
        ends, seconds = zip(*(attempt(names, seed, tracking) for seed in range(args.tries)), strict=True)
        reached = sum(end < REACHED for end in ends)
        row = {"tracking": tracking, "reached": reached, "of": args.tries}
        figures = {"mean_distance_px": float(np.mean(ends)), "decision_seconds_median": float(np.median(seconds))}
        rows.append({**row, **figures})
        print(rows[-1], flush=True)
    if output is not None:
        found = {"minutes": (time.monotonic() - began) / 60, "rows": rows, "versions": versions()}
        write_text(output, json.dumps(found))


def attempt(names: dict[str, Any], seed: int, tracking: str) -> tuple[float, float]:
    """One goal 5 cm from the disc, 36 steps: distance at the end [px], and median time of a decision [s]."""
    kind, rng = names["Robot"], np.random.default_rng(seed)
    robot = kind(20_000 + seed)
    place = robot.disc
    while place is robot.disc or np.abs(place).max() >= 0.08:
        angle = rng.uniform(0, 2 * np.pi)
        place = robot.disc + 0.05 * np.array([np.cos(angle), np.sin(angle)])
    goal = kind.pixel(place)
    controller = names["MPC"](
        names["simulator"],
        names["planner"],
        names["towards"](goal),
        action_space=names["box"],
        rng=seed,
        replan_interval=3,
        stop_distance=1.2,
        context_frames=1,
        tracking=tracking,
    )
    for step in range(36):
        told = tracking == "truth" or step == 0
        robot.move(controller.act(robot.observe(), pixels=[kind.pixel(robot.disc)] if told else None))
    return float(np.linalg.norm(kind.pixel(robot.disc) - goal)), float(np.median(controller.decision_seconds))


if __name__ == "__main__":
    main()
