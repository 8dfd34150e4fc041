"""Our commands in processes forked from one that has loaded torch, which takes seconds of a core.

Each is a process of its own, with its folder, environment, streams, signals and exit code. Tests
whose subject is how a process starts, or what it imports, start Python themselves.
"""

from __future__ import annotations

import atexit
import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.context import ForkServerProcess

PATIENCE_S = 150  # a busy machine is slow, not wrong
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["trainer.cli", "trainer.pipeline", "trainer.distributed.group"])


class Forked:
    """A command that runs."""

    def __init__(
        self, *words: str, folder: Path, environment: Mapping[str, str], first: str = ""
    ) -> None:
        """Start ``words``, such as ``trainer fit``, in a folder; ``first`` is run before it."""
        self.words, self._streams = words, tempfile.TemporaryDirectory()
        arguments = (words, str(folder), dict(environment), self._streams.name, first)
        self._process: ForkServerProcess = _SERVER.Process(target=_run, args=arguments)
        self._process.start()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Wait for its end."""
        self._process.join(timeout_s)
        out, err = (Path(self._streams.name, name).read_text("utf-8") for name in ("out", "err"))
        code = self.poll()
        assert code is not None, f"{self.words} took more than {timeout_s} s: {out}{err}"
        return subprocess.CompletedProcess(self.words, code, out, err)

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.poll() is None:
            self._process.kill()
            self._process.join()
        self._process.close()
        self._streams.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _run(
    words: tuple[str, ...], folder: str, environment: dict[str, str], streams: str, first: str
) -> None:
    """Become the command, in the forked process."""
    for descriptor, path in enumerate((os.devnull, f"{streams}/out", f"{streams}/err")):
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115 - for the life of the process
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    command, *sys.argv[1:] = words
    sys.argv[0] = command
    try:
        exec(first, {})  # noqa: S102 - of a test
        importlib.import_module(f"{command}.cli").main()
    except SystemExit:
        pass
    except BaseException:  # noqa: BLE001 - as Python prints what nothing catches
        traceback.print_exc()
    # A forked process would end without them; that of our command exits.
    atexit._run_exitfuncs()  # noqa: SLF001 - no public name
