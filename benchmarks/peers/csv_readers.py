"""Results of pandas, polars and pyarrow on the same file, each with its defaults.

A column that is read as text is an error: a script cannot convert it without looking at it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.csv as arrow_csv

from runtime.schema.matrix import to_float32

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dirty_inputs.dirty_input import Row

    from runtime.schema.features import Float32Matrix

RIGHT: Final = "right"
ERROR: Final = "error"
AS_NAN: Final = "as NaN"
NO_ROWS: Final = "no rows"
WRONG: Final = "**wrong**"
LOST: Final = "**rows lost**"
ADDED: Final = "**rows added**"

READERS: Final[dict[str, Callable[[Path], Any]]] = {
    "pandas": pd.read_csv,
    "polars": pl.read_csv,
    "pyarrow": lambda path: arrow_csv.read_csv(str(path)),
}


def judge(name: str, path: Path, rows: Sequence[Row] | None) -> str:
    """Read a file and compare what came out with what is right.

    Args:
        name: of the reader.
        path: the file.
        rows: known right rows; None for a file that holds none.

    Returns:
        ``right``, ``error``, ``as NaN`` (bad cells were made NaN, null or infinite, nothing said),
        ``no rows`` (of what is no table), ``wrong``, ``rows lost`` or ``rows added``.
    """
    try:
        matrix = _numbers(READERS[name](path))  # (rows, 2)
    except BaseException as exc:  # polars panics with one
        if isinstance(exc, KeyboardInterrupt):
            raise
        return ERROR
    if rows is None:
        return WRONG if len(matrix) else NO_ROWS
    if len(matrix) != len(rows):
        return LOST if len(matrix) < len(rows) else ADDED
    good = np.array([not isinstance(row, str) for row in rows], dtype=np.bool_)
    right = np.array([row for row in rows if not isinstance(row, str)]).reshape(-1, 2)
    if not np.array_equal(matrix[good], right.astype(np.float32)):
        return WRONG
    if not (~np.isfinite(matrix[~good])).any(axis=1).all():
        return WRONG
    return RIGHT if good.all() else AS_NAN


def _numbers(table: Any) -> Float32Matrix:  # noqa: ANN401 - of any of the three
    """Take the features as a script would, which wants numbers."""
    columns = [np.asarray(table[name]) for name in ("price", "rating")]
    for column in columns:
        if len(column) and column.dtype.kind not in "fiub":
            raise TypeError("a column of text")
    return to_float32([column.astype(np.float64) for column in columns])
