"""Listen, answer, and end without losing a request.

At SIGTERM the server is no longer ready, still answers, and says with each answer that its
connection ends. New connections are taken for a moment, so that none is reset in the queue. When
nothing is being answered and no client has been heard of for a moment, it is over. A second
signal ends the process at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Final

from runtime.errors import UnavailableError
from runtime.serving.http.connection import Connection
from runtime.serving.http.hub import Hub

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from runtime.serving.app import App

_QUIET_S: Final = 0.4  # a client not heard of for so long has nothing on its way
_LOOK_S: Final = 0.02
_BACKLOG: Final = 4096


class Server:
    """One process's server.

    Attributes:
        hub: its connections.
        stopped: set when it has been told to end.
    """

    def __init__(self, app: App) -> None:
        """Make a server that doesn't listen yet.

        Args:
            app: answers requests.
        """
        self._app, self._limits = app, app.limits
        self.hub = Hub(app.handle, app.limits, app.traffic, app.log.tell_bug)
        self.stopped = asyncio.Event()

    async def serve(
        self, listener: socket.socket, on_ready: Callable[[], None], tls: SSLContext | None = None
    ) -> None:
        """Serve until a signal ends it.

        Args:
            listener: bound; see ``bind``.
            on_ready: told when connections are taken.
            tls: what connections are made with; None for plain ones.
        """
        loop = asyncio.get_running_loop()
        self.hub.start(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        server = await loop.create_server(
            lambda: Connection(self.hub),
            sock=listener,
            backlog=_BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=self._limits.header_s if tls else None,
        )
        on_ready()
        await self.stopped.wait()
        await self._drain(server)

    def _stop(self, number: int) -> None:
        if self.stopped.is_set():
            os._exit(128 + number)  # a second signal: no more waiting
        self.stopped.set()

    async def _drain(self, server: asyncio.Server) -> None:
        """Answer what has come and what comes until the clients know that it is over."""
        self._app.traffic.draining = True
        begun = time.monotonic()
        while time.monotonic() - begun < self._limits.drain_s:
            await asyncio.sleep(_LOOK_S)
            now = time.monotonic()
            if now - begun > _QUIET_S:
                server.close()
                if self.hub.is_quiet(now - _QUIET_S):
                    break
        server.close()
        self.hub.close_all()
        await self._see_off()

    async def _see_off(self) -> None:
        """Let the last answers go out."""
        for _ in range(int(_QUIET_S / _LOOK_S)):
            if not self.hub.open:
                return
            await asyncio.sleep(_LOOK_S)


def bind(host: str, port: int) -> socket.socket:
    """Take an address.

    Args:
        host: name or number of an interface of this machine.
        port: 0 takes a free one.

    Returns:
        A bound socket.

    Raises:
        UnavailableError: when the address is not to be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as exc:
        raise UnavailableError(
            f"cannot listen on {host}:{port}: {exc.strerror}; choose another with --host, --port"
        ) from exc
    listener.setblocking(False)
    return listener
