"""TensorBoard event files, written without TensorFlow and without TensorBoard.

TensorFlow 2.21 ships `tf.summary.scalar` and `tf.summary.image` only where the tensorboard package is installed, and
the JAX backend has neither. The format is small enough to write directly: protocol-buffer messages of
`tensorflow/core/util/event.proto` and `tensorflow/core/framework/summary.proto`, framed as TFRecords. An animated GIF
is a legal image there, and TensorBoard plays it.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from visual_foresight.output_files import append_whole

_CASTAGNOLI = 0x82F63B78
_START = 1  # SessionLog.SessionStatus.START: TensorBoard forgets what an earlier, longer run wrote after this step


class EventWriter:
    """Appends scalars and images to one event file of a folder.

    Args:
        directory: folder that TensorBoard reads; made when missing.
        start_iteration: first step of this run; later steps of earlier files in the folder are superseded.
    """

    def __init__(self, directory: str | Path, start_iteration: int = 0) -> None:
        """Names a new event file, and begins it."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._path = folder / name
        self._pending: list[bytes] = []
        self._write(_bytes_field(3, b"brain.Event:2"))
        if start_iteration:
            self._write(_int_field(2, start_iteration) + _bytes_field(7, _int_field(1, _START)))
        self.flush()

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """Writes one value per tag."""
        summary = b"".join(
            _bytes_field(1, _bytes_field(1, tag.encode()) + _float_field(2, value)) for tag, value in values.items()
        )
        self._write(_int_field(2, iteration) + _bytes_field(5, summary))

    def image(self, iteration: int, tag: str, encoded: bytes, size: tuple[int, int]) -> None:
        """Writes an encoded PNG, JPEG or (animated) GIF of `size` (height, width)."""
        content = _int_field(1, size[0]) + _int_field(2, size[1]) + _int_field(3, 3) + _bytes_field(4, encoded)
        value = _bytes_field(1, tag.encode()) + _bytes_field(4, content)
        self._write(_int_field(2, iteration) + _bytes_field(5, _bytes_field(1, value)))

    def flush(self) -> None:
        """Writes all events so far, or none of them where the disk is full."""
        pending, self._pending = b"".join(self._pending), []
        append_whole(self._path, pending)

    def close(self) -> None:
        """Writes what is left; closing twice does nothing."""
        if self._pending:
            self.flush()

    def _write(self, event: bytes) -> None:
        event = struct.pack("<Bd", 1 << 3 | 1, time.time()) + event
        length = struct.pack("<Q", len(event))
        self._pending.append(
            length + struct.pack("<I", _masked_crc(length)) + event + struct.pack("<I", _masked_crc(event))
        )


def _int_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _float_field(number: int, value: float) -> bytes:
    return struct.pack("<Bf", number << 3 | 5, value)


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _crc_table() -> list[int]:
    table = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (_CASTAGNOLI if entry & 1 else 0)
        table.append(entry)
    return table


_TABLE = _crc_table()


def _masked_crc(data: bytes) -> int:
    """The masked CRC-32C of the TFRecord format (`tensorflow/core/lib/hash/crc32c.h`)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
