"""Find out whether a table mixes decimal points and commas: no value of --decimal reads it then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow.compute as pc

from runtime.printable import truncate
from runtime.tables.arrays import bool_scalar, bool_values
from runtime.tables.base import RowIssue
from runtime.tables.cells import find_missing
from runtime.tables.folders import open_tables
from runtime.tables.formats import Format
from runtime.tables.text import cell_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from runtime.choices import Decimal
    from runtime.io.paths import Location
    from runtime.tables.base import Block, Mask
    from runtime.tables.memory import MemoryTable
    from trainer.data.source import TableSource

_NAMES: Final[dict[Decimal, str]] = {".": "decimal points", ",": "decimal commas"}
_NEARLY_ALL = 0.9  # of a column's cells in a block
_MAX_CHARACTERS = 40  # of a cell


def describe_mixed_signs(source: TableSource) -> str | None:
    """Name the first number with each decimal sign; None for tables with one sign at most."""
    found: dict[Decimal, str] = {}
    for path in (source.data, *([source.test] if source.test else [])):
        for sign, place in _find_fractions(path, source):
            found.setdefault(sign, place)
            if len(found) == len(_NAMES):
                signs = (f"{_NAMES[each]} ({found[each]})" for each in sorted(found, reverse=True))
                return f"the table has {' and '.join(signs)}"
    return None


def _find_fractions(
    path: Location | MemoryTable, source: TableSource
) -> Iterator[tuple[Decimal, str]]:
    """Find the first number with each sign in each block and column of numbers."""
    required, name = source.required_columns, "data" if path is source.data else "test"
    with open_tables(path, source.reading, required, option=name) as table:
        table.find_columns()
        if not Format(table.kind).is_delimited:  # JSON's numbers have points, whatever its texts
            return
        names = table.columns
        used = [
            at
            for at, name in enumerate(names)
            if name != source.label and {name, f"#{at + 1}"}.isdisjoint(source.exclude)
        ]
        for block in table.blocks(used):
            for at, column in zip(used, block.select(used).columns, strict=True):
                for sign, row in _first_fractions(cell_texts(column), source):
                    cell = cell_texts(column)[row].as_py().decode(errors="replace")
                    shown = repr(truncate(cell.strip(), _MAX_CHARACTERS))
                    where = f"{path}, " if source.test else ""
                    yield sign, f"{where}{_place(block, row)}, column {names[at]!r}: {shown}"


def _first_fractions(cells: pa.Array, source: TableSource) -> Iterator[tuple[Decimal, int]]:
    """Find the first row with each sign in a column that is nearly all numbers, with either."""
    marks: dict[Decimal, Mask] = {sign: _match(cells, rf"[0-9]*\{sign}[0-9]+") for sign in _NAMES}
    filled = ~find_missing(cells, source.missing)
    numbers = _match(cells, "[0-9]+") | np.logical_or.reduce(list(marks.values()))
    if numbers.sum() >= _NEARLY_ALL * max(filled.sum(), 1):
        for sign, each in marks.items():
            if each.any():
                yield sign, int(each.argmax())


def _match(cells: pa.Array, digits: str) -> Mask:
    pattern = rf"\A[ \t]*[+-]?{digits}([eE][+-]?[0-9]+)?[ \t]*\z"
    found = pc.match_substring_regex(cells, pattern)
    return bool_values(pc.fill_null(found, bool_scalar(False)))


def _place(block: Block, row: int) -> str:
    (found,) = block.report({row: RowIssue("")})
    where = f"record {found.record}" if found.line is None else f"line {found.line}"
    return f"{found.source}, {where}" if found.source else where
