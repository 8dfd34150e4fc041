"""Progress of a proof."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.terminal.notebook import is_notebook, notebook_bar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.parity.matrix import OnProgress, Progress


@contextmanager
def proof_progress() -> Iterator[OnProgress | None]:
    """Show a progress bar in a notebook, or on stderr where that is a terminal, else None."""
    if is_notebook():
        with notebook_bar("proving") as show:
            yield lambda progress: show(progress.done, progress.total, _describe(progress))
        return
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as ProgressBar

    columns = (
        TextColumn("proving"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[cell]}"),
    )
    with ProgressBar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("proof", total=None, cell="")

        def on_progress(progress: Progress) -> None:
            done, total = progress.done, progress.total
            bar.update(task, completed=done, total=total, cell=_describe(progress))

        yield on_progress


def _describe(progress: Progress) -> str:
    return f"{progress.backend} at batch {progress.batch}"
