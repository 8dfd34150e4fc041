"""Write a scored table as JSON Lines: new records, or the records read with new members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow.compute as pc

from runtime.errors import SchemaError
from runtime.surfaces import advise
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
from runtime.tables.jsonl.records import encode_text, may_occur_more
from runtime.tables.jsonl.values import encode_values, join, join_members

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from runtime.io.sinks import Sink
    from runtime.tables.base import AddedColumns, Block

_TEXT = b'{"text": '  # prefix of a line that is not an object
_OPEN, _CLOSE, _SPACE, _TAB = b"{} \t"


class JsonLinesWriter:
    """Writes new records; see ``runtime.tables.base.TableWriter``."""

    def __init__(self, sink: Sink, added: Sequence[pa.Field], *, columns: Sequence[int]) -> None:
        """Begin a table of carried columns, by position, and added ones."""
        self._sink, self._columns = sink, columns
        self._added = output_schema([], added)

    def encode(self, block: Block, added: AddedColumns) -> bytes | memoryview:
        """Encode the kept records, each with its line end."""
        if isinstance(block, JsonLinesBlock):
            names, members = block.members(self._columns)
        else:
            carried = block.select(self._columns)
            names, members = carried.schema.names, [*map(encode_values, carried.columns)]
        if added.kept is not None:
            members = [filter_rows(texts, added.kept) for texts in members]
        new = self._new_columns(block, added)
        return join_members([*names, *new], [*members, *map(encode_values, new.values())])

    def _new_columns(self, block: Block, added: AddedColumns) -> dict[str, pa.Array]:
        batch = to_batch(added.columns, self._added, block.first_record)
        return dict(zip(batch.schema.names, batch.columns, strict=True))

    def write(self, chunk: bytes | memoryview) -> None:
        """Write a block."""
        self._sink.write(chunk)

    def finish(self) -> None:
        """Flush the output."""
        self._sink.flush()


class Framed(Protocol):
    """A table with bytes before its first record, and after the last when all were read."""

    head: bytes
    tail: bytes


class JsonLinesAppender(JsonLinesWriter):
    """Adds members to JSON Lines records, whose bytes are kept."""

    def __init__(self, sink: Sink, added: Sequence[pa.Field], table: Framed) -> None:
        """Begin an output of a table's records."""
        super().__init__(sink, added, columns=())
        self._table = table
        sink.write(table.head)

    def encode(self, block: Block, added: AddedColumns) -> bytes | memoryview:
        """Encode the kept records."""
        if not isinstance(block, JsonLinesBlock):
            raise TypeError(f"members are added to JSON Lines, not to {type(block)}")
        return append_members(block, added.kept, self._new_columns(block, added))

    def finish(self) -> None:
        """Write the end of the table and flush."""
        self._sink.write(self._table.tail)
        super().finish()


def append_members(
    block: JsonLinesBlock, kept: npt.NDArray[np.bool_] | None, columns: Mapping[str, pa.Array]
) -> bytes:
    """Insert new members before the closing brace of each kept record.

    A line that is not an object becomes one with the line as ``"text"``. Raises ``SchemaError``
    when a record already has one of the keys.
    """
    _check_new_keys(block, kept, tuple(columns))
    members: list[pa.Array | bytes] = []
    for key, values in columns.items():
        members += [b", " + encode_text(key) + b": ", encode_values(values)]
    lines = block.lines
    text, braces = np.frombuffer(lines.data, dtype=np.uint8), lines.stops - 1
    mask = np.ones(len(block), dtype=np.bool_) if kept is None else kept
    regular = block.objects()[mask].all() and (text[braces[mask]] == _CLOSE).all()
    if not regular or np.isin(text[braces[mask] - 1], (_OPEN, _SPACE, _TAB)).any():
        return _append_each(block, mask, members)
    pieces = split_bytes(lines.data, lines.bounds.astype(np.int32))
    data = bytes(value_bytes(pieces.filter(bool_array(mask))))
    braces = np.cumsum(np.diff(lines.bounds)[mask]) - (lines.bounds[1:] - braces)[mask]
    if not len(braces):
        return b""
    heads = split_bytes(data, np.append(0, braces).astype(np.int32))
    return b"".join((value_bytes(join(heads, *members)), data[braces[-1] :]))


def _append_each(
    block: JsonLinesBlock, mask: npt.NDArray[np.bool_], members: Sequence[pa.Array | bytes]
) -> bytes:
    """Insert members record by record: some are not objects, empty, or end with blanks."""
    heads, tails = [], []
    lines, objects = block.lines, block.objects()
    for index in np.flatnonzero(mask).tolist():
        start, end = lines.bounds[index : index + 2]
        if objects[index]:
            head, _, tail = lines.data[start:end].rpartition(b"}")
        else:
            line = encode_text(lines.text(index).decode(errors="surrogateescape"))
            head = lines.data[start : lines.starts[index]] + _TEXT + line
            tail = lines.data[lines.stops[index] : end]
        heads.append(head if head.rstrip(b" \t").endswith(b"{") else head + b", ")
        tails.append(b"}" + tail)
    first, *others = members
    return bytes(value_bytes(join(binary_array(heads), first[2:], *others, binary_array(tails))))


def _check_new_keys(
    block: JsonLinesBlock, kept: npt.NDArray[np.bool_] | None, keys: tuple[str, ...]
) -> None:
    """Reject records that already have one of the keys; most blocks contain none of them."""
    candidates = [key for key in keys if may_occur_more(block.lines.data, key, 0)]
    columns = block.read_values(candidates).raw if candidates else ()
    for key, raw in zip(candidates, columns, strict=True):
        existing = pc.is_valid(raw)
        if kept is not None:
            existing = pc.and_(existing, bool_array(kept))
        if (index := pc.index(existing, bool_scalar(True)).as_py()) >= 0:
            raise SchemaError(
                f"{block.where}: record {block.first_record + index} already has a key {key!r}; "
                + advise("prefix", blank="TEXT", phrase="give the new ones another name with {}")
            )
