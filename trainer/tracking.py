"""TensorBoard: the tutorial's two curves, with the tutorial's step numbers.

    Loss/train     each batch, step = epoch * batches_per_epoch + batch
    Accuracy/test  each epoch, step = epoch; epochs count from 0

In: epochs as ``fit`` reports them. Out: an event file, complete up to the last epoch reported.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch.utils.tensorboard import SummaryWriter

    from trainer.epoch import Epoch, Watch

LOSS = "Loss/train"
ACCURACY = "Accuracy/test"


@contextmanager
def tensorboard(logdir: Path) -> Iterator[Watch]:
    """Write event files while the block runs.

    Args:
        logdir: folder for them; made where it is missing.

    Yields:
        What to call with every epoch.

    Raises:
        UsageError: when the folder cannot be written.
    """
    from torch.utils.tensorboard import SummaryWriter

    try:
        writer = SummaryWriter(str(logdir))
    except OSError as exc:
        raise UsageError(f"cannot write TensorBoard's files into {logdir}: {exc.strerror}") from exc
    with writer:
        yield lambda epoch: _write(writer, epoch)


def _write(writer: SummaryWriter, epoch: Epoch) -> None:
    first = epoch.index * len(epoch.losses)
    for step, loss in enumerate(epoch.losses, start=first):
        writer.add_scalar(LOSS, loss, step)
    writer.add_scalar(ACCURACY, epoch.accuracy, epoch.index)
    writer.flush()  # a folder that is watched live shows every finished epoch
