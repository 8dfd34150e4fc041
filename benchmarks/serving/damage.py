"""Damaged requests, and a server's responses to them.

The server has the models ``simplenet`` and ``sales``. After every damaged request the connection is
half closed, so that it is answered or dropped at once, and read to its end. Some follow a valid
request on the same connection, whose response must be correct.
"""

from __future__ import annotations

import json
import random
import re
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATIENCE_S = 20
_RESET = struct.pack("ii", 1, 0)  # closed without lingering: thousands of ports stay free
_ALLOWED = frozenset({501, 505})  # what HTTP says to a method or version that nobody offers
_SIZE = re.compile(rb"(?<=\n)Content-Length: [0-9]+")
_NUMBER = re.compile(rb"[0-9.]+")
_VALUES = (
    *(b"0", b"1", b"2", b"3", b"4", b"8", b"-1", b"2.5", b"1e39", b"1e999", b"1e-50", b"9" * 400),
    *(b"null", b"NaN", b"Infinity", b"true", b"[]", b"[1]", b"{}", b'"1"', b'""', b"1,2", b""),
    *(b"18446744073709551616", b"1000000000000000", b"0x1", b"1_0", b'"\\ud800"', b'"\xff"'),
)
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


def post(target: str, body: bytes, fields: Mapping[str, str] | None = None) -> bytes:
    """Write a request."""
    names = {"Host": "test", "Content-Length": str(len(body)), **(fields or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in names.items())
    return f"POST {target} HTTP/1.1\r\n{lines}\r\n".encode() + body


def _infer(model: str, tensors: list[dict[str, object]], tail: bytes = b"") -> bytes:
    wishes = [{"name": "label"}, {"name": "probabilities"}]
    text = json.dumps({"id": "a", "inputs": tensors, "outputs": wishes}).encode()
    fields = {"Inference-Header-Content-Length": str(len(text))} if tail else {}
    return post(f"/v2/models/{model}/infer", text + tail, fields)


def _tensor(name: str, datatype: str, shape: list[int], **more: object) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape, **more}


GOOD = _infer("simplenet", [_tensor("features", "FP32", [2, 2], data=[7.5, 3.0, 2.0, 1.0])])
_SALES = {"colour": ["red", ""], "size": ["S", "M"], "price": [2.5, 9.5], "rating": [3.5, None]}
_KINDS = {"colour": "BYTES", "size": "BYTES", "price": "FP64", "rating": "FP32"}
_TEXTS = b"\3\0\0\0red\0\0\0\0"
TARGETS = (
    GOOD,
    _infer(
        "simplenet",
        [_tensor("features", "FP32", [1, 2], parameters={"binary_data_size": 8})],
        b"\0\0\xf0\x40\0\0\x40\x40",
    ),
    _infer("sales", [_tensor(name, _KINDS[name], [2], data=_SALES[name]) for name in _SALES]),
    _infer(
        "sales",
        [
            _tensor("colour", "BYTES", [2], parameters={"binary_data_size": len(_TEXTS)}),
            *(_tensor(one, _KINDS[one], [2], data=_SALES[one]) for one in list(_SALES)[1:]),
        ],
        _TEXTS,
    ),
    post("/predict?model=simplenet", b"price,rating\n7.5,3\n", {"Content-Type": "text/csv"}),
    post("/predict?model=sales", b'[{"price":7.5,"rating":null,"colour":"red","size":"S"}]'),
    (
        b"POST /predict?model=simplenet HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"d\r\nprice,rating\n\r\n6\r\n7.5,3\n\r\n0\r\n\r\n"
    ),
    post("/v2/repository/index", b'{"ready": true}'),
    b"GET /v2/models/sales HTTP/1.1\r\nHost: test\r\n\r\n",
)


@dataclass
class Harm:
    """Results.

    Attributes:
        statuses: responses to damaged requests, by status; 0 for a closed connection.
        good: correct responses to valid requests.
        wrong: deviations.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    good: int = 0
    wrong: list[str] = field(default_factory=list)


def damage(draw: random.Random, data: bytes) -> bytes:
    """Change a request as a broken client or an attacker would.

    Half of them are changed only in their body and have its correct length, so HTTP accepts them.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    if not body or draw.getrandbits(1):
        return _change(draw, data)
    body = _change(draw, body)
    return _SIZE.sub(b"Content-Length: %d" % len(body), head, count=1) + end + body


def _change(draw: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(len(changed) + 1)
        kind = draw.randrange(6)
        if kind == 0:
            changed[at : at + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            del changed[at : at + draw.choice((1, 3, 20))]
        elif kind == 2:
            changed[at:at] = bytes(draw.randrange(256) for _ in range(draw.choice((1, 4))))
        elif kind == 3:
            changed[at:at] = changed[max(at - draw.randrange(1, 40), 0) : at]
        elif found := list(_NUMBER.finditer(changed)):  # still JSON or CSV, and another value
            place = draw.choice(found)
            changed[place.start() : place.end()] = draw.choice(_VALUES)
    return bytes(changed)


def attack(port: int, requests: int, seed: int) -> Harm:
    """Send damaged requests, with valid ones between and before them.

    Args:
        port: where the server listens.
        requests: damaged ones.
        seed: the same damage every time.

    Returns:
        The results.
    """
    draw = random.Random(seed)  # noqa: S311 - nothing secret
    harm, right = Harm(), _bodies(_exchange(port, GOOD))
    for turn in range(requests):
        has_good = turn % 4 == 0  # before it, on the same connection
        damaged = damage(draw, draw.choice(TARGETS))
        found = _exchange(port, (GOOD if has_good else b"") + damaged)
        statuses = [int(status) for status in _STATUS.findall(found)]
        if has_good:
            _compare(harm, found, right, damaged)
            statuses = statuses[1:]
        harm.statuses.update(statuses or [0])
        if any(status >= 500 and status not in _ALLOWED for status in statuses):
            harm.wrong.append(f"{damaged!r} was answered {found!r}")
        if turn % 20 == 0:
            _compare(harm, _exchange(port, GOOD), right, damaged)
    return harm


def _compare(harm: Harm, found: bytes, right: bytes, damaged: bytes) -> None:
    """Check that the received bytes begin with the correct response."""
    if _bodies(found).startswith(right) and found.startswith(b"HTTP/1.1 200 "):
        harm.good += 1
    else:
        harm.wrong.append(f"a good request beside {damaged!r} was answered {found!r}")


def _bodies(found: bytes) -> bytes:
    return found.partition(b"\r\n\r\n")[2]


def _exchange(port: int, data: bytes) -> bytes:
    """Send, half close, and read to the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        found = b""
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(1 << 16):
                found += piece
        except ConnectionError:
            pass  # what came before counts
        return found
