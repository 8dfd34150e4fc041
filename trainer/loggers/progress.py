"""Training progress on stderr: a progress bar on a terminal, a few lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.terminal.process import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import ProgressColumn

    from trainer.checkpoint.state import Epoch, EpochCallback

_MAX_LINES = 25  # without a progress bar
_BAR_FROM_WIDTH = 120  # columns of the terminal
_MINUTE, _HOUR = 60, 3600  # seconds


@contextmanager
def show_progress(epochs: int) -> Iterator[EpochCallback]:
    """Show each epoch's metrics, the throughput and the remaining time."""
    throughput = Throughput(time.monotonic)
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        every = -(-epochs // _MAX_LINES)

        def log_epoch(epoch: Epoch) -> None:
            throughput.on_epoch_end(epoch)
            if (epoch.index + 1) % every == 0 or epoch.is_last:
                log(f"epoch {epoch.index + 1}/{epochs}  {_format_metrics(epoch, throughput)}")

        yield log_epoch
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(*_columns(console.width), console=console) as bar:
        task = bar.add_task("fit", total=epochs, metrics="")

        def draw(epoch: Epoch) -> None:
            throughput.on_epoch_end(epoch)
            metrics = _format_metrics(epoch, throughput)
            bar.update(task, completed=epoch.index + 1, metrics=metrics)

        yield draw


def _columns(width: int) -> list[ProgressColumn]:
    """Choose the columns for a terminal's width; text that does not fit is cut off."""
    from rich.progress import BarColumn, TextColumn
    from rich.table import Column

    def text(template: str) -> TextColumn:
        return TextColumn(template, table_column=Column(no_wrap=True, overflow="ellipsis"))

    count, metrics = "epoch {task.completed:.0f}/{task.total:.0f}", "{task.fields[metrics]}"
    if width < _BAR_FROM_WIDTH:
        return [text(f"{count}  {metrics}")]
    return [text(count), BarColumn(20), text(metrics)]


def _format_metrics(epoch: Epoch, throughput: Throughput) -> str:
    """Format an epoch's metrics, the most important first: a narrow terminal cuts off the rest."""
    speed = format_throughput(throughput, epoch)
    metrics = f"loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.1%}  {speed}"
    if epoch.validation is None:
        return metrics
    best = f"best epoch {epoch.best + 1}"
    if epoch.patience is not None:
        best += f", patience {epoch.wait_count}/{epoch.patience}"
    return f"{metrics}  validation loss {epoch.validation.loss:.4f} ({best})"


class Throughput:
    """The mean throughput of all epochs but the first, which also warms up.

    Attributes:
        rows_per_s: training rows per second.
        epoch_s: seconds per epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start measuring; ``clock`` gives seconds."""
        self._clock = clock
        self._since = clock()
        self._first: int | None = None
        self.rows_per_s = self.epoch_s = 0.0

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Update the mean."""
        now = self._clock()
        if self._first is None:  # of a resumed run this is not epoch 0
            self._measure(epoch, 1, now)
            self._first, self._since = epoch.index, now
        else:
            self._measure(epoch, epoch.index - self._first, now)

    def _measure(self, epoch: Epoch, epochs: int, now: float) -> None:
        self.epoch_s = max(now - self._since, 1e-9) / epochs  # the clock may not have advanced
        self.rows_per_s = epoch.rows / self.epoch_s


def format_throughput(throughput: Throughput, epoch: Epoch) -> str:
    """Format the throughput and, before the last epoch, the estimated remaining time."""
    speed = f"{throughput.rows_per_s:,.0f} rows/s"
    if epoch.is_last:
        return speed
    left = epoch.epochs - epoch.index - 1
    most = "" if epoch.patience is None else "at most "
    return f"{speed}, {most}{_format_duration(left * throughput.epoch_s)} left"


def _format_duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // _HOUR, whole % _HOUR // _MINUTE
    if hours:
        return f"{hours}:{minutes:02}:{whole % _MINUTE:02}"
    return f"{minutes}:{whole % _MINUTE:02}"
