"""Training progress on stderr: a progress bar on a terminal, a few lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.surfaces import option
from runtime.terminal.process import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.progress import ProgressColumn

    from trainer.checkpoint.state import Epoch, EpochCallback

_MAX_LINES = 25  # without a progress bar
_BAR_WIDTH, _MIN_BAR_WIDTH = 20, 5
_MINUTE, _HOUR = 60, 3600  # seconds
_ROWS_TO_HOLD_OUT = 200  # a tenth of fewer may have none of any class


@contextmanager
def show_progress(epochs: int) -> Iterator[EpochCallback]:
    """Show each epoch's metrics, the throughput and the remaining time; warn of overfitting."""
    throughput = Throughput(time.monotonic)
    has_warned = False

    def warn(epoch: Epoch) -> None:
        nonlocal has_warned
        if epoch.is_overfitting and not has_warned:
            has_warned = True
            log(describe_overfitting(epoch))

    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        every = -(-epochs // _MAX_LINES)

        def log_epoch(epoch: Epoch) -> None:
            throughput.on_epoch_end(epoch)
            if (epoch.index + 1) % every == 0 or epoch.is_last:
                metrics = "  ".join(_format_metrics(epoch, throughput))
                log(f"epoch {epoch.index + 1}/{epochs}  {metrics}")
            warn(epoch)

        yield log_epoch
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress

    console, count = Console(stderr=True), f"epoch {epochs}/{epochs}"
    bar, (left, right) = BarColumn(_MIN_BAR_WIDTH), _text_columns(epochs)
    with Progress(left, bar, right, console=console) as progress:
        task = progress.add_task("fit", total=None, metrics="")  # moves until there are figures

        def draw(epoch: Epoch) -> None:
            throughput.on_epoch_end(epoch)
            room = console.width - len(count) - _MIN_BAR_WIDTH - 2
            metrics = fit_parts(_format_metrics(epoch, throughput), room)
            bar.bar_width = min(_BAR_WIDTH, console.width - len(count) - len(metrics) - 2)
            progress.update(task, completed=epoch.index + 1, total=epochs, metrics=metrics)
            warn(epoch)

        yield draw


def _text_columns(epochs: int) -> tuple[ProgressColumn, ProgressColumn]:
    """Make the columns of the epoch and of the metrics."""
    from rich.progress import TextColumn
    from rich.table import Column

    def text(template: str, width: int | None = None) -> TextColumn:
        return TextColumn(template, table_column=Column(no_wrap=True, min_width=width))

    total = f"/{epochs}"
    count = text("epoch {task.completed:.0f}" + total, len(f"epoch {epochs}{total}"))
    return count, text("{task.fields[metrics]}")


def fit_parts(parts: Sequence[str], room: int, separator: str = "  ") -> str:
    """Join the first parts that fit into so many columns, whole; at least one."""
    shown = parts[0]
    for part in parts[1:]:
        if len(shown) + len(separator) + len(part) > room:
            break
        shown += separator + part
    return shown


def _format_metrics(epoch: Epoch, throughput: Throughput) -> list[str]:
    """Format an epoch's metrics, the most important first: a narrow terminal has no more."""
    parts = [
        f"train loss {epoch.loss:.4f}",
        f"test loss {epoch.test_loss:.4f}",
        f"test accuracy {epoch.accuracy:.1%}",
        format_throughput(throughput, epoch),
    ]
    if epoch.validation is None:
        return parts
    best = f"best epoch {epoch.best + 1}"
    if epoch.patience is not None:
        best += f", patience {epoch.wait_count}/{epoch.patience}"
    rows = "out-of-fold" if epoch.is_out_of_fold else "validation"
    return [*parts, f"{rows} loss {epoch.validation.loss:.4f} ({best})"]


def describe_overfitting(epoch: Epoch) -> str:
    """Describe since when the test loss has risen, and the options that end training there."""
    number = epoch.lowest + 1
    held_out = f", or select the best epoch with {option('validation', 0.1)}"
    return (
        f"the test loss was lowest at epoch {number} ({epoch.lowest_test_loss:.4f}) and has risen "
        f"since ({epoch.test_loss:.4f} at epoch {epoch.index + 1}): stop at "
        f"{option('epochs', number)}{held_out if epoch.rows >= _ROWS_TO_HOLD_OUT else ''}"
    )


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
