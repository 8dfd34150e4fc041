"""What is known of all batches of one schema: roles of the columns, and the columns to add."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from runtime.schema.matrix import to_float32
from runtime.scoring.columns import bind_table
from runtime.scoring.counters import BadRowsMessage, Counters, StageTimer
from runtime.scoring.pipeline import run_model
from runtime.surfaces import option
from runtime.tables.arrays import filter_rows, number_values
from runtime.tables.arrow.table import BATCH_ROWS, ArrowBlock, ArrowTable
from runtime.tables.arrow.writer import output_schema, to_batch
from runtime.tables.base import BadRow, Parsed
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from runtime.model import LoadedModel
    from runtime.monitoring.monitor import Monitor
    from runtime.schema.features import Schema
    from runtime.scoring.options import Options
_WHERE: Final = "the batch"


class ScoredBatch(Value, frozen=True):
    """The new columns of a batch, in parts, its rows, and those without prediction by reason."""

    added: list[pa.RecordBatch]
    rows: int
    reasons: Mapping[str, int]


class Plan:
    """Scores batches of one schema; thread-safe.

    Attributes:
        fields: of the batches.
        read: indices of the columns with features or the true class.
        carried: indices of the columns that the output keeps.
        others: names of the columns that are no features.
        added: name and type of the new columns.
        output: fields of the output.
    """

    def __init__(self, schema: Schema, options: Options, fields: pa.Schema) -> None:
        """Bind the columns; see ``Scorer.output_schema`` for the errors."""
        table = ArrowTable(_NoBatches(fields), where=_WHERE, decimal=options.reading.decimal)
        keep_bad = options.bad_rows == "null"
        bound = bind_table(table, schema, options, where=_WHERE, keep_bad=keep_bad)
        self.fields = fields
        self.read = tuple(dict.fromkeys((*bound.features, *bound.truth)))
        self.carried = bound.carried
        self.others = bound.others(table)
        self.added = output_schema([], bound.added.fields)
        kept = [fields.field(index) for index in bound.carried]
        self.output = pa.schema([*kept, *self.added], fields.metadata)
        self._fails = not keep_bad
        self.keeps_all = self.carried == tuple(range(len(fields)))
        self._bound = bound
        self._positions = {index: at for at, index in enumerate(self.read)}
        self._options = options
        types = [fields.field(index).type for index in bound.features]
        self._is_plain = bound.encoder.is_numeric and all(map(_is_number, types))

    def score(
        self,
        open_model: Callable[[], LoadedModel],
        batches: Sequence[pa.RecordBatch],
        first_record: int,
        monitor: Monitor | None,
    ) -> ScoredBatch:
        """Score a batch, in parts, with the columns in ``read``.

        Raises ``BadRowsError`` for bad rows, unless they are kept.
        """
        added, rows, bad = [], 0, list[BadRow]()
        for block in self._blocks(batches, first_record):
            parsed, outputs = run_model(open_model(), block, self._parse(block))
            rows += len(block)
            bad += parsed.bad
            if not (self._fails and bad):
                columns = self._bound.added.build(parsed, outputs).columns
                added.append(to_batch(columns, self.added, block.first_record))
            if monitor:
                counts = monitor.count(parsed.features)
                truth = self._read_truth(block, parsed)
                monitor.add(parsed, outputs, out_of_range=counts, truth=truth)
        reasons = self._count(rows, bad) if bad else {}
        if (written := sum(each.num_rows for each in added)) != rows:
            raise RuntimeError(f"{rows} rows scored, {written} returned: a bug in onnxferry")
        return ScoredBatch(added, rows, reasons)

    def _count(self, rows: int, bad: Sequence[BadRow]) -> Mapping[str, int]:
        """Count bad rows by reason; raises if none are allowed."""
        decimal = self._options.reading.decimal
        message = BadRowsMessage("nothing of it was scored", option("bad_rows", "null"))
        counters = Counters(_WHERE, message, fail_on_bad=self._fails, decimal=decimal)
        counters.add(rows, rows, bad, StageTimer())
        counters.raise_for_bad_rows(keep_bad=True)
        return counters.reasons

    def _parse(self, block: ArrowBlock) -> Parsed:
        """Parse the features; numbers that need no conversion at a third of the time."""
        if self._is_plain:
            columns = [block.batch.column(self._positions[n]) for n in self._bound.features]
            if not any(column.null_count for column in columns) and columns:
                values = [
                    number_values(column).astype(np.float64, copy=False) for column in columns
                ]
                matrix = to_float32(values)
                if np.isfinite(matrix).all():
                    return Parsed(matrix, None, ())
        return block.parse(self._bound.features, self._bound.encoder)

    def append(self, batch: pa.RecordBatch | pa.Table, added: Sequence[pa.RecordBatch]) -> Any:  # noqa: ANN401 - pyarrow publishes no types
        """Combine the carried columns of a batch or table with the new ones."""
        carried = batch.columns if self.keeps_all else [batch.column(n) for n in self.carried]
        if len(added) == 1:
            return type(batch).from_arrays([*carried, *added[0].columns], schema=self.output)
        new = pa.Table.from_batches(added, self.added).columns
        if isinstance(batch, pa.RecordBatch):
            new = [column.combine_chunks() for column in new]
        return type(batch).from_arrays([*carried, *new], schema=self.output)

    def _read_truth(self, block: ArrowBlock, parsed: Parsed) -> pa.Array | None:
        if not self._bound.truth:
            return None
        cells = block.select(self._bound.truth).column(0)
        return cells if parsed.good is None else filter_rows(cells, parsed.good)

    def _blocks(self, batches: Sequence[pa.RecordBatch], first_record: int) -> Iterator[ArrowBlock]:
        """Divide batches as files are: a batch of the model has a bounded size."""
        decimal = self._options.reading.decimal
        for batch in batches:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                rows = batch if batch.num_rows <= BATCH_ROWS else batch.slice(start, BATCH_ROWS)
                yield ArrowBlock(rows, first_record, self._positions, decimal)
                first_record += len(rows)


def _is_number(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(data_type) or pa.types.is_floating(data_type))


class _NoBatches:
    """The schema of a table whose rows come later."""

    progress = 0

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 - no rows
        """Read nothing."""
        yield from ()
