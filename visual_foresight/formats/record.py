"""What every format is made of: reading options, faults, and the two roles (`Format`, `RecordWriter`)."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from visual_foresight.episode import Episode

__all__ = ["LARGEST_SIDE", "PREPROCESSES", "RECORD_ERRORS", "Fault", "Format", "ReadOptions", "RecordWriter", "attempt"]

LARGEST_SIDE = 4096
"""Pixels; what is larger is a slip of the hand, and would take all memory."""

_ADDRESSES = re.compile(r"\s*(?:@ 0x[0-9a-f]+|<[^<>]* at 0x[0-9a-f]+>)")
"""Where ffmpeg and Pillow had something in memory, which is different at each run and helps nobody."""

PREPROCESSES = ("seed", "antialias", "none")

RECORD_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    OSError,
    OverflowError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What a damaged record can raise while it is read; anything else is a defect of the reader and must not be hidden."""


@dataclass(frozen=True)
class ReadOptions:
    """How episodes are to be read.

    Args:
        preprocess: "seed" (centre crop and the original's bicubic resize), "antialias" (centre crop and area resize),
            or "none" (stored size).
        image_size: Height and width (H, W) in pixels; ignored by "none".
        use_state: False reads images only: no actions, no states, as the original's `use_state=0`.
        max_frames: Read only so many frames of each episode, or None for all.
        choose_start: Given the number of possible first frames, returns the one to read `max_frames` from; None reads
            from the beginning, as the original.
        settings: Settings of one format (for instance `camera`).

    Raises:
        ValueError: A value is out of its range.
    """

    preprocess: str = "seed"
    image_size: tuple[int, int] = (64, 64)
    use_state: bool = True
    max_frames: int | None = None
    choose_start: Callable[[int], int] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate."""
        if self.preprocess not in PREPROCESSES:
            raise ValueError(f"preprocess must be one of {', '.join(PREPROCESSES)}, got {self.preprocess!r}")
        size = tuple(self.image_size) if isinstance(self.image_size, tuple | list) else ()
        if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
            raise ValueError(f"image_size must be (height, width) in whole pixels, got {self.image_size!r}")
        if max(size) > LARGEST_SIDE:
            raise ValueError(f"image_size must be at most {LARGEST_SIDE} pixels a side, got {self.image_size!r}")
        object.__setattr__(self, "image_size", size)
        if self.max_frames is not None and self.max_frames < 1:
            raise ValueError(f"max_frames must be at least 1 or None, got {self.max_frames}")

    def bounds(self, num_frames: int) -> tuple[int, int]:
        """Return the first frame to read of an episode of `num_frames`, and the one after the last."""
        length = num_frames if self.max_frames is None else min(self.max_frames, num_frames)
        start = 0 if self.choose_start is None else self.choose_start(num_frames - length + 1)
        return start, start + length


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with one record, or with a file as a whole.

    Args:
        file: The file.
        record: Index of the record in the file, or None when the file as a whole cannot be read.
        message: What is wrong, and where possible what to do.
    """

    file: Path
    record: int | None
    message: str

    def __post_init__(self) -> None:
        """Leave places in memory out of the message."""
        object.__setattr__(self, "message", _ADDRESSES.sub("", self.message))

    def __str__(self) -> str:
        """Return file, record and message in one line."""
        where = str(self.file) if self.record is None else f"{self.file}, record {self.record}"
        return f"{where}: {self.message}"


class Format(Protocol):
    """One way of storing episodes; the registry `FORMATS` holds one object for each."""

    name: str
    description: str
    settings: tuple[str, ...]
    """Names that `ReadOptions.settings` may hold."""

    def shards(self, path: Path) -> list[Path]:
        """Return the files (or folders) at `path` that by their names could be of this format, sorted."""
        ...

    def recognises(self, shard: Path) -> bool:
        """Whether the content of a shard, looked at briefly, is of this format."""
        ...

    def read(self, shard: Path, options: ReadOptions) -> Iterator[Episode | Fault]:
        """Read one shard: an episode or a fault for each record, in the order stored."""
        ...


class RecordWriter(Protocol):
    """Writes the records of one shard, in order; made by the `open_writer` of formats that write."""

    def add(self, episode: Episode) -> None:
        """Append one episode."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


def attempt(file: Path, record: int | None, build: Callable[[], Episode]) -> Episode | Fault:
    """Build one episode, turning what a damaged record raises into a fault that names file and record."""
    try:
        return build()
    except RECORD_ERRORS as error:
        message = f"lacks the key {error}" if type(error) is KeyError else str(error) or type(error).__name__
        return Fault(file, record, " ".join(message.split()))
