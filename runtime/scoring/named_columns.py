"""Column names of a data frame of any library; imports no pyarrow, which a server lacks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from runtime.errors import UsageError


def column_names(table: object) -> list[str] | None:
    """Get the column names of a data frame; None for an object without."""
    if isinstance(table, Mapping):
        return [str(name) for name in table]
    if isinstance(table, np.ndarray):
        return list(table.dtype.names) if table.dtype.names else None
    if hasattr(table, "collect_schema") and hasattr(table, "collect"):
        raise UsageError(f"a {type(table).__name__} is lazy: call collect() first")
    for attribute in ("column_names", "columns"):  # pyarrow; polars and pandas
        names = getattr(table, attribute, None)
        if names is not None and not callable(names):
            return [str(name) for name in names]
    return None
