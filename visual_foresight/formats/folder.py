"""The folder format: videos or folders of pictures, with actions and states in a CSV or npz file beside them.

```
my_robot/
  push_000.mp4        push_000.csv       one video is one episode
  push_001/           push_001.csv       a folder of pictures, in the order of the numbers in their names
    frame_0.png, frame_1.png, ...
  push_002.mp4        push_002.npz       arrays actions, states, anything else an extra
```

A CSV file has a line of column names; columns that begin with `action` are the action, those with `state` the state,
in the order in which they stand, any other column is an extra. Line t belongs to frame t: with T lines, the action of
the last line is the one commanded after the last frame (`final_action`; its cells may be empty). With T-1 lines there
can be action columns only. Without a file beside it an episode has pictures only.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from visual_foresight.episode import FINAL_ACTION, Episode
from visual_foresight.formats.picture import rgb_of
from visual_foresight.formats.record import Fault, ReadOptions, attempt
from visual_foresight.formats.resize import move_pixels, resize_frames
from visual_foresight.formats.video import VIDEO_SUFFIXES, iterate_video

__all__ = ["FolderFormat"]

PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")

Table = dict[str, np.ndarray]


class FolderFormat:
    """Folders of videos or pictures."""

    name = "folder"
    description = "videos or folders of pictures, with actions in CSV or npz"
    settings: tuple[str, ...] = ()

    def shards(self, path: Path) -> list[Path]:
        """Return the videos and folders of pictures at `path`, in the order of their names; each is one episode."""
        if not path.is_dir():
            return [path] if path.suffix.lower() in VIDEO_SUFFIXES else []
        if _pictures(path):
            return [path]
        inside = [each for each in path.iterdir() if not each.name.startswith(".")]
        episodes = [
            each for each in inside if each.suffix.lower() in VIDEO_SUFFIXES or (each.is_dir() and _pictures(each))
        ]
        return sorted(episodes, key=_in_order)

    def recognises(self, shard: Path) -> bool:
        """Whether it is a video or a folder of pictures: its name has told."""
        return True

    def read(self, shard: Path, options: ReadOptions) -> Iterator[Episode | Fault]:
        """Read one episode."""
        if not shard.exists():
            raise FileNotFoundError(f"{shard} does not exist")
        yield attempt(shard, None, partial(_read, shard, options))


def _in_order(path: Path) -> list[tuple[int, int, str]]:
    """Sort key under which frame_10 follows frame_9."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def _pictures(folder: Path) -> list[Path]:
    found = [each for each in folder.iterdir() if each.suffix.lower() in PICTURE_SUFFIXES and each.name[0] != "."]
    found.sort(key=_in_order)
    return found


def _require_no_gap(files: list[Path]) -> list[Path]:
    """Give back the files; numbered ones of which some are missing are refused, for actions would belong elsewhere."""
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", file.name) for file in files]
    numbers = [int(part[2]) for part in parts if part is not None]
    if len(numbers) < len(files) or len({(part[1], part[3]) for part in parts if part is not None}) > 1:
        return files
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    usual = min(steps, default=0)  # every tenth picture may have been kept
    for before, after, step in zip(files, files[1:], steps, strict=False):
        if step != usual:
            raise ValueError(
                f"pictures are missing between {before.name} and {after.name}: frames and actions would not belong "
                "together; number them without gaps"
            )
    return files


def _read(shard: Path, options: ReadOptions) -> Episode:
    frames, stored_size = _frames(shard, options)
    episode = _episode(frames, _table(shard), shard)
    if not options.use_state:
        extras = {name: value for name, value in episode.extras.items() if name != FINAL_ACTION}
        episode = Episode(frames, None, None, extras, episode.metadata)
    episode = Episode(
        frames, episode.actions, episode.states, move_pixels(episode.extras, stored_size, options), episode.metadata
    )
    start, stop = options.bounds(episode.num_frames)
    return episode if stop - start == episode.num_frames else episode.window(start, stop - start)


def _frames(shard: Path, options: ReadOptions) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the frames, each made small as soon as it is read, and their stored (height, width)."""
    source = _picture_frames(_require_no_gap(_pictures(shard))) if shard.is_dir() else iterate_video(shard)
    frames: list[np.ndarray] = []
    size = (0, 0)
    for frame in source:
        if frames and frame.shape[:2] != size:
            raise ValueError(f"frame {len(frames)} is {frame.shape[:2]} pixels, the ones before are {size}")
        size = frame.shape[:2]
        frames.append(resize_frames(frame[None], options.preprocess, options.image_size)[0])
    if not frames:
        raise ValueError("holds no frame")
    return np.stack(frames), size


def _picture_frames(files: list[Path]) -> Iterator[np.ndarray]:
    from PIL import Image

    for file in files:
        try:
            with Image.open(file) as picture:
                yield rgb_of(picture)
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"the picture {file.name} cannot be decoded: {error}") from None


def _table(shard: Path) -> tuple[Path, Table] | None:
    """Read the arrays beside (or inside) an episode, if there are any."""
    base = shard if shard.is_dir() else shard.with_suffix("")
    places = [base.with_name(base.name + suffix) for suffix in (".csv", ".npz")]
    if shard.is_dir():
        places += [shard / "actions.csv", shard / "episode.csv", shard / "episode.npz"]
    found = [place for place in places if place.is_file()]
    if len(found) > 1:
        raise ValueError(f"has both {found[0].name} and {found[1].name}: keep one of them")
    if not found:
        return None
    file = found[0]
    if file.suffix == ".csv":
        return file, _read_csv(file)
    with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return file, {name: archive[name] for name in archive.files}


def _read_csv(file: Path) -> Table:
    """Return actions, states and the other columns; cells that are empty are NaN."""
    with open(file, newline="") as stream:
        lines = [line for line in csv.reader(stream) if line]
    if not lines:
        raise ValueError(f"{file.name} is empty: it needs a line of column names, such as action_x,action_y")
    names = [name.strip() for name in lines[0]]
    if all(_is_number(name) for name in names):
        raise ValueError(f"{file.name} begins with numbers: it needs a line of column names, such as action_x,action_y")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(names):
            raise ValueError(f"{file.name}, line {number}: {len(line)} cells, but {len(names)} column names")
        try:
            rows.append([float(cell) if cell.strip() else np.nan for cell in line])
        except ValueError as error:
            raise ValueError(f"{file.name}, line {number}: {error}") from None
    values = np.array(rows, np.float64).reshape(len(rows), len(names))
    kinds = {"actions": "action", "states": "state"}
    table: Table = {}
    for kind, prefix in kinds.items():
        columns = [index for index, name in enumerate(names) if name.lower().startswith(prefix)]
        if columns:
            table[kind] = values[:, columns]
    for index, name in enumerate(names):
        if not name.lower().startswith(tuple(kinds.values())):
            table[name] = values[:, index]
    return table


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _episode(frames: np.ndarray, found: tuple[Path, Table] | None, shard: Path) -> Episode:
    metadata = {"source": shard.name}
    if found is None:
        return Episode(frames, metadata=metadata)
    file, table = found
    extras = {name: value for name, value in table.items() if name not in ("actions", "states")}
    actions, states = table.get("actions"), table.get("states")
    if actions is not None and actions.ndim == 2 and len(actions) == len(frames):
        if np.isfinite(actions[-1]).all():
            extras.setdefault(FINAL_ACTION, actions[-1].astype(np.float32))
        actions = actions[:-1]
    try:
        return Episode(frames, actions, states, extras, metadata)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file.name} does not fit the {len(frames)} frames of {shard.name}: {error}") from None
