"""Data formats: every one yields `Episode` records, and is registered in `FORMATS` by name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from visual_foresight.episode import Episode
from visual_foresight.formats.bair import BairFormat
from visual_foresight.formats.folder import FolderFormat
from visual_foresight.formats.left_out import LeftOutWarning, warn_of_left_out
from visual_foresight.formats.lerobot import LeRobotFormat
from visual_foresight.formats.npz import NpzFormat
from visual_foresight.formats.push import PushFormat
from visual_foresight.formats.record import PREPROCESSES, Fault, Format, ReadOptions
from visual_foresight.formats.robonet import RoboNetFormat
from visual_foresight.formats.shard_writer import ShardWriter
from visual_foresight.formats.visual_foresight_records import VisualForesightFormat

__all__ = [
    "FORMATS",
    "PREPROCESSES",
    "Fault",
    "Format",
    "LeftOutWarning",
    "ReadOptions",
    "ShardWriter",
    "detect_format",
    "find_shards",
    "format_named",
    "read_episodes",
    "read_shard",
    "writable_format",
    "write_episodes",
]

FORMATS: dict[str, Any] = {
    format.name: format
    for format in (
        NpzFormat(),
        PushFormat(),
        BairFormat(),
        VisualForesightFormat(),
        RoboNetFormat(),
        LeRobotFormat(),
        FolderFormat(),  # last: the others may have pictures lying about
    )
}
"""Every known format by name, in the order in which `detect_format` asks them."""

OnFault = Callable[[Fault], None]


def format_named(name: str) -> Any:
    """Return the registered format of this name.

    Raises:
        ValueError: There is none; the message suggests the nearest name.
    """
    if name in FORMATS:
        return FORMATS[name]
    nearest = difflib.get_close_matches(name, FORMATS, n=1)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    raise ValueError(f"unknown data format {name!r}{hint}: expected one of {', '.join(FORMATS)}")


def writable_format(name: str) -> Any:
    """Return the registered format of this name, which must be one that can be written.

    Raises:
        ValueError: It is unknown or read-only.
    """
    format = format_named(name)
    if not hasattr(format, "open_writer"):
        writable = [known for known, each in FORMATS.items() if hasattr(each, "open_writer")]
        raise ValueError(f"format {name!r} is read only: episodes are written as one of {', '.join(writable)}")
    return format


def detect_format(path: str | os.PathLike[str]) -> str:
    """Return the name of the format that a file or folder holds.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: No format recognises it.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: pass an existing file or folder of episodes")
    candidates = {name: format.shards(path) for name, format in FORMATS.items()}
    candidates = {name: shards for name, shards in candidates.items() if shards}
    for name, shards in candidates.items():
        # One damaged file must not hide what the others are.
        if any(FORMATS[name].recognises(shard) for shard in shards[:8]):
            return name
    if len(candidates) == 1:
        # By its name it can be nothing else; reading it tells what is wrong.
        return next(iter(candidates))
    if candidates:
        raise ValueError(
            f"{path} could be {' or '.join(candidates)}, but its first record is damaged or has the keys of none of "
            "them: name the format"
        )
    raise ValueError(f"{path} holds no episodes that any format recognises ({', '.join(FORMATS)}){_below(path)}")


def _below(path: Path) -> str:
    """Name the sub-folders that do hold episodes: data sets are often split into `train` and `test`."""
    if not path.is_dir():
        return ""
    folders = [each for each in sorted(path.iterdir()) if each.is_dir() and not each.name.startswith(".")][:20]
    names = [each.name for each in folders if any(format.shards(each) for format in FORMATS.values())]
    return f"; its folders {', '.join(names)} do: pass one of them" if names else ""


def find_shards(path: str | os.PathLike[str], *, format: str | None = None) -> tuple[str, list[Path]]:
    """Return the name of the format and the files (or folders) at `path`, sorted: the units of `split_files`.

    Warns (`LeftOutWarning`) of what lies beside them and looks as if it should be read too.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: The format is unknown, or there is no file of it.
    """
    path = Path(path)
    name = format or detect_format(path)
    found = format_named(name)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: pass an existing file or folder of episodes")
    # A file named outright with its format is taken at its word, whatever its suffix.
    shards = found.shards(path) or ([path] if path.is_file() else [])
    if not shards:
        raise ValueError(f"{path} holds no {name} files ({found.description})")
    warn_of_left_out(path, name, shards, FORMATS, named=format is not None)
    return name, shards


def read_shard(format: str, shard: str | os.PathLike[str], options: ReadOptions) -> Iterator[Episode | Fault]:
    """Read one shard of a named format: an episode or a fault for each record.

    Raises:
        ValueError: The options hold a setting that the format does not have.
    """
    found = format_named(format)
    unknown = sorted(set(options.settings) - set(found.settings))
    if unknown:
        known = ", ".join(found.settings) or "none"
        raise ValueError(f"format {format!r} has no setting {', '.join(unknown)}: its settings are {known}")
    return found.read(Path(shard), options)


def read_episodes(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    preprocess: str = "seed",
    image_size: tuple[int, int] | int = (64, 64),
    use_state: bool = True,
    max_frames: int | None = None,
    skip_bad: bool = False,
    on_fault: OnFault | None = None,
    **settings: Any,
) -> Iterator[Episode]:
    """Read the episodes at `path`, one at a time, in the order of the sorted files.

    Args:
        path: A file, or a folder of files (for some formats the folder is the data set).
        format: Name in `FORMATS`; None recognises it.
        preprocess: "seed" (the original's crop and bicubic resize), "antialias" (area; JPEG at reduced scale inside the
            decoder), "none" (stored size).
        image_size: (height, width) in pixels, or one number for both, for "seed" and "antialias".
        use_state: False leaves actions and states out, as the original's `use_state=0`.
        max_frames: Read only the first so many frames of each episode.
        skip_bad: Pass over records that cannot be read instead of raising.
        on_fault: Called with each `Fault` that is passed over.
        **settings: Settings of the format, such as `camera="image_aux1"`.

    Yields:
        Validated episodes.

    Raises:
        FileNotFoundError: Nothing is at `path`.
        ValueError: A record cannot be read (names file and record), or an argument is wrong.
    """
    # The advice is a command: this error also ends commands that have no such option.
    advice = "; `visual-foresight data convert --skip_bad` makes a copy without what cannot be read"
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    options = ReadOptions(preprocess, size, use_state, max_frames, settings=settings)
    name, shards = find_shards(path, format=format)
    for shard in shards:
        for record in read_shard(name, shard, options):
            if isinstance(record, Episode):
                yield record
            elif not skip_bad:
                whole = record.record is None and len(shards) == 1  # then nothing would be left to copy
                raise ValueError(f"{record}{'' if whole else advice}")
            elif on_fault is not None:
                on_fault(record)


def write_episodes(
    path: str | os.PathLike[str],
    episodes: Iterable[Episode],
    *,
    format: str | None = None,
    encoding: str | None = None,
    quality: int = 95,
) -> int:
    """Write episodes to one file, which appears only when it is complete, and return their number.

    Args:
        path: The file to write (`.npz`, `.tfrecord`); an existing one is replaced.
        episodes: The episodes; an iterator is read once, one episode in memory at a time.
        format: "npz" or "push"; None means npz for a name that ends in `.npz`, push for one with `.tfrecord` in it.
        encoding: "png" (default), "jpeg", "original" or "raw" (the fastest to stream) for push, "deflate" (default) or
            "raw" for npz.
        quality: JPEG quality, 1 to 100.

    Raises:
        ValueError: An argument is wrong, there is no episode, or the format cannot hold one of them.
    """
    name = Path(path).name
    if format is None and ".tfrecord" not in name and not name.endswith(".npz"):
        raise ValueError(f"{path}: name it *.npz or *.tfrecord, or say which with format='npz' or format='push'")
    if isinstance(episodes, (Episode, Mapping)):
        raise ValueError(f"episodes must be a list of them, got one {type(episodes).__name__}: write [episode]")
    format = format or ("npz" if name.endswith(".npz") else "push")
    with ShardWriter(path, format=format, encoding=encoding, quality=quality) as shard:
        for episode in episodes:
            shard.add(episode)
        if not shard.num_episodes:
            raise ValueError(f"no episode to write to {path}")
    return shard.num_episodes
