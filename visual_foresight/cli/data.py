"""`visual-foresight data inspect|validate|convert|download`: look at, check, convert and fetch data sets."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from visual_foresight.cli.unread import refuse_unread

HELP = "inspect, validate, convert or download data sets"

EXIT_FAULTS = 1
_SHEET_FRAMES = 8
_SHEET_EPISODES = 6
_SHEET_PIXELS = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the four actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="inspect|validate|convert|download")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text)

    inspect = add("inspect", "print what a data set holds")
    _add_source(inspect)
    inspect.add_argument("--max_episodes", type=int, help="look at so many episodes only")
    inspect.add_argument("--picture", type=Path, help="write a contact sheet of the first episodes to this PNG file")
    inspect.add_argument("--skip_bad", action="store_true", help="pass over damaged records and count them")

    validate = add("validate", "read every record and name each fault; exit code 1 if any")
    _add_source(validate)
    validate.add_argument("--sequence_length", type=int, help="count shorter episodes as faults")
    validate.add_argument("--max_faults", type=int, default=100, help="print so many faults; the rest is counted")
    validate.add_argument("--skip_bad", action="store_true", help="exit code 0 if any record is good")

    convert = add("convert", "write any data set as push TFRecords or npz")
    _add_source(convert)
    convert.add_argument("destination", type=Path, help="a file (.npz, .tfrecord) or a folder for several")
    convert.add_argument("--to", choices=("push", "npz"), help="format to write; the destination's suffix tells too")
    convert.add_argument("--encoding", help="push: png, jpeg, original (JPEG 640x512) or raw; npz: deflate or raw")
    convert.add_argument("--quality", type=int, default=95, help="JPEG quality")
    convert.add_argument("--episodes_per_file", type=int, default=256, help="episodes in each file of a folder")
    convert.add_argument("--max_frames", type=int, help="keep only the first so many frames of each episode")
    convert.add_argument("--skip_bad", action="store_true", help="pass over damaged records and count them")
    convert.add_argument("--overwrite", action="store_true", help="replace a destination that exists")

    download = add("download", "fetch a published data set, resuming where it stopped")
    which = "push: Google's robot pushes; bair: softmotion of Berkeley"
    download.add_argument("dataset", choices=("push", "bair"), help=which)
    download.add_argument("destination", type=Path, help="folder to fetch into")
    download.add_argument("--split", action="append", default=[], help="push: train, testseen or testnovel; repeatable")
    download.add_argument("--max_files", type=int, help="only the first so many files of each split")
    download.add_argument("--address", help="fetch from this mirror instead")
    download.add_argument("--keep_archive", action="store_true", help="bair: keep the archive after unpacking it")
    for each in actions.choices.values():
        each.add_argument("--json", action="store_true", help="print machine-readable JSON")


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="a file or folder of episodes")
    parser.add_argument("--format", help="format of the data; recognised when not given")
    parser.add_argument("--image_size", type=_size, help="resize to SIDE or HEIGHTxWIDTH pixels; needs --preprocess")
    parser.add_argument(
        "--preprocess",
        choices=("seed", "antialias", "none"),
        help="seed: crop and bicubic as the original; antialias: crop and average (better for new models)",
    )
    parser.add_argument("--camera", help="bair, robonet, visual_foresight, lerobot: the camera to read")
    parser.add_argument("--stored_size", type=_size, help="bair, visual_foresight: size of the raw pictures")


def _size(text: str) -> tuple[int, int]:
    """Parse `64` or `48x64`."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"expected SIDE or HEIGHTxWIDTH in pixels, got {text!r}")
    return int(parts[0]), int(parts[-1])


def run(args: argparse.Namespace) -> int:
    """Do the chosen action."""
    actions = {"inspect": _inspect, "validate": _validate, "convert": _convert, "download": _download}
    return actions[args.action](args)


def _options(args: argparse.Namespace) -> Any:
    from visual_foresight.formats import ReadOptions

    preprocess = args.preprocess or "none"
    if args.image_size and preprocess == "none":
        raise ValueError(
            "--image_size needs --preprocess=seed (as the original: aliased) or --preprocess=antialias (averaged): "
            "the two give different pictures, and a predictor must be used with the one it was trained on"
        )
    if preprocess != "none" and not args.image_size:
        raise ValueError(f"--preprocess={preprocess} needs --image_size, for instance --image_size=64")
    settings = {name: getattr(args, name) for name in ("camera", "stored_size") if getattr(args, name) is not None}
    max_frames = getattr(args, "max_frames", None)
    return ReadOptions(preprocess, args.image_size or (64, 64), True, max_frames, settings=settings)


def _progress(description: str) -> Any:
    from tqdm import tqdm

    return tqdm(desc=description, unit=" episodes", disable=not sys.stderr.isatty())


def _inspect(args: argparse.Namespace) -> int:
    import numpy as np

    from visual_foresight.formats.inspection import summarise

    if args.picture and args.picture.suffix.lower() != ".png":
        raise ValueError(f"--picture {args.picture} must name a PNG file (*.png)")
    if args.picture:
        from visual_foresight.video_files import check_own_file

        check_own_file(args.picture, "data inspect")
    sheet: list[np.ndarray] = []

    with _progress("inspecting") as bar:

        def look(episode: Any) -> None:
            bar.update()
            if args.picture and len(sheet) < _SHEET_EPISODES:
                sheet.append(episode.frames[np.linspace(0, episode.num_frames - 1, _SHEET_FRAMES).round().astype(int)])

        summary = summarise(
            args.path,
            format=args.format,
            options=_options(args),
            max_episodes=args.max_episodes,
            skip_bad=args.skip_bad,
            on_episode=look,
        )
    if args.picture:
        _write_sheet(args.picture, sheet)
    if args.json:
        print(json.dumps(asdict(summary)))
    else:
        print("\n".join(_summary_lines(summary)))
        if args.picture:
            print(f"contact sheet: {args.picture}")
    return 0


def _write_sheet(path: Path, rows: list[Any]) -> None:
    import numpy as np

    from visual_foresight.pictures import contact_sheet
    from visual_foresight.video_files import write_png

    same = [row for row in rows if row.shape == rows[0].shape]
    step = max(1, rows[0].shape[1] // _SHEET_PIXELS)
    write_png(path, contact_sheet(np.concatenate(same)[:, ::step, ::step], columns=_SHEET_FRAMES))


def _summary_lines(summary: Any) -> list[str]:
    def sizes(counts: dict[str, int]) -> str:
        if len(counts) == 1:
            return next(iter(counts)).replace("None", "none")
        return ", ".join(f"{size.replace('None', 'none')} ({count} episodes)" for size, count in counts.items())

    lines = [
        f"format:      {summary.format}",
        f"files:       {summary.num_files} ({summary.num_bytes / 2**20:.1f} MiB)",
        f"episodes:    {summary.num_episodes}",
        f"frames:      {summary.num_frames} ({summary.shortest} to {summary.longest} an episode)",
        f"image size:  {sizes(summary.image_sizes)}",
        f"action size: {sizes(summary.action_sizes)}",
        f"state size:  {sizes(summary.state_sizes)}",
    ]
    for kind in ("action", "state") if summary.statistics else ():
        for measure in ("mean", "deviation"):
            shown = [f"{value:.4g}" for value in summary.statistics[f"{kind}_{measure}"]]
            if measure == "deviation":
                # Stored as 1, so that dividing by it does nothing; to a reader that would look like a deviation.
                shown = ["constant" if index in summary.constant[kind] else each for index, each in enumerate(shown)]
            if shown:
                lines.append(f"{kind} {measure}: " + " ".join(shown))
    if summary.extras:
        lines.append("extras:      " + ", ".join(f"{name} {what}" for name, what in summary.extras.items()))
    if summary.metadata:
        lines.append("metadata:    " + ", ".join(summary.metadata))
    if summary.faults:
        lines.append(f"skipped:     {len(summary.faults)} damaged records (validate names them)")
    return lines


def _validate(args: argparse.Namespace) -> int:
    from visual_foresight.formats.inspection import Misfit, find_faults

    if args.max_faults < 0:
        raise ValueError(f"--max_faults must not be negative, got {args.max_faults}")
    good, faults = 0, []
    with _progress("validating") as bar:

        def count(_: Any) -> None:
            nonlocal good
            good += 1
            bar.update()

        found = find_faults(
            args.path,
            format=args.format,
            options=_options(args),
            sequence_length=args.sequence_length,
            on_episode=count,
        )
        for fault in found:
            faults.append(fault)
            if not args.json and len(faults) <= args.max_faults:
                bar.write(str(fault), file=sys.stdout)
    if args.json:
        listed = [{"file": str(each.file), "record": each.record, "message": each.message} for each in faults]
        print(json.dumps({"good": good, "faults": listed}))
    elif faults:
        misfits = sum(isinstance(fault, Misfit) for fault in faults)
        advice = " (skipped)" if args.skip_bad else _advice(len(faults) - misfits, misfits)
        print(f"{good} episodes are in order, {len(faults)} are not{advice}")
    else:
        print(f"{good} episodes are in order")
    if faults and args.skip_bad and good:
        return 0
    return EXIT_FAULTS if faults or not good else 0


def _advice(damaged: int, misfits: int) -> str:
    """What mends so many damaged records, and what does not mend episodes that are whole but do not fit."""
    if not damaged:
        return f"; the {misfits} can be read, but do not fit: convert would keep them"
    kept = f" and keeps the {misfits} that do not fit" if misfits else ""
    return f"; convert --skip_bad leaves out the {damaged} that cannot be read{kept}"


def _convert(args: argparse.Namespace) -> int:
    from visual_foresight.formats.conversion import convert

    if args.encoding not in ("jpeg", "original"):
        refuse_unread(args, ("quality",), "only --encoding jpeg and original lose anything")
    if {".npz", ".tfrecord"} & set(args.destination.suffixes):
        refuse_unread(args, ("episodes_per_file",), f"{args.destination} is one file")
    with _progress("converting") as bar:
        report = convert(
            args.path,
            args.destination,
            to=args.to,
            source_format=args.format,
            options=_options(args),
            encoding=args.encoding,
            quality=args.quality,
            episodes_per_file=args.episodes_per_file,
            skip_bad=args.skip_bad,
            overwrite=args.overwrite,
            on_episode=lambda _: bar.update(),
        )
    if args.json:
        print(json.dumps(asdict(report)))
        return 0
    print(
        f"wrote {report.num_episodes} episodes ({report.num_frames} frames) from {report.source_format} to "
        f"{len(report.files)} {report.format} file(s): {args.destination}"
    )
    if report.skipped:
        print(f"skipped {len(report.skipped)} damaged records:")
        print("\n".join(f"  {fault}" for fault in report.skipped))
    return 0


def _download(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from visual_foresight.formats.download import extract_tar, fetch, published_files

    files = published_files(args.dataset, splits=args.split, max_files=args.max_files, address=args.address)
    paths = []
    for file in files:
        path = args.destination / file.name
        if not path.exists():
            with tqdm(desc=path.name, unit="B", unit_scale=True, disable=not sys.stderr.isatty()) as bar:

                def show(have: int, total: int | None, bar: Any = bar) -> None:
                    bar.total = total
                    bar.update(have - bar.n)

                fetch(file, path, on_progress=show)
        if path.suffix == ".tar":
            extract_tar(path, args.destination)
            if not args.keep_archive:
                path.unlink()
        paths.append(str(path))
    if args.json:
        print(json.dumps({"files": paths}))
    else:
        print(f"{len(paths)} file(s) in {args.destination}")
    return 0
