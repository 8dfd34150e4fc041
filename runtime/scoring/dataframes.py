"""Score data frames of pyarrow, polars, pandas and numpy, dicts of columns, and rows as dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
import pyarrow as pa

from runtime.encoding import Encoder
from runtime.errors import DataError, UsageError
from runtime.monitoring.monitor import Monitor
from runtime.scoring.columns import PredictionColumns
from runtime.scoring.counters import BadRowsMessage, Counters, StageTimer
from runtime.scoring.frames import append_columns, to_arrow
from runtime.scoring.named_columns import TAKEN, column_names, merge_rows, split_rows
from runtime.scoring.options import DEFAULTS, Options
from runtime.scoring.pipeline import run_model
from runtime.scoring.unseen import find_examples, refuse_unseen
from runtime.surfaces import option
from runtime.tables.arrow.writer import output_schema, to_batch
from runtime.tables.memory import MemoryTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.choices import Decimal
    from runtime.model import LoadedModel
    from runtime.schema.features import Float32Matrix, Schema
    from runtime.tables.arrow.table import ArrowTable


Frame = TypeVar("Frame")


def score_table(model: LoadedModel, table: Frame, options: Options = DEFAULTS) -> Frame:
    """Add predictions to a data frame; see ``Predictor.predict_table``."""
    if options.bad_rows == "reject":
        reject, null = option("bad_rows", "reject"), option("bad_rows", "null")
        raise UsageError(f"{reject} applies to files: choose {null}, or leave it out")
    columns = split_rows(table)
    names = column_names(columns)
    if names is None:
        raise UsageError(f"a {type(table).__name__} has no named columns: give {TAKEN}")
    schema = model.schema
    indices = schema.bind(names, loose=options.reading.loose_header)
    added = PredictionColumns(
        schema,
        names,
        prefix=options.prefix,
        proba=options.proba,
        keep_bad=options.bad_rows == "null",
    )
    source = _open(columns, indices, schema, options.reading.decimal)
    predicted = _predict(model, source, added, options)
    if columns is table:
        return cast("Frame", append_columns(table, predicted))
    return cast("Frame", merge_rows(table, predicted.to_pylist()))


def read_features(table: object, schema: Schema) -> Float32Matrix:
    """Encode the features of a data frame as a model's inputs, ``(rows, n_inputs)``."""
    source = _open(table, schema.bind(column_names(table) or (), loose=None), schema)
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
    source = MemoryTable(to_arrow(table, indices, schema.feature_names)).open(decimal)
    encoder = Encoder(schema.features)
    source.check_numeric([n for n in range(schema.n_features) if not encoder.is_text(n)])
    return source


def _predict(
    model: LoadedModel, source: ArrowTable, columns: PredictionColumns, options: Options
) -> pa.Table:
    """Build the new columns."""
    features, encoder = range(model.schema.n_features), Encoder(model.schema.features)
    fail_on_bad = options.bad_rows == "fail"
    counters = Counters(
        "the table",
        BadRowsMessage("nothing was scored", option("bad_rows", "null")),
        fail_on_bad=fail_on_bad,
        decimal=options.reading.decimal,
    )
    monitor = Monitor(model.schema, truth=False, drift=False)
    schema = output_schema([], columns.fields)
    batches, written = [], 0
    for block in source.blocks(features):
        parsed, outputs = run_model(model, block, block.parse(features, encoder))
        if not (counters.failed or (fail_on_bad and parsed.bad)):
            arrays = columns.build(parsed, outputs).columns
            batches.append(to_batch(arrays, schema, block.first_record))
            written += batches[-1].num_rows
        if monitor.accepts_unseen:
            counts = monitor.count(parsed.features)
            unseen = monitor.lacks_examples(counts)
            monitor.examples |= find_examples(unseen, block, parsed, features, model.schema)
            monitor.add(parsed, outputs, out_of_range=counts, truth=None)
        counters.add(len(block), written - counters.written, parsed.bad, StageTimer())
    counters.raise_for_bad_rows(keep_bad=True)
    refuse_unseen(model.schema, monitor, "the table", None)
    return pa.Table.from_batches(batches, schema)
