"""Run a server: open its models, listen, and shut down without losing a request.

At SIGTERM readiness turns false and each response closes its connection. New connections are
accepted for a moment more, so that none is reset in the backlog. The server stops when nothing is
in flight and no client has sent anything for a moment; a second signal stops it immediately.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, Protocol

import uvloop

from runtime.errors import UsageError
from runtime.serving.app import App, build_app
from runtime.serving.auth import ApiKeys, Auth
from runtime.serving.cors import Cors
from runtime.serving.http.connection import Connection
from runtime.serving.http.connections import ConnectionManager
from runtime.serving.listeners import BACKLOG, bind, listen, removed_at_exit
from runtime.serving.models.repository import Repository
from runtime.serving.models.watching import FolderWatcher
from runtime.serving.observability.log import Logger, announce
from runtime.serving.observability.stderr import captured_stderr
from runtime.serving.observability.traffic import Traffic
from runtime.serving.startup import ServerAddress, raise_fd_limit, startup_line
from runtime.serving.tls import CertificateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from ssl import SSLContext

    from runtime.io.paths import Location
    from runtime.serving.grpc.server import GrpcServer
    from runtime.serving.http.messages import Handle, Reply, Request
    from runtime.serving.models.repository import ModelSlot
    from runtime.serving.observability.telemetry import ServerTelemetry
    from runtime.serving.settings import Settings

_QUIET_S: Final = 0.4  # a client silent for this long has nothing in transit
_POLL_S: Final = 0.02
_LISTENERS: Final = 16  # the event loop accepts one connection per socket and iteration
_GC_OBJECTS: Final = 50_000


class WorkerGroup(Protocol):
    """The group of worker processes that this one belongs to."""

    def handle(self, request: Request, reply: Reply) -> None:
        """Handle a request, on behalf of all workers where it concerns them all."""

    def joined(self, stop: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Join the group within the context; ``stop`` shuts the server down."""


def run_server(bundles: Mapping[str, Location], settings: Settings) -> None:
    """Open the bundles, listen, and serve until a signal; raises ``OnnxferryError``."""
    with captured_stderr(Logger(settings.level)):
        app = create_app(bundles, settings)
        with bind(settings.host, settings.port) as listener, removed_at_exit(listener):
            run_process(app, listener, settings, announce)


def create_app(
    bundles: Mapping[str, Location], settings: Settings, worker: int | None = None
) -> App:
    """Open the bundles and build the application, of a worker by its number.

    Raises ``OnnxferryError``.
    """
    logger, limits = Logger(settings.level, worker), raise_fd_limit(settings.limits)
    if limits.connections < settings.limits.connections:
        logger.log("info", "fewer connections: ulimit -n", connections=limits.connections)

    def report_keys(reason: str) -> None:
        logger.log("error", "key reload failed", reason=reason)

    def report_load(name: str, slot: ModelSlot) -> None:
        version = slot.model.version if slot.model else None
        if slot.stale:
            logger.log("error", "load failed", model=name, reason=slot.reason, served=version)
        else:
            logger.log("info", "load", model=name, served=version)

    telemetry = _open_telemetry(settings, logger, worker)
    keys = ApiKeys(settings.key_file, report_keys) if settings.key_file else None
    repository = Repository(
        bundles, settings.provider, limits, report_load, settings.models, signer=settings.signer
    )
    repository.observe = telemetry.observe if telemetry else None
    repository.open_all()
    repository.open_new()  # where a worker is replaced, what the others have loaded meanwhile
    app = build_app(repository, limits, Traffic(), logger, Auth(keys, Cors(settings.origins)))
    app.telemetry = telemetry
    gc.freeze()  # what is loaded stays, and requests create no cycles: collect rarely
    gc.set_threshold(_GC_OBJECTS, 20, 50)
    return app


def _open_telemetry(
    settings: Settings, logger: Logger, worker: int | None
) -> ServerTelemetry | None:
    """Prepare what the variables ``OTEL_*`` ask for; raises ``OnnxferryError``."""
    if not any(name.startswith("OTEL_") for name in os.environ):
        return None
    from runtime.telemetry.settings import read_settings

    found = read_settings(os.environ)
    if found is None:
        return None
    from runtime.serving.observability.telemetry import ServerTelemetry

    return ServerTelemetry(found, logger, worker, has_tls=settings.certificate is not None)


def run_process(
    app: App,
    listener: socket.socket,
    settings: Settings,
    on_ready: Callable[[str], None],
    worker_group: WorkerGroup | None = None,
) -> None:
    """Serve on a bound socket in this process until a signal; raises ``OnnxferryError``.

    ``on_ready`` receives the startup line; ``worker_group`` is None for a single process.
    """
    tls = CertificateStore(settings.certificate) if settings.certificate else None
    listen(listener)  # uvloop would take a listener that fails for one that serves
    uvloop.run(_Process(app, settings, tls, worker_group).run(listener, on_ready))


class _Process:
    """HTTP, gRPC, signals and reload of one process."""

    def __init__(
        self,
        app: App,
        settings: Settings,
        tls: CertificateStore | None,
        worker_group: WorkerGroup | None,
    ) -> None:
        self._app, self._settings, self._tls = app, settings, tls
        self._worker_group = worker_group
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, listener: socket.socket, on_ready: Callable[[str], None]) -> None:
        app, group = self._app, self._worker_group
        handle = group.handle if group else app.handle
        telemetry = app.telemetry
        server = Server(app, telemetry.http.wrap(handle, app.router.match) if telemetry else handle)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        async with AsyncExitStack() as stack:
            if telemetry:
                await stack.enter_async_context(telemetry.running(app.traffic, app.repository))
            if group:
                await stack.enter_async_context(group.joined(server.stop))
            grpc = await self._start_grpc(handle)
            if grpc:
                stopping = loop.create_task(self._stop_grpc(grpc, server))
                stack.push_async_callback(lambda: stopping)
            if self._settings.watches:
                watcher = FolderWatcher(app.repository, self._report_watch)
                stack.callback(loop.create_task(watcher.run()).cancel)
            port, workers = grpc.port if grpc else None, self._settings.workers
            address = ServerAddress.of(listener, port, workers, has_tls=bool(self._tls))
            if self._tls:
                stack.callback(loop.create_task(self._tls.watch(self._report_certificate)).cancel)
            context = self._tls.context if self._tls else None
            await server.serve(listener, lambda: on_ready(startup_line(app, address)), context)
        app.failures.flush()
        app.logger.log("info", "stopped", answers=sum(app.traffic.responses.values()))

    def _reload(self) -> None:
        """Reload the certificate and the bundles."""
        try:
            if self._tls:
                self._tls.reload()
                self._report_certificate()
        except UsageError as exc:
            self._report_certificate(str(exc))
        task = asyncio.get_running_loop().create_task(self._app.repository.reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _report_certificate(self, reason: str = "") -> None:
        logger = self._app.logger
        if reason:
            logger.log("error", "certificate reload failed", reason=reason)
        else:
            logger.log("info", "certificate reloaded")

    def _report_watch(self, reason: str) -> None:
        """Report the beginning and the end of a time in which changes are not seen."""
        if reason:
            self._app.logger.log("error", "watch failed", reason=reason)
        else:
            self._app.logger.log("info", "watch resumed")

    async def _start_grpc(self, handle: Handle) -> GrpcServer | None:
        if self._settings.grpc_port is None:
            return None
        from runtime.serving.grpc.server import start

        is_shared = self._worker_group is not None
        return await start(self._app, handle, self._settings, self._tls, shared=is_shared)

    async def _stop_grpc(self, grpc: GrpcServer, server: Server) -> None:
        """Stop gRPC when HTTP stops."""
        await server.stopping.wait()
        await grpc.stop(self._settings.limits.drain_s)


class Server:
    """The HTTP server of one process.

    Attributes:
        connections: its open connections.
        stopping: set when shutdown begins.
    """

    def __init__(self, app: App, handle: Handle) -> None:
        """Prepare a server that does not listen yet; ``handle`` is the application's."""
        self._app, self._limits = app, app.limits
        self.connections = ConnectionManager(
            handle,
            app.limits,
            app.traffic,
            app.logger.internal_error,
            app.failures,
            app.auth.cors,
        )
        self.stopping = asyncio.Event()

    async def serve(
        self, listener: socket.socket, on_ready: Callable[[], None], tls: SSLContext | None = None
    ) -> None:
        """Accept connections of a listening socket until a signal; ``on_ready`` is called first."""
        loop = asyncio.get_running_loop()
        self.connections.start(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        sockets = [listener, *(listener.dup() for _ in range(_LISTENERS - 1))]
        is_unix = listener.family == socket.AF_UNIX
        create_server = loop.create_unix_server if is_unix else loop.create_server
        servers = [
            await create_server(
                lambda: Connection(self.connections),
                sock=sock,
                backlog=BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=self._limits.header_s if tls else None,
            )
            for sock in sockets
        ]
        on_ready()
        await self.stopping.wait()
        await self._drain(servers)

    def stop(self) -> None:
        """Begin a graceful shutdown, as at a first signal."""
        self.stopping.set()

    def _on_signal(self, number: int) -> None:
        if self.stopping.is_set():
            os._exit(128 + number)  # a second signal
        self.stopping.set()

    async def _drain(self, servers: list[asyncio.Server]) -> None:
        """Respond to requests until the clients have noticed the shutdown."""
        self._app.traffic.draining = True
        start = time.monotonic()
        while time.monotonic() - start < self._limits.drain_s:
            await asyncio.sleep(_POLL_S)
            now = time.monotonic()
            if now - start > _QUIET_S:
                _close(servers)
                if self.connections.is_quiet(now - _QUIET_S):
                    break
        _close(servers)
        self.connections.close_all()
        await self._flush()

    async def _flush(self) -> None:
        """Wait for the last responses to be sent."""
        for _ in range(int(_QUIET_S / _POLL_S)):
            if not self.connections.open:
                return
            await asyncio.sleep(_POLL_S)


def _close(servers: list[asyncio.Server]) -> None:
    """Accept no more connections."""
    for server in servers:
        server.close()
