"""One process of a server: its event loop, what it listens on, signals, and its end."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import uvloop

from runtime.errors import UsageError
from runtime.serving.access.certificate import new_context
from runtime.serving.models.watching import watch
from runtime.serving.server import Server
from runtime.serving.starting import Place, start_line

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from ssl import SSLContext

    from runtime.serving.app import App
    from runtime.serving.http.message import Handle
    from runtime.serving.rpc.server import RpcServer
    from runtime.serving.settings import Settings
    from runtime.serving.workers.member import Member


def run_process(
    app: App,
    listener: socket.socket,
    settings: Settings,
    tell: Callable[[str], None],
    member: Member | None = None,
) -> None:
    """Serve until a signal ends it.

    Args:
        app: answers requests.
        listener: bound.
        settings: how it is run.
        tell: told the line with which the server starts.
        member: of several processes that serve together; None for one alone.

    Raises:
        OnnxferryError: when the certificate cannot be used or gRPC's address is taken.
    """
    tls = new_context(settings.certificate) if settings.certificate else None
    uvloop.run(_Process(app, settings, tls, member).run(listener, tell))


class _Process:
    """What a process holds while it runs."""

    def __init__(
        self, app: App, settings: Settings, tls: SSLContext | None, member: Member | None
    ) -> None:
        self._app, self._settings, self._tls = app, settings, tls
        self._member = member
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, listener: socket.socket, tell: Callable[[str], None]) -> None:
        app, member = self._app, self._member
        server = Server(app, member.handle if member else app.handle)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        async with AsyncExitStack() as stack:
            if member:
                await stack.enter_async_context(member.joined(server.stop))
            rpc = await self._start_rpc(member.handle if member else app.handle)
            if rpc:
                ending = loop.create_task(self._end(rpc, server))
                stack.push_async_callback(lambda: ending)
            if self._settings.watches:
                stack.callback(loop.create_task(watch(app.repository)).cancel)
            port, workers = rpc.port if rpc else None, self._settings.workers
            place = Place.of(listener, port, workers, has_tls=bool(self._tls))
            await server.serve(listener, lambda: tell(start_line(app, place)), self._tls)
        app.log.tell("info", "ended", answers=sum(app.traffic.answers.values()))

    def _reload(self) -> None:
        """Read certificate and bundles anew."""
        try:
            if self._tls and self._settings.certificate:
                self._settings.certificate.load(self._tls)
        except UsageError as exc:
            self._app.log.tell("error", "certificate refused", reason=str(exc))
        task = asyncio.get_running_loop().create_task(self._app.repository.reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start_rpc(self, handle: Handle) -> RpcServer | None:
        if self._settings.grpc_port is None:
            return None
        from runtime.serving.rpc.server import start

        return await start(self._app, handle, self._settings, shared=self._member is not None)

    async def _end(self, rpc: RpcServer, server: Server) -> None:
        """End gRPC when HTTP is told to end."""
        await server.stopped.wait()
        await rpc.stop(self._settings.limits.drain_s)
