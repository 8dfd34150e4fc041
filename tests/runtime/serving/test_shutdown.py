"""Shutdown: at SIGTERM no request is lost, and the server stops soon."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from serving_client import Client, features, request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serving_client import Served

INFER = "/v2/models/simplenet/infer"
CLIENTS = 64


class Busy(threading.Thread):
    """A client that sends its next request as soon as it is answered, until it is disconnected."""

    def __init__(self, served: Served, number: int) -> None:
        super().__init__()
        self._client, self._number = served.client(), number
        self.answered = self.lost = 0
        self.last = 0.0
        self.begun = threading.Event()
        self.start()

    def run(self) -> None:
        with self._client as client:
            while True:
                name = f"{self._number}-{self.answered}"
                try:
                    answer = client.ask(INFER, features([7.5, 3.0], id=name))
                except OSError:
                    self.lost += 1
                    return
                assert answer.status == 200
                assert answer.json["id"] == name
                self.answered += 1
                self.last = time.monotonic()
                if self.answered == 3:
                    self.begun.set()
                if answer.headers.get("connection") == "close":
                    return


@pytest.fixture
def served(start_server: Callable[..., Served], bundle: Path) -> Served:
    """A server to shut down."""
    return start_server("--bundle", bundle)


def test_nothing_is_lost_with_busy_connections(served: Served) -> None:
    """64 busy keep-alive connections: every request is answered, the last with close."""
    clients = [Busy(served, number) for number in range(CLIENTS)]
    for client in clients:
        assert client.begun.wait(20)
    served.process.send_signal(signal.SIGTERM)
    for client in clients:
        client.join(20)
    assert served.wait() == 0
    assert sum(client.lost for client in clients) == 0
    assert min(client.answered for client in clients) >= 3
    ended = json.loads(served.lines[-1])
    assert ended["event"] == "stopped"
    assert ended["answers"] == sum(client.answered for client in clients)


def test_draining_server_is_live_but_not_ready(served: Served) -> None:
    """While draining, open connections are still answered."""
    with served.client() as first, served.client() as second:
        for client in (first, second):
            assert client.ask("/v2/health/ready").status == 200
        served.process.send_signal(signal.SIGTERM)
        while (answer := first.ask("/v2/health/ready")).status == 200:
            pass
        assert answer.json["ready"] is False
        assert answer.error == "the server is shutting down"
        assert answer.headers["connection"] == "close"
        last = second.ask(INFER, features([7.5, 3.0]))
        assert (last.status, last.headers["connection"]) == (200, "close")
    assert served.wait() == 0


def test_pipelined_requests_are_all_answered(served: Served) -> None:
    """Pipelined requests are all answered; only the last response says close."""
    with served.client() as client:
        client.ask("/v2/health/live")
        served.process.send_signal(signal.SIGTERM)
        ends = False
        while not ends:  # the signal may come in between
            client.send(request(INFER, features([7.5, 3.0])) * 20)
            answers = [client.read() for _ in range(20)]
            assert [answer.status for answer in answers] == [200] * 20
            assert all("connection" not in answer.headers for answer in answers[:-1])
            ends = "connection" in answers[-1].headers
        assert client.is_closed()
    assert served.wait() == 0


def test_idle_connections_do_not_delay_shutdown(served: Served) -> None:
    """Silent and stalled clients are closed."""
    with served.client() as silent, served.client() as halfway:
        halfway.send(b"POST /v2 HTTP/1.1\r\nContent-Le")
        silent.ask("/v2/health/live")
        assert served.end() == 0
        assert silent.is_closed()


def test_shutdown_waits_for_a_body_in_transit(served: Served) -> None:
    """A request whose body is being received at the signal is answered."""
    body = features([7.5, 3.0])
    with served.client() as client:
        client.send(request(INFER, body)[: -len(body)])
        served.process.send_signal(signal.SIGTERM)
        _until_refused(served)  # by now, silent connections are being closed
        for start in range(len(body)):
            client.send(body[start : start + 1])
        assert client.read().status == 200
    assert served.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_second_signal_stops_immediately(
    start_server: Callable[..., Served], bundle: Path, number: signal.Signals
) -> None:
    """A second signal does not wait for pending responses."""
    served = start_server("--bundle", bundle)
    stop = threading.Event()

    def keep_busy() -> None:
        with served.client() as client:
            client.send(request(INFER, b"x" * 100)[:-1])
            while not stop.wait(0.05):
                try:
                    client.send(b"")
                except OSError:
                    return

    with served.client() as slow:
        slow.send(request(INFER, b"x" * 1_000_000)[:-1])
        served.process.send_signal(number)
        _until_not_ready(served)
        served.process.send_signal(number)
        assert served.wait() == 128 + number


def _until_not_ready(served: Served) -> None:
    """Wait until the signal was handled: responses say close, or connections are refused."""
    while True:
        try:
            if served.ask("/v2/health/ready").status == 503:
                return
        except OSError:
            return


def _until_refused(served: Served) -> None:
    """Wait until new connections are refused."""
    while True:
        try:
            served.ask("/v2/health/live")
        except OSError:
            return


def test_idle_server_stops_immediately(served: Served) -> None:
    """Ctrl-C on an idle server is a normal exit."""
    served.process.send_signal(signal.SIGINT)
    assert served.wait() == 0


def test_backlogged_connections_are_answered(served: Served) -> None:
    """Clients connected before the signal are answered."""
    clients = [Client(served.port) for _ in range(50)]
    served.process.send_signal(signal.SIGTERM)
    for client in clients:
        client.send(request("/v2/health/live"))
    for client in clients:
        with client:
            assert client.read().json == {"live": True}
    assert served.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.port)).close()
