"""Ask another worker what was asked of this one. No errors: a worker that is gone says nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from runtime.serving.http.message import Response

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.serving.http.message import Request

_PATIENCE_S: Final = 60.0  # to load: a bundle may be large
_COUNTS_S: Final = 2.0  # to tell counts: who asks does not wait for long, as Prometheus
_HEAD_BYTES: Final = 64 * 1024


async def ask(path: Path, request: Request) -> Response | None:
    """Hand a request on.

    Args:
        path: of the worker's socket.
        request: as it came, with its keys.

    Returns:
        The answer; None where the worker died, is starting or hangs: a new one begins with new
        counts and with the bundles as they are now.
    """
    try:
        async with asyncio.timeout(_PATIENCE_S if request.method == "POST" else _COUNTS_S):
            return await _exchange(path, request)
    except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
        return None


async def _exchange(path: Path, request: Request) -> Response:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=_HEAD_BYTES)
    try:
        fields = {**request.headers, b"host": b"worker", b"connection": b"close"}
        fields[b"content-length"] = str(len(request.body)).encode()
        for name in (b"transfer-encoding", b"expect", b"upgrade"):  # were for the first one
            fields.pop(name, None)
        lines = b"".join(b"%b: %b\r\n" % field for field in fields.items())
        first = f"{request.method} {request.target} HTTP/1.1\r\n".encode("latin-1")
        writer.write(first + lines + b"\r\n" + request.body)
        head = await reader.readuntil(b"\r\n\r\n")
        return Response(int(head.split(None, 2)[1]), (await reader.read(),))
    finally:
        writer.close()
