"""Write scored tables as delimited text."""

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
from runtime.tables.csv.quoting import (
    MAX_LABELS,
    MIN_PROBABILITY,
    MIN_ROWS,
    LabelledDigits,
    append_few,
    encode_cell,
    format_floats,
    join_fields,
)
from runtime.tables.csv.table import CsvBlock
from runtime.tables.dialect import COMMA, Dialect
from runtime.tables.text import cell_texts, unpack_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from runtime.io.sinks import Sink
    from runtime.tables.base import AddedColumns, Block
    from runtime.tables.csv.table import CsvTable


_LF = binary_scalar(b"\n")


class CsvWriter:
    """Writes delimited text; see ``runtime.tables.base.TableWriter``."""

    def __init__(
        self, sink: Sink, *, columns: Sequence[int], dialect: Dialect = COMMA, ends: bool = True
    ) -> None:
        """Continue after the header; ``ends`` is whether the last record of the table follows."""
        self._sink, self._columns, self._dialect, self._ends = sink, columns, dialect, ends

    def encode(self, block: Block, added: AddedColumns) -> memoryview:
        """Encode the kept records, each after a line break."""
        labels, *others = added.columns
        fields = [*self._encode_records(block, added), self._encode_labels(labels)]
        for index, column in enumerate(others):
            if index:
                fields.append(self._delimiters(column))
            fields.append(self._encode_added(column))
        return join_fields(fields)

    def _encode_records(self, block: Block, added: AddedColumns) -> list[pa.Array]:
        same_text = isinstance(block, CsvBlock) and (
            block.header.dialect.encoding == self._dialect.encoding
        )
        if isinstance(block, CsvBlock) and same_text:
            columns = block.cells(self._columns)
        else:
            columns = block.select(self._columns).columns
        fields = [pa.repeat(_LF, len(added.columns[0]))]
        for index, column in enumerate(columns):
            kept = column if added.kept is None else filter_rows(column, added.kept)
            fields += [self._delimiters(kept)] if index else []
            fields.append(encode_cells(kept, self._dialect))
        return fields

    def _delimiters(self, column: pa.Array) -> pa.Array:
        return pa.repeat(binary_scalar(self._dialect.delimiter), len(column))

    def _encode_labels(self, labels: pa.DictionaryArray) -> pa.Array:
        """Encode labels with the delimiters around them."""
        names = binary_array(self._delimited(labels.dictionary.to_pylist()))
        (empty,) = self._delimited([""])
        return names.take(labels.indices).fill_null(binary_scalar(empty))

    def _delimited(self, labels: Sequence[str]) -> list[bytes]:
        """Encode labels with a delimiter before, unless they come first, and after."""
        delimiter = self._dialect.delimiter
        before = delimiter if len(self._columns) > 0 else b""
        return [before + encode_cell(label, self._dialect) + delimiter for label in labels]

    def _encode_added(self, column: pa.Array) -> pa.Array:
        """Encode a new column: probabilities, or packed text."""
        if pa.types.is_dictionary(column.type):
            texts = map(unpack_text, column.dictionary.to_pylist())
            cells = binary_array([encode_cell(text, self._dialect) for text in texts])
            return cells.take(column.indices)
        return format_floats(column, self._dialect)

    def write(self, chunk: memoryview) -> None:
        """Write an encoded block."""
        self._sink.write(chunk)

    def finish(self) -> None:
        """End the last record."""
        if self._ends:
            self._sink.write(b"\n")
        self._sink.flush()


class CsvAppender(CsvWriter):
    """Writes delimited text by appending cells to the raw records."""

    def __init__(
        self, sink: Sink, names: Sequence[str], table: CsvTable, *, begins: bool, ends: bool
    ) -> None:
        """Write the header of an output that ``begins``."""
        header = table.header
        columns = range(len(header.columns))
        super().__init__(sink, columns=columns, dialect=header.dialect, ends=ends)
        self._table = table
        self._digits: LabelledDigits | None = None
        if begins:
            delimiter = header.dialect.delimiter
            added = b"".join(delimiter + encode_cell(name, header.dialect) for name in names)
            sink.write(header.text + added)

    def encode(self, block: Block, added: AddedColumns) -> memoryview:
        """Append to the kept records, with lookup tables where they apply."""
        probability = self._lookup_probability(added)
        if probability is None:
            return super().encode(block, added)
        (records,) = self._encode_records(block, added)
        labels = added.columns[0]
        names, index = labels.dictionary.to_pylist(), number_values(labels.indices)
        if self._digits is None and len(records) < MIN_ROWS:
            return append_few(self._delimited(names), records, index, probability)
        if self._digits is None:  # harmless if two threads do it
            self._digits = LabelledDigits(self._delimited(names))
        return self._digits.append(records, index, probability)

    def _lookup_probability(self, added: AddedColumns) -> npt.NDArray[np.float32] | None:
        """Get the probabilities if the lookup tables apply, else None."""
        labels, probability, *others = added.columns
        if (
            others
            or probability.null_count
            or self._dialect.decimal != "."
            or len(labels.dictionary) > MAX_LABELS
        ):
            return None
        values = number_values(probability)
        return values if len(values) and values.min() >= MIN_PROBABILITY else None

    def _encode_records(self, block: Block, added: AddedColumns) -> list[pa.Array]:
        if not isinstance(block, CsvBlock):
            raise TypeError(f"expected a CsvBlock, got {type(block)}")
        misfits = [row.record - block.first_record for row in added.bad if not row.column]
        records = block.raw_records(misfits)
        return [records if added.kept is None else records.filter(bool_array(added.kept))]

    def finish(self) -> None:
        """End the table like the one that was read."""
        if self._ends:
            self._sink.write(self._table.tail or self._table.header.terminator)
        self._sink.flush()


def encode_cells(column: pa.Array, dialect: Dialect = COMMA) -> pa.Array:
    """Encode a column's values as cells, quoted if necessary."""
    if pa.types.is_dictionary(column.type):
        return encode_cells(column.dictionary, dialect).take(column.indices)
    text = cell_texts(column)
    if pa.types.is_primitive(column.type):
        return text
    import pyarrow.compute as pc

    special = pc.match_substring_regex(text, f'["\\r\\n{_escape(dialect.delimiter)}]')
    if not pc.any(special).as_py():
        return text
    quote = binary_scalar(b'"')
    doubled = pc.replace_substring(text, b'"', b'""')
    quoted = pc.binary_join_element_wise(quote, doubled, quote, binary_scalar(b""))
    return pc.if_else(special, quoted, text)


def _escape(delimiter: bytes) -> str:
    """Escape a delimiter for a character class of a regular expression."""
    return "\\" + delimiter.decode() if delimiter in b"\\]^-" else delimiter.decode()
