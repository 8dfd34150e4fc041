"""Start workers, restart those that die, and stop them all.

Each worker listens on its own socket at the address (SO_REUSEPORT: the kernel balances the
connections). The supervisor keeps it open, so the backlog of a dead worker is accepted by its
successor. When a worker cannot restart, for example because its bundle is damaged, its socket is
closed and the others receive all connections. After a restart the other workers reload their
bundles, so that all serve the same. Without these two guarantees, that a waiting connection
outlives its worker and that all serve the same, half of this file would be unnecessary.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
from msgspec.structs import replace

from runtime.errors import OnnxferryError, UnavailableError
from runtime.serving.listeners import bind, bind_shared, claim_port, listen, removed_at_exit
from runtime.serving.observability.log import Logger, announce
from runtime.serving.observability.stderr import captured_stderr
from runtime.value import Value

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Mapping

    from runtime.io.paths import Location
    from runtime.serving.settings import Settings

_PROGRAM: Final = (
    "import sys; sys.path[:] = {path!r}; from runtime.serving.workers.worker import main; main()"
)
_MIN_UPTIME_S: Final = 1.0  # a worker that dies sooner is restarted after a delay
_RESTART_DELAY_S: Final = 1.0
_KILL_AFTER_S: Final = 10.0  # beyond the time for draining; telemetry may take 6 of it
_REPORT_BYTES: Final = 1 << 16
_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - the folder in it is made by tempfile
_FOLDER_PREFIX: Final = "onnxferry-"
_LONGEST_SOCKET_NAME: Final = "255"  # of a socket in the run folder: the number of a worker


class WorkerConfig(Value, frozen=True):
    """The configuration of a worker.

    Attributes:
        bundles: folders by model name.
        settings: of the server.
        listener: file descriptor of its bound socket.
        folder: of the workers' control sockets and metrics.
        number: of this worker, from 0.
    """

    bundles: dict[str, Location]
    settings: Settings
    listener: int
    folder: Path
    number: int


def supervise(bundles: Mapping[str, Location], settings: Settings) -> None:
    """Run workers until a signal ends them.

    Raises ``OnnxferryError`` when the first cannot serve, and ``SystemExit`` with a worker's exit
    code where it is not 0.
    """
    # From probing the ports until a worker listens on them, so that no other server shares them.
    claims = ExitStack()
    for port, option in ((settings.port, "--port"), (settings.grpc_port, "--grpc-port")):
        if port and (claim := claim_port(port, option)):
            claims.enter_context(claim)
    listeners = bind_shared(settings.host, settings.port, settings.workers)
    listen(listeners[0])
    if settings.grpc_port is not None:  # held, so that each worker can bind the same one
        held = bind_shared(settings.host, settings.grpc_port, 1, "--grpc-port")
        settings = replace(settings, grpc_port=held[0].getsockname()[1])
    with (
        captured_stderr(Logger(settings.level)),
        create_run_folder() as folder,
        removed_at_exit(listeners[0]),
        claims,
    ):
        workers = [_Worker(number, listener) for number, listener in enumerate(listeners)]
        supervisor = _Supervisor(bundles, settings, workers, Path(folder))
        code = uvloop.run(supervisor.run(on_serving=claims.close))
    if code:
        sys.exit(code)


class _Worker:
    """A worker's socket, its process, and the control connection to it."""

    def __init__(self, number: int, listener: socket.socket) -> None:
        self.number, self.listener = number, listener
        self.is_serving = False
        self.process: Process
        self.control: socket.socket

    def send_signal(self, number: int) -> None:
        if hasattr(self, "process") and self.process.returncode is None:
            self.process.send_signal(number)


class _Supervisor:
    """The parent process of the workers."""

    def __init__(
        self,
        bundles: Mapping[str, Location],
        settings: Settings,
        workers: list[_Worker],
        folder: Path,
    ) -> None:
        self._bundles, self._settings = dict(bundles), settings
        self._workers, self._folder = workers, folder
        self._logger = Logger(settings.level)
        self._reloads = 0
        self._exit_codes: list[int] = []
        self._stopping = asyncio.Event()

    async def run(self, on_serving: Callable[[], None]) -> int:
        """Run the workers; return 0, or the exit code of a worker that failed to stop.

        ``on_serving`` is called once the first one serves.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        first, *others = self._workers
        startup_line = await self._start(first)  # reports errors in bundles and options once
        if not first.is_serving:
            return _shell_code(await first.process.wait())
        on_serving()
        await asyncio.gather(*(self._try_start(worker) for worker in others))
        if not self._stopping.is_set():
            announce(startup_line)
        await asyncio.gather(*(self._keep_running(worker) for worker in self._workers))
        return max((code for code in self._exit_codes if code), default=0)

    async def _start(self, worker: _Worker) -> str:
        """Start a process; return its startup line, empty if it died without an error."""
        worker.is_serving = False
        reloads, listener = self._reloads, worker.listener.fileno()
        worker.control, child_socket = socket.socketpair()
        worker.control.setblocking(False)
        with child_socket:
            worker.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                _PROGRAM.format(path=sys.path),
                stdin=child_socket.fileno(),
                stderr=sys.stderr,
                pass_fds=(listener,),
                start_new_session=True,  # Ctrl-C is for the supervisor, which forwards it
            )
        if self._stopping.is_set():  # while it was created
            worker.send_signal(signal.SIGTERM)
        config = WorkerConfig(self._bundles, self._settings, listener, self._folder, worker.number)
        report = await _send_config(config, worker.control)
        if isinstance(report, OnnxferryError):
            await worker.process.wait()
            raise report
        worker.is_serving = bool(report)
        if worker.is_serving and self._reloads != reloads:  # it may have loaded the old bundles
            worker.send_signal(signal.SIGHUP)
        return report

    async def _try_start(self, worker: _Worker) -> None:
        try:
            await self._start(worker)
        except OnnxferryError as exc:
            reason = str(exc)
            self._logger.log("error", "worker not started", worker=worker.number, reason=reason)

    async def _keep_running(self, worker: _Worker) -> None:
        """Restart a worker whenever it dies, until all are stopped."""
        while True:
            started = time.monotonic()
            code = await worker.process.wait()
            worker.control.close()
            if self._stopping.is_set():
                if worker.is_serving:  # not while it was still starting
                    self._exit_codes.append(_shell_code(code))
                return
            self._logger.log("error", "worker died", worker=worker.number, code=code)
            self._remove_gauges(worker)
            if time.monotonic() - started < _MIN_UPTIME_S:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _RESTART_DELAY_S)
            if self._stopping.is_set():
                return
            await self._restart(worker)

    async def _restart(self, worker: _Worker) -> None:
        await self._try_start(worker)
        if worker.is_serving:
            self._logger.log("info", "worker replaced", worker=worker.number)
            self._reload(exclude=worker)
        elif not self._stopping.is_set() and worker.listener.family != socket.AF_UNIX:
            host, port = worker.listener.getsockname()[:2]  # closing resets its backlog
            worker.listener.close()
            worker.listener = bind(host, port, shared=True)

    def _remove_gauges(self, worker: _Worker) -> None:
        """Remove a dead worker's gauges, as prometheus_client's ``mark_process_dead`` does."""
        for path in self._folder.glob(f"gauge_live*_{worker.number}-*.db"):
            path.unlink(missing_ok=True)

    def _stop(self, number: int) -> None:
        """Forward a signal; at a second one, workers exit at once."""
        if not self._stopping.is_set():
            self._stopping.set()
            for worker in self._workers:  # nobody accepts their backlog
                worker.listener.close()
            after = self._settings.limits.drain_s + _KILL_AFTER_S
            asyncio.get_running_loop().call_later(after, self._send_all, signal.SIGKILL)
        self._send_all(number)

    def _send_all(self, number: int) -> None:
        for worker in self._workers:
            worker.send_signal(number)

    def _reload(self, exclude: _Worker | None = None) -> None:
        """Signal serving workers to reload; starting ones load the current files anyway."""
        self._reloads += 1
        for worker in self._workers:
            if worker.is_serving and worker is not exclude:
                worker.send_signal(signal.SIGHUP)


async def _send_config(config: WorkerConfig, control: socket.socket) -> str | OnnxferryError:
    """Send the configuration; return the startup line, or the error, that the worker reports."""
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(control, pickle.dumps(config))
        report = await loop.sock_recv(control, _REPORT_BYTES)
    except OSError:
        return ""
    message: str | OnnxferryError = pickle.loads(report) if report else ""  # noqa: S301 - from our own worker
    return message


def create_run_folder() -> tempfile.TemporaryDirectory[str]:
    """Create a folder that only this user can access; it is removed on exit.

    It is in the folder for temporary files, or in shared memory where none is writable, as in a
    container with a read-only root. Raises ``UnavailableError`` when it cannot be created, or its
    path is too long for a socket.
    """
    advice = "set TMPDIR to a writable folder with a short path"
    try:
        folder = _create_temporary_folder()
    except OSError as exc:
        raise UnavailableError(
            f"workers need a folder for their sockets: mount a writable /tmp or {_SHARED_MEMORY}, "
            f"or {advice}"
        ) from exc
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(f"{folder.name}/{_LONGEST_SOCKET_NAME}")
    except OSError as exc:
        folder.cleanup()
        reason = exc.strerror or exc
        raise UnavailableError(
            f"cannot create a socket in {folder.name}: {reason}; {advice}"
        ) from exc
    return folder


def _create_temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX)
    except OSError:
        return tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX, dir=_SHARED_MEMORY)


def _shell_code(code: int) -> int:
    """Convert to a shell's exit code: 128 + N for a process that signal N, given as -N, ended."""
    return code if code >= 0 else 128 - code
