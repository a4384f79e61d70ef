"""The npz format: NumPy archives, many episodes to a file, readable without TensorFlow and without pickle.

Keys of episode i, written with five digits: `{i}/frames`, `{i}/actions`, `{i}/states`, `{i}/extras/{name}` and
`{i}/metadata` (UTF-8 JSON as a vector of bytes); `header` is JSON in the same form. An archive with the bare keys
`frames`, `actions`, `states` (any other is an extra) is one episode: `np.savez_compressed("mine.npz", frames=frames)`.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.episode import Episode
from visual_foresight.formats.record import RECORD_ERRORS, Fault, ReadOptions, attempt
from visual_foresight.formats.resize import preprocess_episode

__all__ = ["NpzFormat"]

_EPISODE_KEY = re.compile(r"(\d{5,})/(.+)")
_HEADER = {"format": "visual-foresight episodes", "version": 1}


class NpzFormat:
    """NumPy archives of episodes."""

    name = "npz"
    description = "NumPy archives, many episodes to a file"
    settings: tuple[str, ...] = ()
    encodings = ("deflate", "raw")
    suffix = ".npz"

    def shards(self, path: Path) -> list[Path]:
        """Return `path` itself or the `*.npz` files of the folder, sorted."""
        if path.is_dir():
            return sorted(file for file in path.glob("*.npz") if file.is_file() and not file.name.startswith("."))
        return [path] if path.suffix == ".npz" else []

    def recognises(self, shard: Path) -> bool:
        """Whether the archive holds frames: one that does not may be the actions beside a video (format `folder`)."""
        try:
            with zipfile.ZipFile(shard) as archive:
                names = archive.namelist()
        except (OSError, zipfile.BadZipFile):
            return False
        return any(name in ("frames.npy", "header.npy") or name.endswith("/frames.npy") for name in names)

    def read(self, shard: Path, options: ReadOptions) -> Iterator[Episode | Fault]:
        """Read the episodes of one archive, one at a time."""
        # NumPy would leave a file that it opened itself, and cannot read, open.
        with open(shard, "rb") as stream:
            if other := _other_kind(stream.read(6)):
                yield Fault(shard, None, f"not an npz archive: {other}")
                return
            stream.seek(0)
            try:
                # Lazy: arrays are decompressed when an episode asks for them.
                archive = np.load(stream, allow_pickle=False)
                episodes = _episode_keys(archive)
            except zipfile.BadZipFile as error:
                yield Fault(shard, None, f"the npz archive is truncated or damaged ({error})")
                return
            except RECORD_ERRORS as error:
                yield Fault(shard, None, str(error) or type(error).__name__)
                return
            for index, keys in enumerate(episodes):
                yield attempt(shard, index, partial(_read_episode, archive, keys, options))

    def open_writer(self, path: Path, *, encoding: str, quality: int) -> NpzWriter:
        """Open a new archive; `quality` has no meaning here: what is stored is exact."""
        del quality
        return NpzWriter(path, compress=encoding == "deflate")


class NpzWriter:
    """Appends episodes to an archive as they come: memory holds one at a time."""

    def __init__(self, path: Path, *, compress: bool) -> None:
        """Open the archive."""
        kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        # Level 1: camera frames deflate hardly better at higher levels, which take five times as long.
        self._archive = zipfile.ZipFile(path, "w", kind, compresslevel=1 if compress else None)
        self._num_episodes = 0

    def add(self, episode: Episode) -> None:
        """Append one episode."""
        prefix = f"{self._num_episodes:05d}"
        self._write(f"{prefix}/frames", episode.frames)
        if episode.actions is not None:
            self._write(f"{prefix}/actions", episode.actions)
        if episode.states is not None:
            self._write(f"{prefix}/states", episode.states)
        for name, value in episode.extras.items():
            self._write(f"{prefix}/extras/{name}", value)
        self._write(f"{prefix}/metadata", _json_bytes(episode.metadata))
        self._num_episodes += 1

    def close(self) -> None:
        """Write the header and finish."""
        with self._archive:  # closed even if that fails, or it would try again, and complain, when it is forgotten
            self._write("header", _json_bytes(_HEADER | {"num_episodes": self._num_episodes}))

    def _write(self, key: str, value: np.ndarray) -> None:
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(value).reshape(value.shape), allow_pickle=False)
        # A fixed date makes equal episodes equal files.
        entry = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
        self._archive.writestr(entry, buffer.getvalue(), self._archive.compression, self._archive.compresslevel)


def _json_bytes(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)


def _from_json_bytes(value: np.ndarray, key: str) -> Any:
    try:
        return json.loads(value.astype(np.uint8, casting="safe").tobytes())
    except (TypeError, ValueError) as error:
        raise ValueError(f"key {key!r} must hold JSON as a vector of bytes: {error}") from None


def _other_kind(beginning: bytes) -> str | None:
    """What a file is instead of an archive, by its first six bytes; None for an archive.

    NumPy would take any other file for a pickle, and advise to load it as one.
    """
    if not beginning:
        return "the file is empty"
    if beginning == np.lib.format.MAGIC_PREFIX:
        return "the file holds a single array (.npy); np.savez writes archives"
    return None if beginning.startswith(b"PK") else "the file is of another kind, or its beginning is damaged"


def _array(archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    """Read one array; objects are refused without NumPy's advice to unpickle them."""
    try:
        return archive[key]
    except ValueError as error:
        if "pickle" in str(error):
            raise ValueError(f"key {key!r} holds Python objects, which are never loaded; store numbers") from None
        raise


def _episode_keys(archive: np.lib.npyio.NpzFile) -> list[dict[str, str]]:
    """Return, for each episode, the archive's key for each part of it."""
    if "frames" in archive.files:
        return [{name: name for name in archive.files}]
    episodes: dict[int, dict[str, str]] = {}
    for key in archive.files:
        match = _EPISODE_KEY.fullmatch(key)
        if match:
            episodes.setdefault(int(match[1]), {})[match[2]] = key
    if not episodes and "header" not in archive.files:
        raise ValueError(
            "the npz archive has no episodes: expected the keys 00000/frames ... or frames, actions, states; "
            f"found {_listing(archive.files)}"
        )
    if "header" in archive.files:
        header = _from_json_bytes(_array(archive, "header"), "header")
        if not isinstance(header, dict):
            raise ValueError(f"the npz archive's header is {type(header).__name__}, expected an object with a version")
        if header.get("version", 0) > _HEADER["version"]:
            raise ValueError(
                f"the npz archive was written by a newer version of the format ({header['version']}): "
                "upgrade visual-foresight"
            )
    return [episodes[index] for index in sorted(episodes)]


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (" ..." if len(names) > 6 else "") if names else "nothing"


def _read_episode(archive: np.lib.npyio.NpzFile, keys: dict[str, str], options: ReadOptions) -> Episode:
    if "frames" not in keys:
        raise ValueError(f"has no frames, only {_listing(sorted(keys))}")
    metadata = _from_json_bytes(_array(archive, keys["metadata"]), keys["metadata"]) if "metadata" in keys else {}
    named = {"frames", "actions", "states", "metadata", "header"}
    extras = {part.removeprefix("extras/"): _array(archive, key) for part, key in keys.items() if part not in named}
    episode = Episode(
        _array(archive, keys["frames"]),
        _array(archive, keys["actions"]) if "actions" in keys and options.use_state else None,
        _array(archive, keys["states"]) if "states" in keys and options.use_state else None,
        extras,
        metadata,
    )
    return preprocess_episode(episode, options)
