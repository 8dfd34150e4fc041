"""Score the first rows of a table for a preview."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.io.sources import source_name
from runtime.scoring.columns import bind_table
from runtime.scoring.pipeline import run_model
from runtime.tables.arrow.writer import output_schema, to_batch
from runtime.tables.opening import open_table
from runtime.tables.partitions import without_keys
from runtime.tables.text import cell_texts
from runtime.value import Value

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

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
        has_bad_rows: whether some of the rows cannot be scored.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_added: int
    total: int | None
    has_bad_rows: bool


def score_preview(model: LoadedModel, source: Path, options: Options, rows: int) -> Preview:
    """Score the first rows of a table."""
    schema, reading = model.schema, options.reading
    with open_table(source, reading, without_keys(schema.feature_names, source)) as table:
        where = source_name(source)
        bound = bind_table(table, schema, options, where=where, keep_bad=True, source=source)
        names = [table.columns[index] for index in bound.carried]
        scored, total = _score_rows(model, table, bound, rows)
    added = list(bound.added.names)
    has_bad_rows = any(row[-1] for row in scored)
    if not has_bad_rows:  # drop the reasons
        scored = [row[:-1] for row in scored]
        added.pop()
    return Preview((*names, *added), tuple(scored), len(added), total, has_bad_rows)


def _score_rows(
    model: LoadedModel, table: Table, bound: TableBinding, rows: int
) -> tuple[list[tuple[str, ...]], int | None]:
    """Score blocks until there are enough rows; None if the table has more."""
    scored: list[tuple[str, ...]] = []
    total = 0
    columns = bound.added
    for block in table.blocks(bound.read):
        if len(scored) == rows:
            return scored, None
        parsed = bound.partitioned.wrap(block).parse(bound.features, bound.encoder)
        parsed, outputs = run_model(model, block, parsed)
        new = columns.build(parsed, outputs).columns
        added = to_batch(new, output_schema([], columns.fields), block.first_record)
        arrays = [*block.select(bound.carried).columns, *added.columns]
        cells = [_format_cells(array.slice(0, rows - len(scored))) for array in arrays]
        scored += zip(*cells, strict=True)
        total += len(block)
    return scored, total


def _format_cells(column: pa.Array) -> list[str]:
    """Format cells as text, empty for null."""
    texts = cell_texts(column).to_pylist()
    return [(cell or b"").decode(errors="backslashreplace") for cell in texts]
