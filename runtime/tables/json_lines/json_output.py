"""Write a scored table as JSON Lines.

A table that was read as such keeps its records byte for byte: the answers become members before
each closing brace. Records of other formats are written anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.tables.arrays import filter_rows
from runtime.tables.arrow.writer import output_schema, to_batch
from runtime.tables.json_lines.json_block import JsonBlock
from runtime.tables.json_lines.json_encode import encode_values, join_members
from runtime.tables.json_lines.json_writer import append_members

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from runtime.io.sinks import Sink
    from runtime.tables.base import AddedColumns, Block
    from runtime.tables.json_lines.json_lines import JsonLinesTable


class JsonOutput:
    """JSON Lines being written; see ``runtime.tables.base.TableWriter``."""

    def __init__(self, sink: Sink, added: Sequence[pa.Field], *, columns: Sequence[int]) -> None:
        """Begin a table whose records are written anew.

        Args:
            sink: where to write.
            added: fields of the new columns.
            columns: positions of those that are carried.
        """
        self._sink, self._columns = sink, columns
        self._added = output_schema([], added)

    def encode(self, block: Block, answers: AddedColumns) -> bytes | memoryview:
        """Write the records that stay, each with its line end."""
        names, members = self._carry(block)
        if answers.kept is not None:
            members = [filter_rows(texts, answers.kept) for texts in members]
        added = self._plain(block, answers)
        members += map(encode_values, added.columns)
        return join_members([*names, *added.schema.names], members)

    def _carry(self, block: Block) -> tuple[Sequence[str], list[pa.Array]]:
        """Give the carried columns' names and JSON text, which of JSON is what was read."""
        if isinstance(block, JsonBlock):
            return block.members(self._columns)
        carried = block.select(self._columns)
        return carried.schema.names, [encode_values(column) for column in carried.columns]

    def _plain(self, block: Block, answers: AddedColumns) -> pa.RecordBatch:
        return to_batch(answers.columns, self._added, block.first_record)

    def write(self, piece: bytes | memoryview) -> None:
        """Write a block."""
        self._sink.write(piece)

    def finish(self) -> None:
        """Hand everything to the system."""
        self._sink.flush()


class JsonAppend(JsonOutput):
    """JSON Lines with members added to the records as they were read."""

    def __init__(self, sink: Sink, added: Sequence[pa.Field], table: JsonLinesTable) -> None:
        """Begin the table.

        Args:
            sink: where to write.
            added: fields of the new columns.
            table: that the records come from.
        """
        super().__init__(sink, added, columns=range(len(table.columns)))
        self._table = table
        sink.write(table.head)

    def encode(self, block: Block, answers: AddedColumns) -> bytes | memoryview:
        """Write the records that stay as they were read, with their new members."""
        if not isinstance(block, JsonBlock):
            raise TypeError(f"members are added to JSON Lines, not to {type(block)}")
        added = self._plain(block, answers)
        members = dict(zip(added.schema.names, added.columns, strict=True))
        return append_members(block, answers.kept, members)

    def finish(self) -> None:
        """End the table as the one that was read ends."""
        self._sink.write(self._table.tail)
        self._sink.flush()
