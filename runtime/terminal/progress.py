"""A progress bar for scoring, on a terminal; silence elsewhere."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from runtime.io.paths import STANDARD_STREAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.progress import ProgressColumn

    OnProgress = Callable[[int, int], None]


_REFRESHES: Final = 4  # a second; drawing once takes about 3 ms
_ROOM_FOR_A_BAR: Final = 70  # columns of the terminal
_ROOM_FOR_WORDS: Final = 100


@contextmanager
def scoring_progress(
    source: Path, out: Path, *, size: int | None = None
) -> Iterator[OnProgress | None]:
    """Show rows, speed, time gone and time left while a file is scored.

    Without a size, as of a pipe, the bar swings to and fro and no time left is shown.
    """
    rows_on_screen = out == STANDARD_STREAM and sys.stdout.isatty()
    if rows_on_screen or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    if size is None:
        with suppress(OSError):  # opening it says why
            size = source.stat().st_size if source.is_file() else None
    console = Console(stderr=True)
    with Progress(
        *_columns(sized=bool(size), width=console.width),
        console=console,
        refresh_per_second=_REFRESHES,
        transient=True,
        redirect_stdout=False,  # rows may go there as bytes
    ) as progress:
        task = progress.add_task("scoring", total=size or None, rows=0, speed=0.0)
        started = shown = time.monotonic()

        def on_progress(bytes_read: int, rows: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown < 1 / _REFRESHES:
                return
            shown = now
            progress.update(task, completed=bytes_read, rows=rows, speed=rows / (now - started))

        yield on_progress


def _columns(*, sized: bool, width: int) -> list[ProgressColumn]:
    """Choose what to show on so many columns of a terminal."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    wide = width >= _ROOM_FOR_WORDS
    figures = [
        TextColumn("{task.fields[rows]:,} rows"),
        TextColumn("{task.fields[speed]:,.0f}" + (" rows/s" if wide else "/s")),
    ]
    gone = [TimeElapsedColumn(), *([TextColumn("gone")] if wide else [])]
    left = [TimeRemainingColumn(compact=not wide), TextColumn("left")] if sized else []
    if width < _ROOM_FOR_A_BAR:
        return [*figures, *(left or gone)]
    return [TextColumn("scoring"), BarColumn(None if wide else 10), *figures, *gone, *left]
