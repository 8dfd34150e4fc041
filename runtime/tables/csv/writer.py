"""Write a scored table as delimited text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from runtime.tables.arrays import (
    binary_array,
    binary_scalar,
    bool_array,
    filter_rows,
    number_values,
)
from runtime.tables.csv.digits import FEWEST_ROWS, MOST_LABELS, SMALLEST, LabelledDigits, append_few
from runtime.tables.csv.quoting import encode_cell, encode_record, format_floats, join_fields
from runtime.tables.csv.table import CsvBlock
from runtime.tables.dialect import COMMA, Dialect
from runtime.tables.text import as_text, unpack_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from runtime.io.sinks import Sink
    from runtime.tables.base import AddedColumns, Block
    from runtime.tables.csv.table import CsvTable


_LF = binary_scalar(b"\n")


class CsvWriter:
    """Delimited text being written; see ``runtime.tables.base.TableWriter``."""

    def __init__(
        self,
        sink: Sink,
        names: Sequence[str],
        *,
        columns: Sequence[int],
        carried: Sequence[str],
        dialect: Dialect = COMMA,
    ) -> None:
        """Begin a table whose records are written anew."""
        self._sink, self._columns, self._dialect = sink, columns, dialect
        self._sink.write(encode_record([*carried, *names], dialect).removesuffix(b"\n"))

    def encode(self, block: Block, added: AddedColumns) -> memoryview:
        """Write the records that stay, each led by its line break."""
        labels, *others = answers.columns
        fields = [*self._records(block, answers), self._framed(labels)]
        for position, column in enumerate(others):
            if position:
                fields.append(self._between(column))
            fields.append(self._added(column))
        return join_fields(fields)

    def _records(self, block: Block, added: AddedColumns) -> list[pa.Array]:
        same_text = isinstance(block, CsvBlock) and (
            block.header.dialect.encoding == self._dialect.encoding
        )
        if isinstance(block, CsvBlock) and same_text:
            columns = block.cells(self._columns)
        else:
            columns = block.select(self._columns).columns
        fields = [pa.repeat(_LF, len(answers.columns[0]))]
        for position, column in enumerate(columns):
            kept = column if answers.kept is None else filter_rows(column, answers.kept)
            fields += [self._between(kept)] if position else []
            fields.append(encode_cells(kept, self._dialect))
        return fields

    def _between(self, column: pa.Array) -> pa.Array:
        return pa.repeat(binary_scalar(self._dialect.delimiter), len(column))

    def _framed(self, labels: pa.DictionaryArray) -> pa.Array:
        """Write labels with delimiters on both sides, once a class."""
        framed = binary_array(self._frames(labels.dictionary.to_pylist()))
        (nothing,) = self._frames([""])
        return framed.take(labels.indices).fill_null(binary_scalar(nothing))

    def _frames(self, names: Sequence[str]) -> list[bytes]:
        sign = self._dialect.delimiter
        left = sign if len(self._columns) > 0 else b""
        return [left + encode_cell(name, self._dialect) + sign for name in names]

    def _added(self, column: pa.Array) -> pa.Array:
        """Write a new column's cells: probabilities, or packed text."""
        if pa.types.is_dictionary(column.type):
            texts = map(unpack_text, column.dictionary.to_pylist())
            cells = binary_array([encode_cell(text, self._dialect) for text in texts])
            return cells.take(column.indices)
        return format_floats(column, self._dialect)

    def write(self, piece: memoryview) -> None:
        """Write a block."""
        self._sink.write(piece)

    def finish(self) -> None:
        """End the last record."""
        self._sink.write(b"\n")
        self._sink.flush()


class CsvAppender(CsvWriter):
    """Delimited text with cells appended to the records as they were read."""

    def __init__(self, sink: Sink, names: Sequence[str], table: CsvTable) -> None:
        """Begin the table."""
        header = table.header
        self._sink, self._table, self._dialect = sink, table, header.dialect
        self._digits: LabelledDigits | None = None
        self._columns = range(len(header.columns))
        sign = header.dialect.delimiter
        added = b"".join(sign + encode_cell(name, header.dialect) for name in names)
        sink.write(header.text + added)

    def encode(self, block: Block, added: AddedColumns) -> memoryview:
        """Write the records that stay with their answers, the plain ones by looking them up."""
        probability = self._plain_probability(answers)
        if probability is None:
            return super().encode(block, answers)
        (records,) = self._records(block, answers)
        labels = answers.columns[0]
        names, index = labels.dictionary.to_pylist(), number_values(labels.indices)
        if self._digits is None and len(records) < FEWEST_ROWS:
            return append_few(self._frames(names), records, index, probability)
        if self._digits is None:  # two threads may do it twice: no harm
            self._digits = LabelledDigits(self._frames(names))
        return self._digits.append(records, index, probability)

    def _plain_probability(self, added: AddedColumns) -> npt.NDArray[np.float32] | None:
        """Return the probabilities where the digit tables apply, else None."""
        labels, probability, *others = answers.columns
        if (
            others
            or probability.null_count
            or self._dialect.decimal != "."
            or len(labels.dictionary) > MOST_LABELS
        ):
            return None
        values = number_values(probability)
        return values if len(values) and values.min() >= SMALLEST else None

    def _records(self, block: Block, added: AddedColumns) -> list[pa.Array]:
        if not isinstance(block, CsvBlock):
            raise TypeError(f"cells are appended to delimited text, not to {type(block)}")
        misfits = [row.record - block.first_record for row in answers.bad if not row.column]
        pieces = block.pieces(misfits)
        return [pieces if answers.kept is None else pieces.filter(bool_array(answers.kept))]

    def finish(self) -> None:
        """End the table as the one that was read ends."""
        self._sink.write(self._table.tail or self._table.header.terminator)
        self._sink.flush()


def encode_cells(column: pa.Array, dialect: Dialect = COMMA) -> pa.Array:
    """Write a column's values as cells, quoted where they have to be."""
    if pa.types.is_dictionary(column.type):
        return encode_cells(column.dictionary, dialect).take(column.indices)
    text = as_text(column)
    if pa.types.is_primitive(column.type):
        return text
    import pyarrow.compute as pc

    special = pc.match_substring_regex(text, f'["\\r\\n{_in_brackets(dialect.delimiter)}]')
    if not pc.any(special).as_py():
        return text
    quote = binary_scalar(b'"')
    doubled = pc.replace_substring(text, b'"', b'""')
    quoted = pc.binary_join_element_wise(quote, doubled, quote, binary_scalar(b""))
    return pc.if_else(special, quoted, text)


def _in_brackets(delimiter: bytes) -> str:
    return "\\" + delimiter.decode() if delimiter in b"\\]^-" else delimiter.decode()
