"""Append columns to records and report the ones left out, as delimited text.

In: blocks as they were read and arrays of the new columns' cells. Out: bytes.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from runtime.tables.arrow import binary_scalar, whole_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from runtime.tables.table import BadRow

REJECTS_HEADER = ("record", "line", "column", "value", "reason", "text")


def encode_cell(text: str) -> bytes:
    """Write one cell, quoted where it has to be."""
    return encode_record([text]).removesuffix(b"\n") if text else b""


def encode_record(cells: Sequence[str]) -> bytes:
    """Write one record of text cells, quoted where they have to be, with a line end."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)  # what it ends with, it quotes
    return buffer.getvalue().removesuffix("\r\n").encode(errors="surrogateescape") + b"\n"


def join_fields(fields: Sequence[pa.Array]) -> memoryview:
    """Put the fields of each row side by side and the rows one after another.

    Args:
        fields: ``(rows,)`` binary each, delimiters and line breaks included; null is nothing.

    Returns:
        The bytes.
    """
    nothing = binary_scalar(b"")
    joined = pc.binary_join_element_wise(
        *fields, nothing, null_handling="replace", null_replacement=b""
    )
    return whole_bytes(joined)


def encode_rejects(bad: Iterable[BadRow]) -> bytes:
    """Write bad rows as records of the rejects file.

    Bytes that are no UTF-8 come out as they were read.
    """
    return b"".join(
        encode_record(
            [
                str(row.record),
                "" if row.line is None else str(row.line),
                row.column,
                row.value,
                row.reason,
                row.text.decode(errors="surrogateescape"),
            ]
        )
        for row in bad
    )
