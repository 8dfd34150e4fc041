"""The first rows of a table, scored, as text: for a look before everything is saved.

In: a predictor and a table. Out: ``FirstRows``. Bad rows show with their reasons. Raises
what ``score_file`` raises for a file that is no table and for columns that do not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from runtime.scoring.binding import bind_table
from runtime.scoring.endpoints import source_name
from runtime.scoring.score import answer_block
from runtime.tables.columnar.arrow_output import as_batch, output_schema
from runtime.tables.opening import open_table
from runtime.tables.text_cells import as_text

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from runtime.predictor import Predictor
    from runtime.scoring.options import Options


@dataclass(frozen=True, slots=True)
class FirstRows:
    """Rows as text.

    Attributes:
        names: of the columns, the new ones last.
        rows: a cell for every name.
        new: how many columns were added.
        total: rows of the table; None where it has more than were looked at.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    new: int
    total: int | None


def score_first(predictor: Predictor, source: Path, options: Options, rows: int) -> FirstRows:
    """Score the first rows of a table.

    Args:
        predictor: the model.
        source: the table; ``-`` is standard input.
        options: how it is read, which columns are carried and added.
        rows: how many to give.

    Returns:
        The rows; with their reasons when some cannot be scored.
    """
    schema, reading = predictor.schema, options.reading
    with open_table(source, reading, schema.feature_names) as table:
        bound = bind_table(table, schema, options, where=source_name(source), keep_bad=True)
        features, carried, columns = bound.features, bound.carried, bound.added
        names = [table.columns[at] for at in carried]
        blocks = list(islice(table.blocks(sorted({*features, *carried})), 2))
        if not blocks:
            return FirstRows((*names, *columns.names[:-1]), (), len(columns.names) - 1, 0)
        block = blocks[0]
        parsed, outputs = answer_block(predictor, block, block.parse(features))
        answers = columns.answer(parsed, outputs)
        added = as_batch(answers.columns, output_schema([], columns.fields), block.first_record)
        shown = [*block.select(carried).slice(0, rows).columns, *added.slice(0, rows).columns]
        new = len(columns.names)
        if not shown[-1].null_count < len(shown[-1]):  # no reasons: nothing is wrong
            shown, new = shown[:-1], new - 1
    texts = zip(*map(_texts, shown), strict=True)
    total = len(block) if len(blocks) == 1 else None
    return FirstRows((*names, *columns.names[:new]), tuple(texts), new, total)


def _texts(column: pa.Array) -> list[str]:
    """Write cells as text, empty for null."""
    if str(column.type).startswith("dictionary"):
        column = column.dictionary_decode()
    return [(cell or b"").decode(errors="backslashreplace") for cell in as_text(column).to_pylist()]
