"""Consecutive records of a table, to be scored by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from runtime.io.streams import ByteSource


class Span(Value, frozen=True):
    """Consecutive records of a table that can be read from there.

    Attributes:
        start: where they are: a byte of plain text, a row of a columnar file.
        stop: where they end; None for the end of the table.
        first_record: number of the first one, counted from 1.
        first_line: number of the line of text at ``start``, counted from 1.
    """

    start: int
    stop: int | None
    first_record: int
    first_line: int = 1

    @property
    def begins(self) -> bool:
        """Whether it has the first record of the table."""
        return self.first_record == 1

    @property
    def ends(self) -> bool:
        """Whether it has the last record of the table."""
        return self.stop is None


class SpanSource(Value, frozen=True):
    """A span, and what opens its bytes where it is one of text."""

    span: Span
    open: Callable[[], AbstractContextManager[ByteSource]]
