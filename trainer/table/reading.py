"""Read features and labels of a table as the runtime reads what it scores.

In: a table, where its features are and the class of each row. Out: ``Labelled`` rows. Raises
``BadRowsError`` for rows that cannot be fitted, with the first of them as ``runtime predict``
shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.encoding import Encoder
from runtime.errors import DataError
from runtime.io.parallel import available_processors, map_ordered
from runtime.scoring.counters import BadRowsMessage, Counters, StageTimer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from runtime.schema.features import Feature, Float32Matrix
    from runtime.tables.base import BadRow, Block, Parsed, Table
    from runtime.tables.options import ReadOptions
    from trainer.table.truths import Truths

_ADVICE = "--exclude (texts: --categories) and the names of such columns"


@dataclass(frozen=True)
class Labelled:
    """Rows whose class is known.

    Attributes:
        features: ``(rows, n_inputs)`` float32, finite.
        labels: ``(rows,)`` int64, positions in the classes.
    """

    features: Float32Matrix
    labels: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[np.bool_]) -> Labelled:
        """Take some rows, ``(rows,)`` bool, in their order."""
        return self if rows.all() else Labelled(self.features[rows], self.labels[rows])


def read_rows(
    table: Table,
    places: Sequence[int],
    features: Sequence[Feature],
    truths: Truths,
    tally: Counters,
) -> Labelled:
    """Read the features of a table whose labels are known.

    Args:
        table: opened for reading.
        places: positions of the feature columns, in the schema's order.
        features: what they are, in the same order.
        truths: the labels.
        tally: counts its rows.

    Returns:
        All rows.

    Raises:
        BadRowsError: when a row has no label or a cell that has no place in a model.
        SchemaError: when the type of a feature's column is no number.
        DataError: when the table is damaged, or is not the one whose labels were read.
    """
    encoder, rows = Encoder(features), len(truths.labels)
    table.check_numeric([at for place, at in enumerate(places) if not encoder.is_text(place)])
    width = sum(len(feature.inputs) for feature in features)
    matrix = np.empty((rows, width), dtype=np.float32)

    def parse(block: Block) -> tuple[Block, Parsed]:
        return block, block.parse(places, encoder)

    blocks = table.blocks(sorted(set(places)))
    for block, parsed in map_ordered(parse, blocks, threads=available_processors()):
        start, stop = tally.rows, tally.rows + len(block)
        if stop > rows:
            break
        bad = _merge(parsed.bad, block.report(truths.faults(start, stop)))
        tally.add(len(block), len(block) - len(bad), bad, StageTimer())
        if not tally.failed:
            matrix[start:stop] = parsed.features
    else:
        if tally.rows == rows:
            tally.raise_for_bad_rows(keep_bad=False)
            return Labelled(matrix, truths.labels)
    raise DataError(f"{tally.where} changed while it was read; fit again when it is whole")


def new_tally(where: str, reading: ReadOptions) -> Counters:
    """Start to count the rows of a table to fit."""
    return Counters(
        where,
        BadRowsMessage("nothing was fitted", _ADVICE, purpose="fitted"),
        fail_on_bad=True,
        decimal=reading.decimal,
    )


def _merge(cells: Sequence[BadRow], labels: Sequence[BadRow]) -> Sequence[BadRow]:
    """Put faults of cells and of labels together, one a record: that of its cells."""
    found = {row.record: row for row in (*labels, *cells)}
    return [found[record] for record in sorted(found)]
