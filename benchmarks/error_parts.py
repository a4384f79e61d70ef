"""Where the error of predicted frames lies: on the arm, on what it uncovers, on objects; and what each part costs.

For `VisualForesight/Push-v0`: the boom is white, its tip magenta, the table is what most frames show at a pixel. Of the
pixels that `evaluate` counts as moving, each part's share of the squared error, and the PSNR that the predictor would
have if that part were perfect:

    python benchmarks/error_parts.py --model_dir push_fast runs/seed/best --data_dir data/val_seen --output parts.json
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight import VideoPredictor, metrics, read_episodes
from visual_foresight.backend import compile_function
from visual_foresight.episode import Episode
from visual_foresight.evaluation import _truth
from visual_foresight.replay import replay
from visual_foresight.report import versions
from visual_foresight.video_files import write_text

GIVEN, LENGTH = 2, 16
TABLE, WHITE = 0.06, 0.55


def predicted_frames(predictor: VideoPredictor, episodes: list[Episode]) -> np.ndarray:
    """[N, LENGTH - GIVEN, H, W, 3]: from the true actions, each frame fed to the next."""
    context = predictor.config.context_frames
    if context > GIVEN:
        raise SystemExit(f"error: the predictor needs {context} frames, {GIVEN} are given")
    return replay(predictor, compile_function(predictor.step, model=predictor), episodes, GIVEN).frames


def parts_of(truth: np.ndarray, now: np.ndarray) -> dict[str, np.ndarray]:
    """Masks [N, P, H, W] that cover all pixels: what true frames [N, P, H, W, 3] show there."""
    table = np.median(truth.reshape(-1, *truth.shape[2:]), axis=0)
    is_table = np.abs(truth - table).max(axis=-1) < TABLE
    was_table = (np.abs(now - table).max(axis=-1) < TABLE)[:, None]
    red, green, blue = np.moveaxis(truth, -1, 0)
    boom = ~is_table & (truth.min(axis=-1) > WHITE)
    tip = ~is_table & ~boom & (red > green + 0.15) & (blue > green + 0.08)
    return {
        "boom": boom,
        "tip": tip,
        "objects, edges and shadows": ~is_table & ~boom & ~tip,
        "table that was hidden": is_table & ~was_table,
        "table that was seen": is_table & was_table,
    }


def moving_psnr(truth: np.ndarray, predicted: np.ndarray, moving: np.ndarray) -> float:
    """Mean over frames that move of the PSNR [dB] of their moving pixels, as `evaluate` has it."""
    return float(np.nanmean(metrics.masked_psnr(truth, predicted, moving)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_dir", nargs="+", default=["push_fast"], help="presets or folders")
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()

    episodes = [episode.window(0, LENGTH) for episode in itertools.islice(read_episodes(args.data_dir), args.episodes)]
    truth, now, moving = _truth(episodes, GIVEN)
    parts = parts_of(truth, now[:, 0])
    report: dict[str, Any] = {"date": datetime.date.today().isoformat(), "episodes": len(episodes), "models": {}}
    report["pixels"] = {name: round(float((mask & moving).sum() / moving.sum()), 4) for name, mask in parts.items()}
    print("pixels", json.dumps(report["pixels"]))
    for name in args.model_dir:
        predictor = VideoPredictor.from_preset(name)
        predicted = predicted_frames(predictor, episodes)
        errors = np.square(predicted - truth).mean(axis=-1)
        total = errors[moving].sum()
        report["models"][name] = figures = {
            "psnr_moving": round(moving_psnr(truth, predicted, moving), 2),
            "share_of_error": {
                part: round(float(errors[mask & moving].sum() / total), 3) for part, mask in parts.items()
            },
            "psnr_if_perfect": {
                part: round(moving_psnr(truth, np.where(mask[..., None], truth, predicted), moving), 2)
                for part, mask in parts.items()
            },
        }
        print(name, json.dumps(figures))
    if args.output:
        write_text(args.output, json.dumps({**report, "versions": versions()}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
