"""A block of JSON records: its feature cells, its bad records, its cells for other formats.

A number is a JSON number, or a string that holds one by the rules of a CSV cell (``cells``); the
decimal sign that was given is that of strings, since JSON has its own. A
record is bad when it is no JSON object, or when a feature is null, not there, there twice or no
number; what else stands in it may be anything that JSON knows, and the constants of Python's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from runtime.errors import DataError
from runtime.tables.arrays import binary_scalar, bool_scalar, split_bytes
from runtime.tables.base import BadRow, Parsed, RowIssue
from runtime.tables.cells import parse_numbers
from runtime.tables.csv.records import count_lines
from runtime.tables.dialect import COMMA
from runtime.tables.json_lines.json_cells import Tokens, read_clean, read_contents, read_tokens
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from runtime.choices import Decimal
    from runtime.tables.base import CellEncoder
    from runtime.tables.json_lines.lines import Positions

TWICE = "key occurs twice"
_NULL, _QUOTE = b"null", b'"'


@dataclass(slots=True)
class JsonBlock:
    """Consecutive records as they were read.

    ``data[bounds[i]:bounds[i + 1]]`` is record ``i``, led by the blank lines before it and
    followed by its line end, if it has one; ``data[starts[i]:stops[i]]`` is its text alone.

    Attributes:
        data: the bytes.
        bounds: ``(records + 1,)`` int64.
        starts: ``(records,)`` int64.
        stops: ``(records,)`` int64.
        first_record: number of the first record, counted from 1.
        first_line: number of the line with which ``data`` begins, counted from 1.
        columns: of the table.
        where: name of the table for messages.
        decimal: the sign before a fraction in strings.
        objects: ``(records,)`` bool, which of them are JSON objects; None until it is known.
    """

    data: bytes
    bounds: Positions
    starts: Positions
    stops: Positions
    first_record: int
    first_line: int
    columns: tuple[str, ...]
    where: str
    decimal: Decimal = "."
    objects: npt.NDArray[np.bool_] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.starts)

    def text(self, index: int) -> bytes:
        """Return record ``index`` of the block without its line end."""
        return self.data[self.starts[index] : self.stops[index]]

    def pieces(self) -> pa.Array:
        """View the records as ``(records,)`` binary with their line ends; not copied."""
        return split_bytes(self.data, self.bounds.astype(np.int32))

    def parse(self, features: Sequence[int], encoder: CellEncoder) -> Parsed:
        """Read the feature cells; see ``Block``."""
        keys = [self.columns[position] for position in features]
        matrix = read_clean(self, keys) if encoder.is_numeric else None
        if matrix is not None:
            self.objects = np.ones(len(self), dtype=np.bool_)
            return Parsed(matrix, None, ())
        tokens = read_tokens(self, keys)
        self.objects = tokens.objects(len(self))
        contents = [read_contents(_without_nulls(column)) for column in tokens.columns]
        encoded = encoder.encode(
            [
                content
                if encoder.is_text(at)
                else encoder.with_missing(at, _read_numbers(token, content, self.decimal), content)
                for at, (token, content) in enumerate(zip(tokens.columns, contents, strict=True))
            ]
        )
        matrix, usable = encoded.matrix, encoded.usable
        for index, repeated in tokens.repeated.items():
            usable[index] &= [key not in repeated for key in keys]
        good: npt.NDArray[np.bool_] = np.logical_and.reduce(usable, axis=1)

        def first_bad(index: int) -> _Cell:
            at = int(np.argmin(usable[index]))
            token, content = tokens.columns[at][index].as_py(), contents[at][index].as_py()
            return _Cell(index, at, keys[at], token, content)

        faults = {
            index: tokens.faults.get(index)
            or _bad_cell(first_bad(index), tokens, encoder, self.decimal)
            for index in np.flatnonzero(~good).tolist()
        }
        if not faults:  # good, yet not plainly so
            return Parsed(matrix, None, ())
        return Parsed(matrix[good], good, self.report(faults))

    def report(self, faults: Mapping[int, RowIssue]) -> tuple[BadRow, ...]:
        """Describe records that cannot be scored; see ``Block``."""
        rows: list[BadRow] = []
        line, counted = self.first_line, 0
        for index, fault in faults.items():
            start = int(self.starts[index])
            line += count_lines(self.data[counted:start])
            counted = start
            rows.append(
                BadRow(
                    record=self.first_record + index,
                    line=line,
                    column=fault.column,
                    value=fault.value,
                    reason=fault.reason,
                    text=self.text(index),
                )
            )
        return tuple(rows)

    def select(self, columns: Sequence[int]) -> pa.RecordBatch:
        """Give cells to be written in another format.

        Strings come as their text, other values as their JSON text, null and absent ones as
        null, and so does everything in a record that is no object. Bytes that are no UTF-8 stay.

        Args:
            columns: positions in the table's columns.

        Returns:
            One column each, ``(records,)`` binary.

        Raises:
            DataError: when all columns are asked for and a record has a key that is none of
                them: its value would be lost.
        """
        keys = [self.columns[position] for position in columns]
        tokens = read_tokens(self, keys, closed=len(set(columns)) == len(self.columns))
        for index, stranger in tokens.strangers.items():
            (row,) = self.report({index: RowIssue("")})
            raise DataError(
                f"{self.where}: record {row.record} (line {row.line}) has a key {stranger!r} "
                "that none of the first records has, and its value would be lost: "
                "write JSON Lines (.jsonl), which carries it, or name the columns to keep"
            )
        cells = [read_contents(_without_nulls(column)) for column in tokens.columns]
        names = [key.encode(errors="backslashreplace").decode() for key in keys]
        return pa.RecordBatch.from_arrays(cells, names=names)

    def members(self, columns: Sequence[int]) -> tuple[list[str], list[pa.Array]]:
        """Give values as they are written, to be written again in JSON.

        Args:
            columns: positions in the table's columns.

        Returns:
            The keys, and for each ``(records,)`` binary, JSON text; ``null`` where there is none.
        """
        keys = [self.columns[position] for position in columns]
        null = binary_scalar(_NULL)
        return keys, [pc.fill_null(texts, null) for texts in read_tokens(self, keys).columns]


def _without_nulls(tokens: pa.Array) -> pa.Array:
    """Read JSON's null as a value that is not there."""
    return pc.if_else(pc.equal(tokens, binary_scalar(_NULL)), pa.nulls(1, pa.binary())[0], tokens)


def _read_numbers(
    tokens: pa.Array, contents: pa.Array, decimal: Decimal
) -> npt.NDArray[np.float64]:
    """Read values as ``(records,)`` float64; NaN for what is no number."""
    nothing = binary_scalar(b"")
    cells = pa.chunked_array([pc.fill_null(contents, nothing)])
    if decimal == ".":
        return parse_numbers(cells)
    in_quotes = pc.fill_null(pc.starts_with(tokens, _QUOTE), bool_scalar(False))
    texts = parse_numbers(pc.if_else(in_quotes, cells, nothing), decimal)
    numbers = parse_numbers(pc.if_else(in_quotes, nothing, cells))
    return np.where(np.isnan(texts), numbers, texts)


class _Cell(Value, frozen=True):
    """A feature's cell: the record and the feature by position, JSON text and content."""

    index: int
    at: int
    key: str
    token: bytes | None
    content: bytes | None


def _bad_cell(cell: _Cell, tokens: Tokens, encoder: CellEncoder, decimal: Decimal) -> RowIssue:
    """Say why a record's first bad feature has no place in a model."""
    value = (cell.token if cell.content is None else cell.content) or b""
    told = value.decode(errors="backslashreplace")
    if cell.key in tokens.repeated.get(cell.index, ()):
        return RowIssue(TWICE, cell.key, told)
    in_text = cell.token is not None and cell.token.startswith(_QUOTE)
    dialect = replace(COMMA, decimal=decimal) if in_text else COMMA
    return RowIssue(encoder.explain(cell.at, cell.content, dialect), cell.key, told)
