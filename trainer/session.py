"""A training session: fitting in a work folder, with log files, checkpoints and resuming."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.errors import DataError, UsageError
from runtime.io.paths import resolve
from runtime.io.temporary import clear_workdir, remove_workdir
from runtime.surfaces import option
from trainer.checkpoint.format import CHECKPOINT, CheckpointRecord, FitIdentity, read_record
from trainer.checkpoint.manager import CheckpointManager, deferred_signals
from trainer.checkpoint.resume import check_resumable
from trainer.config import CHECKPOINT_EVERY_S
from trainer.fit import fit
from trainer.loggers.collection import TENSORBOARD, open_loggers, remove_event_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trainer.checkpoint.state import Epoch, EpochCallback, FitResult
    from trainer.config import Configuration, DeviceName
    from trainer.data.dataset import Dataset
    from trainer.loggers.collection import LoggerCollection


@dataclass(frozen=True)
class SaveOptions:
    """What is written during training, and into the run.

    Attributes:
        logdir: directory of the TensorBoard event files; None is inside the run.
        resume: continue from the checkpoint of an interrupted run, if there is one.
        restart: discard it; without both an interrupted run is refused.
        checkpoint_every_s: seconds between checkpoints; 0 writes one as often as possible.
        files: contents of more files of the run, by name; its record does not list them.
    """

    logdir: Path | None = None
    resume: bool = False
    checkpoint_every_s: float = CHECKPOINT_EVERY_S
    restart: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.resume and self.restart:
            raise UsageError(
                f"{option('resume', True)} continues the interrupted run, "
                f"{option('restart', True)} discards it: use one"
            )


@dataclass(frozen=True)
class TrainingSession:
    """One process's training in a work folder, from the beginning or from its checkpoint.

    Attributes:
        work: the work folder, locked.
        dataset: without missing values.
        configuration: the options.
        device: the training device.
        saving: what is written.
    """

    work: Path
    dataset: Dataset
    configuration: Configuration
    device: DeviceName
    saving: SaveOptions

    def run(
        self, identity: FitIdentity, on_epoch_end: EpochCallback
    ) -> tuple[FitIdentity, FitResult]:
        """Train; the identity returned lists options that changed since the checkpoint."""
        try:
            record = read_record(self.work) if self.saving.resume else None
            if record:
                identity = check_resumable(record, identity, self.work)
            else:
                self._clear()
            given = self.saving.logdir
            logdir = self.work / TENSORBOARD if given is None else resolve(given)
            positions = record.log_positions if record else {}
            with open_loggers(self.work, logdir, positions) as loggers:
                result = self._fit(identity, record, loggers, on_epoch_end)
                loggers.finalize(_build_final_records(identity, self.dataset, result))
                return identity, result
        except BaseException:
            if not (self.work / CHECKPOINT).exists():
                discard_session(self.work)
            raise

    def _fit(
        self,
        identity: FitIdentity,
        record: CheckpointRecord | None,
        loggers: LoggerCollection,
        on_epoch_end: EpochCallback,
    ) -> FitResult:
        def log_and_report(epoch: Epoch) -> bool | None:
            loggers.log_epoch(epoch)
            return on_epoch_end(epoch)

        with deferred_signals() as stop:
            every_s = self.saving.checkpoint_every_s
            manager = CheckpointManager(self.work, identity, loggers, stop, every_s)
            manager.record = record
            try:
                return fit(
                    self.dataset,
                    self.configuration,
                    device=self.device,
                    on_epoch_end=log_and_report,
                    callback=manager,
                )
            except DataError as exc:
                if manager.record is None:
                    raise
                raise DataError(
                    f"{exc}. The checkpoint at {manager.record.where} is kept: "
                    f"{option('resume', True)} continues from there, with a lower "
                    + option("learning_rate")
                ) from exc

    def _clear(self) -> None:
        """Remove what is left of a session without a checkpoint, or whose checkpoint is unused."""
        remove_event_file(self.work)  # curves would appear twice
        clear_workdir(self.work)


def discard_session(work: Path) -> None:
    """Remove a work folder, and the event file that was begun for it elsewhere."""
    remove_event_file(work)
    remove_workdir(work)


def _build_final_records(identity: FitIdentity, dataset: Dataset, result: FitResult) -> bytes:
    """Build the content of TensorBoard's other tabs; their modules are imported only now."""
    from trainer.loggers.final_summaries import final_records

    return final_records(identity, dataset, result)
