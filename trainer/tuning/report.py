"""What a search found: the table of its trials, one line, and the command without a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from runtime.surfaces import current_surface, option, together
from runtime.terminal.tables import new_table, percent, render_tables
from trainer.tuning.budget import parse_budget
from trainer.tuning.holdout import plan_folds
from trainer.tuning.ranking import finalists, next_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.checkpoint.trials import OptionValue, Search, Trial

_MAX_ROWS: Final = 10


def format_search(search: Search, stream: TextIO) -> str:
    """Format the trials as a table for a stream, the best first."""
    order = rank_trials(search)
    table = new_table()
    for name in ("trial", "log loss", "accuracy", "epochs", "folds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("options")
    for at in order[:_MAX_ROWS]:
        table.add_row(str(at + 1), *_format_scores(search.trials[at]), _describe(search, at))
    hidden = len(order) - _MAX_ROWS
    rest = [f"and {hidden:,} more, in tuning.json of the run"] if hidden > 0 else []
    return render_tables(table, *rest, stream=stream)


def rank_trials(search: Search) -> list[int]:
    """Order the trials: the best, confirmed ones, completed ones, stopped ones, failed ones."""

    def key(at: int) -> tuple[float, ...]:
        trial, first = search.trials[at], search.trials[at].scores[0]
        if at == search.best:
            return (0,)
        for group, folds in ((1, search.folds), (2, 1)):
            if (loss := trial.mean_loss(folds)) is not None:
                return (group, loss)
        # Of those that were stopped, the ones first that came farthest.
        return (4, at) if first.loss is None else (3, -len(first.rungs), first.loss)

    return sorted(range(len(search.trials)), key=key)


def describe_result(search: Search, rows: int) -> str:
    """Say in one line what was found, beside the options without a search, and what was cut short.

    Args:
        search: complete.
        rows: training rows, which decide on how many folds the best trials are compared.

    Returns:
        A sentence without its end.
    """
    defaults, winner, planned = search.trials[0], search.winner, plan_folds(rows)
    loss = f"log loss {winner.mean_loss(search.folds):.4f} on {_describe_folds(search, planned)}"
    if len(search.trials) == 1:
        return f"the one trial, for which there was time, has the options without tuning: {loss}"
    count, limits = f"the best of {len(search.trials)} trials", _describe_limits(search, planned)
    if search.best == 0:
        return f"{count} has the options without tuning: {loss}{limits}"
    before = defaults.mean_loss(search.folds)
    others = "" if before is None else f", {before:.4f} without tuning"
    return f"{count} has {_describe(search, search.best)}: {loss}{others}{limits}"


def _describe_folds(search: Search, planned: int) -> str:
    if planned == 1:
        return "the training rows held out"
    return f"{planned} folds" if search.folds == planned else f"{search.folds} of {planned} folds"


def _describe_limits(search: Search, planned: int) -> str:
    """Say why there are fewer trials, or folds, than were planned."""
    limits = "; no other options were found to try" if _is_exhausted(search) else ""
    if search.folds == planned:
        return limits
    # A finalist that fails on a fold is tried on the others, too: one without them had no time.
    if any(len(search.trials[at].scores) < planned for at in finalists(search.trials)):
        return f"{limits}; the time ended before the best were confirmed on the other folds"
    return f"{limits}; each of the best failed on another fold"


def _is_exhausted(search: Search) -> bool:
    """Check whether the trials ended since no other options were left, or hardly any."""
    trials = parse_budget(search.budget).trials
    if trials is not None:
        return len(search.trials) < trials
    free = tuple(search.trials[0].options)
    return next_options(search.fit.configuration(), free, search.trials) is None


def format_options(options: Mapping[str, OptionValue]) -> str:
    """Spell options as the reader gives them, all together."""
    if current_surface() == "python":
        return ", ".join(f"{name}={_plain(value)!r}" for name, value in options.items())
    return together(*(option(name, format_value(value)) for name, value in options.items()))


def format_value(value: OptionValue) -> str:
    """Format the value of an option as the command line takes it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _plain(value: OptionValue) -> object:
    return list(value) if isinstance(value, tuple) else value


def _describe(search: Search, at: int | None) -> str:
    """Describe the options of a trial that differ from those without a search."""
    defaults = search.trials[0].options
    options = defaults if at is None else search.trials[at].options
    changed = [
        f"{name.replace('_', ' ')} {format_value(value)}"
        for name, value in options.items()
        if value != defaults[name]
    ]
    return ", ".join(changed) or "as without tuning"


def _format_scores(trial: Trial) -> tuple[str, str, str, str]:
    """Format log loss, accuracy, epochs and folds; what stopped early is not comparable."""
    first, folds = trial.scores[0], len(trial.scores)
    if first.loss is None or first.end == "stopped":
        figures = ("", "") if first.loss is None else _figures(first.loss, first.accuracy)
        return (*figures, str(first.epochs), first.end)
    while (loss := trial.mean_loss(folds)) is None:
        folds -= 1
    return (*_figures(loss, trial.mean_accuracy(folds)), str(first.epochs), str(folds))


def _figures(loss: float, accuracy: float | None) -> tuple[str, str]:
    return f"{loss:.4f}", percent(accuracy or 0.0)
