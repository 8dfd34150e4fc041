"""A progress bar for the proof, on a terminal; silence elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.proof.matrix import Step, Watch


@contextmanager
def proof_progress() -> Iterator[Watch | None]:
    """Show who is run at which batch size, and the time left; on stderr.

    Yields:
        What to call with every step of the proof, or None off a terminal.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("proving"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[cell]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("proof", total=None, cell="")

        def watch(step: Step) -> None:
            cell = f"{step.contender} at batch {step.batch}"
            bar.update(task, completed=step.done, total=step.total, cell=cell)

        yield watch
