"""Where training data lies: the files of one place, or of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from visual_foresight.formats import find_shards

__all__ = ["data_places", "find_training_shards", "require_places", "split_files_of_each"]


def data_places(data_dir: str) -> list[Path]:
    """The place that `data_dir` names, or several, divided by commas; one that exists is never divided.

    Raises:
        ValueError: a part is empty, or a place is named twice.
    """
    if "," not in data_dir or Path(data_dir).exists():
        return [Path(data_dir)]
    parts = [part.strip() for part in data_dir.split(",")]
    if not all(parts):
        raise ValueError(f"--data_dir {data_dir!r} names an empty place: write folder,folder")
    places = [Path(part) for part in parts]
    if len({place.resolve() for place in places}) < len(places):
        raise ValueError(f"--data_dir {data_dir!r} names a place twice: its episodes would count twice")
    return places


def require_places(data_dir: str) -> None:
    """Refuse places that do not exist.

    Raises:
        FileNotFoundError: names the first one.
        ValueError: as `data_places`.
    """
    for place in data_places(data_dir):
        if not place.exists():
            raise FileNotFoundError(f"{place} does not exist: pass an existing file or folder of episodes")


def find_training_shards(data_dir: str) -> tuple[str, list[list[Path]]]:
    """The name of the format, and the files of each place.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: a place without files, or places of different formats.
    """
    places = data_places(data_dir)
    found = [find_shards(place) for place in places]
    if len({name for name, _ in found}) > 1:
        each = ", ".join(f"{place} is {name}" for place, (name, _) in zip(places, found, strict=True))
        raise ValueError(f"places of --data_dir must be of one format, but {each}: `visual-foresight data convert` one")
    return found[0][0], [shards for _, shards in found]


def split_files_of_each(
    groups: Sequence[Sequence[Path]], share: float
) -> tuple[list[Path], list[Path], list[tuple[int, int]]]:
    """The first `share` of the files of each place, as the original does with one place, and the rest.

    Returns:
        Files to train on, files to validate on, and for each place how many of them it gave.
    """
    train: list[Path] = []
    validation: list[Path] = []
    counts = []
    for shards in groups:
        count = math.floor(share * len(shards))
        train += shards[:count]
        validation += shards[count:]
        counts.append((count, len(shards) - count))
    return train, validation, counts
