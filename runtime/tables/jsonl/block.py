"""A block of JSON Lines: its features, its bad records, its cells for other formats."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runtime.errors import DataError
from runtime.surfaces import advise, either
from runtime.tables.arrays import binary_scalar
from runtime.tables.base import BadRow, Parsed, RowIssue
from runtime.tables.csv.records import count_lines
from runtime.tables.jsonl.decoding import (
    find_keys,
    read_numbers,
    read_values,
    record_keys,
    unquote,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.choices import Decimal
    from runtime.tables.base import CellEncoder, Mask
    from runtime.tables.jsonl.decoding import JsonValues
    from runtime.tables.jsonl.lines import Lines


@dataclass(slots=True)
class Keys:
    """The keys of a table's records, shared by its blocks.

    Attributes:
        found: keys in order of first appearance.
        required: keys that none of the records in which ``found`` were found has.
        read: keys of which a value was read.
        records: number of the first records in which ``found`` were found.
        closed: whether a record with a key that is not ``found`` is refused.
    """

    found: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    read: set[str] = field(default_factory=set)
    records: int = 0
    closed: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Keys by the positions of columns."""
        return self.found + self.required


@dataclass(slots=True)
class JsonLinesBlock:
    """Consecutive records as read; see ``runtime.tables.base.Block``."""

    lines: Lines
    first_record: int
    first_line: int
    keys: Keys
    where: str
    decimal: Decimal = "."  # in strings; JSON numbers have a point
    _objects: Mask | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.lines)

    def parse(self, features: Sequence[int], encoder: CellEncoder) -> Parsed:
        """Parse the feature cells."""
        keys = tuple(map(self.keys.names.__getitem__, features))
        self._objects = np.ones(len(self), dtype=np.bool_)
        plain, numbers = np.zeros(len(self), dtype=np.bool_), None
        if encoder.is_numeric:
            plain, numbers = read_numbers(self.lines, keys)
            self.keys.read.update(keys if len(numbers) else ())
            if plain.all():
                return Parsed(numbers, None, ())
        rest = np.flatnonzero(~plain)
        values = self.read_values(keys, self.lines.take(rest) if plain.any() else self.lines)
        self._objects[rest[list(values.issues)]] = False
        encoded = values.encode(encoder, self.decimal)
        usable = np.logical_and.reduce(encoded.usable, axis=1)
        issues = {
            int(rest[index]): values.issues.get(index)
            or values.explain(index, int(np.argmin(encoded.usable[index])), encoder, self.decimal)
            for index in np.flatnonzero(~usable).tolist()
        }
        good = plain.copy()
        good[rest] = usable
        matrix = encoded.matrix[usable]
        if plain.any():
            merged = np.empty((len(self), len(keys)), dtype=np.float32)
            merged[plain], merged[rest[usable]] = numbers, matrix
            matrix = merged[good]
        return Parsed(matrix, good if issues else None, self.report(issues))

    def report(self, issues: Mapping[int, RowIssue]) -> tuple[BadRow, ...]:
        """Describe records that cannot be scored."""
        rows: list[BadRow] = []
        line, counted = self.first_line, 0
        for index, issue in issues.items():
            start = int(self.lines.starts[index])
            line += count_lines(self.lines.data[counted:start])
            counted = start
            record, text = self.first_record + index, self.lines.text(index)
            rows.append(BadRow(record, line, issue.column, issue.value, issue.reason, text))
        return tuple(rows)

    def select(self, columns: Sequence[int]) -> pa.RecordBatch:
        """Return strings decoded, other values as JSON, null and absent ones as null.

        Raises ``DataError`` when all columns are selected, no others are expected, and a record
        has another.
        """
        if self.keys.closed and set(columns) >= set(range(len(self.keys.found))):
            self._refuse_other_keys()
        keys = [self.keys.names[at] for at in columns]
        names = [key.encode(errors="backslashreplace").decode() for key in keys]
        return pa.RecordBatch.from_arrays([*map(unquote, self.read_values(keys).raw)], names=names)

    def members(self, columns: Sequence[int]) -> tuple[list[str], list[pa.Array]]:
        """Return keys and the raw JSON of their values, ``null`` where absent."""
        keys = [self.keys.names[at] for at in columns]
        null = binary_scalar(b"null")
        return keys, [pc.fill_null(raw, null) for raw in self.read_values(keys).raw]

    def objects(self) -> Mask:
        """Mark the records that are JSON objects: ``(records,)`` bool."""
        if self._objects is None:
            self._objects = np.ones(len(self), dtype=np.bool_)
            self._objects[list(self.read_values(()).issues)] = False
        return self._objects

    def read_values(self, keys: Sequence[str], lines: Lines | None = None) -> JsonValues:
        """Read the raw JSON of the keys' values, in some of the lines or all."""
        values = read_values(lines or self.lines, keys)
        self.keys.read.update(
            key for key, raw in zip(keys, values.raw, strict=True) if raw.null_count < len(raw)
        )
        return values

    def _refuse_other_keys(self) -> None:
        """Refuse keys that are not columns: their values would be lost."""
        found = self.keys.found
        others = frozenset(find_keys(self.lines, found)[len(found) :])
        for index, keys in enumerate(record_keys(self.lines) if others else ()):
            if lost := [key for key in keys if key in others]:
                (row,) = self.report({index: RowIssue("")})
                select = advise("columns", blank="NAMES", phrase="select those to keep with {}")
                raise DataError(
                    f"{self.where}: record {row.record} (line {row.line}) has a key {lost[0]!r} "
                    f"that none of the first {self.keys.records:,} records has, and its value "
                    "would be lost: "
                    + either(
                        "give the table as a file, which is read twice",
                        "write JSON Lines (.jsonl)",
                        select,
                    )
                )
