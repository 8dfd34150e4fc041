"""HTTP/1.1 (RFC 9112) on a real socket."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
from serving_client import request

from runtime.serving.http.parser import RequestParser
from runtime.serving.settings import Limits

if TYPE_CHECKING:
    from serving_client import Client, Served

    from runtime.serving.http.messages import Request

INFER = "/v2/models/simplenet/infer"
BODY = json.dumps(
    {"inputs": [{"name": "features", "shape": [1, 2], "datatype": "FP32", "data": [7.5, 3]}]}
).encode()
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
POST = f"POST {INFER} HTTP/1.1\r\nHost: a\r\n"


def _post(fields: str, body: bytes = b"") -> bytes:
    return f"{POST}{fields}\r\n".encode() + body


def _whole(number: int = 0) -> bytes:
    body = json.dumps({**json.loads(BODY), "id": str(number)}).encode()
    return _post(f"Content-Length: {len(body)}\r\n", body)


def test_keep_alive(client: Client) -> None:
    """One connection serves many requests."""
    for number in range(3):
        client.send(_whole(number))
        answer = client.read()
        assert (answer.status, answer.json["id"]) == (200, str(number))
        assert "connection" not in answer.headers


def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    """Two hundred pipelined requests get two hundred responses in order."""
    health = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
    client.send(b"".join(_whole(number) + health for number in range(200)))
    for number in range(200):
        assert client.read().json["id"] == str(number)
        assert client.read().json == {"live": True}


@pytest.mark.parametrize("size", [1, 7, 1000], ids=str)
def test_request_split_anywhere(client: Client, size: int) -> None:
    """Wherever the network splits a request, it is the same request."""
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = _whole(5)
    for start in range(0, len(data), size):
        client.send(data[start : start + size])
    assert client.read().json["id"] == "5"


def test_chunked_body(client: Client) -> None:
    """A chunked body with an extension and a trailer is read, and the next request too."""
    pieces = [BODY[start : start + 10] for start in range(0, len(BODY), 10)]
    chunks = b"".join(b"%x;note=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    client.send(_post("Transfer-Encoding: chunked\r\n", chunks + b"0\r\nX-Trailer: 1\r\n\r\n"))
    client.send(_whole(8))
    assert client.read().status == 200
    assert client.read().json["id"] == "8"


def test_100_continue(client: Client) -> None:
    """A client that expects 100 Continue gets it, and its response after the body."""
    client.send(_post(f"Content-Length: {len(BODY)}\r\nExpect: 100-continue\r\n"))
    assert client.read().status == 100
    client.send(BODY)
    assert client.read().status == 200


def test_100_continue_is_sent_in_order(client: Client) -> None:
    """Behind a pipelined request, 100 Continue follows that request's response."""
    client.send(_whole(1) + _post(f"Content-Length: {len(BODY)}\r\nExpect: 100-continue\r\n"))
    assert client.read().json["id"] == "1"
    assert client.read().status == 100
    client.send(BODY)
    assert client.read().status == 200


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("Content-Length: 99999999999\r\nExpect: 100-continue\r\n", 413),
        ("Content-Length: 10\r\nExpect: a-miracle\r\n", 417),
    ],
    ids=["too-large", "unknown"],
)
def test_unmet_expectation(client: Client, fields: str, status: int) -> None:
    """A body that will not be read is rejected before it is sent."""
    client.send(_post(fields))
    answer = client.read()
    assert answer.status == status
    assert answer.error
    assert answer.headers["connection"] == "close"


def test_half_closed_connection_is_answered(client: Client) -> None:
    """A client that has closed its sending side is still answered."""
    client.send(_whole(3))
    client.socket.shutdown(socket.SHUT_WR)
    answer = client.read()
    assert (answer.status, answer.json["id"]) == (200, "3")
    assert client.is_closed()


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (_whole()[:-5], "the body ended"),
        (POST.encode(), "within its header"),
        (_post("Transfer-Encoding: chunked\r\n", b"5\r\n{"), "the body ended"),
        (_post("Content-Length: 1000000\r\n", b"{" * 500_000), "after 500000 of 1000000"),
    ],
    ids=["body", "header", "chunk", "large"],
)
def test_incomplete_request_is_rejected(client: Client, sent: bytes, error: str) -> None:
    """A truncated request gets a 400."""
    client.send(sent)
    client.socket.shutdown(socket.SHUT_WR)
    answer = client.read()
    assert answer.status == 400
    assert error in answer.error
    assert client.is_closed()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"hello\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (_post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400),
        (_post("Content-Length: 5\r\nContent-Length: 6\r\n", b"12345"), 400),
        (_post("Content-Length: -5\r\n"), 400),
        (_post("Content-Length: 99999999999999999999999\r\n"), 400),
        (_post("Transfer-Encoding: chunked\r\n", b"zz\r\n"), 400),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 300_000, 431),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (_post("Content-Length: 20000000\r\n", b"{" * 100_000), 413),
        (_post("Transfer-Encoding: gzip, chunked\r\n", CHUNKED), 501),
        (f"POST {INFER} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + CHUNKED, 400),
        (b"GET /v2/health/live\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nX-API-Key: a\r\nX-API-Key: b\r\n\r\n", 400),
        (_post("Transfer-Encoding: chunked\r\n", b"5;" + b"a" * 100_000), 413),
        (_post("Transfer-Encoding: chunked\r\n", CHUNKED[:-2] + b"X: a\r\n" * 20_000), 413),
    ],
    ids=[
        "tls",
        "words",
        "no-host",
        "two-hosts",
        "length-and-chunked",
        "two-lengths",
        "negative",
        "overlong",
        "bad-chunk",
        "connect",
        "large-field",
        "endless-field",
        "many-fields",
        "long-target",
        "large-body",
        "compressed-chunks",
        "old-and-chunked",
        "before-1.0",
        "two-keys",
        "endless-extension",
        "endless-trailer",
    ],
)
def test_invalid_request_is_rejected_and_the_connection_closed(
    client: Client, server: Served, sent: bytes, status: int
) -> None:
    """Ambiguous or oversized requests get one JSON error; nothing after them is read."""
    client.send(sent)
    answer = client.read()
    assert answer.status == status
    assert answer.error
    assert answer.headers["connection"] == "close"
    assert client.is_closed()
    assert server.ask(INFER, BODY).status == 200


def test_chunked_body_is_limited(client: Client) -> None:
    """Endless chunks are rejected at the limit of a body."""
    client.send(_post("Transfer-Encoding: chunked\r\n"))
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    for _ in range(17):
        client.send(chunk)
    assert client.read().status == 413


def test_large_body(client: Client) -> None:
    """A body of megabytes is received in place, and the next request is read."""
    rows = 100_000
    numbers = json.dumps([7.5, 3] * rows)
    head, tail = BODY.decode().split("[7.5, 3]")
    body = (head.replace("[1, 2]", f"[{rows}, 2]") + numbers + tail).encode()
    client.send(_post(f"Content-Length: {len(body)}\r\n", body) + _whole(4))
    answer = client.read()
    assert answer.json["outputs"][0]["data"] == [1] * rows
    assert client.read().json["id"] == "4"


def test_http_1_0_and_close(client: Client, server: Served) -> None:
    """HTTP/1.0, and clients that ask for close, get one response and the end."""
    client.send(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
    assert client.read().headers["connection"] == "close"
    assert client.is_closed()
    with server.client() as other:
        answer = other.ask("/v2/health/live", headers={"Connection": "close"})
        assert answer.headers["connection"] == "close"
        assert other.is_closed()


def test_http_1_0_has_no_continue_and_no_keep_alive(client: Client) -> None:
    """An HTTP/1.0 client gets no 100 Continue and is disconnected."""
    fields = f"Connection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: {len(BODY)}\r\n"
    client.send(f"POST {INFER} HTTP/1.0\r\n{fields}\r\n".encode() + BODY)
    answer = client.read()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert client.is_closed()


def test_one_byte_chunks_are_accepted(client: Client) -> None:
    """A large body may be sent in chunks of one byte."""
    body = BODY + b" " * 50_000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    client.send(_post("Transfer-Encoding: chunked\r\n", chunks + b"0\r\n\r\n"))
    assert client.read().status == 200


def test_head_has_no_body(client: Client) -> None:
    """HEAD responds as GET without the body, and the connection stays open."""
    client.send(b"HEAD /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.read(has_body=False).headers["content-length"] == "13"
    assert client.ask("/v2/health/live").json == {"live": True}


def test_upgrade_is_ignored(client: Client) -> None:
    """A client that offers HTTP/2 or a WebSocket is answered in HTTP/1.1."""
    fields = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AA"}
    assert client.ask("/v2/health/live", headers=fields).json == {"live": True}
    assert client.ask(INFER, BODY, fields).status == 200
    client.send(request(INFER, BODY, fields) + _whole(6))
    assert client.read().status == 200
    assert client.read().json["id"] == "6"
    assert client.ask("/v2/health/live").json == {"live": True}


# As java.net.http.HttpClient sends a body of unknown length.
JAVA = (
    f"{POST}Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    "Transfer-encoding: chunked\r\nUpgrade: h2c\r\nUser-Agent: Java-http-client/21.0.5\r\n\r\n"
).encode()


@pytest.mark.parametrize("size", [1, 50, 10_000], ids=str)
@pytest.mark.parametrize(
    "chunks",
    [
        CHUNKED,
        b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\nTrailer: a\r\n\r\n",
    ],
    ids=["one chunk", "chunks of a byte and a trailer"],
)
def test_upgrade_with_a_chunked_body_is_ignored(client: Client, chunks: bytes, size: int) -> None:
    """Its body is read, wherever the network splits it, and so is the next request."""
    data = JAVA + chunks + _whole(7) + JAVA + chunks
    for start in range(0, len(data), size):
        client.send(data[start : start + size])
    assert client.read().json["outputs"][0]["data"] == [1]
    assert client.read().json["id"] == "7"
    assert client.read().status == 200
    assert client.ask("/v2/health/live").json == {"live": True}


class _Sink:
    """What a parser reports."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.errors: list[int] = []

    def on_request(self, request: Request, *, keep_alive: bool) -> None:
        assert keep_alive
        self.requests.append(request)

    def on_error(self, status: int, _message: str) -> None:
        self.errors.append(status)

    def send_continue(self) -> None: ...

    def reserve(self, _size: int) -> bool:
        return True


@pytest.mark.parametrize(
    "fields",
    [b"", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n"],
    ids=["no body", "known length", "chunked"],
)
def test_many_pipelined_upgrades(fields: bytes) -> None:
    """A thousand requests in one read: no recursion."""
    upgrade = b"Connection: upgrade\r\nUpgrade: websocket\r\n"
    body = b"1\r\na\r\n0\r\n\r\n" if b"chunked" in fields else b"a" if fields else b""
    one = b"POST / HTTP/1.1\r\nHost: a\r\n" + upgrade + fields + b"\r\n" + body
    sink = _Sink()
    parser = RequestParser(Limits(), sink)
    data = memoryview(bytearray(one * 1000))
    parser.buffer_updated(len(data), data)
    assert (len(sink.requests), sink.errors) == (1000, [])
    assert {bytes(each.body) for each in sink.requests} == {b"a" if fields else b""}


def test_upgrade_and_an_invalid_chunk(client: Client) -> None:
    """It is rejected as without Upgrade."""
    client.send(JAVA + b"zz\r\n")
    assert client.read().status == 400
    assert client.is_closed()


@pytest.mark.parametrize(
    ("method", "target", "status", "allowed"),
    [
        ("GET", INFER, 405, "POST"),
        ("PUT", "/v2", 405, "GET"),
        ("DELETE", "/v2/models/simplenet", 405, "GET"),
        ("GET", "/nowhere", 404, None),
        ("GET", "/v2/models/other", 404, None),
        ("GET", "/v2/models/simplenet/versions/1", 404, None),
        ("GET", "/v2/models/%73implenet", 200, None),
        ("GET", "http://elsewhere/v2/health/live", 200, None),
        ("GET", "/v2/?a=b", 200, None),
        ("GET", "/a://elsewhere/v2/health/live", 404, None),
    ],
)
def test_routing(
    client: Client, method: str, target: str, status: int, allowed: str | None
) -> None:
    """Unknown paths are 404, other methods 405 with those allowed."""
    client.send(f"{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode())
    answer = client.read()
    assert answer.status == status
    assert answer.headers.get("allow") == allowed
    assert status == 200 or answer.error


def test_date_header(client: Client) -> None:
    """Responses have HTTP's date format."""
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    header = client.ask("/v2/health/live").headers["date"]
    date = parsedate_to_datetime(header)
    assert abs((datetime.now(UTC) - date).total_seconds()) < 60
    assert header == date.strftime("%a, %d %b %Y %H:%M:%S GMT")
