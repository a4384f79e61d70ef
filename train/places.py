"""Where training data lies: one place, or several."""

from __future__ import annotations

from pathlib import Path

__all__ = ["data_places", "find_training_shards"]


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


def find_training_shards(data_dir: str) -> tuple[str, dict[Path, list[Path]]]:
    """The name of the format, and the files of each place.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: as `data_places`; a place without files, or places of different formats.
    """
    from visual_foresight.formats import find_shards

    found = {place: find_shards(place) for place in data_places(data_dir)}
    names = {place: name for place, (name, _) in found.items()}
    if len(set(names.values())) > 1:
        each = ", ".join(f"{place} is {name}" for place, name in names.items())
        raise ValueError(f"places of --data_dir must be of one format, but {each}: `visual-foresight data convert` one")
    return next(iter(names.values())), {place: shards for place, (_, shards) in found.items()}
