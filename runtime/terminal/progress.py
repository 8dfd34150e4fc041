"""Progress bars of reading and scoring, on a terminal only."""

from __future__ import annotations

import os
import stat
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from runtime.errors import MissingError
from runtime.io.paths import STANDARD_STREAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import ProgressColumn

    from runtime.io.paths import Location
    from runtime.scoring.pipeline import OnProgress


_REFRESH_PER_SECOND: Final = 4  # each takes about 3 ms
_MIN_FULL_WIDTH: Final = 70  # columns of the terminal
_MIN_BAR_WIDTH: Final = 50
_SMALL_BAR: Final = 10
_MIN_LABEL_WIDTH: Final = 100
_PHASE_BAR_WIDTH: Final = 20


@contextmanager
def scoring_progress(
    source: Location, out: Location, *, size: int | None = None
) -> Iterator[OnProgress | None]:
    """Show the rows that are scored, unless they are printed on the same terminal."""
    if out == STANDARD_STREAM and sys.stdout.isatty():
        yield None
        return
    if size is None and is_shown():
        with suppress(OSError, MissingError):  # opening it reports the error
            found = source.stat()
            size = found.st_size if stat.S_ISREG(found.st_mode) else None
    with rows_progress("scoring", size) as on_progress:
        yield on_progress


def is_shown() -> bool:
    """Check whether progress is shown: on a terminal that can draw."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def phase_progress(label: str) -> Iterator[None]:
    """Show that a phase of unknown length is under way."""
    if not is_shown():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn(label), BarColumn(_PHASE_BAR_WIDTH), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(label, total=None)
        yield


@contextmanager
def rows_progress(label: str, size: int | None) -> Iterator[OnProgress | None]:
    """Show rows, speed, elapsed and remaining time; the bar pulses if the size is unknown.

    ``size`` is that of the table, in bytes.
    """
    if not is_shown():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(
        *_columns(label, sized=bool(size), width=console.width),
        console=console,
        refresh_per_second=_REFRESH_PER_SECOND,
        transient=True,
        redirect_stdout=False,  # rows are written as bytes
    ) as progress:
        task = progress.add_task(label, total=size or None, rows=0, speed=0.0)
        started = refreshed = time.monotonic()

        def on_progress(bytes_read: int, rows: int) -> None:
            nonlocal refreshed
            now = time.monotonic()
            if now - refreshed < 1 / _REFRESH_PER_SECOND:
                return
            refreshed = now
            progress.update(task, completed=bytes_read, rows=rows, speed=rows / (now - started))

        yield on_progress


def _columns(label: str, *, sized: bool, width: int) -> list[ProgressColumn]:
    """Choose the columns of the bar for the width of the terminal."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    is_wide = width >= _MIN_LABEL_WIDTH
    figures = [
        TextColumn("{task.fields[rows]:,} rows"),
        TextColumn("{task.fields[speed]:,.0f}" + (" rows/s" if is_wide else "/s")),
    ]
    elapsed = [TimeElapsedColumn(), *([TextColumn("elapsed")] if is_wide else [])]
    remaining = [TimeRemainingColumn(compact=not is_wide), TextColumn("left")] if sized else []
    if width < _MIN_FULL_WIDTH:
        bar = [BarColumn(_SMALL_BAR)] if width >= _MIN_BAR_WIDTH else []
        return [*bar, *figures, *(remaining or elapsed)]
    return [
        TextColumn(label),
        BarColumn(None if is_wide else _SMALL_BAR),
        *figures,
        *elapsed,
        *remaining,
    ]
