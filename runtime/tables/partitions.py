"""Partition columns: constants that a file's folders name, as in Hive: ``year=2024/a.csv``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from msgspec.structs import replace

from runtime.tables.arrays import binary_array
from runtime.tables.base import BadRow, Parsed, RowIssue
from runtime.tables.cells import parse_numbers
from runtime.tables.dialect import COMMA, Dialect
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import PurePath

    from runtime.io.paths import Location
    from runtime.tables.base import Block, CellEncoder, Encoded, Table


_MISSING: Final = "__HIVE_DEFAULT_PARTITION__"


class PartitionValue(Value, frozen=True):
    """The value of a partition column: the cell of every row; None if it is missing."""

    text: str | None

    @property
    def cell(self) -> bytes | None:
        """The cell in UTF-8, or in the bytes of the path."""
        return None if self.text is None else self.text.encode("utf-8", "surrogateescape")


def partition_keys(path: Location | PurePath) -> dict[str, PartitionValue]:
    """Read the keys of the folders of a path, percent-decoded; the innermost of a name counts."""
    keys: dict[str, PartitionValue] = {}
    for folder in path.parent.parts:
        name, equals, value = folder.partition("=")
        if name and equals:
            keys[_decode(name)] = PartitionValue(None if value == _MISSING else _decode(value))
    return keys


def without_keys(names: Sequence[str], path: Location) -> tuple[str, ...]:
    """Leave out the names that the folders of a path have a value for."""
    keys = partition_keys(path)
    return tuple(name for name in names if name not in keys)


def _decode(text: str) -> str:
    from urllib.parse import unquote

    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


class PartitionColumns(Value, frozen=True):
    """The columns of a table, then the partition columns that are not among them.

    Attributes:
        names: of all.
        n_columns: number of columns of the table, with those that no record has.
        keys: values of the others, in order.
        dialect: decimal sign of keys that are numbers.
    """

    names: tuple[str, ...]
    n_columns: int
    keys: tuple[PartitionValue, ...]
    dialect: Dialect

    @classmethod
    def of(cls, table: Table, keys: Mapping[str, PartitionValue]) -> PartitionColumns:
        """Add keys to a table; its own columns come first."""
        added = {name: key for name, key in keys.items() if name not in table.columns}
        dialect = replace(COMMA, decimal=table.decimals[0]) if added else COMMA
        own = (*table.columns, *table.absent)
        return cls((*own, *added), len(own), tuple(added.values()), dialect)

    def wrap(self, block: Block) -> Block:
        """Add the keys to a block."""
        if not self.keys:
            return block
        places = (*range(self.n_columns), *self.keys)
        return PartitionBlock(block, self.names, places, self.dialect)


class PartitionBlock(Value, frozen=True):
    """A block with the columns of its file in another order, and with keys as further columns.

    Attributes:
        block: of the file.
        columns: names of the columns.
        places: of each column, the index in the block, or the key.
        dialect: decimal sign of keys that are numbers.
        source: name of the file in messages about rows; empty where it is known.
    """

    block: Block
    columns: tuple[str, ...]
    places: tuple[int | PartitionValue, ...]
    dialect: Dialect = COMMA
    source: str = ""

    @property
    def first_record(self) -> int:
        """Number of the first record in the file, counted from 1."""
        return self.block.first_record

    def __len__(self) -> int:
        return len(self.block)

    def parse(self, features: Sequence[int], encoder: CellEncoder) -> Parsed:
        """Parse the feature cells, and each key once."""
        places = [self.places[column] for column in features]
        if not any(isinstance(place, PartitionValue) for place in places):
            parsed = self._parse_own(places, encoder)
        else:
            parsed = self._parse_with_keys(places, [self.columns[at] for at in features], encoder)
        return replace(parsed, bad=self._name_file(parsed.bad)) if parsed.bad else parsed

    def _parse_own(self, places: Sequence[int | PartitionValue], encoder: CellEncoder) -> Parsed:
        stored = [place for place in places if not isinstance(place, PartitionValue)]
        if not stored:
            return Parsed(np.empty((len(self), 0), dtype=np.float32), None, ())
        return self.block.parse(stored, encoder)

    def _parse_with_keys(
        self, places: Sequence[int | PartitionValue], names: Sequence[str], encoder: CellEncoder
    ) -> Parsed:
        keys = {n: key for n, key in enumerate(places) if isinstance(key, PartitionValue)}
        encoded = {
            n: _encode_key(key, encoder.select([n]), self.dialect) for n, key in keys.items()
        }
        widths = [encoder.width(feature) for feature in range(len(places))]
        for n, key in keys.items():
            if not encoded[n].usable.all():
                reason = encoder.explain(n, key.cell, self.dialect)
                return self._all_bad(RowIssue(reason, names[n], key.text or ""), sum(widths))
        own = [feature for feature in range(len(places)) if feature not in keys]
        parsed = self._parse_own([places[feature] for feature in own], encoder.select(own))
        ends = np.cumsum([widths[feature] for feature in own])
        parts = iter(np.split(parsed.features, ends[:-1], axis=1))
        rows = len(parsed.features)
        matrix = [
            np.repeat(encoded[feature].matrix, rows, axis=0) if feature in keys else next(parts)
            for feature in range(len(places))
        ]
        return replace(parsed, features=np.concatenate(matrix, axis=1))

    def _all_bad(self, issue: RowIssue, n_inputs: int) -> Parsed:
        """Refuse every record for the value of a key."""
        bad = self.block.report(dict.fromkeys(range(len(self)), issue))
        none = np.empty((0, n_inputs), dtype=np.float32)
        return Parsed(none, np.zeros(len(self), dtype=np.bool_), bad)

    def report(self, issues: Mapping[int, RowIssue]) -> tuple[BadRow, ...]:
        """Describe records that cannot be scored."""
        return self._name_file(self.block.report(issues))

    def _name_file(self, bad: tuple[BadRow, ...]) -> tuple[BadRow, ...]:
        return tuple(replace(row, source=self.source) for row in bad) if self.source else bad

    def select(self, columns: Sequence[int]) -> pa.RecordBatch:
        """Read cells; keys are text."""
        places = [self.places[column] for column in columns]
        own = [place for place in places if not isinstance(place, PartitionValue)]
        cells = iter(self.block.select(own).columns if own else ())
        arrays = [
            pa.repeat(pa.scalar(place.cell, pa.binary()), len(self))
            if isinstance(place, PartitionValue)
            else next(cells)
            for place in places
        ]
        return pa.RecordBatch.from_arrays(arrays, [self.columns[column] for column in columns])


def _encode_key(key: PartitionValue, encoder: CellEncoder, dialect: Dialect) -> Encoded:
    """Encode a key as the cell of one row, ``(1, its inputs)``."""
    cells = pa.nulls(1, pa.binary()) if key.cell is None else binary_array([key.cell])
    if encoder.is_text(0):
        return encoder.encode([cells])
    numbers = parse_numbers(pa.chunked_array([cells]), dialect.decimal)
    return encoder.encode([encoder.with_missing(0, numbers, cells)])
