"""A collector that receives OTLP over HTTP, discards it and responds at once.

python benchmarks/serving/sink.py 4318
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def discard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read one request after the other."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            writer.write(_RESPONSE)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    """Serve until a signal."""
    server = await asyncio.start_server(discard, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
