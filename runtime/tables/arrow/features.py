"""Read features from typed columns: Parquet, Arrow and data frames.

Decimals are rounded once to float64, as their text is; Arrow's cast rounds twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runtime.errors import SchemaError
from runtime.tables.arrays import bool_values, number_scalar, number_values
from runtime.tables.base import RowIssue
from runtime.tables.cells import MISSING, NOT_FINITE, OUT_OF_RANGE, parse_numbers, split_missing
from runtime.tables.dates import is_temporal
from runtime.tables.text import cell_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from runtime.choices import Decimal
    from runtime.tables.base import CellEncoder, Column, Encoded
    from runtime.tables.dialect import Dialect


_NAN = number_scalar(np.float64(np.nan))


def check_types(fields: Sequence[pa.Field], *, where: str) -> None:
    """Refuse columns whose type cannot be converted to a number."""
    for field in fields:
        if not (_is_number(field.type) or _is_text(field.type)):
            advice = "convert it first"
            if pa.types.is_boolean(field.type):  # in text, true is not a number either
                advice = "convert it to 1 and 0, or train with booleans"
            raise SchemaError(
                f"{where}: column {field.name!r} has type {field.type}, which is not a number; "
                f"{advice}"
            )


def read_columns(
    columns: Sequence[pa.Array], encoder: CellEncoder, decimal: Decimal = "."
) -> list[Column]:
    """Convert feature columns for the encoder."""
    return [
        _read_text(column, feature, encoder)
        if encoder.is_text(feature)
        else _read_numbers(column, feature, encoder, decimal)
        for feature, column in enumerate(columns)
    ]


def find_issues(
    columns: Mapping[str, pa.Array], encoded: Encoded, encoder: CellEncoder, dialect: Dialect
) -> dict[int, RowIssue]:
    """Find out why rows cannot be scored."""
    issues: dict[int, RowIssue] = {}
    names = list(columns)
    for row in np.flatnonzero(~encoded.usable.all(axis=1)).tolist():
        feature = int(np.argmin(encoded.usable[row]))
        name = names[feature]
        cell = columns[name].slice(row, 1)
        cell = cell_texts(cell) if encoder.is_text(feature) else _decode(cell)
        value = cell[0].as_py()
        reason = _explain(value, encoder, feature, dialect)
        text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
        issues[row] = RowIssue(reason, name, "" if value is None else text)
    return issues


def _read_text(column: pa.Array, feature: int, encoder: CellEncoder) -> pa.Array:
    """Convert a column of text; typed dates are unchanged."""
    if pa.types.is_dictionary(column.type):
        return _read_text(column.dictionary, feature, encoder).take(column.indices)
    is_typed_date = encoder.is_date(feature) and is_temporal(column.type)
    return column if is_typed_date else cell_texts(column)


def _read_numbers(column: pa.Array, feature: int, encoder: CellEncoder, decimal: Decimal) -> Column:
    """Convert a column to float64, NaN for cells that are not numbers."""
    column = _decode(column)
    if pa.types.is_binary(column.type):
        numbers = parse_numbers(pa.chunked_array([column]), decimal)
        return encoder.with_missing(feature, numbers, column)
    is_decimal = pa.types.is_decimal(column.type)
    numbers = decimal_numbers(column) if is_decimal else column.cast(pa.float64(), safe=False)
    if encoder.allows_missing(feature):
        values, missing = split_missing(numbers)
        # Where the text NaN means missing, so does the number.
        has_nan = any(text.lower() == "nan" for text in encoder.null_texts)
        return values, missing | np.isnan(values) if has_nan else missing
    if numbers.null_count:
        numbers = pc.fill_null(numbers, _NAN)
    return number_values(numbers)


def _decode(column: pa.Array) -> pa.Array:
    """Decode dictionaries, and cast text to binary, which need not be valid UTF-8."""
    if pa.types.is_dictionary(column.type):
        return _decode(column.dictionary).take(column.indices)
    return column.cast(pa.binary()) if _is_text(column.type) else column


def _explain(value: object, encoder: CellEncoder, feature: int, dialect: Dialect) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bytes):
        return encoder.explain(feature, value, dialect)
    number = float(value)  # type: ignore[arg-type]  # a column of numbers
    if encoder.means_missing(feature, number):
        return MISSING
    return OUT_OF_RANGE if np.isfinite(number) else NOT_FINITE


def _is_number(data_type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_integer(data_type)
        or types.is_floating(data_type)
        or types.is_decimal(data_type)
        or types.is_null(data_type)
    )


def _is_text(data_type: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(data_type):
        return _is_text(data_type.value_type) or _is_number(data_type.value_type)
    return bool(
        types.is_string(data_type)
        or types.is_large_string(data_type)
        or types.is_string_view(data_type)
        or types.is_binary(data_type)
        or types.is_large_binary(data_type)
        or types.is_binary_view(data_type)
    )


_MAX_WHOLE: Final = 2**53  # whole numbers up to it are exact in float64
_MAX_SCALE: Final = 22  # likewise powers of ten


def decimal_numbers(column: pa.Array) -> pa.Array:
    """Convert decimals of any width to float64, null for null."""
    if 0 <= column.type.scale <= _MAX_SCALE and len(column):
        whole, fits = _unscaled(column)
        if fits:  # one division, which is correctly rounded
            numbers = whole / np.float64(10**column.type.scale)
            mask = bool_values(column.is_null()) if column.null_count else None
            return pa.array(numbers, mask=mask)
    return column.cast(pa.string()).cast(pa.float64())


def _unscaled(column: pa.Array) -> tuple[npt.NDArray[np.float64], bool]:
    """Get the decimals without their point, ``(rows,)``, and whether all are exact in float64."""
    width = column.type.bit_width // 8
    stored = np.frombuffer(column.buffers()[1], dtype=f"<i{min(width, 8)}")
    words = stored.reshape(-1, max(width // 8, 1))[column.offset : column.offset + len(column)]
    low = words[:, 0].astype(np.int64)  # the others repeat its sign, where it is the whole number
    fits = (np.abs(low) <= _MAX_WHOLE).all() and (words[:, 1:] == (low >> 63)[:, None]).all()
    return low.astype(np.float64), bool(fits)
