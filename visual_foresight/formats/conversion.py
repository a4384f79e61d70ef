"""Converting a data set of any format to one that is written here, complete or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from visual_foresight.episode import Episode
from visual_foresight.formats import Fault, ReadOptions, ShardWriter, find_shards, read_shard, writable_format
from visual_foresight.output_files import naming_file
from visual_foresight.video_files import check_output_folder, replace_folder
from visual_foresight.wording import some_of

__all__ = ["Conversion", "convert"]

_OWN_NAME = re.compile(r"episodes-\d{5,}\.(npz|tfrecords?)")

PathLike = str | os.PathLike[str]


@dataclass
class Conversion:
    """What a conversion did."""

    source_format: str
    format: str
    files: list[str] = field(default_factory=list)
    num_episodes: int = 0
    num_frames: int = 0
    skipped: list[str] = field(default_factory=list)


def convert(
    source: PathLike,
    destination: PathLike,
    *,
    to: str | None = None,
    source_format: str | None = None,
    options: ReadOptions | None = None,
    encoding: str | None = None,
    quality: int = 95,
    episodes_per_file: int = 256,
    skip_bad: bool = False,
    overwrite: bool = False,
    on_episode: Callable[[Episode], None] | None = None,
) -> Conversion:
    """Read episodes and write them in another format.

    Args:
        source: A file or folder of any format.
        destination: A file name that ends in the format's suffix (one file), else a folder (several files).
        to: "push" or "npz"; None takes it from the suffix of `destination`.
        source_format: Name of the source's format; None recognises it.
        options: How to read; the stored size unless told.
        encoding: How frames are stored; see `write_episodes`.
        quality: JPEG quality.
        episodes_per_file: Episodes in each file of a folder.
        skip_bad: Pass over damaged records and list them; else the first one ends the conversion.
        overwrite: Replace a destination that exists: a file of that format, or a folder of nothing but what a
            conversion wrote.
        on_episode: Called with each episode that was written.

    Raises:
        FileNotFoundError: There is no source.
        FileExistsError: The destination exists.
        ValueError: An argument is wrong, a record is damaged, there is no episode, or the destination holds something
            else than episodes.
    """
    destination = Path(destination)
    to = to or _format_of(destination)
    suffix = writable_format(to).suffix
    _require_fitting_name(destination, to, suffix)
    name, shards = find_shards(source, format=source_format)
    if episodes_per_file < 1:
        raise ValueError(f"episodes_per_file must be at least 1, got {episodes_per_file}")
    _require_apart(Path(source), shards, destination, suffix)
    if destination.exists() and not overwrite and not (destination.is_dir() and not any(destination.iterdir())):
        raise FileExistsError(f"{destination} exists: choose another name or pass --overwrite")
    _require_replaceable(destination, suffix)
    check_output_folder(destination.parent)
    report = Conversion(name, to)
    episodes = _episodes(name, shards, options or ReadOptions(preprocess="none"), skip_bad, report, on_episode)
    writing: dict[str, Any] = {"format": to, "encoding": encoding, "quality": quality}
    if suffix in destination.name:
        with ShardWriter(destination, **writing) as shard:
            for episode in episodes:
                shard.add(episode)
            _require_some(report, source)
        report.files.append(str(destination))
    else:
        _write_folder(destination, episodes, writing, suffix, episodes_per_file, report, source)
    return report


def _format_of(destination: Path) -> str:
    if destination.suffix == ".npz":
        return "npz"
    if ".tfrecord" in destination.name:
        return "push"
    raise ValueError(f"name the format to write with --to=push or --to=npz: the suffix of {destination} does not tell")


def _episodes(
    name: str,
    shards: list[Path],
    options: ReadOptions,
    skip_bad: bool,
    report: Conversion,
    on_episode: Callable[[Episode], None] | None,
) -> Iterator[Episode]:
    for shard in shards:
        for record in read_shard(name, shard, options):
            if isinstance(record, Fault):
                if not skip_bad:
                    raise ValueError(f"{record} (pass over such records with --skip_bad)")
                report.skipped.append(str(record))
                continue
            height, width = record.image_size
            # A predictor must know how its pictures were made small: the two ways differ visibly.
            origin = {"format": name, "preprocess": options.preprocess, "image_size": [height, width]}
            yield replace(record, metadata={**record.metadata, "converted_from": origin})
            report.num_episodes += 1
            report.num_frames += record.num_frames
            if on_episode is not None:
                on_episode(record)


def _write_folder(
    destination: Path,
    episodes: Iterator[Episode],
    writing: dict[str, Any],
    suffix: str,
    episodes_per_file: int,
    report: Conversion,
    source: PathLike,
) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    with naming_file(destination):
        temporary = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", suffix=".partial", dir=destination.parent))
    try:
        with naming_file(destination, temporary):
            names = _write_shards(temporary, episodes, writing, suffix, episodes_per_file)
            _require_some(report, source)
            temporary.chmod(0o755)
            replace_folder(temporary, destination)
        report.files += [str(destination / name) for name in names]
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_shards(
    folder: Path, episodes: Iterator[Episode], writing: dict[str, Any], suffix: str, episodes_per_file: int
) -> list[str]:
    names: list[str] = []
    following = next(episodes, None)
    while following is not None:
        names.append(f"episodes-{len(names):05d}{suffix}")
        with ShardWriter(folder / names[-1], **writing) as shard:
            while following is not None and shard.num_episodes < episodes_per_file:
                shard.add(following)
                following = next(episodes, None)
    return names


def _require_fitting_name(destination: Path, to: str, suffix: str) -> None:
    """Refuse a name that every reader would take for a file of the other format."""
    other = next((each for each in (".npz", ".tfrecord") if each in destination.name), suffix)
    if suffix not in destination.name and other != suffix:
        raise ValueError(
            f"{destination} is the name of a {other} file, and --to={to} writes {suffix}: change the name, or --to"
        )


def _require_apart(source: Path, shards: list[Path], destination: Path, suffix: str) -> None:
    """Refuse to write over the source, or into it."""
    place = destination.resolve()
    if place.exists() and any(shard.exists() and shard.samefile(place) for shard in shards):
        raise ValueError(f"{destination} is the source itself: choose another destination")
    if any(shard.resolve().is_relative_to(place) for shard in shards):
        raise ValueError(f"{destination} holds the source: choose another destination")
    if source.is_dir() and place.is_relative_to(source.resolve()):
        raise ValueError(
            f"{destination} lies in the source, and may be read with it the next time: choose a place outside"
        )


def _require_replaceable(destination: Path, suffix: str) -> None:
    """Refuse to remove what no conversion wrote."""
    if destination.is_dir():
        if suffix in destination.name:
            raise ValueError(f"{destination} is a folder, and its name is that of a single file: choose another name")
        foreign = sorted(path.name for path in destination.iterdir() if not _OWN_NAME.fullmatch(path.name))
        if foreign:
            raise ValueError(
                f"{destination} holds what no conversion wrote ({some_of(foreign)}); it is left alone, choose "
                "another folder"
            )
    elif destination.exists() and suffix not in destination.name:
        raise ValueError(f"{destination} is a file, and a folder is needed there: choose another name")


def _require_some(report: Conversion, source: PathLike) -> None:
    if not report.num_episodes:
        raise ValueError(f"{source} holds no episode that can be read ({len(report.skipped)} damaged records)")
