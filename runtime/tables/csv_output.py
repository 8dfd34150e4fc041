"""Write a scored table as delimited text.

A table that was read as such text keeps its records byte for byte: the new cells are appended to
each. Records of other formats, and those of which only some columns are wanted, are written anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from runtime.tables.arrow import binary_array, binary_scalar, bool_array
from runtime.tables.csv_table import CsvBlock
from runtime.tables.csv_writer import encode_cell, encode_record, join_fields
from runtime.tables.text_cells import as_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.answers import Answers
    from runtime.endpoints import Sink
    from runtime.tables.csv_table import CsvTable
    from runtime.tables.table import Block

_COMMA, _LF = binary_scalar(b","), binary_scalar(b"\n")


class CsvOutput:
    """Delimited text being written; see ``runtime.tables.output.Output``."""

    def __init__(
        self, sink: Sink, names: Sequence[str], *, columns: Sequence[int], carried: Sequence[str]
    ) -> None:
        """Begin a table whose records are written anew.

        Args:
            sink: where to write.
            names: of the new columns.
            columns: positions of those that are carried.
            carried: their names.
        """
        self._sink, self._columns = sink, columns
        self._begin(encode_record([*carried, *names]).removesuffix(b"\n"))

    def _begin(self, header: bytes) -> None:
        self._sink.write(header)

    def encode(self, block: Block, answers: Answers) -> memoryview:
        """Write the records that stay, each led by its line break."""
        first, *others = answers.columns
        fields = [*self._records(block, answers), _between_commas(first), as_cells(others[0])]
        for column in others[1:]:
            fields += [pa.repeat(_COMMA, len(column)), as_cells(column)]
        return join_fields(fields)

    def _records(self, block: Block, answers: Answers) -> list[pa.Array]:
        batch = block.select(self._columns)
        if answers.kept is not None:
            batch = batch.filter(bool_array(answers.kept))
        fields = []
        for position, column in enumerate(batch.columns):
            fields += [pa.repeat(_COMMA if position else _LF, len(column)), as_cells(column)]
        return fields or [pa.repeat(_LF, len(answers.columns[0]))]

    def write(self, piece: memoryview) -> None:
        """Write a block."""
        self._sink.write(piece)

    def finish(self) -> None:
        """End the last record."""
        self._sink.write(b"\n")
        self._sink.flush()


class CsvAppend(CsvOutput):
    """Delimited text with cells appended to the records as they were read."""

    def __init__(self, sink: Sink, names: Sequence[str], table: CsvTable) -> None:
        """Begin the table.

        Args:
            sink: where to write.
            names: of the new columns.
            table: that the records come from.
        """
        self._sink, self._table = sink, table
        header = table.header
        sink.write(header.text + b"".join(b"," + encode_cell(name) for name in names))

    def _records(self, block: Block, answers: Answers) -> list[pa.Array]:
        if not isinstance(block, CsvBlock):
            raise TypeError(f"cells are appended to delimited text, not to {type(block)}")
        misfits = [row.record - block.first_record for row in answers.bad if not row.column]
        pieces = block.pieces(misfits)
        return [pieces if answers.kept is None else pieces.filter(bool_array(answers.kept))]

    def finish(self) -> None:
        """End the table as the one that was read ends."""
        self._sink.write(self._table.tail or self._table.header.terminator)
        self._sink.flush()


def as_cells(column: pa.Array) -> pa.Array:
    """Write a column's values as cells, quoted where they have to be.

    Args:
        column: ``(rows,)`` of any type.

    Returns:
        ``(rows,)`` binary, null for null.
    """
    if pa.types.is_dictionary(column.type):
        return as_cells(column.dictionary).take(column.indices)
    text = as_text(column)
    if pa.types.is_primitive(column.type):
        return text
    special = pc.match_substring_regex(text, '[,"\\r\\n]')
    if not pc.any(special).as_py():
        return text
    quote = binary_scalar(b'"')
    doubled = pc.replace_substring(text, b'"', b'""')
    quoted = pc.binary_join_element_wise(quote, doubled, quote, binary_scalar(b""))
    return pc.if_else(special, quoted, text)


def _between_commas(labels: pa.DictionaryArray) -> pa.Array:
    """Write labels with the delimiters on both sides, once a class."""
    cells = [b"" if cell is None else cell for cell in as_cells(labels.dictionary).to_pylist()]
    framed = binary_array([b"," + cell + b"," for cell in cells])
    return framed.take(labels.indices).fill_null(b",,")
