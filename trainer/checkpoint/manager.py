"""When checkpoints are written, and how SIGINT and SIGTERM stop training between two steps."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from runtime.errors import EXIT_INTERRUPTED
from runtime.io.temporary import workdir_path
from runtime.terminal.process import exit_after_interrupt, log
from trainer.checkpoint.format import (
    CheckpointRecord,
    FitIdentity,
    read_record,
    read_state,
    write_checkpoint,
)
from trainer.checkpoint.state import NoCallback
from trainer.checkpoint.trials import read_search
from trainer.config import CHECKPOINT_EVERY_S
from trainer.distributed.environment import launch_command
from trainer.distributed.launch import agree_on_signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from trainer.checkpoint.state import Epoch, TrainingState
    from trainer.engines.state import ModelState

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether the process was asked to stop.

    Attributes:
        signal: number of the first signal; None before it.
    """

    def __init__(self) -> None:
        self.signal: int | None = None


class TrainingStopped(KeyboardInterrupt):
    """Training was stopped by a signal; its checkpoint is written.

    Attributes:
        signal: number of the signal.
        where: the next step, as text.
    """

    def __init__(self, number: int, where: str) -> None:
        """Make the error from a signal's number and the next step."""
        super().__init__(f"stopped before {where}")
        self.signal, self.where = number, where


class CheckpointedLogs(Protocol):
    """Log files that a checkpoint records, so that a resumed run continues them."""

    def log_parameters(self, epoch: Epoch, state: ModelState) -> None:
        """Log gradients and weights.

        Args:
            epoch: that has ended.
            state: the network after it.
        """

    def sync(self) -> dict[str, tuple[str, int]]:
        """Flush to disk.

        Returns:
            The name of each file, and its size in bytes.
        """


class CheckpointManager:
    """A training callback that writes checkpoints into a folder."""

    def __init__(
        self,
        folder: Path,
        fit: FitIdentity,
        logs: CheckpointedLogs,
        stop: StopRequest,
        every_s: float = CHECKPOINT_EVERY_S,
    ) -> None:
        """Prepare; ``every_s`` is the seconds between checkpoints, 0 writes one at every step."""
        self._folder, self._fit, self._logs = folder, fit, logs
        self._stop, self._every_s = stop, every_s
        self._written = time.monotonic()
        self.record: CheckpointRecord | None = None  # of the checkpoint in the folder

    def restore(self) -> TrainingState | None:
        """Read the state of the checkpoint in the folder."""
        return read_state(self._folder, self.record) if self.record else None

    def on_epoch_end(self, epoch: Epoch, state: ModelState) -> None:
        """Log gradients and weights."""
        self._logs.log_parameters(epoch, state)

    def on_step(self, capture: Callable[[], TrainingState]) -> None:
        """Write a checkpoint when one is due or a signal came; stop after a signal."""
        stop = agree_on_signal(self._stop.signal)
        if stop is None and time.monotonic() - self._written < self._every_s:
            return
        self.record = write_checkpoint(self._folder, self._fit, capture(), self._logs.sync())
        self._written = time.monotonic()
        if stop is not None:
            raise TrainingStopped(stop, self.record.where)


class ReplicaCallback(NoCallback):
    """Stops another process at the step at which rank 0 writes its last checkpoint."""

    def __init__(self, stop: StopRequest) -> None:
        """Poll ``stop`` after steps."""
        self._stop = stop

    def on_step(self, capture: Callable[[], TrainingState]) -> None:  # noqa: ARG002 - rank 0's
        """Stop if any process has received a signal."""
        stop = agree_on_signal(self._stop.signal)
        if stop is not None:
            raise TrainingStopped(stop, "the same step as rank 0")


@contextmanager
def deferred_signals() -> Iterator[StopRequest]:
    """Record the first SIGINT or SIGTERM instead of stopping at once; a second one acts as usual.

    Outside the main thread no signal is handled, and an ignored signal stays ignored.
    """
    stop, before = StopRequest(), _handlers()

    def restore_handlers() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def record(number: int, _frame: FrameType | None) -> None:
        stop.signal = number
        restore_handlers()

    try:
        for number in before:
            signal.signal(number, record)
        yield stop
    finally:
        restore_handlers()


def _handlers() -> dict[signal.Signals, Any]:
    """Get the current handlers of the signals that can be handled here."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    return {number: now for number, now in handlers.items() if now not in {signal.SIG_IGN, None}}


@contextmanager
def exit_when_interrupted(out: Path, phase: str, *, resumes: bool) -> Iterator[None]:
    """Exit with the signal's code, and print what is kept and the command that continues.

    ``phase`` is named where no signal was deferred; ``resumes`` is whether a checkpoint that is
    there belongs to this run.
    """
    try:
        yield
    except TrainingStopped as stop:
        log(f"stopped before {stop.where}: a checkpoint is kept; resume with: {_resume_command()}")
        sys.exit(128 + stop.signal)
    except (KeyboardInterrupt, SystemExit) as exc:
        code = EXIT_INTERRUPTED if isinstance(exc, KeyboardInterrupt) else exc.code
        if code in {EXIT_INTERRUPTED, 128 + signal.SIGTERM}:
            kept = _describe_kept(out, resumes=resumes)
            exit_after_interrupt(f"interrupted while {phase}: {kept}", code)
        sys.exit(code)


def _describe_kept(out: Path, *, resumes: bool) -> str:
    record = read_record(workdir_path(out))
    if record is None and (search := read_search(out)):
        return f"{search.kept}; resume with: {_resume_command()}"
    if record is None:
        return "nothing was kept, since there is no checkpoint yet"
    if not resumes:
        return f"the interrupted run of {out}, before {record.where}, is still there"
    return f"the checkpoint before {record.where} is kept; resume with: {_resume_command()}"


def _resume_command() -> str:
    arguments = [each for each in sys.argv[1:] if each not in {"--resume", "--restart"}]
    return shlex.join([*launch_command(os.environ), *arguments, "--resume"])
