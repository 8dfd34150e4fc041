"""A worker process of a server.

Standard input is a socket to the supervisor, for the configuration in and the startup line or an
error out; it is closed when the supervisor dies. Requests for metrics, statistics, loading
and unloading concern all workers: each serves pickled ``Request`` objects with pickled ``Response``
objects on a control socket in the run folder.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import signal
import socket
import sys
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec
from msgspec.structs import replace

from runtime.errors import EXIT_BUG, OnnxferryError
from runtime.serving.http.messages import Request, Response
from runtime.serving.models.repository import UNLOADED
from runtime.serving.observability.log import Logger
from runtime.serving.observability.metrics import collect, render
from runtime.serving.observability.stderr import captured_stderr
from runtime.serving.server import create_app, run_process
from runtime.serving.workers.aggregation import load_metrics, merge_statistics, save_metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from runtime.serving.app import App
    from runtime.serving.http.messages import Reply
    from runtime.serving.workers.supervisor import WorkerConfig

_METRICS: Final = "/metrics"
_REPOSITORY: Final = "/v2/repository/models/"
_STATISTICS: Final = "/stats"
_LOAD_TIMEOUT_S: Final = 60.0  # a bundle may be large
_TIMEOUT_S: Final = 2.0  # shorter than the timeouts of Prometheus and other clients
_OK: Final = 200
_ANSWERED_BY_ALL: Final = ("GET", "POST")  # not HEAD, nor the preflight of CORS


def main() -> NoReturn:
    """Serve until a signal, or until the supervisor dies."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the event loop handles it
    code = EXIT_BUG
    try:
        code = _serve(socket.socket(fileno=0))
    except Exception as exc:  # noqa: BLE001 - a bug is logged and ends the process
        Logger().internal_error(exc)
    sys.stderr.flush()
    os._exit(code)  # threads of onnxruntime can abort an interpreter that is torn down


def _serve(supervisor: socket.socket) -> int:
    with supervisor.makefile("rb") as stream:
        config: WorkerConfig = pickle.load(stream)  # noqa: S301 - from our own supervisor

    def report(message: str | OnnxferryError) -> None:
        with suppress(OSError):  # the supervisor's death is noticed in ``joined``
            supervisor.sendall(pickle.dumps(message))

    try:
        with captured_stderr(Logger(config.settings.level, config.number)):
            app = create_app(config.bundles, config.settings, config.number)
            with socket.socket(fileno=config.listener) as listener:
                control = WorkerControl(app, supervisor, config)
                run_process(app, listener, config.settings, report, control)
    except OnnxferryError as exc:
        report(exc)
        return exc.exit_code
    return 0


class WorkerControl:
    """Handles a worker's requests; those that concern all workers are sent to the others, too."""

    def __init__(self, app: App, supervisor: socket.socket, config: WorkerConfig) -> None:
        """Connect ``app`` to the other workers; ``supervisor`` is the socket to the supervisor."""
        self._app, self._supervisor, self._folder = app, supervisor, config.folder
        paths = [config.folder / str(number) for number in range(config.settings.workers)]
        self._path = paths.pop(config.number)
        self._others = paths
        self._started = time.time()
        self._process = f"{config.number}-{time.time_ns()}"  # a PID can be reused

    def handle(self, request: Request, reply: Reply) -> None:
        """Handle a request, in all workers where it concerns all."""
        target = request.target
        if target.startswith((_METRICS, _REPOSITORY)) or _STATISTICS in target:
            self._app.background_tasks.start(lambda: self._respond_for_all(request), reply)
        else:
            self._app.handle(request, reply)

    @asynccontextmanager
    async def joined(self, stop: Callable[[], None]) -> AsyncIterator[None]:
        """Listen on the control socket; call ``stop`` when the supervisor dies."""
        loop = asyncio.get_running_loop()

        def supervisor_died() -> None:
            loop.remove_reader(self._supervisor)
            shutil.rmtree(self._folder, ignore_errors=True)  # the supervisor no longer can
            stop()

        self._path.unlink(missing_ok=True)  # of a worker that died
        server = await asyncio.start_unix_server(self._serve, str(self._path))
        loop.add_reader(self._supervisor, supervisor_died)
        await self._sync_unloaded()
        try:
            yield
        finally:
            loop.remove_reader(self._supervisor)
            server.close()

    async def _sync_unloaded(self) -> None:
        """Unload the models that were unloaded before this worker replaced another."""
        request = Request("GET", "/v2/health/ready", {}, b"", time.perf_counter_ns())
        for path in self._others:
            if response := await _query(path, request):
                reasons = msgspec.json.decode(b"".join(response.body)).get("reasons", {})
                repository = self._app.repository
                for name in (name for name, reason in reasons.items() if reason == UNLOADED):
                    if name in repository.slots:
                        repository.unload(name)
                return

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond to another worker."""
        with suppress(OSError, EOFError, pickle.UnpicklingError):
            request: Request = pickle.loads(await reader.read())  # noqa: S301 - from our own user
            response = await self._respond(request)
            if response.status == _OK and request.target.startswith(_METRICS):
                self._save_metrics()
            writer.write(pickle.dumps(response))
        writer.close()

    async def _respond_for_all(self, request: Request) -> Response:
        own = await self._respond(request)
        if own.status != _OK or request.method not in _ANSWERED_BY_ALL:
            return own
        found = await asyncio.gather(*(_query(path, request) for path in self._others))
        if request.target.startswith(_METRICS):
            self._save_metrics()
            return replace(own, body=(render(load_metrics(self._folder)).encode(),))
        others = [one for one in found if one is not None]
        if request.method == "GET":
            return merge_statistics([own, *others])
        return next((one for one in others if one.status != _OK), own)

    async def _respond(self, request: Request) -> Response:
        """Respond for this worker only."""
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        def reply(response: Response) -> None:
            if not future.done():
                future.set_result(response)

        self._app.handle(request, reply)
        return await future

    def _save_metrics(self) -> None:
        metrics = collect(self._app.traffic, self._app.repository, self._started)
        with suppress(OSError):  # a full disk: the previous files stay
            save_metrics(self._folder, self._process, metrics)


async def _query(path: Path, request: Request) -> Response | None:
    """Send a request to another worker; None where it has died, is starting or hangs."""
    try:
        async with asyncio.timeout(_LOAD_TIMEOUT_S if request.method == "POST" else _TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                writer.write(pickle.dumps(request))
                writer.write_eof()
                response: Response = pickle.loads(await reader.read())  # noqa: S301 - likewise
                return response
            finally:
                writer.close()
    except (OSError, EOFError, pickle.UnpicklingError, TimeoutError):
        return None
