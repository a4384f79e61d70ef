"""TFRecord files and their Examples: the one place where data formats touch TensorFlow, imported on first use."""

from __future__ import annotations

import errno
import gzip
import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from visual_foresight.backend import import_tensorflow
from visual_foresight.episode import Episode
from visual_foresight.formats.checksum import masked_crc32c
from visual_foresight.formats.picture import rgb_of
from visual_foresight.formats.record import Fault, attempt
from visual_foresight.formats.resize import crop_box, resize_frames

__all__ = [
    "ExampleWriter",
    "Features",
    "decode_frame",
    "first_record",
    "iterate_records",
    "read_records",
    "tfrecord_files",
]

_HEADER_SIZE = 12  # length (8 bytes) and its checksum
_FOOTER_SIZE = 4  # checksum of the data


def tfrecord_files(path: Path) -> list[Path]:
    """Return the TFRecord files at `path`, sorted: `a.tfrecord`, `a.tfrecords`, `a.tfrecord-00000-of-00264`."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file() and _is_tfrecord(file))
    return [path] if _is_tfrecord(path) else []


def _is_tfrecord(file: Path) -> bool:
    return ".tfrecord" in file.name and not file.name.startswith(".")


def first_record(file: Path, *, compression: str = "") -> bytes:
    """Return the bytes of the first record (none where it is damaged): enough to tell formats apart by their keys."""
    try:
        with gzip.open(file) if compression else open(file, "rb") as stream:
            header = stream.read(_HEADER_SIZE)
            if len(header) < _HEADER_SIZE or masked_crc32c(header[:8]) != struct.unpack("<I", header[8:])[0]:
                return b""
            return stream.read(struct.unpack("<Q", header[:8])[0])
    except (OSError, EOFError, zlib.error):
        return b""


def iterate_records(file: Path, *, compression: str = "") -> Iterator[bytes | Fault]:
    """Yield the bytes of each record, or a fault for each that is damaged.

    TensorFlow reads and verifies the checksums. Where it stops, `_read_on` takes over: damaged data cost one record, a
    damaged length costs the rest of the file.

    Args:
        file: The file.
        compression: "" or "GZIP" (from a damaged GZIP file nothing after the damage can be read).

    Raises:
        FileNotFoundError: The file does not exist.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist")
    tf = import_tensorflow()
    offset, index = 0, 0
    try:
        for record in tf.data.TFRecordDataset(str(file), compression).as_numpy_iterator():
            yield record
            offset += _HEADER_SIZE + len(record) + _FOOTER_SIZE
            index += 1
    except tf.errors.OpError:
        if compression:
            yield Fault(file, index, "the file ends or is damaged inside this record; what follows cannot be read")
            return
    # TensorFlow takes a file that ends inside a record's header for a whole one; here that is a fault too.
    if not compression and offset < file.stat().st_size:
        yield from _read_on(file, offset, index)


def read_records(file: Path, parse: Callable[[bytes], Episode], *, compression: str = "") -> Iterator[Episode | Fault]:
    """Yield the episode in each record, or a fault for each that is damaged or that `parse` cannot make sense of.

    Args:
        file: The file.
        parse: Makes an episode of a record's bytes; what it raises becomes a fault (`record.attempt`).
        compression: "" or "GZIP".

    Raises:
        FileNotFoundError: The file does not exist.
    """
    for index, record in enumerate(iterate_records(file, compression=compression)):
        yield record if isinstance(record, Fault) else attempt(file, index, partial(parse, record))


def _read_on(file: Path, offset: int, index: int) -> Iterator[bytes | Fault]:
    """Read the rest of a damaged file from byte `offset`, where record `index` begins, past whatever can be passed."""
    size = file.stat().st_size
    with open(file, "rb") as stream:
        stream.seek(offset)
        while offset < size:
            header = stream.read(_HEADER_SIZE)
            if len(header) < _HEADER_SIZE:
                yield Fault(file, index, f"the file is truncated: it ends {len(header)} bytes into this record")
                return
            length, checksum = struct.unpack("<QI", header)
            if masked_crc32c(header[:8]) != checksum:
                yield Fault(
                    file, index, f"the record's length, at byte {offset}, is damaged; what follows cannot be read"
                )
                return
            end = offset + _HEADER_SIZE + length + _FOOTER_SIZE
            if end > size:
                yield Fault(
                    file, index, f"the file is truncated: it ends {end - size} bytes before the end of this record"
                )
                return
            record = stream.read(length)
            if masked_crc32c(record) == struct.unpack("<I", stream.read(_FOOTER_SIZE))[0]:
                yield record
            else:
                yield Fault(file, index, f"its {length} bytes, from byte {offset} on, do not match their checksum")
            offset, index = end, index + 1


class Features:
    """The features of one `tf.train.Example` by key."""

    def __init__(self, record: bytes) -> None:
        """Parse.

        Raises:
            ValueError: The bytes are not an Example.
        """
        from google.protobuf.message import DecodeError

        example = import_tensorflow().train.Example()
        try:
            example.ParseFromString(record)
        except DecodeError:
            raise ValueError("is not a tf.train.Example") from None
        self._feature = example.features.feature

    def __contains__(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._feature

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys."""
        return iter(self._feature)

    def bytes_at(self, key: str) -> bytes:
        """Return the single string of a key.

        Raises:
            KeyError: It is missing.
            ValueError: It does not hold one string.
        """
        if key not in self._feature:
            raise KeyError(key)
        value = self._feature[key].bytes_list.value
        if len(value) != 1:
            raise ValueError(f"the key {key!r} must hold one string of bytes, it holds {len(value)}")
        return value[0]

    def floats_at(self, key: str) -> np.ndarray:
        """Return the numbers of a key, `[N]` float32.

        Raises:
            KeyError: It is missing.
            ValueError: It does not hold numbers.
        """
        if key not in self._feature:
            raise KeyError(key)
        feature = self._feature[key]
        value = feature.float_list.value or feature.int64_list.value
        if not len(value):
            raise ValueError(f"the key {key!r} must hold numbers, it holds none")
        return np.asarray(value, dtype=np.float32)

    def rows(self, pattern: str, num_steps: int) -> np.ndarray | None:
        """Return `[num_steps, N]` float32 of the keys `pattern.format(t)`; None where no step has its key.

        Raises:
            KeyError: Some steps have the key and others lack it.
            ValueError: Steps differ in size.
        """
        if not any(pattern.format(step) in self._feature for step in range(num_steps)):
            return None
        rows = [self.floats_at(pattern.format(step)) for step in range(num_steps)]
        for step, row in enumerate(rows):
            if row.shape != rows[0].shape:
                key = pattern.format(step)
                raise ValueError(f"the key {key!r} holds {len(row)} numbers, step 0 holds {len(rows[0])}")
        return np.stack(rows)

    def num_steps(self, pattern: str) -> int:
        """Count the steps 0, 1, ... whose key `pattern.format(t)` holds something.

        Raises:
            KeyError: Step 0 is missing.
            ValueError: A step is missing although a later one is there.
        """
        steps = 0
        while self._holds(pattern.format(steps)):
            steps += 1
        if not steps:
            raise KeyError(pattern.format(0))
        # A gap would otherwise cut the episode short without a word.
        if self._holds(pattern.format(steps + 1)):
            raise ValueError(f"the key {pattern.format(steps)!r} is missing, but the step after it is there")
        return steps

    def _holds(self, key: str) -> bool:
        return key in self._feature and any(self._feature[key].bytes_list.value)


def decode_frame(encoded: bytes, preprocess: str, image_size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode, crop and resize one JPEG or PNG picture.

    JPEG goes through TensorFlow's default decoder, as in the original (others differ by up to 4/255).

    Returns:
        The frame `[H, W, 3]` uint8, and the stored (height, width).

    Raises:
        ValueError: The bytes are not a whole JPEG or PNG picture.
    """
    from PIL import Image, UnidentifiedImageError

    is_jpeg = encoded[:2] == b"\xff\xd8"
    if not is_jpeg and encoded[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"a picture of {len(encoded)} bytes is neither JPEG nor PNG")
    if is_jpeg and b"\xff\xd9" not in encoded[-64:]:
        raise ValueError(f"a JPEG picture of {len(encoded)} bytes is cut off: it lacks its end mark")
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            stored_size = (picture.height, picture.width)
            frame = None if is_jpeg else rgb_of(picture)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"a picture of {len(encoded)} bytes cannot be decoded: {error}") from None
    if frame is None:
        frame = _decode_jpeg(encoded, decoder_scale(stored_size, preprocess, image_size))
    return resize_frames(frame[None], preprocess, image_size)[0], stored_size


def decoder_scale(stored_size: tuple[int, int], preprocess: str, image_size: tuple[int, int]) -> int:
    """Return by how much (1, 2, 4 or 8) the JPEG decoder may shrink so that the crop still covers `image_size`."""
    if preprocess != "antialias":
        return 1
    _, _, height, width = crop_box(*stored_size, image_size)
    return next(
        (scale for scale in (8, 4, 2) if height // scale >= image_size[0] and width // scale >= image_size[1]), 1
    )


def _decode_jpeg(encoded: bytes, scale: int) -> np.ndarray:
    tf = import_tensorflow()
    try:
        return tf.io.decode_jpeg(encoded, channels=3, ratio=scale).numpy()
    except tf.errors.OpError as error:
        reason = error.message.split("}} ")[-1].split(" [Op:")[0]
        raise ValueError(f"a JPEG picture of {len(encoded)} bytes cannot be decoded: {reason}") from None


class ExampleWriter:
    """Writes Examples to one TFRecord file."""

    def __init__(self, path: Path, *, compression: str = "") -> None:
        """Open the file."""
        self._tf = import_tensorflow()
        self._path = path
        self._writer = self._tf.io.TFRecordWriter(os.fspath(path), options=compression)

    def write(self, features: dict[str, bytes | np.ndarray]) -> None:
        """Append one Example: bytes become a bytes feature, arrays a float feature."""
        train = self._tf.train
        feature = {
            key: train.Feature(bytes_list=train.BytesList(value=[value]))
            if isinstance(value, bytes)
            else train.Feature(float_list=train.FloatList(value=np.asarray(value, np.float32).ravel()))
            for key, value in features.items()
        }
        example = train.Example(features=train.Features(feature=feature))
        with self._disk_errors():
            self._writer.write(example.SerializeToString(deterministic=True))

    def close(self) -> None:
        """Finish the file."""
        with self._disk_errors():
            self._writer.close()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """TensorFlow says of a full disk what it says of a full memory; Python tells the two apart."""
        try:
            yield
        except self._tf.errors.OpError as error:
            codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            code = next((code for code in codes if os.strerror(code) in error.message), errno.EIO)
            raise OSError(code, os.strerror(code), os.fspath(self._path)) from error
