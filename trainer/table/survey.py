"""The first look at a table: how many rows, which classes, what the columns hold.

In: a table and the roles of its columns. Out: a ``Survey``. Raises ``SchemaError`` for a label
that is no class, ``DataError`` for a table that is damaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import SchemaError
from runtime.scoring.ordered import available_processors, map_ordered
from runtime.tables.columnar.arrow_table import ArrowTable
from trainer.table.coding import Coder, group_cells
from trainer.table.kinds import kind_of_cells, kind_of_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from runtime.choices import Decimal
    from runtime.scoring.options import Reading
    from runtime.tables.table import Block, Table
    from trainer.table.coding import Codes
    from trainer.table.columns import Roles
    from trainer.table.kinds import Kind

MOST_CLASSES = 1024  # as many as ``runtime predict --truth`` judges


@dataclass(frozen=True)
class Survey:
    """What a table holds.

    Attributes:
        codes: ``(rows,)`` int64, positions in ``labels``; ``MISSING`` where there is no label.
        labels: the different labels, in order of first appearance, as written.
        kinds: of the feature columns, by position in the table.
    """

    codes: Codes
    labels: tuple[bytes, ...]
    kinds: dict[int, Kind]


def survey(table: Table, roles: Roles, reading: Reading, *, where: str) -> Survey:
    """Read a table once.

    Args:
        table: opened for reading.
        roles: of its columns.
        reading: how it is read.
        where: name of the table, for messages.

    Returns:
        What it holds.

    Raises:
        SchemaError: when the label has more different values than there can be classes.
    """
    decimal: Decimal = "." if table.kind == "jsonl" else reading.decimal
    looker = _Looker(decimal, _kinds_by_type(table, roles.features))
    untyped = [at for at in roles.features if at not in looker.kinds]
    labels = Coder()
    codes: list[Codes] = []

    def group(block: Block) -> pa.DictionaryArray:
        return group_cells(block.select([roles.label]).column(0))

    blocks = looker.watch(table.blocks([roles.label, *untyped]), untyped)
    for cells in map_ordered(group, blocks, threads=available_processors()):
        codes.append(labels.add(cells))
        if len(labels.texts) > MOST_CLASSES:
            raise SchemaError(
                f"{where}: label {table.columns[roles.label]!r} has more than {MOST_CLASSES:,} "
                "different values: a classifier needs classes; write ranges of it as classes, or "
                "name another column"
            )
    return Survey(
        np.concatenate(codes or [np.empty(0, np.int64)]), tuple(labels.texts), looker.kinds
    )


class _Looker:
    """Looks at columns whose kind no type tells, block by block until a cell is filled."""

    def __init__(self, decimal: Decimal, known: dict[int, Kind]) -> None:
        self._decimal = decimal
        self.kinds = known

    def watch(self, blocks: Iterable[Block], columns: Sequence[int]) -> Iterator[Block]:
        """Pass blocks on; a column without a filled cell in any of them is empty."""
        unknown = list(columns)
        for block in blocks:
            if unknown:
                self._look(block, unknown)
                unknown = [at for at in unknown if self.kinds[at] == "empty"]
            yield block

    def _look(self, block: Block, columns: Sequence[int]) -> None:
        cells = block.select(columns).columns
        for at, column in zip(columns, cells, strict=True):
            self.kinds[at] = kind_of_cells(column, self._decimal)


def _kinds_by_type(table: Table, features: Sequence[int]) -> dict[int, Kind]:
    if not isinstance(table, ArrowTable):
        return {}
    found = {at: kind_of_type(table.schema.field(at).type) for at in features}
    return {at: kind for at, kind in found.items() if kind}
