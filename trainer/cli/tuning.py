"""``trainer fit --tune``: search with a progress bar, and print what was found."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Final

from msgspec import to_builtins

from runtime.terminal import process
from trainer.checkpoint.manager import exit_when_interrupted
from trainer.tuning.progress import show_trials
from trainer.tuning.report import describe_result, format_options, format_search, rank_trials
from trainer.tuning.tuned import plan_tuned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from trainer.checkpoint.trials import OptionValue, Search
    from trainer.config import Configuration
    from trainer.data.dataset import Dataset
    from trainer.session import SaveOptions
    from trainer.tuning.search import TuningRequest
    from trainer.tuning.tuned import FitPlan

_NOT_REPEATED: Final = frozenset({"--resume", "--restart", "--json"})


def search_with_progress(
    out: Path,
    request: TuningRequest,
    dataset: Dataset | None,
    configuration: Configuration,
    saving: SaveOptions,
) -> FitPlan:
    """Search, with a progress bar; ``configuration`` is that of a training that has begun."""
    searching = exit_when_interrupted(out, "searching", resumes=True)
    with searching, show_trials(request.budget) as on_progress:
        return plan_tuned(out, request, dataset, configuration, saving, on_progress)


def print_search(search: Search, rows: int) -> None:
    """Print the trials, what was found, and the command of the same run without a search.

    ``rows`` are those for training.
    """
    process.log(format_search(search, sys.stderr))
    process.log(f"\n{describe_result(search, rows)}")
    process.log(f"the same run without tuning: {_untuned(search)}\n")


def search_to_json(search: Search) -> dict[str, object]:
    """Convert for ``--json``, the best trial first."""
    trials = [to_builtins(search.trials[at]) | {"trial": at + 1} for at in rank_trials(search)]
    return {
        "budget": search.budget,
        "found": search.winner.options,
        "loss": search.winner.mean_loss(search.folds),
        "folds": search.folds,
        "seconds": round(search.seconds, 6),
        "command": _untuned(search),
        "trials": trials,
    }


def _untuned(search: Search) -> str:
    return untuned_command(sys.argv[1:], search.winner.options)


def untuned_command(arguments: Sequence[str], options: Mapping[str, OptionValue]) -> str:
    """Write the command that fits with options found, from that of the search."""
    kept, words = [], iter(arguments)
    for word in words:
        if word == "--tune":
            next(words, None)
        elif word not in _NOT_REPEATED and not word.startswith("--tune="):
            kept.append(word)
    return f"{shlex.join(['trainer', *kept])} {format_options(options)}"
