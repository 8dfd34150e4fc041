"""Clients that send their next request with each response, until their connection is closed.

Each sends a row of its own over one keep-alive connection. A response with ``Connection: close`` is
the last. A request is lost when it was sent completely, on a connection that was open as far as the
client could know, and did not receive a complete response.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import orjson
from serving.load import make_request, size_of

from runtime.predictor import Predictor

if TYPE_CHECKING:
    from pathlib import Path

_PATH = "/v2/models/simplenet/infer"
_CLOSE_ENOUGH = 1e-5  # servers write a probability with six digits or more


@dataclass(frozen=True)
class Question:
    """A request and its expected response.

    Attributes:
        request: the bytes.
        label: of its one row.
        probabilities: ``(classes,)`` float32.
    """

    request: bytes
    label: int
    probabilities: np.ndarray


@dataclass
class Tally:
    """Results of the clients of one server.

    Attributes:
        right: responses 200 with the correct label and probabilities.
        wrong: other responses.
        lost: requests without a complete response.
        told: connections whose last response had ``Connection: close``.
        last: time of the last response, by ``time.perf_counter``.
    """

    right: int = 0
    wrong: int = 0
    lost: int = 0
    told: int = 0
    last: float = 0.0


class Client(asyncio.Protocol):
    """One connection.

    Attributes:
        waits: whether a request has no response yet.
        ended: set when its connection is closed.
    """

    def __init__(self, question: Question, tally: Tally) -> None:
        self._question, self._tally = question, tally
        self._have = b""
        self.waits = False
        self._may_ask = True
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Check a complete response, and send the next request."""
        self._have += data
        if not (size := size_of(self._have)) or len(self._have) < size:
            return
        answer, self._have, self.waits = self._have, b"", False
        self._tally.last = time.perf_counter()
        if is_right(answer, self._question):
            self._tally.right += 1
        else:
            self._tally.wrong += 1
        if b"\r\nconnection: close\r\n" in answer.partition(b"\r\n\r\n")[0].lower() + b"\r\n":
            self._tally.told += 1
            self._transport.close()
        elif self._may_ask:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a request without a response."""
        del exc
        self._tally.lost += self.waits
        self.ended.set()

    def stop(self) -> None:
        """Send no further requests."""
        self._may_ask = False

    def _send(self) -> None:
        self.waits = True
        self._transport.write(self._question.request)  # type: ignore[attr-defined]  # a transport for both ways


def make_questions(bundle: Path, count: int) -> list[Question]:
    """Make requests of one row each, with the bundle's predictions.

    Args:
        bundle: with the columns price and rating.
        count: how many.

    Returns:
        The requests with their answers.
    """
    predictor = Predictor(bundle, provider="cpu")
    requests = [make_request(_PATH, "json", 1, number) for number in range(count)]
    bodies = [orjson.loads(one.partition(b"\r\n\r\n")[2]) for one in requests]
    rows = np.array([body["inputs"][0]["data"] for body in bodies], np.float32)  # (count, 2)
    answer = predictor.run(rows)
    return [
        Question(request, int(label), probabilities)
        for request, label, probabilities in zip(
            requests, answer.label, answer.probabilities, strict=True
        )
    ]


def is_right(answer: bytes, question: Question) -> bool:
    """Compare a response with the runtime's prediction for the row."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return False
    found = {
        one["name"]: np.array(one["data"]).reshape(-1) for one in orjson.loads(body)["outputs"]
    }
    label, probabilities = found["label"], found["probabilities"]
    apart = np.abs(probabilities - question.probabilities).max()
    return bool(label.tolist() == [question.label] and apart < _CLOSE_ENOUGH)


async def connect(port: int, questions: list[Question], tally: Tally) -> list[Client]:
    """Connect a client per request; all begin once they are connected."""
    loop = asyncio.get_running_loop()
    clients = []
    for question in questions:
        made = await loop.create_connection(
            lambda question=question: Client(question, tally),  # type: ignore[misc]  # a default in a lambda
            "127.0.0.1",
            port,
        )
        clients.append(made[1])
    return clients
