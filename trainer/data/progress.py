"""Progress of reading and checking a table: bars on a terminal, nothing elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from runtime.terminal.progress import phase_progress, rows_progress
from trainer.data.source import find_files

if TYPE_CHECKING:
    from runtime.io.paths import Location
    from runtime.scoring.pipeline import OnProgress
    from runtime.tables.memory import MemoryTable

    Table = Location | MemoryTable


class ReadingProgress(Protocol):
    """Shows the phases of ``read_dataset``."""

    def rows(self, label: str, table: Table) -> AbstractContextManager[OnProgress | None]:
        """Show that a table is read.

        Args:
            label: of the phase.
            table: a file, folder, pattern or a table in memory.

        Returns:
            Provides a function that takes the bytes and rows read so far; None for nobody.
        """

    def phase(self, label: str) -> AbstractContextManager[None]:
        """Show that something else is under way.

        Args:
            label: of the phase.

        Returns:
            Lasts as long as the phase.
        """


class NoProgress:
    """Shows nothing."""

    def rows(self, label: str, table: Table) -> AbstractContextManager[OnProgress | None]:  # noqa: ARG002
        """Ignore the rows."""
        return nullcontext()

    def phase(self, label: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """Ignore the phase."""
        return nullcontext()


class TerminalProgress:
    """Shows a bar on stderr, if it is a terminal."""

    def rows(self, label: str, table: Table) -> AbstractContextManager[OnProgress | None]:
        """Show rows, speed and remaining time."""
        return rows_progress(label, _size(table))

    def phase(self, label: str) -> AbstractContextManager[None]:
        """Show the time that has passed."""
        return phase_progress(label)


def _size(table: Table) -> int | None:
    """Get the size of a table in bytes; None where there is none: opening it reports the error."""
    from runtime.tables.memory import MemoryTable

    if isinstance(table, MemoryTable):
        return None
    try:
        return sum(path.stat().st_size for path in find_files(table))
    except OSError:
        return None
