"""Score the first rows of a table, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.io.sources import source_name
from runtime.scoring.columns import bind_table
from runtime.scoring.pipeline import run_model
from runtime.tables.arrow.writer import output_schema, to_batch
from runtime.tables.opening import open_table
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
    """Rows as text.

    Attributes:
        names: of the columns, the new ones last.
        rows: a cell for every name.
        new: how many columns were added.
        total: rows of the table; None where it has more rows than were read.
        bad: whether some of these rows cannot be scored.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    new: int
    total: int | None
    bad: bool


def score_preview(model: LoadedModel, source: Path, options: Options, rows: int) -> Preview:
    """Score the first rows of a table."""
    schema, reading = model.schema, options.reading
    with open_table(source, reading, schema.feature_names) as table:
        bound = bind_table(table, schema, options, where=source_name(source), keep_bad=True)
        names = [table.columns[at] for at in bound.carried]
        found, total = _score_rows(model, table, bound, rows)
    columns = bound.added
    new = len(columns.names)
    bad = any(row[-1] for row in found)
    if not bad:  # no reasons to show
        found, new = [row[:-1] for row in found], new - 1
    return Preview((*names, *columns.names[:new]), tuple(found), new, total, bad)


def _score_rows(
    model: LoadedModel, table: Table, bound: TableBinding, rows: int
) -> tuple[list[tuple[str, ...]], int | None]:
    """Score blocks until there are enough rows; the total is known where the table ends before."""
    found: list[tuple[str, ...]] = []
    total = 0
    columns = bound.added
    for block in table.blocks(sorted({*bound.features, *bound.carried})):
        if len(found) == rows:
            return found, None
        parsed, outputs = run_model(model, block, block.parse(bound.features, bound.encoder))
        answers = columns.answer(parsed, outputs)
        added = to_batch(answers.columns, output_schema([], columns.fields), block.first_record)
        shown = [*block.select(bound.carried).columns, *added.columns]
        cells = [_texts(column.slice(0, rows - len(found))) for column in shown]
        found += zip(*cells, strict=True)
        total += len(block)
    return found, total


def _texts(column: pa.Array) -> list[str]:
    """Write cells as text, empty for null."""
    texts = cell_texts(column).to_pylist()
    return [(cell or b"").decode(errors="backslashreplace") for cell in texts]
