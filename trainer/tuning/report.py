"""What a search found: the table of its trials, one line, and the command without a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from runtime.surfaces import current_surface, option, together
from runtime.terminal.tables import new_table, percent, render_tables

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


def describe_result(search: Search) -> str:
    """Say in one line what was found, beside the options without a search."""
    defaults, winner = search.trials[0], search.winner
    where = "the training rows held out" if search.folds == 1 else f"{search.folds} folds"
    loss = f"log loss {winner.mean_loss(search.folds):.4f} on {where}"
    if len(search.trials) == 1:
        return f"the one trial, for which there was time, has the options without tuning: {loss}"
    count = f"the best of {len(search.trials)} trials"
    if search.best == 0:
        return f"{count} has the options without tuning: {loss}"
    before = defaults.mean_loss(search.folds)
    others = "" if before is None else f", {before:.4f} without tuning"
    return f"{count} has {_describe(search, search.best)}: {loss}{others}"


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
