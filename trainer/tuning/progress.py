"""The trials of a search while they run: a progress bar on a terminal, a line each elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from runtime.notebook import is_notebook, notebook_bar
from runtime.terminal.process import log
from runtime.terminal.progress import is_shown
from trainer.loggers.progress import fit_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainer.checkpoint.trials import FoldScore
    from trainer.tuning.budget import Budget
    from trainer.tuning.search import TuningStatus

    OnProgress = Callable[[TuningStatus], None]

_MAX_LINES: Final = 25  # without a progress bar
_BAR_WIDTH, _MIN_BAR_WIDTH = 20, 5
_CLOCK_WIDTH: Final = 8  # up to a day
_STEPS: Final = 1000  # of a bar of seconds


@contextmanager
def show_trials(budget: Budget, *, shown: bool = True) -> Iterator[OnProgress]:
    """Show which trial runs, the lowest loss so far and the remaining time."""
    if not shown:
        yield lambda _status: None
    elif is_notebook():
        with notebook_bar("tuning,") as show:
            yield lambda status: show(
                *_position(status, budget), ", ".join(_describe_status(status, budget))
            )
    elif is_shown():
        with _bar(budget) as draw:
            yield draw
    else:
        lines = _Lines(budget)
        yield lines.on_progress
        lines.log_last()


@contextmanager
def _bar(budget: Budget) -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    bar, clock = BarColumn(_MIN_BAR_WIDTH), TimeElapsedColumn()
    columns = (bar, TextColumn("{task.fields[text]}"), clock)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("tuning", total=None, text="tuning")

        def draw(status: TuningStatus) -> None:
            done, total = _position(status, budget)
            elapsed = max(_CLOCK_WIDTH, len(clock.render(progress.tasks[task])))
            room = console.width - elapsed - 2  # with a blank between the columns
            text = fit_parts(_describe_status(status, budget), room - _MIN_BAR_WIDTH, ", ")
            bar.bar_width = min(_BAR_WIDTH, room - len(text))
            progress.update(task, completed=done, total=total, text=text)

        yield draw


def _position(status: TuningStatus, budget: Budget) -> tuple[int, int]:
    """Return how much of the budget is used, and all of it."""
    if budget.seconds is not None:
        return min(round(status.seconds / budget.seconds * _STEPS), _STEPS), _STEPS
    return round(status.fits * _STEPS), status.planned * _STEPS


def _describe_status(status: TuningStatus, budget: Budget) -> list[str]:
    """Describe the trial under way, the most important first: a narrow terminal has no more."""
    parts = [f"trial {_count(status, budget)}"]
    if status.fold:
        parts.append(f"fold {status.fold + 1}")
    if status.best is not None:
        parts.append(f"lowest log loss {status.best:.4f}")
    return [*parts, f"epoch {status.epoch}/{status.epochs}"]


class _Lines:
    """Logs trials, few enough of them: one in each 25th of the budget, and the last."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._parts = 0  # of the budget, up to the last line
        self._held_back = ""

    def on_progress(self, status: TuningStatus) -> None:
        """Log a trial that has ended, unless this part of the budget has its line."""
        if status.score is None or status.fold:
            return
        line, parts = _format_trial(status, status.score, self._budget), self._count_parts(status)
        if parts == self._parts:
            self._held_back = line
            return
        log(line)
        self._parts, self._held_back = parts, ""

    def log_last(self) -> None:
        """Log the last trial unless it was."""
        if self._held_back:
            log(self._held_back)

    def _count_parts(self, status: TuningStatus) -> int:
        """Count the parts of the budget that are used up."""
        if self._budget.trials is not None:
            every = -(-self._budget.trials // _MAX_LINES)
            return (status.trial + 1) // every
        assert self._budget.seconds is not None, "a budget has one of them"  # noqa: S101
        return int(status.seconds / self._budget.seconds * _MAX_LINES)


def _format_trial(status: TuningStatus, score: FoldScore, budget: Budget) -> str:
    best = "" if status.best is None else f"  (lowest before: {status.best:.4f})"
    return f"trial {_count(status, budget)}  {_describe_score(score)}{best}"


def _count(status: TuningStatus, budget: Budget) -> str:
    return f"{status.trial + 1}" + ("" if budget.trials is None else f"/{budget.trials}")


def _describe_score(score: FoldScore) -> str:
    epochs = f"{score.epochs} epoch{'' if score.epochs == 1 else 's'}"
    if score.loss is None:
        return f"failed after {epochs}"
    early = f", stopped after {epochs}" if score.end == "stopped" else ""
    return f"log loss {score.loss:.4f}{early}"
