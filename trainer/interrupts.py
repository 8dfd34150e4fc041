"""Ctrl-C and SIGTERM between two steps, not within one.

In: signals. Out: a ``Stop`` that says whether one has come. The second one acts at once, as it
would have without this.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runtime.terminal.process import log
from trainer.ranks.place import command_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether somebody has asked for the end.

    Attributes:
        signal: number of the first signal; None before it.
    """

    def __init__(self) -> None:
        self.signal: int | None = None


class Stopped(KeyboardInterrupt):
    """A fit that ended because somebody asked for it; its checkpoint is written.

    Attributes:
        signal: number of the signal that asked.
        where: the next step, for people.
    """

    def __init__(self, number: int, where: str) -> None:
        """Remember the signal.

        Args:
            number: of the signal that asked.
            where: the next step, for people.
        """
        super().__init__(f"stopped before {where}")
        self.signal, self.where = number, where


@contextmanager
def advice_to_go_on() -> Iterator[None]:
    """End the process of a command whose fit was stopped, with the command that goes on.

    Raises:
        SystemExit: with the exit code of the signal, in place of ``Stopped``.
    """
    try:
        yield
    except Stopped as stop:
        arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
        command = shlex.join([*command_words(os.environ), *arguments, "--resume"])
        log(f"stopped before {stop.where}; go on with: {command}")
        sys.exit(128 + stop.signal)


@contextmanager
def stops_between_steps() -> Iterator[Stop]:
    """Note the first signal instead of acting on it, while the block runs.

    Yields:
        What to look at between two steps. In other threads than the main one signals are not
        heard, and where the caller ignores one it stays ignored.
    """
    stop, before = Stop(), _handlers()

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        stop.signal = number
        put_back()

    try:
        for number in before:
            signal.signal(number, note)
        yield stop
    finally:
        put_back()


def _handlers() -> dict[signal.Signals, Any]:
    """What is done on the signals now, where they are heard and can be changed."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    return {number: now for number, now in handlers.items() if now not in {signal.SIG_IGN, None}}
