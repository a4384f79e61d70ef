"""What lies in a folder of episodes and is not read: said aloud, for in a count of episodes nobody would miss it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from visual_foresight.wording import some_of

__all__ = ["LeftOutWarning", "warn_of_left_out"]

_INSIDE = ("actions.csv", "episode.csv")


class LeftOutWarning(UserWarning):
    """Files of a data folder are passed over."""


def warn_of_left_out(path: Path, name: str, shards: list[Path], formats: Mapping[str, Any], *, named: bool) -> None:
    """Warn of files beside the episodes of a folder that look as if they should be read, and are not.

    Args:
        path: The folder; a file, or a folder that is one episode or data set as a whole, has nothing beside it.
        name: The format that it is read as.
        shards: What is read of it.
        formats: All formats by name.
        named: Whether the caller named the format, and so knows of others.
    """
    if not path.is_dir() or path in shards:
        return
    for other, files in () if named else _of_other_formats(path, name, shards, formats):
        warnings.warn(
            f"{path} is read as {name}, without {some_of(files)}, which {'is' if len(files) == 1 else 'are'} of format "
            f"{other}: put them into a folder of their own, or name the format to read",
            LeftOutWarning,
            stacklevel=3,
        )
    tables = _tables_without_episode(path, shards, formats["npz"]) if name == "folder" else []
    if tables:
        warnings.warn(
            f"{path} is read without {some_of(tables)}: a table has the name of its video or folder of pictures, as "
            "push_000.mp4 and push_000.csv",
            LeftOutWarning,
            stacklevel=3,
        )


def _of_other_formats(
    path: Path, name: str, shards: list[Path], formats: Mapping[str, Any]
) -> Iterator[tuple[str, list[str]]]:
    known = {path, *shards}  # a picture or two beside the episodes do not make the folder itself an episode
    for other, format in formats.items():
        found = [each for each in format.shards(path) if each not in known] if other != name else []
        if any(format.recognises(each) for each in found[:8]):
            known.update(found)
            yield other, [each.name for each in found]


def _tables_without_episode(path: Path, shards: list[Path], npz: Any) -> list[str]:
    bases = {shard.name if shard.is_dir() else shard.stem for shard in shards}
    tables = [each for each in sorted(path.iterdir()) if each.suffix in (".csv", ".npz") and each.name[0] != "."]
    strays = (each for each in tables if each.stem not in bases)
    found = [each.name for each in strays if each.suffix == ".csv" or not npz.recognises(each)]
    inside = (each for shard in shards if shard.is_dir() for each in sorted(shard.glob("*.csv")))
    return found + [f"{each.parent.name}/{each.name}" for each in inside if each.name not in _INSIDE]
