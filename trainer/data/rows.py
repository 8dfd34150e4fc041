"""Read the rows of a table whose classes and features are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.encoding import Encoder
from runtime.errors import DataError
from runtime.io.parallel import default_threads, map_ordered
from trainer.data.dataset import LabelledRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.schema.features import Feature
    from runtime.tables.base import BadRow, Block, Mask, Parsed, Table
    from trainer.data.bad_rows import RowCounter
    from trainer.data.labels import RowLabels
    from trainer.data.profile import Codes


def read_rows(
    table: Table,
    columns: Sequence[int],
    features: Sequence[Feature],
    labels: RowLabels,
    counter: RowCounter,
    *,
    good: Mask | None = None,
) -> LabelledRows:
    """Read the good rows of a table whose labels are known; bad ones may be a fault.

    ``columns`` are the positions of the feature columns, in the order of ``features``. Bad rows are
    cleared in ``good``, ``(rows,)`` bool.
    """
    encoder, rows = Encoder(features), len(labels.labels)
    table.check_numeric([at for feature, at in enumerate(columns) if not encoder.is_text(feature)])
    width = sum(len(feature.inputs) for feature in features)
    matrix = np.empty((rows, width), dtype=np.float32)
    kept = np.ones(rows, np.bool_) if good is None else good
    filled = 0

    def parse(block: Block) -> tuple[Block, Parsed]:
        return block, block.parse(columns, encoder)

    is_all = counter.writes_records  # the text of a typed record has the columns that were read
    blocks = table.blocks(range(len(table.columns)) if is_all else sorted(set(columns)))
    for block, parsed in map_ordered(parse, blocks, threads=default_threads()):
        start, stop = counter.rows, counter.rows + len(block)
        if stop > rows:
            break
        bad = _merge(parsed.bad, block.report(labels.issues(start, stop)))
        counter.add(len(block), bad)
        counter.report(table.bytes_read)
        inputs = parsed.features
        if bad:
            kept[start:stop] = chosen = _good_records(parsed, labels.labels[start:stop])
            inputs = inputs[chosen if parsed.good is None else chosen[parsed.good]]
        matrix[filled : filled + len(inputs)] = inputs
        filled += len(inputs)
    else:
        if counter.rows == rows:
            counter.finish()
            is_whole = filled == rows
            return LabelledRows(matrix[:filled], labels.labels if is_whole else labels.labels[kept])
    raise DataError(f"{counter.where} changed while it was read; train again when it is complete")


def _good_records(parsed: Parsed, labels: Codes) -> Mask:
    """Mark the records of a block whose cells and label can be used, ``(records,)``."""
    has_label: Mask = labels >= 0
    return has_label if parsed.good is None else has_label & parsed.good


def _merge(cells: Sequence[BadRow], labels: Sequence[BadRow]) -> Sequence[BadRow]:
    """Merge the errors of cells and of labels, one per record: that of its cells."""
    if not labels:
        return cells
    found = {row.record: row for row in (*labels, *cells)}
    return [found[record] for record in sorted(found)]
