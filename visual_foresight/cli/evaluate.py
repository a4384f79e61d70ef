"""`visual-foresight evaluate`: figures of a predictor on recorded episodes, with intervals and baselines."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from typing import Any

HELP = "measure a predictor on recorded episodes: PSNR, SSIM and pixel positions, beside doing nothing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "--model_dir", "--preset", required=True, help="predictor: a directory, a shipped name, or hf://..."
    )
    parser.add_argument("--data_dir", required=True, help="folder or file of episodes; the format is detected")
    parser.add_argument("--context_frames", type=int, help="frames given (default: as the predictor was trained)")
    parser.add_argument(
        "--sequence_length", type=int, help="frames of each episode used (default: the shortest, up to 30)"
    )
    parser.add_argument("--limit", type=int, help="use at most this many episodes")
    parser.add_argument("--batch_size", type=int, default=16, help="episodes computed together; changes no figure")
    parser.add_argument(
        "--preprocess", choices=("seed", "antialias", "none"), help="default: as the predictor was trained"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Evaluates and prints the report."""
    for name in ("limit", "batch_size", "context_frames", "sequence_length"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}")
    from tqdm import tqdm

    from visual_foresight.evaluation import evaluate
    from visual_foresight.formats import find_shards, read_episodes
    from visual_foresight.predictor.predictor import VideoPredictor

    find_shards(args.data_dir)  # a wrong folder is answered before the predictor is loaded
    predictor = VideoPredictor.from_preset(args.model_dir)
    preprocess = args.preprocess or predictor.metadata.get("preprocessing", {}).get("preprocess", "seed")
    reading = read_episodes(
        args.data_dir,
        preprocess=preprocess,
        image_size=predictor.config.image_size,
        use_state=predictor.config.use_state,
        max_frames=args.sequence_length,
    )
    episodes = list(itertools.islice(reading, args.limit))
    with tqdm(total=len(episodes), unit="episode", file=sys.stderr, disable=args.quiet or args.json) as bar:
        report = evaluate(
            predictor,
            episodes,
            context_frames=args.context_frames,
            sequence_length=args.sequence_length,
            batch_size=args.batch_size,
            seed=args.seed,
            on_batch=lambda done: bar.update(done - bar.n),
        )
    report = {"model": str(args.model_dir), "data": str(args.data_dir), "preprocess": preprocess, **report}
    print(json.dumps(report, indent=2) if args.json else as_text(report))
    return 0


def as_text(report: dict[str, Any]) -> str:
    """The report as tables, every figure with its 95 % interval."""
    lines = [
        f"{report['episodes']} episodes, {report['context_frames']} frames given, "
        f"{len(report['steps'])} predicted; mean [95 % bootstrap interval over episodes]",
        "",
        f"{'step':>5}{'PSNR [dB]':>22}{'copy':>8}{'moving region':>22}{'copy':>8}{'SSIM':>22}{'copy':>8}",
    ]
    rows = [(str(index), row) for index, row in enumerate(report["steps"], start=1)] + [("mean", report["mean"])]
    for name, row in rows:
        lines.append(
            f"{name:>5}{_cell(row['psnr'], 2)}{_number(row['copy_psnr'], 2)}{_cell(row['moving_psnr'], 2)}"
            f"{_number(row['copy_moving_psnr'], 2)}{_cell(row['ssim'], 3)}{_number(row['copy_ssim'], 3)}"
        )
    if report["pixels"]:
        lines += [
            "",
            "error of designated pixels [px]: expected distance of the map, distance of its mean and its mode",
        ]
        lines.append(
            f"{'steps':>5}  {'moved':<8}{'seen':<9}{'expected':>22}{'mean':>8}{'mode':>8}{'no motion':>11}{'n':>6}"
        )
    for horizon, bins in report["pixels"].items():
        for motion, places in bins.items():
            for seen, row in places.items():
                others = "".join(_number(row[name], 2) for name in ("mean", "mode"))
                lines.append(
                    f"{horizon:>5}  {_BIN_WORDS[motion]:<8}{seen:<9}{_cell(row['expected'], 2)}{others}"
                    f"{_number(row['no_motion'], 2):>11}{row['expected']['count']:>6}"
                )
    return "\n".join(lines)


_BIN_WORDS = {"still": "< 2 px", "small": "2-5 px", "large": "> 5 px"}


def _cell(interval: dict[str, Any], digits: int) -> str:
    if interval["mean"] is None:
        return f"{'-':>22}"
    text = f"{interval['mean']:.{digits}f} [{interval['low']:.{digits}f}, {interval['high']:.{digits}f}]"
    return f"{text:>22}"


def _number(interval: dict[str, Any], digits: int) -> str:
    return f"{'-':>8}" if interval["mean"] is None else f"{interval['mean']:>8.{digits}f}"
