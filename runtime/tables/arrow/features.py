"""Read features from typed columns: Parquet, Arrow, and data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runtime.errors import SchemaError
from runtime.tables.arrays import number_scalar
from runtime.tables.base import RowIssue
from runtime.tables.cells import MISSING, NOT_FINITE, OUT_OF_RANGE, parse_numbers, split_missing
from runtime.tables.dates import is_temporal
from runtime.tables.text import cell_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.choices import Decimal
    from runtime.tables.base import CellEncoder, Column, Encoded
    from runtime.tables.dialect import Dialect


_NAN = number_scalar(np.float64(np.nan))


def check_types(fields: Sequence[pa.Field], *, where: str) -> None:
    """Make sure that feature columns have types that can be numbers."""
    for field in fields:
        if not (_is_number(field.type) or _is_text(field.type)):
            raise SchemaError(
                f"{where}: column {field.name!r} is of type {field.type}, which is no number; "
                "convert it before it is scored"
            )


def read_columns(
    columns: Sequence[pa.Array], encoder: CellEncoder, decimal: Decimal = "."
) -> list[Column]:
    """Read feature columns."""
    return [
        _as_texts(column, at, encoder)
        if encoder.is_text(at)
        else _as_numbers(column, at, encoder, decimal)
        for at, column in enumerate(columns)
    ]


def find_issues(
    columns: Mapping[str, pa.Array], encoded: Encoded, encoder: CellEncoder, dialect: Dialect
) -> dict[int, RowIssue]:
    """Say why rows cannot be scored."""
    faults: dict[int, RowIssue] = {}
    names = list(columns)
    for row in np.flatnonzero(~encoded.usable.all(axis=1)).tolist():
        at = int(np.argmin(encoded.usable[row]))
        cell = columns[names[at]].slice(row, 1)
        cell = cell_texts(cell) if encoder.is_text(at) else _as_bytes(cell)
        faults[row] = _explain(cell[0].as_py(), names[at], encoder, at, dialect)
    return faults


def _as_texts(column: pa.Array, at: int, encoder: CellEncoder) -> pa.Array:
    """Read one column of texts; dates that have a type stay as they are."""
    if pa.types.is_dictionary(column.type):
        return _as_texts(column.dictionary, at, encoder).take(column.indices)
    return column if encoder.is_date(at) and is_temporal(column.type) else cell_texts(column)


def _as_numbers(column: pa.Array, at: int, encoder: CellEncoder, decimal: Decimal) -> Column:
    """Read one column: NaN where there is no number."""
    column = _as_bytes(column)
    if pa.types.is_binary(column.type):
        numbers = parse_numbers(pa.chunked_array([column]), decimal)
        return encoder.with_missing(at, numbers, column)
    numbers = column.cast(pa.float64(), safe=False)
    if encoder.allows_missing(at):
        return split_missing(numbers)
    if numbers.null_count:
        numbers = pc.fill_null(numbers, _NAN)
    values = np.frombuffer(numbers.buffers()[1] or b"", dtype=np.float64)
    return values[numbers.offset : numbers.offset + len(numbers)]


def _as_bytes(column: pa.Array) -> pa.Array:
    """Take the values out of a dictionary, and texts as they are stored: they may not decode."""
    if pa.types.is_dictionary(column.type):
        return _as_bytes(column.dictionary).take(column.indices)
    return column.cast(pa.binary()) if _is_text(column.type) else column


def _explain(value: object, name: str, encoder: CellEncoder, at: int, dialect: Dialect) -> RowIssue:
    if value is None:
        return RowIssue(MISSING, name)
    if isinstance(value, bytes):
        reason = encoder.explain(at, value, dialect)
        return RowIssue(reason, name, value.decode(errors="backslashreplace"))
    number = float(value)  # type: ignore[arg-type]  # a column of numbers
    return RowIssue(OUT_OF_RANGE if np.isfinite(number) else NOT_FINITE, name, str(value))


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_decimal(kind)
        or types.is_null(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(kind):
        return _is_text(kind.value_type) or _is_number(kind.value_type)
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
    )
