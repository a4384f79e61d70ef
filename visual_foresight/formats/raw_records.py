"""Episodes stored for speed: the encoding "raw" of push records, whose frames are read without being decoded.

One `tf.train.Example` is one episode of T frames, with a few keys instead of three for each step:

- `visual_foresight/frames`, `visual_foresight/actions`, `visual_foresight/states`: the bytes of a `.npy` file each,
  uint8 `[T, H, W, 3]`, float32 `[T-1, A]` and `[T, S]`;
- `visual_foresight/checksums`: `.npy` of uint32 `[T + 2]`, CRC-32 (zlib) of each frame, of the actions, of the states.

A window of an episode is then one stretch of bytes of the file. TFRecord's own checksum covers the record as a whole
and would cost reading all of it; those of the frames are checked with the frames that are read. `index_shard` finds
the stretches: it walks over the records' structure and touches no frame.
"""

from __future__ import annotations

import io
import mmap
import os
import struct
import tokenize
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.episode import Episode
from visual_foresight.formats.checksum import masked_crc32c
from visual_foresight.formats.record import RECORD_ERRORS, Fault

__all__ = ["FRAMES_KEY", "RawRecord", "index_shard", "load_array", "raw_features", "read_window", "store_array"]

PREFIX = "visual_foresight/"
FRAMES_KEY = PREFIX + "frames"
_PARTS = ("actions", "states", "checksums")
_HEADER = struct.Struct("<QI")  # length of a record and the checksum of that length
_FOOTER_SIZE = 4
_NPY_HEADER_LIMIT = 4096
_NO_ROWS = zlib.crc32(b"")
_NO_EXAMPLE = "is not a tf.train.Example"
_LENGTH_DELIMITED = 2  # the protobuf wire type of strings, bytes and messages


@dataclass(frozen=True, eq=False)
class RawRecord:
    """Where the frames of one episode lie in a file, and the small arrays beside them.

    Args:
        file: The file.
        record: Index of the record in the file.
        offset: Of the first frame in the file [bytes].
        num_frames: T.
        image_size: (H, W) of the stored frames.
        actions: `[T-1, A]` float32, or None.
        states: `[T, S]` float32, or None.
        checksums: `[T + 2]` uint32: CRC-32 of each frame, of the actions, of the states.
    """

    file: Path
    record: int
    offset: int
    num_frames: int
    image_size: tuple[int, int]
    actions: np.ndarray | None
    states: np.ndarray | None
    checksums: np.ndarray


def raw_features(episode: Episode) -> dict[str, bytes | np.ndarray]:
    """Return the features that hold an episode's frames, actions and states."""
    rows = {name: getattr(episode, name) for name in ("actions", "states")}
    features: dict[str, bytes | np.ndarray] = {FRAMES_KEY: store_array(episode.frames)}
    checksums = [zlib.crc32(np.ascontiguousarray(frame).data) for frame in episode.frames]
    for name, value in rows.items():
        checksums.append(_NO_ROWS if value is None else zlib.crc32(np.ascontiguousarray(value).data))
        if value is not None:
            features[PREFIX + name] = store_array(value)
    features[PREFIX + "checksums"] = store_array(np.array(checksums, np.uint32))
    return features


def store_array(array: np.ndarray) -> bytes:
    """Return the bytes of a `.npy` file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
    return stream.getvalue()


def load_array(stored: bytes) -> np.ndarray:
    """Return the array of the bytes of a `.npy` file, read-only and without a copy.

    Raises:
        ValueError: They are not a whole one.
    """
    shape, dtype, start = _npy_header(stored[:_NPY_HEADER_LIMIT])
    if len(stored) - start != int(np.prod(shape, dtype=np.int64)) * dtype.itemsize:
        raise ValueError(f"an array of {list(shape)} {dtype} is stored in {len(stored) - start} bytes")
    return np.frombuffer(stored, dtype, offset=start).reshape(shape)


def _npy_header(beginning: bytes) -> tuple[tuple[int, ...], np.dtype, int]:
    """Return the shape, the dtype, and where the data begin."""
    length = struct.unpack_from("<H", beginning, 8)[0] if beginning[:8] == b"\x93NUMPY\x01\x00" else 0
    if not length or len(beginning) < 10 + length:
        raise ValueError("an array is not stored as a .npy file of version 1")
    return (*_parse_npy_header(beginning[: 10 + length]), 10 + length)


@lru_cache(maxsize=1024)
def _parse_npy_header(header: bytes) -> tuple[tuple[int, ...], np.dtype]:
    """Parse a header; most records of a data set share theirs, and NumPy's own parsing is slow."""
    stream = io.BytesIO(header)
    np.lib.format.read_magic(stream)
    try:
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError):  # NumPy reads it with Python's own tokenizer
        raise ValueError("the header of an array is damaged") from None
    if fortran_order or dtype.hasobject:
        raise ValueError(f"an array is stored with dtype {dtype}, fortran_order={fortran_order}: expected plain rows")
    return shape, dtype


def index_shard(file: Path) -> Iterator[RawRecord | Fault] | None:
    """Find the episodes of a TFRecord file without reading their frames.

    Yields, for each record, where its frames lie, or what is wrong with it. None where the file's first record is of
    another encoding: read it with the format's own `read`.

    Raises:
        FileNotFoundError: The file does not exist.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist")
    with open(file, "rb") as stream:
        if not file.stat().st_size:
            return iter(())
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    first = next(_records(file, content), None)
    if isinstance(first, tuple):
        try:
            if FRAMES_KEY not in _strings(content, *first[1:]):
                content.close()
                return None
        except RECORD_ERRORS:
            pass  # damaged: the listing says so
    return _listing(file, content)


def _listing(file: Path, content: mmap.mmap) -> Iterator[RawRecord | Fault]:
    with content:
        for found in _records(file, content):
            if isinstance(found, Fault):
                yield found
                continue
            try:
                yield _record(file, content, *found)
            except RECORD_ERRORS as error:
                message = f"lacks the key {error}" if type(error) is KeyError else str(error)
                yield Fault(file, found[0], message)


def _records(file: Path, content: mmap.mmap) -> Iterator[tuple[int, int, int] | Fault]:
    """Yield (index, first byte, byte after the last) of each record; a fault ends the file."""
    index, offset, size = 0, 0, len(content)
    while offset < size:
        start = offset + _HEADER.size
        if start > size:
            yield Fault(file, index, f"the file is truncated: it ends {size - offset} bytes into this record")
            return
        length, checksum = _HEADER.unpack_from(content, offset)
        if masked_crc32c(content[offset : offset + 8]) != checksum:
            yield Fault(file, index, f"the record's length, at byte {offset}, is damaged; what follows cannot be read")
            return
        offset = start + length + _FOOTER_SIZE
        if offset > size:
            message = f"the file is truncated: it ends {offset - size} bytes before the end of this record"
            yield Fault(file, index, message)
            return
        yield index, start, start + length
        index += 1


def _record(file: Path, content: mmap.mmap, index: int, start: int, stop: int) -> RawRecord:
    strings = _strings(content, start, stop)
    first, last = strings[FRAMES_KEY]
    shape, dtype, header = _npy_header(content[first : min(last, first + _NPY_HEADER_LIMIT)])
    if dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or int(np.prod(shape)) != last - first - header:
        raise ValueError(f"holds frames of {list(shape)} {dtype} in {last - first - header} bytes: expected uint8")
    parts = {
        name: load_array(content[slice(*strings[PREFIX + name])]) if PREFIX + name in strings else None
        for name in _PARTS
    }
    checksums, rows = parts.pop("checksums"), []
    if checksums is None or checksums.shape != (shape[0] + 2,):
        raise ValueError("has no checksum for each of its frames")
    for (name, value), expected, checksum in zip(
        parts.items(), (shape[0] - 1, shape[0]), checksums[-2:].tolist(), strict=True
    ):
        if (_NO_ROWS if value is None else zlib.crc32(value.data)) != checksum:
            raise ValueError(f"its {name} do not match their checksum")
        if value is not None and (value.dtype != np.float32 or value.ndim != 2 or len(value) != expected):
            raise ValueError(f"its {name} must be float32 [{expected}, size], got {value.dtype} {list(value.shape)}")
        rows.append(value)
    return RawRecord(file, index, first + header, shape[0], shape[1:3], rows[0], rows[1], checksums)


def _strings(content: mmap.mmap, start: int, stop: int) -> dict[str, tuple[int, int]]:
    """Return the stretches (first byte, byte after the last) of an Example's features of one string each, by key.

    Only the structure is read: `Example{1: Features{1: entry{1: key, 2: Feature{1: BytesList{1: bytes}}}}}`.

    Raises:
        ValueError: The bytes are no Example.
    """
    found = {}
    for features in _fields(content, start, stop, 1):
        for entry in _fields(content, *features, 1):
            key = next(_fields(content, *entry, 1), None)
            for feature in _fields(content, *entry, 2):
                for values in _fields(content, *feature, 1):
                    strings = list(_fields(content, *values, 1))
                    if key is not None and len(strings) == 1:
                        found[content[slice(*key)].decode(errors="replace")] = strings[0]
    return found


def _fields(content: mmap.mmap, start: int, stop: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Yield the stretches of a protobuf message's fields of one number; all fields must be length-delimited."""
    position = start
    while position < stop:
        tag, position = _varint(content, position, stop)
        if tag & 7 != _LENGTH_DELIMITED:
            raise ValueError(_NO_EXAMPLE)
        length, position = _varint(content, position, stop)
        if position + length > stop:
            raise ValueError(_NO_EXAMPLE)
        if tag >> 3 == wanted:
            yield position, position + length
        position += length


def _varint(content: mmap.mmap, position: int, stop: int) -> tuple[int, int]:
    value = shift = 0
    while position < stop and shift < 64:
        byte = content[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
    raise ValueError(_NO_EXAMPLE)


def read_window(record: RawRecord, start: int, frames: np.ndarray) -> None:
    """Read stored frames into an array and check them.

    Args:
        record: From `index_shard`.
        start: The first frame to read.
        frames: `[T, H, W, 3]` uint8, contiguous: filled.

    Raises:
        ValueError: The file is shorter than it was, or a frame does not match its checksum; names file and record.
    """
    fault = partial(Fault, record.file, record.record)
    position = record.offset + start * frames[0].nbytes
    descriptor = os.open(record.file, os.O_RDONLY)
    try:
        # A file may be on a medium that returns less than was asked for; only nothing means its end.
        target, filled = frames.reshape(-1).data, 0
        while filled < frames.nbytes:
            count = os.preadv(descriptor, [target[filled:]], position + filled)
            if not count:
                raise ValueError(str(fault("the file is truncated: it ends inside this record")))
            filled += count
    finally:
        os.close(descriptor)
    expected: list[Any] = record.checksums[start : start + len(frames)].tolist()
    for number, (frame, checksum) in enumerate(zip(frames, expected, strict=True), start):
        if zlib.crc32(frame) != checksum:
            raise ValueError(str(fault(f"frame {number} does not match its checksum")))
