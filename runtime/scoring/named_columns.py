"""Names and rows of a table in memory of any library; imports no pyarrow, which a server lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from runtime.errors import UsageError

TABLES: Final = (
    "a table of pandas, polars or pyarrow, a dict of columns, a structured array, a list of dicts"
)
TAKEN: Final = f"{TABLES}, or one row as a dict"


def column_names(table: object) -> list[str] | None:
    """Get the column names of a data frame; None for an object without."""
    if isinstance(table, Mapping):
        return [str(name) for name in table]
    if isinstance(table, np.ndarray):
        return list(table.dtype.names) if table.dtype.names else None
    if hasattr(table, "collect_schema") and hasattr(table, "collect"):
        raise UsageError(
            f"a {type(table).__name__} is lazy: call collect() first, or give its map_batches a "
            "runtime.Scorer"
        )
    for attribute in ("column_names", "columns"):  # pyarrow; polars and pandas
        names = getattr(table, attribute, None)
        if names is not None and not callable(names):
            return [str(name) for name in names]
    return None


def split_rows(table: object) -> object:
    """Convert rows as dicts to a dict of columns; any other object is returned as it is.

    A key that a row lacks is None, which is a missing value.
    """
    if isinstance(table, Mapping):
        is_row = bool(table) and all(map(_is_scalar, table.values()))
        return {name: [value] for name, value in table.items()} if is_row else table
    if not (isinstance(table, list | tuple) and table and isinstance(table[0], Mapping)):
        return table
    for at, row in enumerate(table):
        if not isinstance(row, Mapping):
            raise UsageError(f"row {at} is a {type(row).__name__}, and the first one is a dict")
    names = dict.fromkeys(name for row in table for name in row)
    return {name: [row.get(name) for row in table] for name in names}


def merge_rows(table: object, added: Sequence[Mapping[str, Any]]) -> object:
    """Add values to rows as dicts, to each its own."""
    if isinstance(table, Mapping):
        return {**table, **added[0]}
    rows = table if isinstance(table, list | tuple) else ()
    return [{**row, **new} for row, new in zip(rows, added, strict=True)]


def _is_scalar(value: object) -> bool:
    """Whether a value is that of one row: a text, a number, a date, None."""
    return isinstance(value, str | bytes) or (
        not hasattr(value, "__len__") or (isinstance(value, np.ndarray) and value.ndim == 0)
    )
