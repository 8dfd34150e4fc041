"""Where a tuned fit starts: anew, in its search, in its training, or complete."""

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
from trainer.distributed.launch import current_group
from trainer.pipeline import identify
from trainer.run import RECORD
from trainer.session import discard_session
from trainer.tuning.search import Tuner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from trainer.checkpoint.format import FitIdentity
    from trainer.config import Configuration
    from trainer.data.dataset import Dataset
    from trainer.session import SaveOptions
    from trainer.tuning.search import TuningRequest, TuningStatus


@dataclass(frozen=True)
class TunedFit:
    """What a search leaves to be trained.

    Attributes:
        search: complete.
        configuration: with the options of its best trial.
        resume: whether training has begun, or is complete.
    """

    search: Search
    configuration: Configuration
    resume: bool

    def save(self, saving: SaveOptions) -> SaveOptions:
        """Choose what is written: the trials, too, and whether training is resumed."""
        files = {**saving.files, TRIALS: self.search.as_stored()}
        return replace(saving, resume=self.resume, files=files)


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


def search_options(
    out: Path,
    request: TuningRequest,
    dataset: Dataset | None,
    configuration: Configuration,
    *,
    resume: bool,
    on_progress: Callable[[TuningStatus], None],
) -> TunedFit:
    """Search, or continue a search; None is the synthetic products.

    Args:
        out: the run directory, next to which the trials are kept until the run is complete.
        request: what is searched.
        dataset: the training data; its test rows are not used.
        configuration: that training is resumed with, if it has begun.
        resume: continue an interrupted search, if there is one.
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

    def result(search: Search, *, resume: bool) -> TunedFit:
        return TunedFit(search, request.configure(search.winner.options, shape), resume)

    found = read_search(out) if resume else None
    has_begun = found is not None and has_checkpoint(out)
    if found is not None:
        _check_same(out, found, identity, apart_from=CHANGEABLE if has_begun else ())
        if found.best is not None and found.budget == str(request.budget):
            return (
                TunedFit(found, configuration, True) if has_begun else result(found, resume=False)
            )
    elif resume and (out / RECORD).exists():
        return result(_read_same(out, request, identity), resume=True)
    if found is not None and has_begun:
        raise UsageError(
            f"the interrupted run of {out} is in training, after a search of {found.budget}: give "
            f"{option('tune', found.budget)}, or start over with {option('restart', True)}"
        )
    if not resume:
        remove_search(out)
        if has_checkpoint(out):  # is discarded, and must not be taken for this one's
            with locked_workdir(out) as work:
                discard_session(work)
    with locked_workdir(trials_destination(out)) as folder:
        try:
            tuner = Tuner(
                request, data, is_table=dataset is not None, folder=folder, on_progress=on_progress
            )
            return result(tuner.run(identity, found), resume=False)
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
