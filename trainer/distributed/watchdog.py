"""End a process that a signal asked to end, and that waits for another one in vain.

Python handles a signal between two instructions of its main thread, hence not while a collective
waits in C++ for a process that hangs, or whose end went unnoticed. torchrun would kill this one,
too, after 30 seconds, without a word.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

from runtime.terminal.process import fail_at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.errors import OnnxferryError

PATIENCE_S: Final = 15.0  # half of torchrun's; a process that writes a checkpoint answers before
_POLL_S: Final = 0.2
_SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM})


class Watchdog:
    """Knows since when this process has waited for others, and whether a signal has come."""

    def __init__(self, error: OnnxferryError) -> None:
        """Watch from now on; ``error`` is what the process ends with. In the main thread only."""
        self._error = error
        self._waiting_since: float | None = None
        self._signals, written = os.pipe()
        os.set_blocking(written, False)
        signal.set_wakeup_fd(written, warn_on_full_buffer=False)  # written to at once, in C
        threading.Thread(target=self._watch, daemon=True).start()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Mark a block that waits for other processes."""
        self._waiting_since = time.monotonic()
        try:
            yield
        finally:
            self._waiting_since = None

    def _watch(self) -> NoReturn:
        while os.read(self._signals, 1)[0] not in _SIGNALS:
            pass
        signalled = time.monotonic()
        while True:
            time.sleep(_POLL_S)
            since = self._waiting_since
            if since is not None and time.monotonic() - max(since, signalled) > PATIENCE_S:
                fail_at_once("trainer", self._error)
