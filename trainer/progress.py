"""What a person sees of a fit: a bar on a terminal, some lines elsewhere; on stderr."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.console import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainer.epoch import Epoch, Watch

_MOST_LINES = 25  # where there is no bar


@contextmanager
def show_epochs(epochs: int) -> Iterator[Watch]:
    """Show epochs as they finish.

    Args:
        epochs: how many there will be.

    Yields:
        What to call with every epoch.
    """
    if not sys.stderr.isatty():
        step = -(-epochs // _MOST_LINES)

        def tell(epoch: Epoch) -> None:
            if (epoch.index + 1) % step == 0 or epoch.index + 1 == epochs:
                say(f"epoch {epoch.index + 1}/{epochs}  {_figures(epoch)}")

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("fit", total=epochs, figures="")
        yield lambda epoch: bar.update(task, completed=epoch.index + 1, figures=_figures(epoch))


def _figures(epoch: Epoch) -> str:
    figures = f"loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.1%}"
    if epoch.validation is None:
        return figures
    best = f"best epoch {epoch.best + 1}"
    if epoch.patience is not None:
        best += f", patience {epoch.waited}/{epoch.patience}"
    return f"{figures}  validation loss {epoch.validation.loss:.4f} ({best})"
