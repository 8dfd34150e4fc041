"""One attempt at a fit, in a folder of work: from the beginning, or from a checkpoint there.

In: the folder, a dataset and what to do with it. Out: the fitted network, journals in the folder.
What is worth taking up stays in the folder when the attempt ends by an error, a signal or the
end of the process. Raises what ``fit`` and ``trainer.checkpoint`` raise, and ``Stopped``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import DataError
from runtime.io.workdir import clear_workdir, remove_workdir
from trainer.checkpoint import CHECKPOINT, CheckpointRecord, Fit, read_record
from trainer.config import CHECKPOINT_EVERY_S
from trainer.fit import Fitted, fit
from trainer.interrupts import stops_between_steps
from trainer.journals import TENSORBOARD, open_journals
from trainer.keeping import Checkpoints
from trainer.resuming import continue_fit

if TYPE_CHECKING:
    from trainer.config import Configuration, DeviceName
    from trainer.data import Dataset
    from trainer.epoch import Epoch, Watch
    from trainer.journals import Journals


_CURVES = "curves"  # holds the path of the event file


@dataclass(frozen=True)
class Saving:
    """What is written while a fit runs.

    Attributes:
        logdir: where TensorBoard's files go; None means into the run.
        resume: take up the fit that was cut off, if there is one.
        checkpoint_every_s: seconds between two checkpoints; 0 writes one whenever it can.
    """

    logdir: Path | None = None
    resume: bool = False
    checkpoint_every_s: float = CHECKPOINT_EVERY_S


@dataclass(frozen=True)
class Attempt:
    """What is fitted, and where.

    Attributes:
        work: the folder of work, held.
        dataset: the rows.
        configuration: the options.
        device: of the fit.
        saving: what is written.
    """

    work: Path
    dataset: Dataset
    configuration: Configuration
    device: DeviceName
    saving: Saving

    def make(self, this: Fit, watch: Watch) -> tuple[Fit, Fitted]:
        """Fit, or go on.

        Args:
            this: which fit this is.
            watch: called after every epoch.

        Returns:
            Which fit it was, with what was changed on the way; and the fitted network.

        Raises:
            DataError: when it diverges; the message names the checkpoint that is left.
            Stopped: when the end was asked for; the checkpoint is written.
        """
        try:
            record = read_record(self.work) if self.saving.resume else None
            if record:
                this = continue_fit(record, this, self.work)
            else:
                self._begin()
            logdir = self.saving.logdir or self.work / TENSORBOARD
            before = record.journals if record else {}
            with open_journals(self.work, logdir, before) as journals:
                (self.work / _CURVES).write_text(str(journals.curves_path.resolve()))
                fitted = self._fit(this, record, journals, watch)
                journals.conclude(_draw_pages(this, self.dataset, fitted))
                return this, fitted
        except BaseException:
            if not (self.work / CHECKPOINT).exists():
                remove_workdir(self.work)
            raise

    def _fit(
        self, this: Fit, record: CheckpointRecord | None, journals: Journals, watch: Watch
    ) -> Fitted:
        def write_and_watch(epoch: Epoch) -> None:
            journals.watch(epoch)
            watch(epoch)

        with stops_between_steps() as stop:
            every_s = self.saving.checkpoint_every_s
            keeper = Checkpoints(self.work, this, journals, stop, every_s)
            keeper.record = record
            try:
                return fit(
                    self.dataset,
                    self.configuration,
                    device=self.device,
                    watch=write_and_watch,
                    keeper=keeper,
                )
            except DataError as exc:
                if keeper.record is None:
                    raise
                raise DataError(
                    f"{exc}. The fit at {keeper.record.where} is kept: --resume goes on from "
                    "there, with a lower --learning-rate"
                ) from exc

    def _begin(self) -> None:
        """Remove what an attempt left that had come to no checkpoint, or is not taken up."""
        if self.saving.resume and (self.work / _CURVES).exists():  # else they would be there twice
            Path((self.work / _CURVES).read_text()).unlink(missing_ok=True)
        clear_workdir(self.work)


def _draw_pages(this: Fit, dataset: Dataset, fitted: Fitted) -> bytes:
    """Draw what TensorBoard shows beside curves; its messages are imported only now."""
    from trainer.board.pages import draw_pages

    return draw_pages(this, dataset, fitted)
