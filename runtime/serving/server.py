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
import time
from typing import TYPE_CHECKING, Final

from runtime.serving.http.connection import Connection
from runtime.serving.http.hub import Hub

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from ssl import SSLContext

    from runtime.serving.app import App
    from runtime.serving.http.message import Handle

_QUIET_S: Final = 0.4  # a client not heard of for so long has nothing on its way
_LOOK_S: Final = 0.02
_BACKLOG: Final = 4096
# The event loop takes one connection a turn for each handle that listens: of a crowd that comes at
# once, the last would wait for as many turns as there are clients.
_ACCEPTED: Final = 16


class Server:
    """One process's server.

    Attributes:
        hub: its connections.
        stopped: set when it has been told to end.
    """

    def __init__(self, app: App, handle: Handle) -> None:
        """Make a server that doesn't listen yet.

        Args:
            app: its limits, counts and log.
            handle: answers requests.
        """
        self._app, self._limits = app, app.limits
        self.hub = Hub(handle, app.limits, app.traffic, app.log.tell_bug)
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
        handles = [listener, *(listener.dup() for _ in range(_ACCEPTED - 1))]
        servers = [
            await loop.create_server(
                lambda: Connection(self.hub),
                sock=handle,
                backlog=_BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=self._limits.header_s if tls else None,
            )
            for handle in handles
        ]
        on_ready()
        await self.stopped.wait()
        await self._drain(servers)

    def stop(self) -> None:
        """End as at a first signal."""
        self.stopped.set()

    def _stop(self, number: int) -> None:
        if self.stopped.is_set():
            os._exit(128 + number)  # a second signal: no more waiting
        self.stopped.set()

    async def _drain(self, servers: list[asyncio.Server]) -> None:
        """Answer what has come and what comes until the clients know that it is over."""
        self._app.traffic.draining = True
        begun = time.monotonic()
        while time.monotonic() - begun < self._limits.drain_s:
            await asyncio.sleep(_LOOK_S)
            now = time.monotonic()
            if now - begun > _QUIET_S:
                _close(servers)
                if self.hub.is_quiet(now - _QUIET_S):
                    break
        _close(servers)
        self.hub.close_all()
        await self._see_off()

    async def _see_off(self) -> None:
        """Let the last answers go out."""
        for _ in range(int(_QUIET_S / _LOOK_S)):
            if not self.hub.open:
                return
            await asyncio.sleep(_LOOK_S)


def _close(servers: list[asyncio.Server]) -> None:
    """Take no more connections."""
    for server in servers:
        server.close()
