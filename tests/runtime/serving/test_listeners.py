"""Listening: no address is announced that is not listened on, and none is shared unnoticed."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from serving_client import PATIENCE_S, features, request

from runtime.errors import UnavailableError, UsageError
from runtime.serving.listeners import (
    bind,
    bind_shared,
    check_ports,
    claim_port,
    listen,
    parse_address,
    parse_host,
    removed_at_exit,
    resolve,
)
from runtime.serving.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ANY = "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        (" localhost ", "localhost"),
        ("::1", "::1"),
        ("[::]", "::"),
        ("[fe80::1]", "fe80::1"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
        ("unix:///run/a.sock", "unix:/run/a.sock"),
        ("unix:a.sock", "unix:a.sock"),
    ],
)
def test_hosts(text: str, host: str) -> None:
    """Addresses, names, IPv6 with or without brackets, and Unix sockets."""
    assert parse_host(text) == host


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "names no address: give 127.0.0.1"),
        ("  ", "names no address"),
        ("unix:", "names no address"),
        ("http://127.0.0.1", "give the host alone"),
        ("127.0.0.1:9000", "give --host 127.0.0.1 --port 9000"),
        ("localhost:80", "give --host localhost --port 80"),
        ("[::1]:8000", r"give --host \[::1\] --port 8000"),
    ],
)
def test_what_is_no_host(text: str, error: str) -> None:
    """An empty variable of a shell does not open the server to the network."""
    with pytest.raises(UsageError, match=error):
        parse_host(text)


def test_a_unix_socket_has_no_port() -> None:
    """A port that would be ignored is refused; elsewhere there is a default."""
    assert parse_address("[::1]", None) == ("::1", 8000)
    assert parse_address(ANY, 0) == (ANY, 0)
    assert parse_address("unix:a", None)[0] == "unix:a"
    with pytest.raises(UsageError, match="leave out --port"):
        parse_address("unix:a", 8000)


def test_http_and_grpc_need_a_port_each() -> None:
    """Equal ports are a mistake of usage; 0 and 0 are two free ones."""
    check_ports(Settings(ANY, 0, grpc_port=0))
    check_ports(Settings(ANY, 8000))
    with pytest.raises(UsageError, match="both 8000"):
        check_ports(Settings(ANY, 8000, grpc_port=8000))
    with pytest.raises(UsageError, match="leave out --grpc-port"):
        check_ports(Settings("unix:a", 8000, grpc_port=8001))


def test_only_one_of_two_that_are_bound_can_listen() -> None:
    """SO_REUSEADDR lets both bind; the second is told when it listens."""
    with bind(ANY, 0) as first, bind(ANY, first.getsockname()[1]) as second:
        listen(first)
        with pytest.raises(UnavailableError, match="Address already in use; choose another"):
            listen(second)


def test_workers_share_a_port_with_each_other_alone() -> None:
    """SO_REUSEPORT would let a second server in."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(one) for one in bind_shared(ANY, 0, 3)]
        port = listeners[0].getsockname()[1]
        assert {one.getsockname()[1] for one in listeners} == {port}
        listen(listeners[0])
        for take in (bind_shared, lambda *words: listen(bind(*words[:2]))):
            with pytest.raises(UnavailableError, match="Address already in use"):
                take(ANY, port, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="needs abstract Unix sockets")
def test_a_port_is_claimed_once() -> None:
    """While a server starts, another that starts is told."""
    claim = claim_port(1)
    assert claim
    with claim, pytest.raises(UnavailableError, match="another server is starting on this port"):
        claim_port(1, "--grpc-port")
    again = claim_port(1)
    assert again
    again.close()


def test_grpc_listens_on_the_address_of_http() -> None:
    """A name is resolved once, for both."""
    with bind("localhost", 0) as listener:
        host, port = listener.getsockname()[:2]
        assert resolve("localhost", port).text in {f"{host}:{port}", f"[{host}]:{port}"}
    assert resolve("::1", 80).text == "[::1]:80"


# ---- Unix sockets ------------------------------------------------------------------------------


def test_a_unix_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    """A live one is not, and neither is a file; the own one is removed at the end."""
    path = tmp_path / "s"
    bind(f"unix:{path}", 0).close()  # a server that was killed
    in_use = pytest.raises(UnavailableError, match="Address already in use; choose")
    with bind(f"unix:{path}", 0) as listener, removed_at_exit(listener), in_use:
        bind(f"unix:{path}", 0)
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(UnavailableError, match="a file that is no socket"):
        bind(f"unix:{path}", 0)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["none/s", "x" * 200], ids=["no folder", "too long"])
def test_a_unix_socket_that_cannot_be(tmp_path: Path, name: str) -> None:
    """The system's reason is given."""
    with pytest.raises(UnavailableError, match="cannot listen on unix:"):
        bind(f"unix:{tmp_path / name}", 0)


# ---- Servers -----------------------------------------------------------------------------------


@pytest.fixture
def start(environment: dict[str, str], bundle: Path, tmp_path: Path) -> Iterator[Any]:
    """Start ``runtime serve`` without waiting for it."""
    started: list[subprocess.Popen[str]] = []

    def run(*words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "runtime", "serve", "--bundle", bundle, *words]
        process = subprocess.Popen(
            list(map(str, command)),
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        assert process.stderr
        process.stderr.close()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("shares", ["--port", "--grpc-port"])
def test_of_two_servers_that_start_at_once_one_serves(
    start: Callable[..., subprocess.Popen[str]], workers: int, shares: str
) -> None:
    """The other ends with exit code 6 and one line; no third state."""
    if shares == "--grpc-port":
        pytest.importorskip("grpc")
    with bind(ANY, 0) as free:
        port = free.getsockname()[1]
    other = () if shares == "--port" else ("--port", 0)
    both = [start(shares, port, *other, "--workers", workers) for _ in range(2)]
    lines = [process.stderr.readline() for process in both if process.stderr]
    winners = [at for at, line in enumerate(lines) if " at http://" in line]
    assert len(winners) == 1, lines
    winner, loser = both[winners[0]], both[1 - winners[0]]
    assert loser.stderr
    assert "error: cannot listen on" in lines[1 - winners[0]] + loser.stderr.read()
    assert loser.wait(PATIENCE_S) == 6
    winner.send_signal(signal.SIGTERM)
    assert winner.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_unix_socket_serves(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, workers: int
) -> None:
    """For nginx and Envoy on the same machine; the file is gone afterwards."""
    path = tmp_path / "server.sock"
    process = start("--host", f"unix:{path}", "--workers", workers)
    assert process.stderr
    line = process.stderr.readline()
    assert f" at unix:{path}" in line
    assert f"curl --unix-socket {path} http://localhost/predict -d" in line
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE_S)
        client.connect(str(path))
        client.sendall(request("/v2/models/simplenet/infer", features([7.5, 3.0])))
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert not path.exists()
