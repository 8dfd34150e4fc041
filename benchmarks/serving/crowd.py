"""Closed-loop clients, more than the server admits; prints one JSON object.

Served and rejected requests are timed separately, and so is ``/v2/health/live``, which another
client requests all the time. With --patient a rejected client waits as long as Retry-After says.
``benchmarks/overload.py`` runs it in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field

import numpy as np
import uvloop
from serving.load import make_request

WARM_S = 0.4
HEALTH = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
HEALTH_EVERY_S = 0.01


@dataclass
class Times:
    """Seconds from request to response, by kind of response.

    Attributes:
        served: 200.
        refused: 503 with Retry-After.
        again: either, to an immediate retry after a 503.
        health: of the client that requests ``/v2/health/live``.
        answered: number of 200.
        turned_away: number of 503.
        wrong: number of other responses.
    """

    served: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    answered: int = 0
    turned_away: int = 0
    wrong: int = 0

    def clear(self) -> None:
        """Discard the warm-up."""
        for times in (self.served, self.refused, self.again, self.health):
            times.clear()
        self.answered = self.turned_away = 0


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes, times: Times, *, patient: bool) -> None:
        self._request, self._times, self._patient = request, times, patient
        self._sizes: set[int] = set()  # of whole answers: most are as long as one before
        self._have = b""
        self._is_hasty = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait until all are connected."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Time a complete response, and send the next request."""
        now = time.perf_counter()
        self._have = data = self._have + data if self._have else data
        if len(data) not in self._sizes:
            if len(data) != _size_of(data):
                return
            self._sizes.add(len(data))
        self._have = b""
        self._note(data, now - self._sent)

    def _note(self, answer: bytes, seconds: float) -> None:
        times, loop = self._times, asyncio.get_running_loop()
        is_hasty, self._is_hasty = self._is_hasty, False
        if answer.startswith(b"HTTP/1.1 200"):
            if self._request is HEALTH:
                times.health.append(seconds)
                loop.call_later(HEALTH_EVERY_S, self.send)
                return
            times.answered += 1
            (times.again if is_hasty else times.served).append(seconds)
        elif answer.startswith(b"HTTP/1.1 503") and b"\r\nretry-after: 1\r\n" in answer:
            times.turned_away += 1
            (times.again if is_hasty else times.refused).append(seconds)
            if self._patient:
                loop.call_later(1, self.send)
                return
            self._is_hasty = True
        else:
            times.wrong += 1
        self.send()

    def send(self) -> None:
        """Send a request."""
        self._sent = time.perf_counter()
        self._transport.write(self._request)  # type: ignore[attr-defined]  # a transport for both ways


def _size_of(data: bytes) -> int:
    """Return the length of the response that begins here; 0 while its header is incomplete."""
    head, end, _ = data.partition(b"\r\n\r\n")
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return len(head) + len(end) + int(length) if end else 0


async def ask(args: argparse.Namespace) -> dict[str, float]:
    """Put load on the server, then measure."""
    loop, times = asyncio.get_running_loop(), Times()
    path = "/v2/models/simplenet/infer"
    requests = [make_request(path, "json", args.rows, at) for at in range(args.connections)]
    clients = [Client(one, times, patient=args.patient) for one in [*requests, HEALTH]]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", args.port)  # type: ignore[misc]  # a default in a lambda
    for client in clients:
        client.send()
    await asyncio.sleep(WARM_S)
    times.clear()
    started = time.perf_counter()
    await asyncio.sleep(args.seconds)
    seconds = time.perf_counter() - started
    return {
        "served": times.answered / seconds,
        "refused": times.turned_away / seconds,
        "wrong": times.wrong,
        **_percentiles("served", times.served),
        **_percentiles("refused", times.refused),
        **_percentiles("again", times.again),
        **_percentiles("health", times.health),
    }


def _percentiles(name: str, times: list[float]) -> dict[str, float]:
    """Compute percentiles in milliseconds; 0 without values."""
    at = np.percentile(np.array(times or [0.0]) * 1e3, (50, 99))
    return {f"{name}_p50": float(at[0]), f"{name}_p99": float(at[1])}


def main() -> None:
    """Parse options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--patient", action="store_true")
    print(json.dumps(uvloop.run(ask(parser.parse_args()))))


if __name__ == "__main__":
    main()
