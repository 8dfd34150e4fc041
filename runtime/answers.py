"""The columns that scoring appends to a table: names, and the cells of each row.

In: the model's outputs for a block's good records, and its bad ones. Out: the block's rows as
text, each the record as it was read followed by the new cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from runtime.errors import SchemaError
from runtime.tables.arrow import binary_array, binary_scalar, bool_array, number_array
from runtime.tables.csv_writer import (
    choose_text,
    encode_cell,
    format_floats,
    join_fields,
)
from runtime.tables.records import find_delimiters

if TYPE_CHECKING:
    from runtime.schema import Schema
    from runtime.session import Outputs
    from runtime.tables.csv_reader import Block, Header
    from runtime.tables.feature_cells import BadRow, Parsed


class Answers:
    """New columns: ``label``, ``probability``, and on request more."""

    def __init__(
        self, schema: Schema, header: Header, *, prefix: str, proba: bool, keep_bad: bool
    ) -> None:
        """Name the new columns.

        Args:
            schema: of the model.
            header: of the table that is scored.
            prefix: put before each new column's name.
            proba: add one column a class with its probability.
            keep_bad: bad rows stay, with empty cells and their reason in a last column.

        Raises:
            SchemaError: when the table already has a column of such a name.
        """
        self._proba, self._keep_bad, self._width = proba, keep_bad, len(header.columns)
        names = ["label", "probability"]
        names += [f"probability_{name}" for name in schema.classes] if proba else []
        names += ["reason"] if keep_bad else []
        self.names = tuple(prefix + name for name in names)
        if taken := [name for name in self.names if name in header.columns]:
            raise SchemaError(
                f"the table already has a column {taken[0]!r}; "
                "give the new columns another name with --prefix TEXT"
            )
        self._labels = [b"," + encode_cell(name) + b"," for name in schema.classes]

    def header(self, header: Header) -> bytes:
        """Write the header record with the new names appended."""
        return header.text + b"".join(b"," + encode_cell(name) for name in self.names)

    def rows(self, block: Block, parsed: Parsed, outputs: Outputs) -> memoryview:
        """Write the records of a block with their answers appended.

        Args:
            block: the records as they were read.
            parsed: which of them are good.
            outputs: ``(good records, …)``, the model's answers for those.

        Returns:
            The rows, each led by its line break.
        """
        records = block.pieces()
        if parsed.good is None:
            return join_fields([records, *self._cells(outputs)])
        good = records.filter(bool_array(parsed.good))
        if not self._keep_bad:
            return join_fields([good, *self._cells(outputs)])
        bad = binary_array([self._bad_cells(block, row) for row in parsed.bad])
        empty = binary_array([b""] * len(bad))
        fields = [
            pa.concat_arrays([of_good, of_bad])
            for of_good, of_bad in zip(
                [good, *self._cells(outputs)],
                [bad, *[empty] * (self._n_fields())],
                strict=True,
            )
        ]
        order = np.argsort(np.argsort(~parsed.good, kind="stable"))
        return join_fields([field.take(number_array(order)) for field in fields])

    def _cells(self, outputs: Outputs) -> list[pa.Array]:
        """Write the answers of good rows, delimiters included."""
        rows = len(outputs.label)
        chosen = np.take_along_axis(outputs.probabilities, outputs.label[:, None], axis=1)[:, 0]
        cells = [choose_text(self._labels, outputs.label), format_floats(chosen)]
        comma = pa.repeat(binary_scalar(b","), rows)
        if self._proba:
            for column in outputs.probabilities.T:
                cells += [comma, format_floats(np.ascontiguousarray(column))]
        return [*cells, comma] if self._keep_bad else cells

    def _n_fields(self) -> int:
        classes = len(self._labels) if self._proba else 0
        return 2 + 2 * classes + 1

    def _bad_cells(self, block: Block, row: BadRow) -> bytes:
        """Write a bad row: its own cells, made to fit the header, empty answers, the reason."""
        index = row.record - block.first_record
        line_break = block.data[block.bounds[index] : block.bounds[index + 1] - len(row.text)]
        reason = f"{row.column}: {row.reason}" if row.column else row.reason
        text = row.text
        if not row.column:
            text, rest = self._fit(row.text)
            reason += f", left over: {rest}" if rest else ""
        blanks = b"," * len(self.names)
        return line_break + text + blanks + encode_cell(reason)

    def _fit(self, text: bytes) -> tuple[bytes, str]:
        """Give a short or long record as many fields as the header; return what is left over."""
        commas = find_delimiters(text, b","[0])
        if len(commas) < self._width:
            return text + b"," * (self._width - 1 - len(commas)), ""
        end = int(commas[self._width - 1])
        return text[:end], text[end + 1 :].decode(errors="surrogateescape")
