"""Arbitrary requests of the Open Inference Protocol, without a socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import RequestError
from runtime.predictor import Predictor
from runtime.serving.app import App, build_app
from runtime.serving.http.head import HeadCache, ParsedHead
from runtime.serving.http.messages import Request, Response
from runtime.serving.http.parser import RequestParser
from runtime.serving.models.repository import Repository
from runtime.serving.observability.log import Logger
from runtime.serving.observability.traffic import Traffic
from runtime.serving.settings import DEFAULT_LIMITS
from runtime.serving.v2.messages import parse_request

BUNDLE = Path(__file__).parents[1] / "data" / "bundle"
INFER = "/v2/models/m/infer"

NUMBERS = st.floats(-1e6, 1e6, width=32)
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=5)


@pytest.fixture(scope="module")
def app() -> App:
    """The application, without a server."""
    repository = Repository({"m": BUNDLE}, "cpu", DEFAULT_LIMITS, lambda *_: None)
    repository.open_all()
    return build_app(repository, DEFAULT_LIMITS, Traffic(), Logger())


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """The same bundle, without a server."""
    return Predictor(BUNDLE, provider="cpu")


def ask(app: App, *bodies: bytes) -> list[Response]:
    """Send requests within one iteration of the event loop; one response each."""

    async def run() -> list[Response]:
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[Response]] = [loop.create_future() for _ in bodies]
        for body, answer in zip(bodies, answers, strict=True):
            app.handle(Request("POST", INFER, {}, body, 0), answer.set_result)
        return await asyncio.gather(*answers)

    return asyncio.run(run())


def message(rows: list[tuple[float, float]], *, nested: bool) -> bytes:
    """Encode a request."""
    data: list[Any] = [list(row) for row in rows]
    flat = [value for row in rows for value in row]
    tensor = {"name": "features", "shape": [len(rows), 2], "datatype": "FP32"}
    return json.dumps({"inputs": [{**tensor, "data": data if nested else flat}]}).encode()


@given(st.lists(st.tuples(ROWS, st.booleans()), min_size=1, max_size=6))
def test_each_request_of_a_batch_gets_its_own_response(
    app: App, predictor: Predictor, requests: list[tuple[list[tuple[float, float]], bool]]
) -> None:
    """However requests are batched, each gets what its rows get alone, bit for bit."""
    answers = ask(app, *(message(rows, nested=nested) for rows, nested in requests))
    for (rows, _), answer in zip(requests, answers, strict=True):
        features = np.array(rows, np.float32).reshape(-1, 2)
        assert answer.status == 200
        outputs = {one["name"]: one for one in json.loads(b"".join(answer.body))["outputs"]}
        logits = np.array(outputs["logits"]["data"], np.float32)
        assert logits.tobytes() == predictor.run(features).logits.tobytes()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)
FIELDS = ("name", "shape", "datatype", "data", "parameters")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.dictionaries(st.text(), JSON))
def test_any_json_gets_a_response(app: App, tensor: dict[str, Any], more: dict[str, Any]) -> None:
    """Whatever the values are, the response is 200 or 4xx with a message."""
    whole = {"name": "features", "shape": [1, 2], "datatype": "FP32", "data": [1, 2], **tensor}
    (answer,) = ask(app, json.dumps({"inputs": [whole], **more}).encode())
    assert answer.status in {200, 400, 413}
    if answer.status != 200:
        assert json.loads(b"".join(answer.body))["error"]


KEYS = st.sampled_from(["inputs", "id", "parameters", "outputs", "other"])
VALUES = {
    "inputs": "[]",
    "id": '"a"',
    "parameters": '{"b": "c"}',
    "outputs": "[]",
    "other": '{"d": ["e"]}',
}


@given(st.lists(st.tuples(KEYS, st.booleans()), max_size=6))
def test_duplicate_keys_are_rejected(drawn: list[tuple[str, bool]]) -> None:
    """Duplicate keys are always found, known or not, escaped or not."""
    drawn = [("inputs", False), *drawn]
    keys = [key for key, _ in drawn]
    spelled = [f"\\u{ord(key[0]):04x}{key[1:]}" if escaped else key for key, escaped in drawn]
    text = "{" + ", ".join(f'"{a}": {VALUES[b]}' for a, b in zip(spelled, keys, strict=True)) + "}"
    if len(set(keys)) == len(keys):
        assert parse_request(text.encode(), max_tensors=2).inputs == []
        return
    with pytest.raises(RequestError, match="appears twice"):
        parse_request(text.encode(), max_tensors=2)


class RequestRecorder:
    """Records requests; errors fail the test."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes]] = []

    def on_request(self, request: Request, *, keep_alive: bool) -> None:
        """Record a request."""
        assert keep_alive
        self.requests.append((request.target, bytes(request.body)))

    def on_error(self, status: int, message: str) -> None:
        """Fail: all requests are valid."""
        raise AssertionError((status, message))

    def send_continue(self) -> None:
        """Ignore it: no request expects it."""

    def reserve(self, size: int) -> bool:
        """Reserve without a limit."""
        return size >= 0


BODIES = st.binary(max_size=60) | st.integers(16_000, 40_000).map(lambda size: b"x" * size)


@given(
    st.lists(st.tuples(BODIES, st.booleans()), max_size=4),
    st.lists(st.integers(1, 30_000), max_size=30),
)
def test_requests_are_independent_of_segmentation(
    bodies: list[tuple[bytes, bool]], cuts: list[int]
) -> None:
    """Bodies of known length, small and large, and chunked ones, in pieces of any size."""
    sent = b""
    for number, (body, chunked) in enumerate(bodies):
        sent += b"POST /%d HTTP/1.1\r\nHost: a\r\n" % number
        if chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            sent += b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
        else:
            sent += b"Content-Length: %d\r\n\r\n" % len(body) + body
    recorder, shared = RequestRecorder(), memoryview(bytearray(65_536))
    parser = RequestParser(DEFAULT_LIMITS, recorder)
    sizes = iter(cuts)
    while sent:
        buffer = parser.get_buffer(shared)
        size = min(next(sizes, 65_536), len(sent), len(buffer))
        buffer[:size] = sent[:size]
        parser.buffer_updated(size, shared)
        sent = sent[size:]
    assert recorder.requests == [(f"/{number}", body) for number, (body, _) in enumerate(bodies)]


class EventRecorder:
    """Records every event of a parser."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def on_request(self, request: Request, *, keep_alive: bool) -> None:
        """Record a request."""
        event = (request.method, request.target, request.headers, bytes(request.body), keep_alive)
        self.events.append(event)

    def on_error(self, status: int, message: str) -> None:
        """Record an error."""
        self.events.append((status, message))

    def send_continue(self) -> None:
        """Record it."""
        self.events.append("continue")

    def reserve(self, size: int) -> bool:
        """Reserve without a limit."""
        return size >= 0


class EmptyCache(HeadCache):
    """Caches nothing."""

    def get(self, head: bytes) -> ParsedHead | None:  # noqa: ARG002 - as the cache's
        """Return nothing."""
        return None


LINES = st.sampled_from(
    [
        b"Content-Length: 2",
        b"Content-Length: 30000",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Connection: close",
        b"Connection: Upgrade\r\nUpgrade: h2c",
        b"X: y",
    ]
)
BROKEN = [
    b"\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\n\nPOST / HTTP/1.1\r\n",
]
HEADS = st.lists(LINES, max_size=3).map(
    lambda lines: b"\r\n".join([b"POST / HTTP/1.1", b"Host: a", *lines, b"", b""])
)
BYTES = st.sampled_from([b"{}", b"x" * 30_000, b"2\r\n{}\r\n0\r\n\r\n", b"", *BROKEN])


@given(
    st.lists(st.tuples(HEADS, BYTES), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), st.just(65_536) | st.integers(1, 40_000)), max_size=8),
)
def test_cached_head_equals_a_parsed_one(
    kinds: list[tuple[bytes, bytes]], order: list[tuple[int, int]]
) -> None:
    """Valid and invalid requests, repeated: the cache changes nothing."""
    pieces: list[bytes] = []
    for number, cut in order:
        message = b"".join(kinds[number % len(kinds)])
        pieces += [message[:cut], message[cut:]]
    events = []
    for cache in (HeadCache(), EmptyCache()):
        recorder, shared = EventRecorder(), memoryview(bytearray(65_536))
        parser = RequestParser(DEFAULT_LIMITS, recorder, cache)
        for piece in pieces:
            left = piece
            while left:
                buffer = parser.get_buffer(shared)
                size = min(len(left), len(buffer))
                buffer[:size] = left[:size]
                parser.buffer_updated(size, shared)
                left = left[size:]
        parser.eof_received()
        events.append(recorder.events)
    assert events[0] == events[1]
