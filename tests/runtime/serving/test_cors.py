"""Pages of other origins: preflight, allowed and other origins, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from serving_client import features, request

from runtime.errors import UsageError
from runtime.serving.cors import Cors, parse_origins
from runtime.serving.http.messages import Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from serving_client import Answer, Client, Served

INFER = "/v2/models/simplenet/infer"
ROW = features([7.5, 3.0])
PAGE, OTHER, KEY = "https://app.example.com", "https://evil.example", "a-key-of-some-length"
ALLOWED = "access-control-allow-origin"


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.com:443", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://localhost:80", "http://localhost"),
        ("https://localhost:80", "https://localhost:80"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("chrome-extension://abc", "chrome-extension://abc"),
        ("*", "*"),
    ],
)
def test_origins(text: str, origin: str) -> None:
    """They are compared as browsers send them: in lower case, without a default port."""
    assert parse_origins([text]) == {origin}


@pytest.mark.parametrize(
    "text",
    ["", "app.example.com", "https://a.example/", "https://*.example.com", "null", "https://a, b"],
)
def test_what_is_no_origin(text: str) -> None:
    """A path or a pattern would never match, so it is refused."""
    with pytest.raises(UsageError, match=r"is no origin: .* such as https://app.example.com"):
        parse_origins([text])


@pytest.fixture(scope="module")
def served(
    start_server: Callable[..., Served], bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Served:
    """A server for one origin, with a key."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"{KEY}\n")
    return start_server("--bundle", bundle, "--cors-origin", PAGE, "--api-key-file", keys)


@pytest.fixture
def page(served: Served) -> Iterator[Client]:
    """A connection to it."""
    with served.client() as client:
        yield client


def _preflight(client: Client, origin: str) -> Answer:
    fields = {
        "Host": "test",
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    client.send(f"OPTIONS {INFER} HTTP/1.1\r\n{lines}\r\n".encode())
    return client.read()


def test_a_page_of_the_origin_uses_the_server(page: Client) -> None:
    """Preflight without a key, then the request with one, and a response it can read."""
    answer = _preflight(page, PAGE)
    assert (answer.status, answer.headers[ALLOWED], answer.body) == (200, PAGE, b"")
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"]
    fields = {"Origin": PAGE, "Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {KEY}"}
    answer = page.ask(INFER, ROW, fields)
    assert (answer.status, answer.headers[ALLOWED]) == (200, PAGE)
    assert answer.headers["vary"] == "origin"
    assert "inference-header-content-length" in answer.headers["access-control-expose-headers"]
    answer = page.ask(INFER, ROW, {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"})
    assert (answer.status, answer.headers[ALLOWED]) == (401, PAGE)  # an error it can read


def test_pages_of_other_origins_do_not(page: Client) -> None:
    """Neither preflight nor request; a cache keeps their responses apart."""
    answer = _preflight(page, OTHER)
    assert (answer.status, ALLOWED in answer.headers) == (403, False)
    assert OTHER in answer.error
    fields = {"Origin": OTHER, "Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {KEY}"}
    answer = page.ask(INFER, ROW, fields)
    assert (answer.status, ALLOWED in answer.headers) == (403, False)
    answer = page.ask("/v2", None, {"X-API-Key": KEY})
    assert (answer.status, answer.headers["vary"]) == (200, "origin")


def test_a_page_reads_errors_of_the_transport(page: Client, served: Served) -> None:
    """Of bodies that are too large, and of requests that are not HTTP."""
    answer = page.ask(INFER, b"", {"Origin": PAGE, "Content-Length": "99999999"})
    assert (answer.status, answer.headers[ALLOWED]) == (413, PAGE)
    with served.client() as other:
        other.send(b"nonsense\r\n\r\n")
        answer = other.read()
        assert (answer.status, ALLOWED in answer.headers) == (400, False)


def test_a_page_reads_the_503_of_a_busy_server(
    start_server: Callable[..., Served], bundle: Path
) -> None:
    """The second of two requests that are in flight at once, where one is allowed."""
    served = start_server("--bundle", bundle, "--cors-origin", PAGE, "--max-in-flight", 1)
    large = b'[{"price": 7.5, "rating": 3}' + b',{"price": 7.5, "rating": 3}' * 200_000 + b"]"
    with served.client() as first, served.client() as second:
        first.send(request("/predict", large))
        while b"\nonnxferry_in_flight 2\n" not in second.ask("/metrics").body:
            pass
        answer = second.ask(INFER, ROW, {"Origin": PAGE})
        assert (answer.status, answer.headers[ALLOWED]) == (503, PAGE)
        assert answer.headers["retry-after"] == "1"
        assert first.read().status == 200
    assert served.end() == 0


def test_without_the_option_nothing_changes(client: Client) -> None:
    """OPTIONS is not allowed, and no response has a field of CORS."""
    assert _preflight(client, PAGE).status == 405
    answer = client.ask(INFER, ROW, {"Origin": PAGE})
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_all_origins() -> None:
    """``*`` allows each, and responses do not vary."""
    cors, found = Cors(parse_origins(["*"])), list[Response]()
    sent = Request("POST", "/", {b"origin": b"null"}, b"", 0)
    assert cors.allows(sent.headers)
    assert cors.preflight(_options(sent))
    cors.wrap(sent, found.append)(Response())
    fields = found[0].headers
    assert (b"access-control-allow-origin", b"*") in fields
    assert b"vary" not in dict(fields)


def _options(sent: Request) -> Request:
    headers = {**sent.headers, b"access-control-request-method": b"POST"}
    return Request("OPTIONS", sent.target, headers, b"", 0)


def test_a_preflight_of_metrics_shows_none(
    start_server: Callable[..., Served], bundle: Path
) -> None:
    """With workers, which collect them for a GET: it has no key."""
    served = start_server("--bundle", bundle, "--workers", 2, "--cors-origin", "*")
    lines = "Host: a\r\nOrigin: http://a\r\nAccess-Control-Request-Method: GET\r\n"
    with served.client() as client:
        client.send(f"OPTIONS /metrics HTTP/1.1\r\n{lines}\r\n".encode())
        assert client.read().body == b""
    assert served.end() == 0
