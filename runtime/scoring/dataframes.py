"""Score a table in memory: pyarrow, polars, pandas, numpy, or a dict of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import pyarrow as pa

from runtime.encoding import Encoder
from runtime.errors import DataError, UsageError
from runtime.scoring.columns import PredictionColumns
from runtime.scoring.counters import BadRowsMessage, Counters, StageTimer
from runtime.scoring.named_columns import column_names
from runtime.scoring.options import DEFAULTS, Options
from runtime.scoring.pipeline import run_model
from runtime.tables.arrow.table import ArrowTable
from runtime.tables.arrow.writer import output_schema, to_batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.choices import Decimal
    from runtime.model import LoadedModel
    from runtime.schema.features import Float32Matrix, Schema


Frame = TypeVar("Frame")
_WORDING = BadRowsMessage(
    "nothing was scored", 'bad_rows="null"', decimal_option='reading=ReadOptions(decimal="{}")'
)


def score_table(model: LoadedModel, table: Frame, options: Options = DEFAULTS) -> Frame:
    """Score a table in memory."""
    _refuse_options(options)
    names = column_names(table)
    if names is None:
        raise UsageError(
            f"a {type(table).__name__} has no named columns: give a table of pyarrow, polars or "
            "pandas, a structured array or a dict; Predictor.predict takes a matrix"
        )
    schema = model.schema
    places = schema.bind(names, loose=options.reading.loose_header)
    columns = PredictionColumns(
        schema,
        names,
        prefix=options.prefix,
        proba=options.proba,
        keep_bad=options.bad_rows == "null",
    )
    source = _open(table, places, schema, options.reading.decimal)
    added = _answer(model, source, columns, options)
    return _append(table, added)


def read_features(table: object, schema: Schema) -> Float32Matrix:
    """Read the features of a table in memory as a model's inputs."""
    source = _open(table, schema.bind(column_names(table) or ()), schema)
    encoder, features = Encoder(schema.features), range(schema.n_features)
    parts = [np.empty((0, schema.n_inputs), dtype=np.float32)]
    for block in source.blocks(features):
        parsed = block.parse(features, encoder)
        for row in parsed.bad:
            raise DataError(
                f"row {row.record - 1}, column {row.column!r}: {row.value!r} cannot be scored: "
                f"{row.reason}; remove or fill such rows first"
            )
        parts.append(parsed.features)
    return np.concatenate(parts)


def _open(
    table: object, places: Sequence[int], schema: Schema, decimal: Decimal = "."
) -> ArrowTable:
    """View the features of a table in memory as a table of these columns, in their order."""
    read = _to_arrow(table, places, schema)
    source = ArrowTable(_InMemory(read), where="the table", decimal=decimal)
    encoder = Encoder(schema.features)
    source.check_numeric([at for at in range(len(places)) if not encoder.is_text(at)])
    return source


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
    model: LoadedModel, source: ArrowTable, columns: PredictionColumns, options: Options
) -> pa.Table:
    """Make the new columns."""
    features, encoder = range(model.schema.n_features), Encoder(model.schema.features)
    fail_on_bad = options.bad_rows == "fail"
    tally = Counters(
        "the table",
        _WORDING,
        fail_on_bad=fail_on_bad,
        decimal=options.reading.decimal,
    )
    schema = output_schema([], columns.fields)
    batches, written = [], 0
    for block in source.blocks(features):
        parsed, outputs = run_model(model, block, block.parse(features, encoder))
        if not (tally.refused or (fail_on_bad and parsed.bad)):
            arrays = columns.answer(parsed, outputs).columns
            batches.append(to_batch(arrays, schema, block.first_record))
            written += batches[-1].num_rows
        tally.add(len(block), written - tally.written, parsed.bad, StageTimer())
    tally.raise_for_bad_rows(keep_bad=True)
    return pa.Table.from_batches(batches, schema)


def _refuse_options(options: Options) -> None:
    """Refuse what only files have, rather than pass over it."""
    if options.bad_rows == "reject":
        raise UsageError('a table in memory loses no rows: choose bad_rows "fail" or "null"')
    for owner, names in (
        (options, ("columns", "truth", "drift", "out_format")),
        (options.reading, ("format", "delimiter", "encoding")),
    ):
        for name in names:
            if getattr(owner, name) is not None:
                raise UsageError(f"a table in memory is scored without {name}: leave it out")


def _to_arrow(table: Any, places: Sequence[int], schema: Schema) -> pa.Table:  # noqa: ANN401 - tables of many libraries
    """Read some columns of any table as Arrow."""
    columns, names = [], schema.feature_names
    for feature, column in zip(schema.features, _take(table, places), strict=True):
        may_miss = feature.missing == "imputed"
        try:
            columns.append(_as_arrow(column, may_miss=may_miss))
        except (pa.ArrowException, TypeError, ValueError) as exc:
            reason = exc.args[0] if exc.args else exc
            raise DataError(f"column {feature.name!r} cannot be read: {reason}") from exc
    others = table.items() if isinstance(table, Mapping) else ()
    lengths = {str(name): len(column) for name, column in others if hasattr(column, "__len__")}
    lengths |= {name: len(column) for name, column in zip(names, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        raise DataError(f"columns must be equally long, got {lengths}")
    return pa.table(columns, names=list(names))


def _take(table: Any, places: Sequence[int]) -> list[Any]:  # noqa: ANN401 - as above
    if isinstance(table, pa.Table | pa.RecordBatch):
        return [table.column(at) for at in places]
    if isinstance(table, Mapping):
        keys = list(table)
        return [table[keys[at]] for at in places]
    if isinstance(table, np.ndarray):
        return [table[table.dtype.names[at]] for at in places]
    if hasattr(table, "iloc"):  # pandas: its names may be numbers, and one name two columns
        return [table.iloc[:, at] for at in places]
    return [table[table.columns[at]] for at in places]


def _as_arrow(column: Any, *, may_miss: bool) -> pa.Array | pa.ChunkedArray:  # noqa: ANN401 - as above
    """Read a column; with ``may_miss`` NaN in numpy's and Python's numbers is a missing one."""
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return column
    try:
        return _convert(column, may_miss=may_miss)
    except (pa.ArrowException, TypeError, OverflowError):
        if len(column.shape if hasattr(column, "shape") else np.shape(column)) != 1:
            raise
        return _as_texts(column)  # numbers among texts, integers of any length


def _as_texts(column: Any) -> pa.Array:  # noqa: ANN401 - as above
    """Write each value as text, which is read by the rules of a cell."""
    if hasattr(column, "notna"):  # pandas: what is missing there may be NaN
        column = column.astype(object).where(column.notna(), None)
    values = column.to_list() if hasattr(column, "to_list") else list(column)
    texts = [None if value is None else str(value) for value in values]
    return pa.array(texts, pa.string(), from_pandas=False)


def _convert(column: Any, *, may_miss: bool) -> pa.Array | pa.ChunkedArray:  # noqa: ANN401 - as above
    if hasattr(column, "__arrow_c_stream__"):
        return pa.chunked_array(column)
    if hasattr(column, "__arrow_array__"):
        return pa.array(column)
    # Older pandas: its missing values are nulls, as in its own conversion.
    if hasattr(column, "to_numpy") and not isinstance(column, np.ndarray):
        return pa.array(column, from_pandas=True)
    values = np.asanyarray(column)  # what is masked stays masked
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    if may_miss and values.dtype.kind == "f":
        values = np.ma.masked_where(np.isnan(values), values)
    return pa.array(values)


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
        name: np.array([text or "" for text in array], np.str_)
        if array.dtype == np.object_
        else array
        for name, array in arrays.items()
    }
    kinds = [(name, table.dtype[name]) for name in table.dtype.names or ()]
    whole = np.empty(table.shape, [*kinds, *((name, array.dtype) for name, array in texts.items())])
    for name, _ in kinds:
        whole[name] = table[name]
    for name, array in texts.items():
        whole[name] = array
    return whole
