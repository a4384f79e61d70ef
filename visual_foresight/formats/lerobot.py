"""The LeRobot data set format, version 3.0: Parquet tables and MP4 videos (or pictures inside the tables).

```
meta/info.json                                   fps, features, path templates
meta/episodes/chunk-000/file-000.parquet         for each episode: length, where its rows and videos lie
data/chunk-000/file-000.parquet                  rows: action, observation.state, episode_index, frame_index, ...
videos/{camera}/chunk-000/file-000.mp4           many episodes after one another
```

`action` of row t is commanded at frame t, so the last one of an episode is read as the extra `final_action`. Reading
needs pyarrow: `pip install 'visual-foresight[lerobot]'`.

Source: src/lerobot/datasets of huggingface/lerobot.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.episode import FINAL_ACTION, Episode
from visual_foresight.formats.picture import rgb_of
from visual_foresight.formats.record import RECORD_ERRORS, Fault, ReadOptions, attempt
from visual_foresight.formats.resize import preprocess_episode, resize_frames
from visual_foresight.formats.video import iterate_video

__all__ = ["LeRobotFormat"]


class LeRobotFormat:
    """LeRobot data sets, version 3.0."""

    name = "lerobot"
    description = "LeRobot v3.0: Parquet and MP4 (needs the extra `lerobot`)"
    settings = ("camera",)

    def shards(self, path: Path) -> list[Path]:
        """Return the folder itself: its files belong together."""
        return [path] if (path / "meta" / "info.json").is_file() else []

    def recognises(self, shard: Path) -> bool:
        """Whether it is such a folder: `meta/info.json` has told."""
        return True

    def read(self, shard: Path, options: ReadOptions) -> Iterator[Episode | Fault]:
        """Read the episodes of a data set in order. Setting: `camera`, a feature such as `observation.images.top`."""
        try:
            dataset = _Dataset(shard, options)
        except RECORD_ERRORS as error:
            yield Fault(shard, None, " ".join(str(error).split()))
            return
        with dataset:
            for index, row in enumerate(dataset.episodes):
                yield attempt(shard, index, partial(dataset.episode, row))


def _require_parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ImportError("LeRobot data sets need pyarrow: pip install 'visual-foresight[lerobot]'") from None
    return pyarrow.parquet


class _Dataset:
    """One data set: its tables, and the video that is being read."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self._parquet = _require_parquet()
        self.root, self.options = root, options
        self.info = json.loads((root / "meta" / "info.json").read_text())
        version = self.info.get("codebase_version")
        if version != "v3.0":
            raise ValueError(f"is of version {version}; version v3.0 is read: convert it with LeRobot's own converter")
        self.camera = self._chosen_camera()
        files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
        if not files:
            raise ValueError("has no meta/episodes/*/*.parquet")
        rows = [row for file in files for row in self._parquet.read_table(file).to_pylist()]
        self.episodes = sorted(rows, key=lambda row: row["episode_index"])
        self._table: tuple[Path, Any] | None = None
        self._video: tuple[Path, Iterator[np.ndarray], int] | None = None

    def __enter__(self) -> _Dataset:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_video()

    def episode(self, row: dict[str, Any]) -> Episode:
        """Return the episode that a row of `meta/episodes` describes."""
        columns = self._columns(row)
        length = int(row["length"])
        if len(columns["frame_index"]) != length:
            raise ValueError(f"has {len(columns['frame_index'])} rows, its length is given as {length}")
        actions = states = None
        extras: dict[str, np.ndarray] = {}
        if self.options.use_state:
            states = _rows(columns.get("observation.state"))
            actions = _rows(columns.get("action"))
            if actions is not None:
                actions, extras = actions[:-1], {FINAL_ACTION: actions[-1]}
        metadata = {"camera": self.camera, "fps": self.info.get("fps"), "episode_index": int(row["episode_index"])}
        metadata |= {"tasks": list(row["tasks"])} if row.get("tasks") else {}
        is_video = self.info["features"][self.camera]["dtype"] == "video"
        frames = self._video_frames(row, length) if is_video else _pictures(columns[self.camera])
        return preprocess_episode(Episode(frames, actions, states, extras, metadata), self.options)

    def _chosen_camera(self) -> str:
        features = self.info.get("features", {})
        cameras = [name for name, feature in features.items() if feature.get("dtype") in ("video", "image")]
        asked = self.options.settings.get("camera")
        if asked is None and cameras:
            return cameras[0]
        for name in cameras:
            if asked in (name, name.removeprefix("observation.images.")):
                return name
        raise ValueError(f"has no camera {asked!r}: its cameras are {', '.join(cameras) or 'none'}")

    def _columns(self, row: dict[str, Any]) -> dict[str, list[Any]]:
        """Return the rows of one episode by column, in the order of their frames."""
        name = self.info["data_path"].format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
        file = self.root / name
        if self._table is None or self._table[0] != file:
            if not file.is_file():
                raise ValueError(f"lacks the file {name}")
            self._table = (file, self._parquet.read_table(file))
        table = self._table[1]
        chosen = np.flatnonzero(table.column("episode_index").to_numpy() == row["episode_index"])
        wanted = {"frame_index", "action", "observation.state", self.camera} & set(table.column_names)
        part = table.select(sorted(wanted)).take(chosen)
        order = np.argsort(part.column("frame_index").to_numpy(), kind="stable")
        return part.take(order).to_pydict()

    def _video_frames(self, row: dict[str, Any], length: int) -> np.ndarray:
        """Return an episode's frames; episodes that follow one another in a video are decoded in one go."""
        key = f"videos/{self.camera}"
        name = self.info["video_path"].format(
            video_key=self.camera, chunk_index=row[f"{key}/chunk_index"], file_index=row[f"{key}/file_index"]
        )
        first = round(float(row[f"{key}/from_timestamp"]) * float(self.info["fps"]))
        file = self.root / name
        if self._video is None or self._video[0] != file or self._video[2] > first:
            self._close_video()
            self._video = (file, iterate_video(file), 0)
        _, stream, position = self._video
        options = self.options
        frames = [
            resize_frames(frame[None], options.preprocess, options.image_size)[0]
            for frame in islice(stream, first - position, first - position + length)
        ]
        self._video = (file, stream, first + length)
        if len(frames) < length:
            raise ValueError(f"{name} ends after {len(frames)} of the {length} frames of this episode")
        return np.stack(frames)

    def _close_video(self) -> None:
        if self._video is not None:
            self._video[1].close()  # type: ignore[attr-defined]  # it is a generator: this ends ffmpeg
            self._video = None


def _rows(values: list[Any] | None) -> np.ndarray | None:
    if values is None:
        return None
    rows = np.asarray(values, dtype=np.float32)
    return rows[:, None] if rows.ndim == 1 else rows


def _pictures(values: list[Any]) -> np.ndarray:
    from PIL import Image

    frames = []
    for step, value in enumerate(values):
        try:
            with Image.open(io.BytesIO(value["bytes"])) as picture:
                frames.append(rgb_of(picture))
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f"the picture of frame {step} cannot be decoded: {error}") from None
    return np.stack(frames)
