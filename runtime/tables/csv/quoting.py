"""Encode cells and records as delimited text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from runtime.tables.arrays import binary_scalar, value_bytes
from runtime.tables.dialect import COMMA, Dialect

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runtime.tables.base import BadRow


REJECTS_HEADER = ("record", "line", "column", "value", "reason", "text")


def encode_cell(text: str, dialect: Dialect = COMMA) -> bytes:
    """Encode a cell, quoted if necessary."""
    return quote(dialect.encoding.encode(text), dialect)


def encode_record(cells: Sequence[str | bytes], dialect: Dialect = COMMA) -> bytes:
    """Encode a record with a line end, its cells quoted if necessary."""
    encoded = [
        quote(cell, dialect) if isinstance(cell, bytes) else encode_cell(cell, dialect)
        for cell in cells
    ]
    return (dialect.delimiter.join(encoded) or b'""') + b"\n"  # a blank line is not a record


def quote(cell: bytes, dialect: Dialect) -> bytes:
    """Quote a cell if necessary."""
    if not any(char in cell for char in (dialect.delimiter, b'"', b"\n", b"\r")):
        return cell
    return b'"' + cell.replace(b'"', b'""') + b'"'


def format_floats(values: pa.Array, dialect: Dialect = COMMA) -> pa.Array:
    """Format float32 numbers in the fewest digits that parse to the same number."""
    import pyarrow.compute as pc

    text = pc.cast(values, pa.string())
    if dialect.decimal != ".":
        text = pc.replace_substring(text, ".", dialect.decimal)
        if dialect.decimal.encode() == dialect.delimiter:
            text = pc.replace_substring_regex(text, "^.*,.*$", r'"\0"')
    return text.cast(pa.binary())


def join_fields(fields: Sequence[pa.Array]) -> memoryview:
    """Concatenate the fields of each row, then the rows."""
    import pyarrow.compute as pc

    separator = binary_scalar(b"")
    joined = pc.binary_join_element_wise(
        *fields, separator, null_handling="replace", null_replacement=b""
    )
    return value_bytes(joined)


def encode_rejects(bad: Iterable[BadRow], dialect: Dialect = COMMA) -> bytes:
    """Encode bad rows as records of the rejects file."""
    return b"".join(
        encode_record(
            [
                str(row.record),
                "" if row.line is None else str(row.line),
                row.column,
                row.value,
                row.reason,
                row.text,
            ],
            dialect,
        )
        for row in bad
    )
