"""Convert data frames of pyarrow, polars, pandas and numpy, and dicts of columns, to Arrow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from runtime.errors import DataError
from runtime.printable import list_first

if TYPE_CHECKING:
    from collections.abc import Sequence


def to_arrow(table: Any, indices: Sequence[int], names: Sequence[str]) -> pa.Table:  # noqa: ANN401 - tables of many libraries
    """Convert columns of any data frame to Arrow, under these names."""
    columns = []
    for name, column in zip(names, _select(table, indices), strict=True):
        try:
            columns.append(_convert(column))
        except (pa.ArrowException, TypeError, ValueError) as exc:
            reason = exc.args[0] if exc.args else exc
            raise DataError(f"column {name!r} cannot be read: {reason}") from exc
    others = table.items() if isinstance(table, Mapping) else ()
    lengths = {str(name): len(column) for name, column in others if hasattr(column, "__len__")}
    lengths |= {name: len(column) for name, column in zip(names, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        shown = list_first([f"{name!r}: {length}" for name, length in lengths.items()])
        raise DataError(f"columns must be equally long, got {shown}")
    return pa.table(columns, names=list(names))


def _select(table: Any, indices: Sequence[int]) -> list[Any]:  # noqa: ANN401 - as above
    if isinstance(table, pa.Table | pa.RecordBatch):
        return [table.column(index) for index in indices]
    if isinstance(table, Mapping):
        keys = list(table)
        return [table[keys[index]] for index in indices]
    if isinstance(table, np.ndarray):
        return [table[table.dtype.names[index]] for index in indices]
    if hasattr(table, "iloc"):  # pandas: names may be numbers, and repeat
        return [table.iloc[:, index] for index in indices]
    return [table[table.columns[index]] for index in indices]


def _convert(column: Any) -> pa.Array | pa.ChunkedArray:  # noqa: ANN401 - as above
    """Convert a column to Arrow, values of mixed types as text, NaN as null but for pyarrow's."""
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return column
    try:
        return _nan_to_null(_convert_typed(column))
    except (pa.ArrowException, TypeError, OverflowError):
        if len(column.shape if hasattr(column, "shape") else np.shape(column)) != 1:
            raise
        return _convert_to_text(column)  # numbers and texts, or integers beyond 64 bits


def _nan_to_null(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Convert NaN to null: data frames compute with it as a missing value."""
    if not pa.types.is_floating(column.type):
        return column
    import pyarrow.compute as pc

    is_nan = pc.is_nan(column)
    if not pc.any(is_nan).as_py():
        return column
    return pc.if_else(is_nan, pa.nulls(1, column.type)[0], column)


def _convert_to_text(column: Any) -> pa.Array:  # noqa: ANN401 - as above
    """Format each value as text, to be parsed like a cell."""
    if hasattr(column, "notna"):  # pandas: missing values may be NaN
        column = column.astype(object).where(column.notna(), None)
    values = column.to_list() if hasattr(column, "to_list") else list(column)
    texts = [None if value is None else str(value) for value in values]
    return pa.array(texts, pa.string(), from_pandas=False)


def _convert_typed(column: Any) -> pa.Array | pa.ChunkedArray:  # noqa: ANN401 - as above
    """Convert a column to Arrow; missing values become null where the library marks them."""
    if hasattr(column, "__arrow_c_stream__"):
        return pa.chunked_array(column)
    if hasattr(column, "__arrow_array__"):
        return pa.array(column)
    # Older pandas: convert missing values to nulls, as pandas does.
    if hasattr(column, "to_numpy") and not isinstance(column, np.ndarray):
        return pa.array(column, from_pandas=True)
    values = np.asanyarray(column)  # keeps masks
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    return pa.array(values)


def append_columns(table: Any, added: pa.Table) -> object:  # noqa: ANN401 - as above
    """Append columns to a data frame of any library."""
    if isinstance(table, pa.Table | pa.RecordBatch):
        for field, column in zip(added.schema, added.columns, strict=True):
            values = column if isinstance(table, pa.Table) else column.combine_chunks()
            table = table.append_column(field, values)
        return table
    if hasattr(table, "hstack"):  # polars
        new = type(table)(added)
        return table.hstack(new) if table.columns else new
    if hasattr(table, "assign"):  # pandas: the dtypes are pyarrow's, whatever the values are
        columns = {name: added.column(name).to_pandas().array for name in added.column_names}
        return table.assign(**columns)
    arrays = {name: added.column(name).to_numpy() for name in added.column_names}
    if isinstance(table, np.ndarray):
        return _append_fields(table, arrays)
    return {**table, **arrays}


def _append_fields(table: np.ndarray[Any, Any], arrays: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Append fields to a structured array; null becomes the empty text."""
    columns = {
        name: np.array([text or "" for text in array], np.str_)
        if array.dtype == np.object_
        else array
        for name, array in arrays.items()
    }
    fields = [(name, table.dtype[name]) for name in table.dtype.names or ()]
    new_fields = [(name, array.dtype) for name, array in columns.items()]
    extended = np.empty(table.shape, [*fields, *new_fields])
    for name, _ in fields:
        extended[name] = table[name]
    for name, array in columns.items():
        extended[name] = array
    return extended
