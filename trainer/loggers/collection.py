"""All loggers of a fit: TensorBoard's event file and ``metrics.jsonl``."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import UsageError
from runtime.io.atomic import atomic_file
from runtime.surfaces import option
from trainer.loggers.files import JsonlLogger, LogFile
from trainer.loggers.tensorboard import TensorBoardLogger, new_event_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trainer.checkpoint.state import Epoch
    from trainer.engines.state import ModelState

TENSORBOARD = "tensorboard"
METRICS = "metrics.jsonl"
_EVENT_FILE = "curves"  # contains the path of the event file, which may be outside the run


class LoggerCollection:
    """Logs every epoch to all files."""

    def __init__(self, events: LogFile, metrics: LogFile) -> None:
        """Append to the event file and to ``metrics.jsonl``."""
        self._files = {TENSORBOARD: events, METRICS: metrics}
        self._tensorboard, self._jsonl = TensorBoardLogger(events), JsonlLogger(metrics)

    def log_parameters(self, epoch: Epoch, state: ModelState) -> None:
        """Log gradients and weights of an epoch, before its metrics."""
        self._tensorboard.log_parameters(epoch, state)

    def log_epoch(self, epoch: Epoch) -> None:
        """Log the metrics of an epoch."""
        self._tensorboard.log_epoch(epoch)
        self._jsonl.log_epoch(epoch)

    def finalize(self, records: bytes) -> None:
        """Append the final records to the event file."""
        self._tensorboard.finalize(records)

    def flush(self) -> None:
        """Write what is pending."""
        self._tensorboard.flush()

    def sync(self) -> dict[str, tuple[str, int]]:
        """Flush all files to disk; return the name and size of each, for a checkpoint."""
        self.flush()
        return {kind: (file.path.name, file.sync()) for kind, file in self._files.items()}


@contextmanager
def open_loggers(
    folder: Path, logdir: Path, positions: Mapping[str, tuple[str, int]]
) -> Iterator[LoggerCollection]:
    """Open ``metrics.jsonl`` in ``folder`` and the event file in ``logdir``.

    ``positions`` are those that ``sync`` gave to a checkpoint; empty ones begin new files.
    """
    name, size = positions.get(TENSORBOARD, (new_event_file(), 0))
    path = logdir / name
    with ExitStack() as stack:
        if not size:  # first: it names also the file of a fit that is killed
            _record_event_file(folder, path)
        elif not path.exists():
            _check_logdir(folder, logdir)
        events = stack.enter_context(LogFile(path, size=size))
        if size:  # it is there, perhaps in another folder than before
            _record_event_file(folder, path)
        metrics = stack.enter_context(
            LogFile(folder / METRICS, size=positions.get(METRICS, ("", 0))[1])
        )
        loggers = LoggerCollection(events, metrics)
        stack.callback(loggers.flush)
        yield loggers


def _record_event_file(folder: Path, path: Path) -> None:
    with atomic_file(folder / _EVENT_FILE) as stream:
        stream.write(os.fsencode(os.path.realpath(path)))


def _check_logdir(folder: Path, logdir: Path) -> None:
    """Refuse to resume in another logdir than the one that has the event file."""
    found = _find_event_file(folder)
    if found is None or not found.exists():
        return
    if logdir == folder / TENSORBOARD:
        advice = f"give {option('logdir', str(found.parent))}"
    elif found.parent == (folder / TENSORBOARD).resolve():
        advice = f"leave {option('logdir')} out"
    else:
        advice = f"give {option('logdir', str(found.parent))} as before"
    raise UsageError(f"the event file of the interrupted run is {found}: {advice}")


def _find_event_file(folder: Path) -> Path | None:
    """Read the path of the event file that a fit in ``folder`` has begun; None if it did not."""
    with suppress(OSError, ValueError):  # it has no record, or a damaged one
        return Path(os.fsdecode((folder / _EVENT_FILE).read_bytes()))
    return None


def remove_event_file(folder: Path) -> None:
    """Remove the event file that a fit in ``folder`` has begun, if it did."""
    # A logdir that cannot be reached any more has none to remove.
    with suppress(OSError, ValueError):
        if found := _find_event_file(folder):
            found.unlink()
