"""Score a table that is in memory: of pyarrow, polars, pandas, numpy, or a dict of columns.

In: a table with named columns. Out: a table of the same kind with the answers as new columns.
Raises ``SchemaError`` for columns that do not fit and ``BadRowsError`` for rows that cannot be
scored, unless they are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import pyarrow as pa

from runtime.errors import DataError, UsageError
from runtime.scoring.answers import NewColumns
from runtime.scoring.options import DEFAULTS, Options
from runtime.scoring.score import answer_block
from runtime.scoring.tally import Clock, Tally
from runtime.tables.columnar.arrow_output import as_batch, output_schema
from runtime.tables.columnar.arrow_table import ArrowTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.predictor import Predictor

Frame = TypeVar("Frame")


def score_table(predictor: Predictor, table: Frame, options: Options = DEFAULTS) -> Frame:
    """Score a table in memory.

    Args:
        predictor: the model.
        table: with named columns: a table or batch of pyarrow, a frame of polars or pandas, a
            structured array of numpy, or a dict of columns of the same length.
        options: ``bad_rows`` is ``fail`` or ``null``; ``proba`` and ``prefix`` as for files.

    Returns:
        The same kind of table: its columns, then the new ones.

    Raises:
        UsageError: when ``bad_rows`` is ``reject``, or the table has no named columns.
        SchemaError: when a feature's column is missing or no number, or a new name is taken.
        DataError: when the columns cannot be read.
        BadRowsError: when rows cannot be scored and ``bad_rows`` is ``fail``.
    """
    if options.bad_rows == "reject":
        raise UsageError('a table in memory loses no rows: choose bad_rows "fail" or "null"')
    names = _column_names(table)
    schema = predictor.schema
    schema.bind(names)
    columns = NewColumns(
        schema,
        names,
        prefix=options.prefix,
        proba=options.proba,
        keep_bad=options.bad_rows == "null",
    )
    source = ArrowTable(_InMemory(_to_arrow(table, schema.feature_names)), where="the table")
    added = _answer(predictor, source, columns, refuses_bad=options.bad_rows == "fail")
    return _append(table, added)


class _InMemory:
    """A table in memory as a source of batches."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.schema: pa.Schema = table.schema
        self.progress = 0

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read these columns."""
        yield from self._table.select(list(columns)).to_batches()


def _answer(
    predictor: Predictor, source: ArrowTable, columns: NewColumns, *, refuses_bad: bool
) -> pa.Table:
    """Make the new columns."""
    features = predictor.schema.bind(source.columns)
    source.expect_numbers(features)
    tally = Tally(
        "the table",
        refuses_bad=refuses_bad,
        consequence="nothing was scored",
        advice='bad_rows="null"',
    )
    schema = output_schema([], columns.fields)
    batches = []
    for block in source.blocks(features):
        parsed, outputs = answer_block(predictor, block, block.parse(features))
        tally.add(len(block), len(block), parsed.bad, Clock())
        if not tally.refused:
            arrays = columns.answer(parsed, outputs).columns
            batches.append(as_batch(arrays, schema, block.first_record))
    tally.settle(keeps_bad=True)
    return pa.Table.from_batches(batches, schema)


def _column_names(table: object) -> list[str]:
    """Ask a table for the names of its columns."""
    if isinstance(table, Mapping):
        return [str(name) for name in table]
    if isinstance(table, np.ndarray) and table.dtype.names:
        return list(table.dtype.names)
    for attribute in ("column_names", "columns"):  # pyarrow; polars and pandas
        names = getattr(table, attribute, None)
        if names is not None and not callable(names):
            return [str(name) for name in names]
    raise UsageError(
        f"a {type(table).__name__} has no named columns: give a table of pyarrow, polars or "
        "pandas, a structured array or a dict; Predictor.predict takes a matrix"
    )


def _to_arrow(table: Any, names: Sequence[str]) -> pa.Table:  # noqa: ANN401 - tables of many libraries
    """Read some columns of any table as Arrow."""
    try:
        if isinstance(table, pa.Table | pa.RecordBatch):
            return pa.table(table.select(list(names)))
        if isinstance(table, Mapping | np.ndarray):
            return pa.table({name: np.asarray(table[name]) for name in names})
        return pa.table(table[list(names)])  # speaks Arrow's C stream interface
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError) as exc:
        raise DataError(f"the columns {', '.join(names)} cannot be read: {exc}") from exc


def _append(table: Frame, added: pa.Table) -> Frame:
    """Put new columns beside those of a table of any kind."""
    return cast("Frame", _append_to(table, added))


def _append_to(table: Any, added: pa.Table) -> object:  # noqa: ANN401 - as above
    if isinstance(table, pa.Table | pa.RecordBatch):
        for field, column in zip(added.schema, added.columns, strict=True):
            whole = column if isinstance(table, pa.Table) else column.combine_chunks()
            table = table.append_column(field, whole)
        return table
    if hasattr(table, "hstack"):  # polars
        return table.hstack(type(table)(added))
    arrays = {name: added.column(name).to_numpy() for name in added.column_names}
    if isinstance(table, np.ndarray):
        return _append_fields(table, arrays)
    if isinstance(table, Mapping):
        return {**table, **arrays}
    return table.assign(**arrays)  # pandas


def _append_fields(table: np.ndarray[Any, Any], arrays: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    texts = {
        name: array.astype(np.str_) if array.dtype == np.object_ else array
        for name, array in arrays.items()
    }
    kinds = [(name, table.dtype[name]) for name in table.dtype.names or ()]
    whole = np.empty(table.shape, [*kinds, *((name, array.dtype) for name, array in texts.items())])
    for name, _ in kinds:
        whole[name] = table[name]
    for name, array in texts.items():
        whole[name] = array
    return whole
