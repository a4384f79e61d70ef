"""Where a predictor puts objects under true actions: the position table of a preset's card.

For every object whose centre is visible at the start (frames 0 and 5 of each episode) and at the end: the mean of its
map after some steps, from one given frame. Its error is split into a part along the true motion (below 0: fell short)
and one across. Objects are sorted by how far they really moved, so the part along looks shorter than it is;
`by_predicted` sorts by how far they were predicted to move, and looks the other way.

    python benchmarks/positions.py --preset push_fast --data_dir data/val_seen data/val_novel --output positions.json
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight import LearnedSimulator, VideoPredictor, read_episodes
from visual_foresight.benchmark.simulators import DTYPES
from visual_foresight.cli.control import weights_digest
from visual_foresight.planners.objectives import expected_pixels
from visual_foresight.report import versions
from visual_foresight.video_files import write_text

STARTS, NUM_STEPS, REPORTED = (0, 5), 15, (3, 6, 9, 15)
BINS = {"still": (0.0, 2.0), "2-5 px": (2.0, 5.0), "> 5 px": (5.0, np.inf)}


def moves_of(simulator: LearnedSimulator, episode: Any, draft: bool) -> list[tuple]:
    """Rows (steps, true motion, predicted motion, share of the map that stayed, error of the mode) of an episode."""
    pixels, hidden, present = (np.asarray(episode.extras[f"object_{name}"]) for name in ("pixels", "hidden", "present"))
    every, rows = simulator.stride, []
    for start in STARTS:
        seen = [
            index
            for index in np.flatnonzero(present[start])
            if not hidden[start, index] and (pixels[start, index] >= 0).all() and (pixels[start, index] <= 63).all()
        ]
        if not seen:
            continue
        begin = simulator.start(
            episode.frames[start][None], states=episode.states[start][None], pixels=pixels[start, seen]
        )
        actions = episode.actions[start : start + NUM_STEPS][None].astype(np.float32)
        options = {"every": every, "draft": True} if draft else {"every": every}
        rollout = simulator.rollout(begin, actions, outputs=("pixel_distributions",), **options).to_numpy()
        maps = rollout.pixel_distributions[0]  # [T', P, H, W]
        means = expected_pixels(maps)
        for steps in REPORTED:
            for place, index in enumerate(seen):
                if hidden[start + steps, index]:
                    continue
                at = steps // every - 1
                here, there = pixels[start, index], pixels[start + steps, index]
                mode = np.array(np.unravel_index(maps[at, place].argmax(), maps.shape[2:]))
                rows.append((steps, *(there - here), *(means[at, place] - here), np.linalg.norm(mode - there)))
    return rows


def summarise(rows: np.ndarray) -> dict[str, Any]:
    """Errors [px] by steps and by how far objects moved."""
    table: dict[str, Any] = {}
    for steps in REPORTED:
        chosen = rows[rows[:, 0] == steps]
        true, predicted, mode = chosen[:, 1:3], chosen[:, 3:5], chosen[:, 5]
        for name, (low, high) in BINS.items():
            of_true, of_predicted = (
                (np.linalg.norm(motion, axis=1) >= low) & (np.linalg.norm(motion, axis=1) < high)
                for motion in (true, predicted)
            )
            along, across = _split(predicted[of_true] - true[of_true], true[of_true])
            short, _ = _split(true[of_predicted] - predicted[of_predicted], predicted[of_predicted])
            table[f"{steps} steps, {name}"] = {
                "count": int(of_true.sum()),
                "error": _mean(np.linalg.norm(predicted - true, axis=1)[of_true]),
                "no_motion": _mean(np.linalg.norm(true, axis=1)[of_true]),
                "mode_error": _mean(mode[of_true]),
                "along": _mean(along),
                "along_deviation": _deviation(along),
                "across_deviation": _deviation(across),
                "by_predicted": {"count": int(of_predicted.sum()), "true_beyond_predicted": _mean(short)},
            }
    return table


def _split(errors: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    direction = motion / np.maximum(np.linalg.norm(motion, axis=1, keepdims=True), 1e-9)
    along = (errors * direction).sum(axis=1)
    return along, errors[:, 0] * direction[:, 1] - errors[:, 1] * direction[:, 0]


def _mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 3) if len(values) else None


def _deviation(values: np.ndarray) -> float | None:
    return round(float(values.std()), 3) if len(values) else None


def main() -> None:
    """Measure every data set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="push_fast")
    parser.add_argument("--data_dir", nargs="+", required=True)
    parser.add_argument("--precision", default="float32", choices=DTYPES)
    parser.add_argument("--draft", action="store_true", help="ask as planners ask, at half the resolution")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    simulator = LearnedSimulator(VideoPredictor.from_preset(args.preset, dtype=DTYPES[args.precision]))
    if any(steps % simulator.stride for steps in REPORTED):
        raise SystemExit(f"error: {args.preset} leaps over {simulator.stride} steps; {REPORTED} are no ends of leaps")
    report: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "preset": str(args.preset),
        "weights_sha256": weights_digest(args.preset),
        "precision": args.precision,
        "draft": args.draft,
        "versions": versions(),
        "sets": {},
    }
    for folder in args.data_dir:
        rows = [row for episode in read_episodes(folder) for row in moves_of(simulator, episode, args.draft)]
        table = summarise(np.array(rows, np.float64))
        report["sets"][Path(folder).name] = table
        for name, row in table.items():
            print(f"{Path(folder).name:<12}{name:<18}{row['count']:>5}  error {row['error']}  along {row['along']}")
    if args.output:
        write_text(args.output, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
