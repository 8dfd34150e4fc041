"""The first look at a table: how many rows, which classes, what the columns hold.

In: a table and the roles of its columns. Out: a ``Survey``. Raises ``SchemaError`` for a label
that is no class, ``DataError`` for a table that is damaged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import SchemaError
from runtime.io.parallel import available_processors, map_ordered
from runtime.tables.arrow.table import ArrowTable
from trainer.table.coding import Coder, TextCollector, group_cells
from trainer.table.first_days import FirstDays, find_first_days
from trainer.table.kinds import DATE, TEXT, KindFinder, kind_of_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from runtime.tables.base import Block, Table
    from runtime.tables.options import ReadOptions
    from trainer.table.coding import Codes
    from trainer.table.columns import Roles
    from trainer.table.kinds import Kind

MOST_CLASSES = 1024  # as many as ``runtime predict --truth`` judges
MOST_CATEGORIES = 256  # different texts of a column: one input each


@dataclass(frozen=True)
class Survey:
    """What a table holds.

    Attributes:
        codes: ``(rows,)`` int64, positions in ``labels``; ``MISSING`` where there is no label.
        labels: the different labels, in order of first appearance, as written.
        kinds: of the feature columns, by position in the table.
        texts: of the columns of text, likewise: the different ones, an empty one for a missing
            cell; at most one more than ``MOST_CATEGORIES``.
        first_days: of the columns of dates, likewise: the earliest, since 1970-01-01.
    """

    codes: Codes
    labels: tuple[bytes, ...]
    kinds: dict[int, Kind]
    texts: dict[int, set[bytes]]
    first_days: dict[int, int] = field(default_factory=dict)


def survey(table: Table, roles: Roles, reading: ReadOptions, *, where: str) -> Survey:
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
    # JSON's own numbers have a point whatever its texts have.
    decimals = {reading.decimal, "."} if table.kind == "jsonl" else {reading.decimal}
    known = _kinds_by_type(table, roles.features) | dict.fromkeys(roles.categories, TEXT)
    looker = KindFinder(sorted(decimals), known, [at for at in roles.features if at not in known])
    labels, texts, first_days = Coder(), TextCollector(MOST_CATEGORIES), FirstDays()
    codes: list[Codes] = []

    def group(block: Block) -> tuple[dict[int, pa.DictionaryArray], dict[int, int]]:
        columns = [roles.label, *(at for at in roles.features if looker.kinds.get(at) == TEXT)]
        dates = [at for at in roles.features if looker.kinds.get(at) == DATE]
        cells = block.select([*columns, *dates]).columns
        grouped = dict(zip(columns, map(group_cells, cells), strict=False))
        return grouped, find_first_days(dict(zip(dates, cells[len(columns) :], strict=True)))

    read = [at for at in roles.features if known.get(at) in {None, TEXT, DATE}]
    blocks = looker.watch(table.blocks([roles.label, *read]))
    for cells, days in map_ordered(group, blocks, threads=available_processors()):
        codes.append(labels.add(cells.pop(roles.label)))
        texts.add(cells)
        first_days.add(days)
        if len(labels.texts) > MOST_CLASSES:
            raise SchemaError(_describe_many(table.columns[roles.label], where))
    whole = np.concatenate(codes or [np.empty(0, np.int64)])
    found = texts.found(late=looker.late)
    return Survey(whole, tuple(labels.texts), looker.kinds, found, first_days.days)


def _describe_many(name: str, where: str) -> str:
    return (
        f"{where}: label {name!r} has more than {MOST_CLASSES:,} different values: a classifier "
        "needs classes; write ranges of it as classes, or name another column"
    )


def _kinds_by_type(table: Table, features: Sequence[int]) -> dict[int, Kind]:
    if not isinstance(table, ArrowTable):
        return {}
    found = {at: kind_of_type(table.schema.field(at).type) for at in features}
    return {at: kind for at, kind in found.items() if kind}
