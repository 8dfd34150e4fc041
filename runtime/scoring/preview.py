"""Score the first rows of a table for a preview."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from runtime.io.sources import source_name
from runtime.monitoring.ranges import RangeMonitor
from runtime.scoring.columns import bind_table, encoding_hint
from runtime.scoring.counters import Counters, StageTimer
from runtime.scoring.pipeline import run_model
from runtime.scoring.summary import describe_unseen
from runtime.tables.arrow.writer import output_schema, to_batch
from runtime.tables.cells import is_decodable
from runtime.tables.opening import open_table
from runtime.tables.partitions import without_keys
from runtime.tables.text import cell_texts
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.io.paths import Location
    from runtime.model import LoadedModel
    from runtime.scoring.columns import TableBinding
    from runtime.scoring.options import Options
    from runtime.tables.base import Table


class Preview(Value, frozen=True):
    """The first scored rows as text.

    Attributes:
        names: of the columns, new ones last.
        rows: one cell per name.
        n_added: number of new columns.
        total: rows of the table; None if it has more than were read.
        read: rows that were read, more than are shown.
        bad: how many of these cannot be scored.
        hints: what may be wrong with many bad or unseen cells alike, a sentence each.
        is_undecodable: whether a shown cell has bytes that are not text in the table's encoding.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_added: int
    total: int | None
    read: int
    bad: int
    hints: tuple[str, ...]
    is_undecodable: bool


def score_preview(model: LoadedModel, source: Location, options: Options, rows: int) -> Preview:
    """Score the first rows of a table."""
    schema, reading = model.schema, options.reading
    with open_table(source, reading, without_keys(schema.feature_names, source)) as table:
        where = source_name(source)
        bound = bind_table(table, schema, options, where=where, keep_bad=True, source=source)
        names = [table.columns[index] for index in bound.carried]
        counters = Counters.for_file(source, source, options)
        first = _score_rows(model, table, bound, rows, counters)
    added, scored = list(bound.added.names), first.rows
    if not any(row[-1] for row in scored):  # drop the reasons
        scored = tuple(row[:-1] for row in scored)
        added.pop()
    return replace(first, names=(*names, *added), rows=scored, n_added=len(added))


def _score_rows(
    model: LoadedModel, table: Table, bound: TableBinding, rows: int, counters: Counters
) -> Preview:
    """Score blocks until there are enough rows; the total is None if the table has more."""
    scored: list[tuple[str, ...]] = []
    is_undecodable, columns, ranges = False, bound.added, RangeMonitor(model.schema)

    def preview(total: int | None) -> Preview:
        hints = counters.hints(encoding_hint(table, counters.reasons))
        hints += describe_unseen(ranges.report())
        shown = tuple(scored)
        read, bad = counters.rows, counters.rejected
        return Preview((), shown, 0, total, read, bad, hints, is_undecodable)

    for block in table.blocks(bound.read):
        if len(scored) == rows:
            return preview(None)
        parsed = bound.partitioned.wrap(block).parse(bound.features, bound.encoder)
        parsed, outputs = run_model(model, block, parsed)
        ranges.add(parsed.features)
        new = columns.build(parsed, outputs).columns
        added = to_batch(new, output_schema([], columns.fields), block.first_record)
        arrays = [*block.select(bound.carried).columns, *added.columns]
        texts = [cell_texts(array.slice(0, rows - len(scored))).to_pylist() for array in arrays]
        is_undecodable |= not all(is_decodable(cell or b"") for cells in texts for cell in cells)
        scored += zip(*map(_format_cells, texts), strict=True)
        counters.add(len(block), len(block), parsed.bad, StageTimer())
    return preview(counters.rows)


def _format_cells(cells: Sequence[bytes | None]) -> list[str]:
    """Format cells as text, empty for null."""
    return [(cell or b"").decode(errors="backslashreplace") for cell in cells]
