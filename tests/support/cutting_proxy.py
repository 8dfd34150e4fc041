"""A TCP proxy on loopback that can be told to cut, or to stall, what passes through it."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 64 * 1024


class CuttingProxy:
    """Passes bytes on until ``limit`` bytes have passed in one direction, then cuts or stalls.

    Attributes:
        url: to connect to.
        down: bytes from the server that may still pass; None for all.
        up: likewise to the server.
        rate: bytes a second that all connections together may send to the server; None for all.
        stalls: whether the rest is held back, rather than the connection cut.
        cuts: connections that were cut or stalled.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.down: int | None = None
        self.up: int | None = None
        self.rate: float | None = None
        self._lock, self._free = threading.Lock(), 0.0
        self.stalls, self.cuts, self.turns = False, 0, 0
        self._ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                for source, target, way in ((server, client, "down"), (client, server, "up")):
                    threading.Thread(
                        target=self._pass, args=(source, target, way), daemon=True
                    ).start()

    def _pass(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                left = getattr(self, way)
                if left is not None and left < len(data):
                    self._cut(data[:left], source, target)
                    return
                if left is not None:
                    setattr(self, way, left - len(data))
                if self.rate and way == "up":
                    self._wait(len(data) / self.rate)
                target.sendall(data)
        self._close(source, target)

    def _wait(self, seconds: float) -> None:
        """Wait until the line, which takes a chunk after the other, has sent this one."""
        with self._lock:
            now = time.monotonic()
            self._free = max(self._free, now) + seconds
            left = self._free - now
        time.sleep(left)

    def _cut(self, rest: bytes, *ends: socket.socket) -> None:
        self.cuts += 1
        with suppress(OSError):
            ends[1].sendall(rest)
        if self.stalls:
            self._ended.wait()
        if self.turns:  # so often a new connection passes it all, for a retry
            self.turns -= 1
            self.down = self.up = None
        self._close(*ends)

    def _close(self, *ends: socket.socket) -> None:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the other thread
            end.close()

    def close(self) -> None:
        """End it."""
        self._ended.set()
        self._listener.close()


@contextmanager
def cutting_proxy(endpoint: str) -> Iterator[CuttingProxy]:
    """Start a proxy in front of an endpoint, ``http://127.0.0.1:PORT``."""
    proxy = CuttingProxy(int(endpoint.rpartition(":")[2]))
    try:
        yield proxy
    finally:
        proxy.close()
