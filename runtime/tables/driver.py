"""What a folder of a table format offers to ``runtime.tables.formats``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from runtime.tables.base import TableWriter
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from runtime.choices import Decimal
    from runtime.io.charsets import Encoding
    from runtime.io.sinks import Sink
    from runtime.io.streams import CountedSource
    from runtime.tables.base import Table


class ReadPlan(Value, frozen=True):
    """How a table is read.

    Attributes:
        kind: name of its format.
        where: its name for messages.
        encoding: of text.
        wanted: names of columns that matter, by which a delimiter is detected.
        delimiter: between the fields of text, where it was given.
        decimal: the decimal sign of numbers in text.
    """

    kind: str
    where: str
    encoding: Encoding
    wanted: Sequence[str] = ()
    delimiter: bytes | None = None
    decimal: Decimal = "."


class WritePlan(Value, frozen=True):
    """What is written of a table that is scored.

    Attributes:
        kind: name of the output's format.
        table: that is scored.
        carried: positions of its columns that are carried along.
        added: fields of the new columns.
        delimiter: between the fields of text, where it was given.
    """

    kind: str
    table: Table
    carried: Sequence[int]
    added: Sequence[pa.Field]
    delimiter: bytes | None = None

    @property
    def carries_all(self) -> bool:
        """Whether all columns are carried along."""
        return len(self.carried) == len(self.table.columns)


class FileWriter(TableWriter[Any], Protocol):
    """A binary file being written."""

    def discard(self) -> None:
        """Write nothing more: a footer would make half a table look whole."""


class TextDriver(Protocol):
    """A format of text."""

    def open_text(self, source: CountedSource, plan: ReadPlan) -> Table:
        """Open a table of text that is decompressed, and in UTF-8 where its encoding is wide."""

    def text_encoding(self, table: Table) -> Encoding:
        """Choose the encoding in which a scored table is written."""

    def open_writer(self, sink: Sink, plan: WritePlan) -> TableWriter[Any]:
        """Begin a scored table."""


class FileDriver(Protocol):
    """A binary format."""

    def open_file(self, file: pa.NativeFile, plan: ReadPlan) -> Table:
        """Open a table in a file that can be read anywhere."""

    def open_writer(self, sink: Sink, plan: WritePlan) -> FileWriter:
        """Begin a scored table."""
