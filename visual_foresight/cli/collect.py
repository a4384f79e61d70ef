"""`visual-foresight collect`: run policies in the pushing environment and write their episodes."""

from __future__ import annotations

import argparse
import json
import sys

from visual_foresight.cli import QUIET_SECONDS

HELP = "collect episodes of pushing with scripted and random policies, on all cores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("--output", required=True, metavar="DIR", help="directory for the shards and their manifest")
    parser.add_argument("--episodes", type=int, required=True, metavar="N", help="number of episodes")
    parser.add_argument("--steps", type=int, default=20, help="actions of an episode (it has one frame more)")
    parser.add_argument(
        "--policy",
        default="scripted=0.6,smooth=0.3,uniform=0.1",
        help="uniform, smooth, scripted, close, or a mixture by weight",
    )
    parser.add_argument(
        "--split",
        default="train",
        choices=("train", "novel", "varied", "jointed"),
        help="shapes and colours; varied and jointed: drawn anew for every object, jointed with bays and arms",
    )
    parser.add_argument("--num_objects", default="1-3", metavar="N or A-B", help="number of objects, within 1-4")
    parser.add_argument("--image_size", type=int, default=64, help="rows and columns of a frame")
    parser.add_argument("--seed", type=int, default=0, help="decides every episode, whatever the number of workers")
    parser.add_argument("--workers", type=int, default=None, help="processes; one for each core when not given")
    parser.add_argument("--shard_size", type=int, default=100, help="episodes of one file")
    parser.add_argument("--format", default="npz", choices=("npz", "push"), help="format of the files")
    parser.add_argument(
        "--encoding",
        default=None,
        help="of frames; npz: deflate or raw; push: png, jpeg, original or raw (fastest to stream)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue a stopped collection of the same settings, or make it longer"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Collect and report."""
    from tqdm import tqdm

    from visual_foresight.envs.collect import CollectSettings, collect_episodes
    from visual_foresight.video_files import check_output_folder

    settings = CollectSettings(
        episodes=args.episodes,
        steps=args.steps,
        policy=args.policy,
        split=args.split,
        num_objects=parse_range(args.num_objects),
        seed=args.seed,
        shard_size=args.shard_size,
        format=args.format,
        encoding=args.encoding,
        image_size=args.image_size,
    )
    check_output_folder(args.output)
    with tqdm(
        total=settings.episodes,
        unit="episode",
        file=sys.stderr,
        smoothing=0.1,
        dynamic_ncols=True,
        delay=QUIET_SECONDS,
    ) as bar:
        report = collect_episodes(
            args.output, settings, workers=args.workers, resume=args.resume, on_progress=bar.update
        )
    if args.json:
        print(json.dumps(report))
        return 0
    print(f"{report['episodes']} episodes in {report['directory']} ({report['new_episodes']} recorded now)")
    print(
        f"{report['episodes_per_second']:.1f} episodes/s, {report['workers']} workers, "
        f"{report['cores_busy']:.0%} of their cores busy"
    )
    rows = {**report["policies"], "all": report}
    for name, row in rows.items():
        print(
            f"{name:>10}: {row['episodes']:6d} episodes, object moved > 2 cm within 15 steps in "
            f"{row['moved_share']:.1%}, hidden pixels {row['hidden_share']:.2%}, escaped {row['escaped']}"
        )
    return 0


def parse_range(text: str) -> tuple[int, int]:
    """Smallest and largest number from `"2"` or `"1-3"`.

    Raises:
        ValueError: it is neither.
    """
    low, dash, high = text.partition("-")
    try:
        return int(low), int(high if dash else low)
    except ValueError:
        raise ValueError(f"--num_objects must be a number or a range such as 1-3, got {text!r}") from None
