"""Clients with distinct rows while a server's bundle is replaced.

Each request has unique rows, in JSON or binary, and a unique id. Each response must have that id,
name one of the versions, and hold the logits of that version for these rows, bit for bit.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import orjson

from runtime.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_LENGTH = b"inference-header-content-length: "
_WISH = {"outputs": [{"name": "logits", "parameters": {"binary_data": True}}]}
MOST_ROWS = 3  # a request


@dataclass(frozen=True)
class Pool:
    """Distinct rows, and the logits of each version.

    Attributes:
        rows: ``(n, 2)`` float64 with few digits.
        logits: ``(n, classes)`` float32 by version.
    """

    rows: np.ndarray
    logits: dict[str, np.ndarray]


@dataclass
class Tally:
    """Results.

    Attributes:
        versions: responses by the version that they name.
        kinds: responses by the encoding of the request.
        wrong: deviations.
        loads: of a bundle during the run.
    """

    versions: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    loads: int = 0

    @property
    def answers(self) -> int:
        """Number of responses."""
        return sum(self.kinds.values())


def draw_pool(bundles: Sequence[Path], requests: int) -> Pool:
    """Draw rows for the requests, with the predictions of each bundle.

    Args:
        bundles: with the columns price and rating.
        requests: number of requests.

    Returns:
        The pool.
    """
    draw = np.random.default_rng(3)
    size = (requests * MOST_ROWS * 5 // 4 + 100, 2)
    rows = draw.permutation(np.unique(np.round(draw.uniform(1, 10, size), 4), axis=0))
    logits = {}
    for path in bundles:
        predictor = Predictor(path, provider="cpu")
        logits[predictor.manifest.model.version] = predictor.run(rows.astype(np.float32)).logits
    return Pool(rows, logits)


async def ask_while_reloading(
    port: int, pool: Pool, clients: int, requests: int, swap: Callable[[], None]
) -> Tally:
    """Send requests, each client on its own connection, while the bundle is replaced.

    Args:
        port: where the model ``simplenet`` is served.
        pool: rows and their expected logits.
        clients: number of clients.
        requests: of each client.
        swap: puts the other bundle in its folder.

    Returns:
        The results.
    """
    tally, done = Tally(), asyncio.Event()
    reloading = asyncio.create_task(_reload(port, swap, tally, done))
    await asyncio.gather(
        *(_ask(port, pool, range(n, clients * requests, clients), tally) for n in range(clients))
    )
    done.set()
    await reloading
    return tally


async def _reload(port: int, swap: Callable[[], None], tally: Tally, done: asyncio.Event) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not done.is_set():
        swap()
        writer.write(_post("/v2/repository/models/simplenet/load", b""))
        head, body = await _read(reader)
        if b" 200 " not in head:
            tally.wrong.append(f"a load: {body!r}")
        tally.loads += 1
    writer.close()


async def _ask(port: int, pool: Pool, numbers: range, tally: Tally) -> None:
    """Run one client; the number of a request determines its rows."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in numbers:
        start = number * MOST_ROWS
        rows = slice(start, start + 1 + number % MOST_ROWS)
        is_binary = (number + number // numbers.step) % 2 == 0  # every client asks both ways
        writer.write(_request(number, pool.rows[rows], is_binary=is_binary))
        head, body = await _read(reader)
        tally.kinds["binary" if is_binary else "JSON"] += 1
        right = {version: logits[rows].tobytes() for version, logits in pool.logits.items()}
        if not _is_right(number, head, body, tally, right):
            tally.wrong.append(f"{number}: {body[:200]!r}")
    writer.close()


def _request(number: int, rows: np.ndarray, *, is_binary: bool) -> bytes:
    tensor: dict[str, object] = {"name": "features", "shape": rows.shape, "datatype": "FP32"}
    if not is_binary:
        tensor["data"] = rows.reshape(-1).tolist()
        text = json.dumps({"id": str(number), "inputs": [tensor]}).encode()
        return _post("/v2/models/simplenet/infer", text)
    content = rows.astype("<f4").tobytes()
    tensor["parameters"] = {"binary_data_size": len(content)}
    text = json.dumps({"id": str(number), "inputs": [tensor], **_WISH}).encode()
    return _post("/v2/models/simplenet/infer", text + content, _LENGTH + b"%d\r\n" % len(text))


def _post(path: str, body: bytes, fields: bytes = b"") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n".encode()
    return head + fields + b"\r\n" + body


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head, await reader.readexactly(length)


def _is_right(number: int, head: bytes, body: bytes, tally: Tally, right: dict[str, bytes]) -> bool:
    """Compare a response with its request and the version that it names."""
    if b" 200 " not in head:
        return False
    at = int(head.partition(_LENGTH)[2].partition(b"\r\n")[0] or len(body))
    answer = orjson.loads(body[:at])
    sent = body[at:] or np.array(answer["outputs"][2]["data"], np.float32).tobytes()
    tally.versions[answer["model_version"]] += 1
    return answer["id"] == str(number) and sent == right.get(answer["model_version"])
