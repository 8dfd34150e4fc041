"""Score a table of a text format in memory: the body of a request."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from runtime.io.sinks import Sink
from runtime.monitoring.ranges import RangeMonitor
from runtime.scoring.columns import bind_table
from runtime.scoring.counters import BadRowsMessage, Counters, StageTimer
from runtime.scoring.pipeline import run_model
from runtime.tables.driver import WritePlan
from runtime.tables.opening import open_text_table
from runtime.tables.writing import open_output
from runtime.value import Value

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from runtime.model import LoadedModel
    from runtime.scoring.options import Options
    from runtime.tables.formats import Format


class ScoredText(Value, frozen=True):
    """A scored table and its statistics.

    Attributes:
        content: the encoded table.
        scored: number of rows with a prediction.
        outside: ``(n_features, 3)`` int64, see ``RangeMonitor.counts``.
    """

    content: bytes
    scored: int
    outside: npt.NDArray[np.int64]


def score_text(
    model: LoadedModel,
    content: bytes | bytearray,
    stored: Format,
    options: Options,
    *,
    where: str,
) -> ScoredText:
    """Score a table."""
    fail_on_bad = options.bad_rows == "fail"
    message = BadRowsMessage("nothing was scored", "bad_rows=null", decimal_option="decimal={}")
    counters = Counters(where, message, fail_on_bad=fail_on_bad, decimal=options.reading.decimal)
    schema, out = model.schema, io.BytesIO()
    table = open_text_table(
        io.BytesIO(content), stored, options.reading, schema.feature_names, where=where
    )
    bound = bind_table(table, schema, options, where=where, keep_bad=not fail_on_bad)
    sink, ranges = Sink(where, out), RangeMonitor(schema)
    plan = WritePlan(stored.kind, table, bound.carried, bound.added.fields)
    with open_output(sink, stored, plan) as output:
        for block in table.blocks(sorted({*bound.features, *bound.carried})):
            parsed, outputs = run_model(model, block, block.parse(bound.features, bound.encoder))
            counters.add(len(block), len(block), parsed.bad, StageTimer())
            ranges.add(parsed.features)
            if not counters.failed:
                output.write(output.encode(block, bound.added.build(parsed, outputs)))
        counters.raise_for_bad_rows(keep_bad=not fail_on_bad)
        output.finish()
    return ScoredText(out.getvalue(), counters.rows - counters.rejected, ranges.counts)
