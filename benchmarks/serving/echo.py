"""A server without a model: our HTTP layer, or a minimal one to show the cost of the checks.

python benchmarks/serving/echo.py ours|bare PORT
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvloop
from serving.answer import ANSWER

from runtime.serving.http.connection import Connection
from runtime.serving.http.connections import ConnectionManager
from runtime.serving.http.messages import Reply, Request, Response
from runtime.serving.observability.failures import FailureLog
from runtime.serving.observability.log import Logger
from runtime.serving.observability.traffic import Traffic
from runtime.serving.settings import DEFAULT_LIMITS

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class Bare(asyncio.Protocol):
    """Finds the end of a request, nothing else."""

    def __init__(self) -> None:
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Respond to a complete request."""
        self._data += data
        head, end, body = bytes(self._data).partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().rpartition(b"content-length:")[2].split()[0]):
            self._data.clear()
            self._transport.write(_HEAD % len(ANSWER) + ANSWER)  # type: ignore[attr-defined]  # both ways


def handle(_request: Request, reply: Reply) -> None:
    """Send a fixed response."""
    reply(Response(200, (ANSWER,)))


async def run(kind: str, port: int) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    connections = ConnectionManager(handle, DEFAULT_LIMITS, Traffic(), print, FailureLog(Logger()))
    connections.start(loop)
    with socket.create_server(("127.0.0.1", port)) as listener:
        server = await loop.create_server(
            (lambda: Connection(connections)) if kind == "ours" else Bare, sock=listener
        )
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], int(sys.argv[2])))
