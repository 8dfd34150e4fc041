"""The program of a worker: it takes its task from the supervisor and serves.

Its standard input is a socket to the supervisor: the task comes in by it, the word that
connections are taken goes out, and its end is the supervisor's.
"""

from __future__ import annotations

import contextlib
import pickle
import socket
import sys
from typing import TYPE_CHECKING, NoReturn

from runtime.errors import OnnxferryError
from runtime.serving.observing.log import Log
from runtime.serving.process import run_process
from runtime.serving.running import open_app
from runtime.serving.workers.member import Member
from runtime.terminal import process

if TYPE_CHECKING:
    from runtime.serving.workers.task import Task


def main() -> NoReturn:
    """Take a task and serve until a signal, or the supervisor's end, ends it."""
    process.run(_work, "runtime")


def _work(prog_name: str) -> None:
    del prog_name
    control = socket.socket(fileno=0)
    with control.makefile("rb") as stream:
        task: Task = pickle.load(stream)  # noqa: S301 - from our own supervisor, over our own socket

    def tell(line: str) -> None:
        with contextlib.suppress(OSError):  # a supervisor that is gone is noticed soon
            control.sendall(line.encode())

    try:
        app = open_app(task.bundles, task.settings)
    except OnnxferryError as exc:
        if task.follows:  # a line of the log, where a person no longer waits for the start
            Log(task.settings.level).tell("error", "worker not replaced", reason=str(exc))
            sys.exit(exc.exit_code)
        raise
    member = Member(app, control, task)
    with socket.socket(fileno=task.listener) as listener:
        run_process(app, listener, task.settings, tell, member)
