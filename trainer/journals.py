"""The journals of a fit together: TensorBoard's event file and ``metrics.jsonl``.

In: a folder, and what a checkpoint remembers of them. Out: a ``Watch``. Raises what ``Journal``
raises.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from trainer.journal import Journal
from trainer.tracking import Curves, Lines, new_event_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from trainer.engines.state import State
    from trainer.epoch import Epoch

TENSORBOARD = "tensorboard"
METRICS = "metrics.jsonl"


class Journals:
    """What is written of every epoch."""

    def __init__(self, curves: Journal, lines: Journal) -> None:
        """Begin, or go on.

        Args:
            curves: TensorBoard's event file.
            lines: ``metrics.jsonl``.
        """
        self._files = {TENSORBOARD: curves, METRICS: lines}
        self._curves, self._lines = Curves(curves), Lines(lines)

    @property
    def curves_path(self) -> Path:
        """Where the event file is."""
        return self._files[TENSORBOARD].path

    def see(self, epoch: Epoch, state: State) -> None:
        """Note the gradient of an epoch, and a few times the weights; before it is watched."""
        self._curves.see(epoch, state)

    def watch(self, epoch: Epoch) -> None:
        """Write an epoch."""
        self._curves.watch(epoch)
        self._lines.watch(epoch)

    def conclude(self, records: bytes) -> None:
        """Add records to the event file, after all curves."""
        self._curves.flush()
        self._files[TENSORBOARD].append(records)

    def flush(self) -> None:
        """Write all that waits."""
        self._curves.flush()

    def sync(self) -> dict[str, tuple[str, int]]:
        """Bring all to the disk; tell of each file its name and its bytes."""
        self.flush()
        return {kind: (file.path.name, file.sync()) for kind, file in self._files.items()}


@contextmanager
def open_journals(
    folder: Path, logdir: Path, before: Mapping[str, tuple[str, int]]
) -> Iterator[Journals]:
    """Open the journals of a fit.

    Args:
        folder: for ``metrics.jsonl``.
        logdir: for the event file.
        before: what a checkpoint remembers of them; empty begins them.

    Yields:
        What to watch the fit with; all is written when the block ends.
    """
    name, size = before.get(TENSORBOARD, (new_event_file(), 0))
    with ExitStack() as stack:
        curves = stack.enter_context(Journal(logdir / name, size=size))
        lines = stack.enter_context(Journal(folder / METRICS, size=before.get(METRICS, ("", 0))[1]))
        journals = Journals(curves, lines)
        stack.callback(journals.flush)
        yield journals
