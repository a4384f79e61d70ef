"""CRC-32C (Castagnoli), the checksum of TFRecord files, in NumPy: TensorFlow offers none to call from Python."""

from __future__ import annotations

import numpy as np

__all__ = ["crc32c", "masked_crc32c"]

_POLYNOMIAL = 0x82F63B78  # reflected
_MASK_DELTA = 0xA282EAD8


def _byte_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


_TABLE = _byte_table()
_TABLE_LIST: list[int] = _TABLE.tolist()
_SHORT = 64  # bytes up to which a plain loop is faster than NumPy


def crc32c(data: bytes) -> int:
    """Return the checksum of `data`.

    The bytes are laid out in rows as long as there are rows, all rows are run through the table at once, and the rows'
    remainders are joined by shifting each past the rows after it (a remainder is linear over GF(2)).
    """
    if len(data) <= _SHORT:
        return _crc32c_of_few(data)
    values = np.frombuffer(data, np.uint8)
    side = max(1, int(np.sqrt(len(values))))
    head = len(values) % side  # what does not fill the rows goes first
    remainder = np.array([0xFFFFFFFF], np.uint32)
    for value in values[:head]:
        remainder = _step(remainder, value)
    rows = values[head:].reshape(-1, side) if len(values) else np.zeros((0, 1), np.uint8)
    remainders = np.zeros(len(rows), np.uint32)
    for column in range(side if len(rows) else 0):
        remainders = _step(remainders, rows[:, column])
    shift = _shift_tables(side)
    result = int(remainder[0])
    for row in remainders.tolist():
        shifted = shift[0][result & 255] ^ shift[1][result >> 8 & 255]
        result = shifted ^ shift[2][result >> 16 & 255] ^ shift[3][result >> 24] ^ row
    return result ^ 0xFFFFFFFF


def _crc32c_of_few(data: bytes) -> int:
    remainder = 0xFFFFFFFF
    for value in data:
        remainder = _TABLE_LIST[(remainder ^ value) & 255] ^ (remainder >> 8)
    return remainder ^ 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """Return the checksum of `data` as TFRecord files store it: rotated by 15 bits, plus a constant."""
    checksum = crc32c(data)
    return ((checksum >> 15 | checksum << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _step(remainders: np.ndarray, values: np.ndarray) -> np.ndarray:
    return _TABLE[(remainders ^ values) & 255] ^ (remainders >> np.uint32(8))


def _shift_tables(num_bytes: int) -> list[list[int]]:
    """Tables, one for each byte of a remainder, that move it past `num_bytes` zero bytes."""
    bits = np.left_shift(np.uint32(1), np.arange(32, dtype=np.uint32))
    zero = np.zeros(32, np.uint8)
    for _ in range(num_bytes):
        bits = _step(bits, zero)
    tables = []
    for byte in range(4):
        table = np.zeros(256, np.uint32)
        for bit in range(8):
            table ^= np.where(np.arange(256) >> bit & 1, bits[8 * byte + bit], 0).astype(np.uint32)
        tables.append(table.tolist())
    return tables
