"""When a fit is written down, and when it ends between two steps.

In: looks up from the fit. Out: checkpoints every few seconds, and one more where somebody has
asked for the end. Raises ``Stopped`` then, and what reading and writing raise.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from trainer.checkpoint import CheckpointRecord, Fit, read_snapshot, write_checkpoint
from trainer.config import CHECKPOINT_EVERY_S
from trainer.interrupts import Stop, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trainer.engines.state import State
    from trainer.epoch import Epoch
    from trainer.journals import Journals
    from trainer.snapshot import Snapshot


class Checkpoints:
    """Keeps a fit in a folder."""

    def __init__(
        self,
        folder: Path,
        fit: Fit,
        journals: Journals,
        stop: Stop,
        every_s: float = CHECKPOINT_EVERY_S,
    ) -> None:
        """Prepare; nothing is read or written.

        Args:
            folder: for checkpoints.
            fit: which fit this is.
            journals: what goes on with it.
            stop: says whether to end.
            every_s: seconds between two checkpoints; 0 writes one at every look.
        """
        self._folder, self._fit, self._journals = folder, fit, journals
        self._stop, self._every_s = stop, every_s
        self._written = time.monotonic()
        self.record: CheckpointRecord | None = None  # of the checkpoint in the folder

    def start(self) -> Snapshot | None:
        """Read what to go on from."""
        return read_snapshot(self._folder, self.record) if self.record else None

    def see(self, epoch: Epoch, state: State) -> None:
        """Hand the network to the journals.

        Args:
            epoch: that has ended.
            state: after it.
        """
        self._journals.see(epoch, state)

    def look(self, take: Callable[[], Snapshot]) -> None:
        """Write a checkpoint where it is time for one, or the end is asked for.

        Args:
            take: takes a snapshot.

        Raises:
            Stopped: when the end is asked for.
        """
        if self._stop.signal is None and time.monotonic() - self._written < self._every_s:
            return
        snapshot = take()
        self.record = write_checkpoint(self._folder, self._fit, snapshot, self._journals.sync())
        self._written = time.monotonic()
        if self._stop.signal is not None:
            raise Stopped(self._stop.signal, self.record.where)
