"""The trials of a search while they run: a progress bar on a terminal, a line each elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from runtime.notebook import is_notebook, notebook_bar
from runtime.terminal.process import log
from runtime.terminal.progress import is_shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainer.checkpoint.trials import FoldScore
    from trainer.tuning.budget import Budget
    from trainer.tuning.search import TuningStatus

    OnProgress = Callable[[TuningStatus], None]

_MAX_LINES: Final = 25  # without a progress bar
_BAR_WIDTH: Final = 20
_STEPS: Final = 1000  # of a bar of seconds


@contextmanager
def show_trials(budget: Budget, *, shown: bool = True) -> Iterator[OnProgress]:
    """Show which trial runs, the lowest loss so far and the remaining time."""
    if not shown:
        yield lambda _status: None
    elif is_notebook():
        with notebook_bar("tuning,") as show:
            yield lambda status: show(*_position(status, budget), describe_status(status, budget))
    elif is_shown():
        with _bar(budget) as draw:
            yield draw
    else:
        every = 1 if budget.trials is None else -(-budget.trials // _MAX_LINES)
        yield lambda status: _log_trial(status, budget, every)


@contextmanager
def _bar(budget: Budget) -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(_BAR_WIDTH), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("tuning", total=None, text="tuning")

        def draw(status: TuningStatus) -> None:
            done, total = _position(status, budget)
            text = describe_status(status, budget)
            progress.update(task, completed=done, total=total, text=text)

        yield draw


def _position(status: TuningStatus, budget: Budget) -> tuple[int, int]:
    """Return how much of the budget is used, and all of it."""
    if budget.seconds is not None:
        return min(round(status.seconds / budget.seconds * _STEPS), _STEPS), _STEPS
    return round(status.fits * _STEPS), status.planned * _STEPS


def describe_status(status: TuningStatus, budget: Budget) -> str:
    """Describe the trial under way."""
    of = "" if budget.trials is None else f"/{budget.trials}"
    phase = f"fold {status.fold + 1} of trial" if status.fold else "trial"
    best = "" if status.best is None else f", lowest log loss {status.best:.4f}"
    return f"{phase} {status.trial + 1}{of}, epoch {status.epoch}/{status.epochs}{best}"


def _log_trial(status: TuningStatus, budget: Budget, every: int) -> None:
    score = status.score
    if score is None or status.fold or (status.trial + 1) % every:
        return
    of = "" if budget.trials is None else f"/{budget.trials}"
    best = "" if status.best is None else f"  (lowest before: {status.best:.4f})"
    log(f"trial {status.trial + 1}{of}  {_describe_score(score)}{best}")


def _describe_score(score: FoldScore) -> str:
    if score.loss is None:
        return f"failed after {score.epochs} epochs"
    early = f", stopped after {score.epochs} epochs" if score.end == "stopped" else ""
    return f"log loss {score.loss:.4f}{early}"
