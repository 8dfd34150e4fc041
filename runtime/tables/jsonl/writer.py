"""Write a scored table as JSON Lines: new records, or those that were read with new members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow.compute as pc

from runtime.errors import SchemaError
from runtime.tables.arrays import (
    binary_array,
    bool_array,
    bool_scalar,
    filter_rows,
    split_bytes,
    value_bytes,
)
from runtime.tables.arrow.writer import output_schema, to_batch
from runtime.tables.jsonl.block import JsonLinesBlock
from runtime.tables.jsonl.records import encode_text, may_have_more
from runtime.tables.jsonl.values import encode_values, join, join_members

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from runtime.io.sinks import Sink
    from runtime.tables.base import AddedColumns, Block

_TEXT = b'{"text": '  # what a line that is no object becomes
_OPEN, _CLOSE, _SPACE, _TAB = b"{} \t"


class JsonLinesWriter:
    """Records being written anew; see ``runtime.tables.base.TableWriter``."""

    def __init__(self, sink: Sink, added: Sequence[pa.Field], *, columns: Sequence[int]) -> None:
        """Begin a table of carried columns, by their positions, and added ones."""
        self._sink, self._columns = sink, columns
        self._added = output_schema([], added)

    def encode(self, block: Block, answers: AddedColumns) -> bytes | memoryview:
        """Encode the records that stay, each with its line end."""
        if isinstance(block, JsonLinesBlock):
            names, members = block.members(self._columns)
        else:
            carried = block.select(self._columns)
            names, members = carried.schema.names, [*map(encode_values, carried.columns)]
        if answers.kept is not None:
            members = [filter_rows(texts, answers.kept) for texts in members]
        added = self._new_columns(block, answers)
        return join_members([*names, *added], [*members, *map(encode_values, added.values())])

    def _new_columns(self, block: Block, answers: AddedColumns) -> dict[str, pa.Array]:
        batch = to_batch(answers.columns, self._added, block.first_record)
        return dict(zip(batch.schema.names, batch.columns, strict=True))

    def write(self, piece: bytes | memoryview) -> None:
        """Write a block."""
        self._sink.write(piece)

    def finish(self) -> None:
        """Flush the output."""
        self._sink.flush()


class Framed(Protocol):
    """A table with bytes before its first record, and after the last once all were read."""

    head: bytes
    tail: bytes


class JsonLinesAppender(JsonLinesWriter):
    """Records that were read as JSON Lines, written byte for byte with new members."""

    def __init__(self, sink: Sink, added: Sequence[pa.Field], table: Framed) -> None:
        """Begin an output of a table's records."""
        super().__init__(sink, added, columns=())
        self._table = table
        sink.write(table.head)

    def encode(self, block: Block, answers: AddedColumns) -> bytes | memoryview:
        """Encode the records that stay."""
        if not isinstance(block, JsonLinesBlock):
            raise TypeError(f"members are added to JSON Lines, not to {type(block)}")
        return append_members(block, answers.kept, self._new_columns(block, answers))

    def finish(self) -> None:
        """End the output as the table ends."""
        self._sink.write(self._table.tail)
        super().finish()


def append_members(
    block: JsonLinesBlock, kept: npt.NDArray[np.bool_] | None, columns: Mapping[str, pa.Array]
) -> bytes:
    """Insert new members before the closing brace of each record that is kept.

    A line that is no object becomes one that has the line as ``"text"``. Raises ``SchemaError``
    when a record already has one of the keys.
    """
    _refuse_taken(block, kept, tuple(columns))
    members: list[pa.Array | bytes] = []
    for key, values in columns.items():
        members += [b", " + encode_text(key) + b": ", encode_values(values)]
    text, braces = np.frombuffer(block.data, dtype=np.uint8), block.stops - 1
    stay = np.ones(len(block), dtype=np.bool_) if kept is None else kept
    regular = block.objects()[stay].all() and (text[braces[stay]] == _CLOSE).all()
    if not regular or np.isin(text[braces[stay] - 1], (_OPEN, _SPACE, _TAB)).any():
        return _append_each(block, stay, members)
    data = bytes(value_bytes(block.pieces().filter(bool_array(stay))))
    braces = np.cumsum(np.diff(block.bounds)[stay]) - (block.bounds[1:] - braces)[stay]
    if not len(braces):
        return b""
    heads = split_bytes(data, np.append(0, braces).astype(np.int32))
    return b"".join((value_bytes(join(heads, *members)), data[braces[-1] :]))


def _append_each(
    block: JsonLinesBlock, stay: npt.NDArray[np.bool_], members: Sequence[pa.Array | bytes]
) -> bytes:
    """Insert members record by record, where some are no objects, empty, or end with blanks."""
    heads, tails = [], []
    objects = block.objects()
    for index in np.flatnonzero(stay).tolist():
        start, end = block.bounds[index : index + 2]
        if objects[index]:
            head, _, tail = block.data[start:end].rpartition(b"}")
        else:
            line = encode_text(block.text(index).decode(errors="surrogateescape"))
            head = block.data[start : block.starts[index]] + _TEXT + line
            tail = block.data[block.stops[index] : end]
        heads.append(head if head.rstrip(b" \t").endswith(b"{") else head + b", ")
        tails.append(b"}" + tail)
    lead, *others = members
    return bytes(value_bytes(join(binary_array(heads), lead[2:], *others, binary_array(tails))))


def _refuse_taken(
    block: JsonLinesBlock, kept: npt.NDArray[np.bool_] | None, keys: tuple[str, ...]
) -> None:
    """Look for records that already have one of the keys; most blocks nowhere spell one."""
    suspects = [key for key in keys if may_have_more(block.data, key, 0)]
    columns = block.read_values(suspects).tokens if suspects else ()
    for key, tokens in zip(suspects, columns, strict=True):
        taken = pc.is_valid(tokens)
        if kept is not None:
            taken = pc.and_(taken, bool_array(kept))
        if (index := pc.index(taken, bool_scalar(True)).as_py()) >= 0:
            raise SchemaError(
                f"{block.where}: record {block.first_record + index} already has a key {key!r}; "
                "give the new ones another name with --prefix TEXT"
            )
