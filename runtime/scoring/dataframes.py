"""Score data frames of pyarrow, polars, pandas and numpy, and dicts of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import pyarrow as pa

from runtime.encoding import Encoder
from runtime.errors import DataError, UsageError
from runtime.printable import list_first
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
_MESSAGE = BadRowsMessage(
    "nothing was scored", 'bad_rows="null"', decimal_option='reading=ReadOptions(decimal="{}")'
)


def score_table(model: LoadedModel, table: Frame, options: Options = DEFAULTS) -> Frame:
    """Add predictions to a data frame; see ``Predictor.predict_table``."""
    _refuse_options(options)
    names = column_names(table)
    if names is None:
        raise UsageError(
            f"a {type(table).__name__} has no named columns: give a table of pyarrow, polars or "
            "pandas, a structured array or a dict; Predictor.predict accepts a matrix"
        )
    schema = model.schema
    indices = schema.bind(names, loose=options.reading.loose_header)
    columns = PredictionColumns(
        schema,
        names,
        prefix=options.prefix,
        proba=options.proba,
        keep_bad=options.bad_rows == "null",
    )
    source = _open(table, indices, schema, options.reading.decimal)
    added = _predict(model, source, columns, options)
    return cast("Frame", append(table, added))


def read_features(table: object, schema: Schema) -> Float32Matrix:
    """Encode the features of a data frame as a model's inputs, ``(rows, n_inputs)``."""
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
    table: object, indices: Sequence[int], schema: Schema, decimal: Decimal = "."
) -> ArrowTable:
    """Convert the features of a data frame to a table of these columns, in their order."""
    arrow = to_arrow(table, indices, schema.feature_names)
    source = ArrowTable(_TableBatches(arrow), where="the table", decimal=decimal)
    encoder = Encoder(schema.features)
    source.check_numeric([n for n in range(schema.n_features) if not encoder.is_text(n)])
    return source


class _TableBatches:
    """Record batches of an Arrow table."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.schema: pa.Schema = table.schema
        self.progress = 0

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read columns."""
        yield from self._table.select(list(columns)).to_batches()


def _predict(
    model: LoadedModel, source: ArrowTable, columns: PredictionColumns, options: Options
) -> pa.Table:
    """Build the new columns."""
    features, encoder = range(model.schema.n_features), Encoder(model.schema.features)
    fail_on_bad = options.bad_rows == "fail"
    counters = Counters(
        "the table",
        _MESSAGE,
        fail_on_bad=fail_on_bad,
        decimal=options.reading.decimal,
    )
    schema = output_schema([], columns.fields)
    batches, written = [], 0
    for block in source.blocks(features):
        parsed, outputs = run_model(model, block, block.parse(features, encoder))
        if not (counters.failed or (fail_on_bad and parsed.bad)):
            arrays = columns.build(parsed, outputs).columns
            batches.append(to_batch(arrays, schema, block.first_record))
            written += batches[-1].num_rows
        counters.add(len(block), written - counters.written, parsed.bad, StageTimer())
    counters.raise_for_bad_rows(keep_bad=True)
    return pa.Table.from_batches(batches, schema)


def _refuse_options(options: Options) -> None:
    """Refuse options that apply to files only."""
    if options.bad_rows == "reject":
        raise UsageError('bad_rows="reject" applies to files: choose "fail" or "null"')
    for group, names in (
        (options, ("columns", "truth", "drift", "out_format")),
        (options.reading, ("format", "delimiter", "encoding")),
    ):
        for name in names:
            if getattr(group, name) is not None:
                raise UsageError(f"option {name} applies to files: leave it out")


def to_arrow(table: Any, indices: Sequence[int], names: Sequence[str]) -> pa.Table:  # noqa: ANN401 - tables of many libraries
    """Convert columns of any data frame to Arrow, with these names."""
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


def append(table: Any, added: pa.Table) -> object:  # noqa: ANN401 - as above
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
