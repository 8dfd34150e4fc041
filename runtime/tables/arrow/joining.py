"""Join Parquet files of one schema without decoding them: row groups are copied, footers merged.

See https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift for the
numbers of fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.errors import DataError
from runtime.io.sources import open_range, read_chunk
from runtime.tables.arrow.thrift import decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.io.paths import Location
    from runtime.io.sinks import Sink
    from runtime.tables.arrow.thrift import Struct

_MAGIC: Final = b"PAR1"
_TAIL_BYTES: Final = 8  # the footer's length, and the magic number
_COPY_BYTES: Final = 8 * 1024 * 1024

# Of the file, of a row group, of a column's chunk and of its metadata.
_FILE_ROWS, _GROUPS = 3, 4
_COLUMNS, _GROUP_OFFSET, _ORDINAL = 1, 5, 7
_METADATA = 3
_CHUNK_OFFSETS: Final = (2, 4, 6)  # of the file, of the offset index, of the column index
_PAGE_OFFSETS: Final = (9, 10, 11, 14)  # of data, index and dictionary pages, of the Bloom filter


def join_parquet(parts: Iterable[tuple[Location, int]], sink: Sink) -> None:
    """Join files, given with their sizes, into one with all of their row groups.

    Raises ``DataError`` when one of them cannot be read, or is damaged.
    """
    sink.write(_MAGIC)
    at, merged = len(_MAGIC), dict[int, tuple[int, object]]()
    for location, size in parts:
        footer, length = _read_footer(location, size)
        content = size - _TAIL_BYTES - length
        with open_range(location, len(_MAGIC), content) as stream:
            while chunk := read_chunk(stream, _COPY_BYTES, str(location)):
                sink.write(chunk)
        _shift(footer, at - len(_MAGIC))
        merged = _merge(merged, footer) if merged else footer
        at += content - len(_MAGIC)
    _number(merged)
    text = encode(merged)
    sink.write(text + len(text).to_bytes(4, "little") + _MAGIC)


def _read_footer(location: Location, size: int) -> tuple[Struct, int]:
    """Read the metadata of a file, and its length in bytes."""
    where = str(location)
    with open_range(location, size - _TAIL_BYTES, size) as stream:
        tail = read_chunk(stream, _TAIL_BYTES, where)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > size:
        raise DataError(f"{where} is damaged: it does not end as Parquet; nothing was written")
    try:
        with open_range(location, size - _TAIL_BYTES - length, size - _TAIL_BYTES) as stream:
            footer = decode(read_chunk(stream, length, where))
    except (ValueError, IndexError, OSError) as exc:
        raise DataError(f"{where} is damaged: {exc}; nothing was written") from exc
    return footer, length


def _shift(footer: Struct, by: int) -> None:
    """Move the offsets of all row groups."""
    for group in footer[_GROUPS][1][1]:
        _add(group, (_GROUP_OFFSET,), by)
        for chunk in group[_COLUMNS][1][1]:
            _add(chunk, _CHUNK_OFFSETS, by)
            _add(chunk[_METADATA][1], _PAGE_OFFSETS, by)


def _add(struct: Struct, numbers: tuple[int, ...], by: int) -> None:
    for number in numbers:
        # Arrow writes 0 for the deprecated offset of a chunk's metadata, which it does not repeat.
        if number in struct and struct[number][1]:
            kind, value = struct[number]
            struct[number] = kind, value + by


def _merge(one: Struct, other: Struct) -> Struct:
    """Append the row groups of another file."""
    kind, (element, groups) = one[_GROUPS]
    rows = one[_FILE_ROWS][1] + other[_FILE_ROWS][1]
    groups = [*groups, *other[_GROUPS][1][1]]
    return one | {_FILE_ROWS: (one[_FILE_ROWS][0], rows), _GROUPS: (kind, (element, groups))}


def _number(footer: Struct) -> None:
    """Number the row groups, as far as 16 bits allow."""
    for number, group in enumerate(footer[_GROUPS][1][1]):
        if _ORDINAL in group:
            group[_ORDINAL] = group[_ORDINAL][0], min(number, 2**15 - 1)
