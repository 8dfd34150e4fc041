"""A client that sends any bytes, and the process of a server."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE_S = 20  # a busy machine is slow, not wrong


class Answer(NamedTuple):
    """A response: status, header fields in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the server says
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message; every error response has exactly this form."""
        assert self.status >= 400
        assert self.headers["content-type"] == "application/json"
        return str(self.json["error"])


class Client:
    """One connection, also for invalid requests."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._ahead = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, *, has_body: bool = True) -> Answer:
        """Read one response."""
        while b"\r\n\r\n" not in self._ahead:
            self._more()
        head, _, self._ahead = self._ahead.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        fields = [line.partition(": ") for line in lines]
        headers = {name.lower(): value for name, _, value in fields}
        length = int(headers.get("content-length", 0)) if has_body else 0
        while len(self._ahead) < length:
            self._more()
        body, self._ahead = self._ahead[:length], self._ahead[length:]
        return Answer(int(first.split()[1]), headers, body)

    def is_closed(self) -> bool:
        """Whether the server closes the connection without further data."""
        with contextlib.suppress(ConnectionResetError):
            return not self._ahead and self.socket.recv(1) == b""
        return True

    def ask(
        self, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request and read its response."""
        self.send(request(target, body, headers))
        return self.read()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError(f"the connection ended after {self._ahead!r}")
        self._ahead += data


def request(
    target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> bytes:
    """Write a request: a POST where there is a body."""
    fields = {"Host": "test", **(headers or {})}
    if body is not None:
        fields.setdefault("Content-Length", str(len(body)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    method = "GET" if body is None else "POST"
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + (body or b"")


class Served:
    """A server's process and its ports."""

    def __init__(
        self, process: subprocess.Popen[str], port: int, lines: list[str], folder: Path = Path()
    ) -> None:
        self.process, self.port, self.lines = process, port, lines
        self.folder = folder  # its working and temporary directory

    @property
    def grpc_port(self) -> int:
        """The gRPC port, from its first line."""
        found = re.search(r"gRPC on port (\d+)", self.lines[0])
        assert found
        return int(found[1])

    def client(self) -> Client:
        return Client(self.port)

    def ask(
        self, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request on a connection of its own."""
        with self.client() as client:
            return client.ask(target, body, headers)

    def end(self) -> int:
        """Send SIGTERM and wait for the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for the server's exit code."""
        assert self.process.stderr
        self.lines += self.process.stderr.readlines()
        return self.process.wait(PATIENCE_S)


def tensors(**columns: list[float]) -> list[dict[str, object]]:
    """One tensor per column."""
    return [
        {"name": name, "shape": [len(values)], "datatype": "FP32", "data": values}
        for name, values in columns.items()
    ]


def features(*rows: list[float], **more: object) -> bytes:
    """A request with one tensor ``features``; ``more`` goes to its top level."""
    tensor = {
        "name": "features",
        "shape": [len(rows), len(rows[0]) if rows else 2],
        "datatype": "FP32",
        "data": [value for row in rows for value in row],
    }
    return json.dumps({"inputs": [tensor], **more}).encode()


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Create a self-signed certificate of this machine with openssl."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl on the PATH")
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += [
        "-nodes",
        "-days",
        "1",
        "-subj",
        f"/CN={name}",
        "-keyout",
        str(key),
        "-out",
        str(chain),
    ]
    words += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(words, check=True, capture_output=True)
    return chain, key
