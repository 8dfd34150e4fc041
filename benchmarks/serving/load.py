"""Closed-loop load on a server over some connections; prints one JSON object.

Every connection repeats its own request as soon as it has a response. The first response is read
completely and checked; all later ones must have the same length. Runs in a process of its own.

python benchmarks/serving/load.py --port 8000 --kind json --rows 1 --connections 64 --seconds 2
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import numpy as np
import uvloop

WARM_S = 0.4


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes, latencies: list[float]) -> None:
        self._request, self._latencies = request, latencies
        self._size = self._have = 0
        self._first = b""
        self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Count a complete response, and send the next request."""
        self._have += len(data)
        if not self._size:
            self._first += data
            self._size = size_of(self._first)
            if not self._size:
                return
        if self._have < self._size:
            return
        self._latencies.append(time.perf_counter() - self._sent)
        self.failed += not (self._first.startswith(b"HTTP/1.1 200") and self._have == self._size)
        self._send()

    def _send(self) -> None:
        self._have = 0
        self._sent = time.perf_counter()
        self._transport.write(self._request)  # type: ignore[attr-defined]  # a transport for both ways


def size_of(answer: bytes) -> int:
    """Return the length of a response; 0 while it is unknown."""
    head, end, _ = answer.partition(b"\r\n\r\n")
    if not end:
        return 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(head) + len(end) + int(line[15:])
        if line == b"transfer-encoding: chunked":  # KServe's way with binary tensors
            return len(answer) if answer.endswith(b"\r\n0\r\n\r\n") else 0
    raise SystemExit(f"no length in {head!r}")


def make_request(path: str, kind: str, rows: int, number: int) -> bytes:
    """Write a request of the Open Inference Protocol, JSON or with binary tensors both ways."""
    values = np.random.default_rng(number).uniform(1, 5, (rows, 2)).astype(np.float32)
    tensor = {"name": "features", "shape": [rows, 2], "datatype": "FP32"}
    message = {"inputs": [tensor]}
    fields, tail = "", b""
    if kind == "json":
        tensor["data"] = np.round(values.astype(np.float64), 2).reshape(-1).tolist()
    else:
        tail = values.tobytes()
        tensor["parameters"] = {"binary_data_size": len(tail)}  # type: ignore[assignment]  # a literal's narrow type
        wishes = [{"name": "probabilities", "parameters": {"binary_data": True}}]
        message["outputs"] = wishes  # type: ignore[assignment]  # a literal's narrow type
    text = json.dumps(message, separators=(",", ":")).encode()
    if tail:
        fields = f"Inference-Header-Content-Length: {len(text)}\r\n"
    content = "application/octet-stream" if tail else "application/json"
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {content}\r\n{fields}"
    return f"{head}Content-Length: {len(text) + len(tail)}\r\n\r\n".encode() + text + tail


async def ask(args: argparse.Namespace) -> dict[str, float]:
    """Put load on the server, then count."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    clients = []
    for number in range(args.connections):
        request = make_request(args.path, args.kind, args.rows, number)
        made = await loop.create_connection(
            lambda request=request: Client(request, latencies),  # type: ignore[misc]  # a default in a lambda
            "127.0.0.1",
            args.port,
        )
        clients.append(made[1])
    await asyncio.sleep(WARM_S)
    latencies.clear()
    started = time.perf_counter()
    await asyncio.sleep(args.seconds)
    seconds = time.perf_counter() - started
    done = np.array(latencies) * 1e3
    return {
        "requests": len(done),
        "per_second": len(done) / seconds,
        "p50_ms": float(np.percentile(done, 50)),
        "p99_ms": float(np.percentile(done, 99)),
        "failed": sum(client.failed for client in clients),
    }


def main() -> None:
    """Parse options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/v2/models/simplenet/infer")
    parser.add_argument("--kind", choices=["json", "binary"], default="json")
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    print(json.dumps(uvloop.run(ask(parser.parse_args()))))


if __name__ == "__main__":
    main()
