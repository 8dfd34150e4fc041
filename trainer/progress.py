"""What a person sees of a fit: a bar on a terminal, some lines elsewhere; on stderr."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.terminal.process import log
from trainer.pace import Pace, describe_pace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import ProgressColumn

    from trainer.epoch import Epoch, Watch

_MOST_LINES = 25  # where there is no bar
_ROOM_FOR_A_BAR = 120  # columns of the terminal


@contextmanager
def show_epochs(epochs: int) -> Iterator[Watch]:
    """Show epochs as they finish: figures, rows a second, and the time that is left.

    Args:
        epochs: how many there will be.

    Yields:
        What to call with every epoch.
    """
    pace = Pace(time.monotonic)
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        step = -(-epochs // _MOST_LINES)

        def tell(epoch: Epoch) -> None:
            pace.see(epoch)
            if (epoch.index + 1) % step == 0 or epoch.is_last:
                log(f"epoch {epoch.index + 1}/{epochs}  {_figures(epoch, pace)}")

        yield tell
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(*_columns(console.width), console=console) as bar:
        task = bar.add_task("fit", total=epochs, figures="")

        def draw(epoch: Epoch) -> None:
            pace.see(epoch)
            bar.update(task, completed=epoch.index + 1, figures=_figures(epoch, pace))

        yield draw


def _columns(width: int) -> list[ProgressColumn]:
    """Choose what to show on so many columns of a terminal; what does not fit is cut off."""
    from rich.progress import BarColumn, TextColumn
    from rich.table import Column

    def text(of: str) -> TextColumn:
        return TextColumn(of, table_column=Column(no_wrap=True, overflow="ellipsis"))

    count, figures = "epoch {task.completed:.0f}/{task.total:.0f}", "{task.fields[figures]}"
    if width < _ROOM_FOR_A_BAR:
        return [text(f"{count}  {figures}")]
    return [text(count), BarColumn(20), text(figures)]


def _figures(epoch: Epoch, pace: Pace) -> str:
    """Say how an epoch went, what matters most first: a narrow terminal cuts off the rest."""
    speed = describe_pace(pace, epoch)
    figures = f"loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.1%}  {speed}"
    if epoch.validation is None:
        return figures
    best = f"best epoch {epoch.best + 1}"
    if epoch.patience is not None:
        best += f", patience {epoch.waited}/{epoch.patience}"
    return f"{figures}  validation loss {epoch.validation.loss:.4f} ({best})"
