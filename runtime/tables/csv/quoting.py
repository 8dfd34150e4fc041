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
    """Write one cell, quoted where it has to be."""
    return quote(dialect.encoding.encode(text), dialect)


def encode_record(cells: Sequence[str | bytes], dialect: Dialect = COMMA) -> bytes:
    """Write one record, its cells quoted where they have to be, with a line end."""
    encoded = [
        quote(cell, dialect) if isinstance(cell, bytes) else encode_cell(cell, dialect)
        for cell in cells
    ]
    return (dialect.delimiter.join(encoded) or b'""') + b"\n"  # a blank line is no record


def quote(cell: bytes, dialect: Dialect) -> bytes:
    """Put quotes around a cell that needs them."""
    if not any(sign in cell for sign in (dialect.delimiter, b'"', b"\n", b"\r")):
        return cell
    return b'"' + cell.replace(b'"', b'""') + b'"'


def format_floats(values: pa.Array, dialect: Dialect = COMMA) -> pa.Array:
    """Write float32 numbers in the fewest digits that read back as the same number."""
    import pyarrow.compute as pc

    text = pc.cast(values, pa.string())
    if dialect.decimal != ".":
        text = pc.replace_substring(text, ".", dialect.decimal)
        if dialect.decimal.encode() == dialect.delimiter:
            text = pc.replace_substring_regex(text, "^.*,.*$", r'"\0"')
    return text.cast(pa.binary())


def join_fields(fields: Sequence[pa.Array]) -> memoryview:
    """Put the fields of each row side by side and the rows one after another."""
    import pyarrow.compute as pc

    nothing = binary_scalar(b"")
    joined = pc.binary_join_element_wise(
        *fields, nothing, null_handling="replace", null_replacement=b""
    )
    return value_bytes(joined)


def encode_rejects(bad: Iterable[BadRow], dialect: Dialect = COMMA) -> bytes:
    """Write bad rows as records of the rejects file."""
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
