"""Keep so many workers running: start them, replace those that die, end them all.

The supervisor takes the address once for each worker and never accepts a connection itself: the
kernel deals them out (SO_REUSEPORT). A worker's socket outlives it, so connections that wait for
a worker that died are answered by the one that takes its place. Where none can take it, as when
its bundle was damaged on the disk meanwhile, the socket is closed, and the others are dealt what
comes. A worker that took another's place has opened what lies on the disk now: so all others open
it, too. In: bundles and settings. Out: the exit code. Raises ``UnavailableError`` when an address
is taken or there is no folder for sockets.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
from msgspec.structs import replace

from runtime.serving.binding import bind, bind_shared
from runtime.serving.observing.log import Log
from runtime.serving.workers.folder import make_folder
from runtime.serving.workers.task import Task
from runtime.terminal import process

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping, Sequence

    from runtime.serving.settings import Settings

_PROGRAM: Final = (
    "import sys; sys.path[:] = {path!r}; from runtime.serving.workers.worker import main; main()"
)
_SHORT_LIFE_S: Final = 1.0  # a worker that dies so soon will do so again
_PAUSE_S: Final = 1.0
_BEYOND_DRAIN_S: Final = 5.0
_LINE_BYTES: Final = 1 << 16


def supervise(bundles: Mapping[str, Path], settings: Settings) -> None:
    """Run workers until a signal ends them.

    Args:
        bundles: folders by name.
        settings: how they are served.

    Raises:
        UnavailableError: when an address is taken.
        SystemExit: with a worker's exit code, where it is not 0.
    """
    listeners = bind_shared(settings.host, settings.port, settings.workers)
    if settings.grpc_port is not None:  # held, so that each worker can take the same one
        held = bind_shared(settings.host, settings.grpc_port, 1, "--grpc-port")
        settings = replace(settings, grpc_port=held[0].getsockname()[1])
    with make_folder() as folder:
        code = uvloop.run(Supervisor(bundles, settings, listeners, Path(folder)).run())
    if code:
        sys.exit(code)


class Supervisor:
    """The workers of one server."""

    def __init__(
        self,
        bundles: Mapping[str, Path],
        settings: Settings,
        listeners: Sequence[socket.socket],
        folder: Path,
    ) -> None:
        """Take what workers need.

        Args:
            bundles: folders by name.
            settings: how they are served.
            listeners: bound, one a worker.
            folder: for the workers' sockets.
        """
        self._bundles, self._settings = dict(bundles), settings
        self._listeners, self._folder = list(listeners), folder
        self._log = Log(settings.level)
        self._running: dict[int, Process] = {}
        self._serving: set[int] = set()  # those that take connections
        self._reloads = 0
        self._codes: list[int] = []
        self._ending = asyncio.Event()

    async def run(self) -> int:
        """Keep the workers running.

        Returns:
            The exit code: 0, or that of a worker that did not end as it should.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        # The first says what is wrong with bundles and options, once.
        line, control = await self._start(0)
        if not line:
            return _exit_code(await self._running[0].wait())
        keepers = [loop.create_task(self._keep(0, line, control))]
        for at in range(1, self._count):
            if not self._ending.is_set():
                began = await self._start(at)
                keepers.append(loop.create_task(self._keep(at, *began)))
        if not self._ending.is_set():
            process.log(line)
        await asyncio.gather(*keepers)
        return max((code for code in self._codes if code), default=0)

    @property
    def _count(self) -> int:
        return len(self._listeners)

    async def _start(self, number: int, *, follows: bool = False) -> tuple[str, socket.socket]:
        """Start a worker and wait until it takes connections.

        Args:
            number: of the worker.
            follows: it takes the place of one that died.

        Returns:
            What it says of itself, empty where it died instead; and the socket to it.
        """
        self._serving.discard(number)
        reloads = self._reloads
        control, theirs = socket.socketpair()
        listener = self._listeners[number].fileno()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                _PROGRAM.format(path=sys.path),
                stdin=theirs.fileno(),
                pass_fds=(listener,),
                start_new_session=True,  # Ctrl-C is for the supervisor, which passes it on
            )
        self._running[number] = process
        if self._ending.is_set():  # while it was made: nobody has told it yet
            self._signal(number, signal.SIGTERM)
        task = Task(
            self._bundles, self._settings, listener, self._folder, number, self._count, follows
        )
        control.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(control, pickle.dumps(task))
            line = (await loop.sock_recv(control, _LINE_BYTES)).decode()
        except OSError:
            line = ""
        if line:
            self._serving.add(number)
            if self._reloads != reloads:  # it may have opened its bundles before
                self._signal(number, signal.SIGHUP)
        return line, control

    async def _keep(self, number: int, line: str, control: socket.socket) -> None:
        """Wait for a worker's end, and put another in its place until all shall end.

        Args:
            number: of the worker.
            line: what it said when it took connections; empty where it did not.
            control: to it.
        """
        while True:
            begun = time.monotonic()
            code = await self._running[number].wait()
            control.close()
            if self._ending.is_set():
                if line:  # who was still starting has nothing to tell
                    self._codes.append(_exit_code(code))
                return
            self._log.tell("error", "worker died", worker=number, code=code)
            if time.monotonic() - begun < _SHORT_LIFE_S:
                await self._pause()
            if self._ending.is_set():
                return
            line, control = await self._start(number, follows=True)
            if line:
                self._log.tell("info", "worker replaced", worker=number)
                self._reload(but=number)
            elif not self._ending.is_set():
                self._take_anew(number)

    def _take_anew(self, number: int) -> None:
        """Take a socket that nobody listens on yet; who waits at the old one is told to go."""
        host, port = self._listeners[number].getsockname()[:2]
        self._listeners[number].close()
        self._listeners[number] = bind(host, port, shared=True)

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._ending.wait(), _PAUSE_S)
        except TimeoutError:
            return

    def _end(self, number: int) -> None:
        """End all workers; at a second signal, at once."""
        if not self._ending.is_set():
            self._ending.set()
            for listener in self._listeners:  # else connections would wait for nobody
                listener.close()
            after = self._settings.limits.drain_s + _BEYOND_DRAIN_S
            asyncio.get_running_loop().call_later(after, self._pass_on, signal.SIGKILL)
        self._pass_on(number)

    def _reload(self, but: int | None = None) -> None:
        """Have the workers read certificate and bundles anew; those that start do so then."""
        self._reloads += 1
        for at in self._serving - {but}:
            self._signal(at, signal.SIGHUP)

    def _pass_on(self, number: int) -> None:
        for at in self._running:
            self._signal(at, number)

    def _signal(self, at: int, number: int) -> None:
        process = self._running[at]
        if process.returncode is None:
            process.send_signal(number)


def _exit_code(code: int) -> int:
    """Say as a shell does how a process ended; below 0 it is the signal that ended it."""
    return code if code >= 0 else 128 - code
