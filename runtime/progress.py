"""A progress bar for scoring, on a terminal; silence elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.files import STANDARD_STREAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def scoring_progress(source: Path, out: Path) -> Iterator[Callable[[int, int], None] | None]:
    """Show bytes read, rows and the time left while a file is scored.

    Args:
        source: the table; its size, where it has one, gives the time left.
        out: where the rows go.

    Yields:
        What to call with the bytes read and the rows written, or None off a terminal.
    """
    on_screen = (
        out == STANDARD_STREAM and sys.stdout.isatty()
    )  # there the rows themselves say enough
    if on_screen or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    size = source.stat().st_size if source.is_file() else None
    with Progress(
        TextColumn("scoring"),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows  {task.fields[speed]:,.0f} rows/s"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("scoring", total=size, rows=0, speed=0.0)

        def on_progress(bytes_read: int, rows: int) -> None:
            elapsed = progress.tasks[0].elapsed or 0.0
            speed = rows / elapsed if elapsed else 0.0
            progress.update(task, completed=bytes_read, rows=rows, speed=speed)

        yield on_progress
