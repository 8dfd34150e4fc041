"""Records of a TensorBoard event file; those of scalars thousands at once.

TensorBoard's own writer takes 50 microseconds a scalar, more than a step. Here the records of an
epoch are made together, and only what differs between them is computed for each.

A record is length (uint64), checksum of the length, data, checksum of the data; all little-endian
(tensorflow/core/lib/io/record_writer.h). The data is an ``Event`` (tensorflow/core/util/
event.proto): wall_time = 1, step = 2, file_version = 3, summary = 5; ``Summary``: value = 1;
``Value``: tag = 1, simple_value = 2. A checksum is CRC-32C (RFC 3720, appendix B.4), rotated by
15 bits and shifted by a constant. In: numbers. Out: bytes. No errors.
"""

from __future__ import annotations

import struct
from functools import cache

import numpy as np
import numpy.typing as npt

from trainer.wire import field, varint

_Bytes = npt.NDArray[np.uint8]
_Words = npt.NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78  # of CRC-32C, its bits reversed
_MASK_DELTA = 0xA282EAD8
_VALUE_SIZE = 4
_CHECKSUM_SIZE = 4
_PIECE = 64  # bytes of long data that are looked at side by side
_PLACES = np.arange(_PIECE)


def file_header(wall_time: float) -> bytes:
    """Make the first record of an event file.

    Args:
        wall_time: seconds since 1970.

    Returns:
        A record.
    """
    return event_record(b"\x09" + struct.pack("<d", wall_time) + field(3, b"brain.Event:2"))


def event_record(data: bytes) -> bytes:
    """Make a record of any event.

    Args:
        data: an ``Event``, serialised.

    Returns:
        A record.
    """
    return _frame(len(data)) + data + _masked(_checksum(data))


def scalar_records(tag: str, first: int, values: npt.ArrayLike, wall_time: float) -> bytes:
    """Make a record for each of some values at successive steps.

    Args:
        tag: name of the curve.
        first: step of the first value, 0 or more.
        values: ``(n,)``, kept as float32.
        wall_time: seconds since 1970.

    Returns:
        The records, one after the other.
    """
    numbers = np.ascontiguousarray(values, dtype="<f4").reshape(-1)
    records, done = [], 0
    while done < len(numbers):
        # Steps whose variable-length integers take as many bytes: their records are alike.
        alike = min(len(numbers), (1 << 7 * len(varint(first + done))) - first)
        records.append(_records(tag, first + done, numbers[done:alike], wall_time))
        done = alike
    return b"".join(records)


def _records(tag: str, first: int, values: npt.NDArray[np.float32], wall_time: float) -> bytes:
    """Make records of the same length."""
    value = field(1, tag.encode()) + b"\x15" + bytes(_VALUE_SIZE)
    start = b"\x09" + struct.pack("<d", wall_time) + b"\x10"
    step_size = len(varint(first))
    data = start + bytes(step_size) + field(5, field(1, value))
    frame = _frame(len(data))
    records = np.empty((len(values), len(frame) + len(data) + 4), np.uint8)
    records[:] = np.frombuffer(frame + data + bytes(4), np.uint8)
    body = records[:, len(frame) : -4]  # (records, bytes)
    body[:, len(start) : len(start) + step_size] = _varints(first, len(values), step_size)
    body[:, -_VALUE_SIZE:] = values.view(np.uint8).reshape(-1, _VALUE_SIZE)
    places = [*range(len(start), len(start) + step_size), *range(-_VALUE_SIZE, 0)]
    sums = _checksums(data, body, [place % len(data) for place in places])
    records[:, -4:] = _mask(sums).astype("<u4").view(np.uint8).reshape(-1, 4)
    return records.tobytes()


def _varints(first: int, count: int, size: int) -> _Bytes:
    """Successive numbers of ``size`` bytes each, ``(count, size)``."""
    numbers = np.arange(first, first + count, dtype=np.int64)[:, None]
    bits = numbers >> (7 * np.arange(size)) & 0x7F
    bits[:, :-1] |= 0x80
    return bits.astype(np.uint8)


@cache
def _frame(size: int) -> bytes:
    """What comes before data of some size."""
    length = struct.pack("<Q", size)
    return length + _masked(_checksum(length))


def _masked(checksum: int) -> bytes:
    return _mask(np.array([checksum], np.uint32)).astype("<u4").tobytes()


def _mask(sums: _Words) -> _Words:
    return (sums >> np.uint32(15) | sums << np.uint32(17)) + np.uint32(_MASK_DELTA)


def _checksum(data: bytes) -> int:
    """CRC-32C of some bytes: of whole pieces, then of what is left one after the other."""
    crc, whole = 0xFFFFFFFF, len(data) // _PIECE * _PIECE
    if whole > _PIECE:
        first, second, third, fourth = _leading()
        for own in _pieces(data[:whole]):
            crc = (
                own
                ^ first[crc & 0xFF]
                ^ second[crc >> 8 & 0xFF]
                ^ third[crc >> 16 & 0xFF]
                ^ fourth[crc >> 24]
            )
        data = data[whole:]
    table = _table()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _pieces(data: bytes) -> list[int]:
    """What each piece gives to the checksum, were there nothing before it: all at once."""
    rows = np.frombuffer(data, np.uint8).reshape(-1, _PIECE)
    sums: list[int] = np.bitwise_xor.reduce(_given()[_PLACES, rows], axis=1).tolist()
    return sums


@cache
def _given() -> _Words:
    """What each byte of a piece gives to the checksum, ``(_PIECE, 256)``."""
    return np.stack(_tables(_PIECE)[::-1])


@cache
def _leading() -> list[list[int]]:
    """What the four bytes of the checksum so far give to that after one more piece."""
    return [table.tolist() for table in _tables(_PIECE)[: -_CHECKSUM_SIZE - 1 : -1]]


def _checksums(base: bytes, rows: _Bytes, places: list[int]) -> _Words:
    """CRC-32C of rows that differ from ``base`` in a few places, where that has zeros.

    A checksum is linear but for a constant: that of a sum of texts is the sum of what each byte
    gives at its distance from the end.
    """
    sums = np.full(len(rows), _checksum(base), np.uint32)
    tables = _tables(len(base))
    for place in places:
        sums ^= tables[len(base) - 1 - place][rows[:, place]]
    return sums


@cache
def _table() -> list[int]:
    """What the last byte gives to the checksum; a list is read faster than an array."""
    return [int(number) for number in _tables(1)[0]]


@cache
def _tables(size: int) -> list[_Words]:
    """What a byte gives to the checksum at each distance from the end, 256 numbers a distance."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1)
    tables = [table]
    for _ in range(size - 1):
        last = tables[-1]
        tables.append(table[last & 0xFF] ^ last >> np.uint32(8))
    return tables
