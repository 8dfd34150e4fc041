"""What is trained: with the options of a search, which may have begun, or those for the table."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runtime.errors import UsageError
from runtime.io.temporary import locked_workdir, workdir_path
from runtime.surfaces import option
from trainer.checkpoint.resume import CHANGEABLE, describe_differences, has_checkpoint
from trainer.checkpoint.trials import (
    TRIALS,
    Search,
    read_complete_search,
    read_search,
    remove_search,
    trials_destination,
)
from trainer.data.products import synthetic_products
from trainer.device import Workload, select_device
from trainer.distributed.launch import current_group, is_main_process, on_main_process
from trainer.recipe import configure_for_table
from trainer.run import RECORD
from trainer.run_plan import identify
from trainer.session import discard_session
from trainer.tuning.search import Tuner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from trainer.checkpoint.format import FitIdentity
    from trainer.config import Configuration, Options
    from trainer.data.dataset import Dataset
    from trainer.session import SaveOptions
    from trainer.tuning.search import TuningRequest, TuningStatus


@dataclass(frozen=True)
class FitPlan:
    """What is trained once the table has been read.

    Attributes:
        configuration: of a search, with the options of its best trial.
        saving: of a search, with its trials among the files.
        search: complete; None where none was requested.
    """

    configuration: Configuration
    saving: SaveOptions
    search: Search | None = None


def check_tuning(out: Path, request: TuningRequest | None, *, resume: bool, restart: bool) -> None:
    """Refuse to discard an interrupted search unasked, or to go on without it.

    Before the table is read.
    """
    if request is not None and current_group() is not None:
        raise UsageError(
            f"{option('tune')} searches in one process: run it without torchrun, and start the "
            "command that it prints with torchrun"
        )
    if workdir_path(trials_destination(out)).exists():
        with locked_workdir(trials_destination(out)):  # refuses one that is running
            pass
    if restart:  # what is there stays until the table has been read
        return
    found = read_search(out)
    if found is None:
        remove_search(out)  # a folder without trials
        if request is not None and resume and has_checkpoint(out):
            raise UsageError(
                f"the interrupted run of {out} was not tuned: leave {option('tune')} out, or start "
                f"over with {option('restart', True)}"
            )
    elif request is None or not resume:
        both = f"{option('tune', found.budget)} and {option('resume', True)}"
        raise UsageError(
            f"{out} was interrupted {found.where}: {both} continue it, {option('restart', True)} "
            f"discards it and starts over; or give another {option('out')}"
        )
    elif request.budget.trials is not None and request.budget.trials < len(found.trials):
        raise UsageError(
            f"the interrupted search of {out} has {len(found.trials)} trials: give "
            f"{option('tune', len(found.trials))} or more"
        )


def plan_untuned(
    out: Path,
    dataset: Dataset | None,
    configuration: Configuration,
    overrides: Options,
    saving: SaveOptions,
) -> FitPlan:
    """Configure for the table unless training is resumed; a search that is there is discarded."""
    if is_main_process():
        remove_search(out)
    is_resumed = saving.resume and on_main_process(lambda: has_checkpoint(out))
    if dataset is not None and not is_resumed:
        configuration = configure_for_table(configuration.preset, overrides, dataset.shape)
    return FitPlan(configuration, saving)


def plan_tuned(
    out: Path,
    request: TuningRequest,
    dataset: Dataset | None,
    configuration: Configuration,
    saving: SaveOptions,
    on_progress: Callable[[TuningStatus], None],
) -> FitPlan:
    """Search, or continue a search; None is the synthetic products.

    Args:
        out: the run directory, next to which the trials are kept until the run is complete.
        request: what is searched.
        dataset: the training data; its test rows are not used.
        configuration: that training is resumed with, if it has begun.
        saving: what is written; whether an interrupted search is continued, if there is one.
        on_progress: called after every epoch and trial.

    Returns:
        The fit with the best options found.

    Raises:
        UsageError: when the interrupted search is another one, or ``out`` is a complete run of
            other options.
        DataError: when there are too few rows, or no trial could be completed.
        ArtifactError: when the file of trials is damaged.
    """
    shape = None if dataset is None else dataset.shape
    base = request.configure({}, shape)
    data = dataset or synthetic_products(base.seed)
    n_rows = len(data.rows.train_labels)
    device = select_device(request.device, Workload(base.batch_size, n_rows, base.epochs))
    identity = identify(data, base, device)

    def plan(search: Search, begun: Configuration | None = None, *, resume: bool) -> FitPlan:
        chosen = begun or request.configure(search.winner.options, shape)
        files = {**saving.files, TRIALS: search.as_stored()}
        return FitPlan(chosen, replace(saving, resume=resume, files=files), search)

    found = read_search(out) if saving.resume else None
    has_begun = found is not None and has_checkpoint(out)
    if found is not None:
        _check_same(out, found, identity, apart_from=CHANGEABLE if has_begun else ())
        if found.best is not None and found.budget == str(request.budget):
            return plan(found, configuration if has_begun else None, resume=has_begun)
    elif saving.resume and (out / RECORD).exists():
        return plan(_read_same(out, request, identity), resume=True)
    if found is not None and has_begun:
        raise UsageError(
            f"the interrupted run of {out} is in training, after a search of {found.budget}: give "
            f"{option('tune', found.budget)}, or start over with {option('restart', True)}"
        )
    if not saving.resume:
        remove_search(out)
        if has_checkpoint(out):  # is discarded, and must not be taken for this one's
            with locked_workdir(out) as work:
                discard_session(work)
    with locked_workdir(trials_destination(out)) as folder:
        try:
            tuner = Tuner(
                request, data, is_table=dataset is not None, folder=folder, on_progress=on_progress
            )
            return plan(tuner.run(identity, found), resume=False)
        finally:
            with suppress(OSError):
                folder.rmdir()  # unless it has trials


def _check_same(
    out: Path, found: Search, identity: FitIdentity, *, apart_from: Collection[str]
) -> None:
    if differences := describe_differences(found.fit, identity, apart_from=apart_from):
        raise UsageError(
            f"the interrupted search of {out} has {differences}: give the same options and data, "
            f"or start over with {option('restart', True)}"
        )


def _read_same(out: Path, request: TuningRequest, identity: FitIdentity) -> Search:
    """Read the search of a complete run; refuse to replace the run of another one."""
    kept = read_complete_search(out)
    if kept is not None and kept.fit == identity and kept.budget == str(request.budget):
        return kept
    how = "was not tuned" if kept is None else f"was tuned with {option('tune', kept.budget)}"
    if kept is not None and (differences := describe_differences(kept.fit, identity)):
        how += f" and has {differences}"
    raise UsageError(
        f"{out} is a complete run that {how}: there is nothing to resume; "
        f"{option('restart', True)} replaces it, or give another {option('out')}"
    )
