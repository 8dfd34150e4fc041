"""Google's XML API in front of the store of the tests: what obstore's client of ``gs://`` speaks.

No emulator that can be installed has it: fake-gcs-server 1.54, gcp-storage-emulator and Google's
own storage-testbench lack uploads, lists or copies of the XML API. That is S3's API under other
names, so requests are translated, and objects lie in a real store. Tokens are verified as Google
does: JWTs that a service account has signed, RFC 7523.
"""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.error
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from s3_server import ObjectStore

_EMAIL = "tests@project.iam.gserviceaccount.com"
_KEPT = ("content-type", "range", "if-match")
_ANSWERED = ("Content-Type", "Content-Range", "ETag", "Last-Modified")


class ServiceAccount:
    """An account with a key pair, of which Google knows the public key."""

    def __init__(self) -> None:
        rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
        self.key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)

    def write(self, path: Path) -> None:
        """Write the file that GOOGLE_APPLICATION_CREDENTIALS names."""
        from cryptography.hazmat.primitives import serialization

        pem = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        content = {
            "type": "service_account",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": _EMAIL,
            "client_id": "1",
        }
        path.write_text(json.dumps(content))

    def signed(self, token: str) -> bool:
        """Whether this account has signed a token that is valid now."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        try:
            message, _, signature = token.rpartition(".")
            self.key.public_key().verify(
                _decode(signature), message.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
            claims = json.loads(_decode(message.partition(".")[2]))
        except (InvalidSignature, ValueError):
            return False
        return bool(claims["iss"] == _EMAIL and claims["iat"] - 60 <= time.time() < claims["exp"])


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: ObjectStore
    account: ServiceAccount
    lock = threading.Lock()  # conditions are checked one after another

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
        if scheme != "Bearer" or not self.account.signed(token):
            self._answer(401, {}, b"<Error><Code>AuthenticationRequired</Code></Error>")
            return
        url = urlsplit(self.path)
        path = unquote(url.path)
        headers = {name: self.headers[name] for name in _KEPT if name in self.headers}
        if source := self.headers.get("x-goog-copy-source"):
            headers["x-amz-copy-source"] = source
        if "x-goog-if-generation-match" in self.headers:
            assert self.headers["x-goog-if-generation-match"] == "0"
            with self.lock:
                if self._ask("HEAD", path, "", {}, b"")[0] == 200:
                    self._answer(412, {}, b"<Error><Code>PreconditionFailed</Code></Error>")
                    return
                answer = self._ask(self.command, path, url.query, headers, body)
        else:
            answer = self._ask(self.command, path, url.query, headers, body)
        self._answer(*answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - the names of http.server

    def _ask(
        self, method: str, path: str, query: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, Any, bytes]:
        try:
            with self.store.request(method, path, query, headers, body) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def _answer(self, status: int, headers: Any, body: bytes) -> None:  # noqa: ANN401 - a mapping
        self.send_response(status)
        for name in _ANSWERED:
            if name in headers:
                self.send_header(name, headers[name])
        length = headers.get("Content-Length") if self.command == "HEAD" else len(body)
        self.send_header("Content-Length", str(length or 0))
        if status == 200:
            self.send_header("x-goog-generation", "1")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def google_front(store: ObjectStore, account: ServiceAccount) -> Iterator[str]:
    """Serve Google's XML API on loopback; yields its URL."""
    handler = type("Handler", (_Handler,), {"store": store, "account": account})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
