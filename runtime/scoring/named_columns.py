"""Column names of a table of any library; a server needs this without pyarrow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from runtime.errors import UsageError


def column_names(table: object) -> list[str] | None:
    """Ask a table for the names of its columns."""
    if isinstance(table, Mapping):
        return [str(name) for name in table]
    if isinstance(table, np.ndarray):
        return list(table.dtype.names) if table.dtype.names else None
    if hasattr(table, "collect_schema") and hasattr(table, "collect"):
        raise UsageError(f"a {type(table).__name__} has no rows yet: give table.collect()")
    for attribute in ("column_names", "columns"):  # pyarrow; polars and pandas
        names = getattr(table, attribute, None)
        if names is not None and not callable(names):
            return [str(name) for name in names]
    return None
