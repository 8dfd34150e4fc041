"""Interfaces of the drivers that ``runtime.tables.formats`` registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from runtime.tables.base import TableWriter
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from runtime.choices import Decimal
    from runtime.io.charsets import Encoding
    from runtime.io.paths import Location
    from runtime.io.sinks import Sink
    from runtime.io.streams import CountedSource
    from runtime.tables.base import Table
    from runtime.tables.division import TextLayout
    from runtime.tables.spans import Span, SpanSource

    Reopen = Callable[[], AbstractContextManager[CountedSource]]
    ReadAhead = Callable[[Sequence[tuple[int, int]]], None]


class ReadPlan(Value, frozen=True):
    """How to read a table.

    Attributes:
        kind: name of its format.
        where: its name in messages.
        encoding: of text.
        required: names of columns, by which the delimiter is detected.
        delimiter: of delimited text; None to detect it.
        decimal: the decimal sign of numbers in text.
        reopen: opens its decoded bytes again; None for what can be read only once.
        read_ahead: requests ranges of a binary file, starts and ends in bytes, before they are
            read; None where that is not worth it.
        span: the records to read; columns are found as for all of them. None for all.
    """

    kind: str
    where: str
    encoding: Encoding
    required: Sequence[str] = ()
    delimiter: bytes | None = None
    decimal: Decimal = "."
    reopen: Reopen | None = None
    read_ahead: ReadAhead | None = None
    span: SpanSource | None = None


class WritePlan(Value, frozen=True):
    """How to write a scored table.

    Attributes:
        kind: name of the output's format.
        table: the table that is scored.
        carried: indices of its columns to write.
        added: fields of the new columns.
        delimiter: of delimited text, if given.
        is_selection: whether the columns to write were chosen by name.
        begins: whether what is before the first record is written.
        ends: whether what is after the last record is written.
    """

    kind: str
    table: Table
    carried: Sequence[int]
    added: Sequence[pa.Field]
    delimiter: bytes | None = None
    is_selection: bool = False
    begins: bool = True
    ends: bool = True

    @property
    def carries_all(self) -> bool:
        """Whether all columns of the table are written."""
        return len(self.carried) == len(self.table.columns)


class FileWriter(TableWriter[Any], Protocol):
    """Writes a scored table to a binary file."""

    def discard(self) -> None:
        """Abort without a footer, which would make a partial file valid."""


class TextDriver(Protocol):
    """Driver of a text format."""

    def open_text(self, source: CountedSource, plan: ReadPlan) -> Table:
        """Open a table.

        Args:
            source: decompressed text; UTF-16 and UTF-32 are transcoded to UTF-8.
            plan: how to read it.

        Returns:
            The table, its header read.

        Raises:
            DataError: when the text is not a table of this format.
        """

    def text_layout(self, table: Table) -> TextLayout:
        """Describe where the records of plain text are, to divide it.

        Args:
            table: opened, none of its blocks read.

        Returns:
            Where the first record is, and what finds the ends of others.
        """

    def text_encoding(self, table: Table) -> Encoding:
        """Choose the encoding of the output.

        Args:
            table: the table that is scored.

        Returns:
            The encoding.
        """

    def open_writer(self, sink: Sink, plan: WritePlan) -> TableWriter[Any]:
        """Open a writer.

        Args:
            sink: of the output.
            plan: what to write.

        Returns:
            The writer, its header written.
        """


class FileDriver(Protocol):
    """Driver of a binary format."""

    def divide(self, table: Table, size: int) -> tuple[Span, ...]:
        """Divide a table into spans that can be read by themselves.

        Args:
            table: opened.
            size: of its file, in bytes.

        Returns:
            The spans, in order; none where the format cannot be divided.
        """

    def join(self, parts: Iterable[tuple[Location, int]], sink: Sink) -> None:
        """Join the outputs of spans into one file.

        Args:
            parts: their locations and sizes, in order.
            sink: of the file.

        Raises:
            DataError: when a part cannot be read, or is damaged.
        """

    def open_file(self, file: pa.NativeFile, plan: ReadPlan) -> Table:
        """Open a table.

        Args:
            file: seekable.
            plan: how to read it.

        Returns:
            The table, its schema read.

        Raises:
            DataError: when the file is not of this format.
        """

    def open_writer(self, sink: Sink, plan: WritePlan) -> FileWriter:
        """Open a writer.

        Args:
            sink: of the output.
            plan: what to write.

        Returns:
            The writer.

        Raises:
            DataError: when the format has no type for a column.
        """
