"""Limits on what clients may request, without effect on others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import typer.core
from serving.damage import attack
from serving.distinct import ask_while_reloading, draw_pool
from serving_client import Client, features, request

from runtime.cli.app import app
from runtime.serving.http.connection import Connection
from runtime.serving.http.connections import ConnectionManager
from runtime.serving.http.messages import Response
from runtime.serving.observability.failures import FailureLog
from runtime.serving.observability.log import Logger
from runtime.serving.observability.traffic import Traffic
from runtime.serving.settings import DEFAULT_LIMITS, MIB, Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serving_client import Served

    from runtime.predictor import Predictor
    from runtime.serving.http.messages import Reply, Request

INFER = "/v2/models/simplenet/infer"
GOOD = features([7.5, 3.0])


def _resident(served: Served) -> float:
    """Return the server's resident memory, bytes."""
    lines = served.ask("/metrics").body.decode().splitlines()
    (line,) = (one for one in lines if one.startswith("onnxferry_resident_memory_bytes "))
    return float(line.split()[1])


def test_too_many_connections(start_server: Callable[..., Served], bundle: Path) -> None:
    """An excess connection gets a 503 and is closed; once one closes, another is accepted."""
    served = start_server("--bundle", bundle, "--max-connections", 3)
    clients = [served.client() for _ in range(3)]
    for client in clients:
        assert client.ask("/v2/health/live").status == 200
        client.send(request(INFER, GOOD)[:-1])  # so it is not idle
    with served.client() as extra:
        answer = extra.read()
        assert answer.status == 503
        assert "too many connections" in answer.error
        assert answer.headers["retry-after"] == "1"
        assert extra.is_closed()
    clients.pop().close()
    while served.ask("/v2/health/live").status == 503:
        pass
    for client in clients:
        client.send(GOOD[-1:])
        assert client.read().status == 200
        client.close()


def test_idle_connections_are_closed_for_new_ones(
    start_server: Callable[..., Served], bundle: Path
) -> None:
    """Idle clients block nobody, and active ones stay connected."""
    served = start_server("--bundle", bundle, "--max-connections", 3)
    with served.client() as busy, served.client() as idle, served.client() as silent:
        assert idle.ask("/v2/health/live").status == 200
        busy.send(request(INFER, GOOD)[:-1])
        while served.ask("/v2/health/live").status == 503:  # until they have been idle
            pass
        assert silent.is_closed()  # idle for longest
        busy.send(GOOD[-1:])
        assert busy.read().status == 200


def test_fd_limit_is_raised_or_connections_reduced(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The limit on open files is raised, or fewer connections are accepted."""
    (tmp_path / "run.py").write_text(RAISE)
    done = subprocess.run(
        [sys.executable, tmp_path / "run.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["1024 1536", "400", "100"]


RAISE = """
import resource
from runtime.serving.startup import raise_fd_limit
from runtime.serving.settings import Limits

resource.setrlimit(resource.RLIMIT_NOFILE, (256, 2000))
connections = raise_fd_limit(Limits()).connections
print(connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 800))
print(raise_fd_limit(Limits()).connections)
print(raise_fd_limit(Limits(connections=100)).connections)
"""


def test_too_many_requests_in_flight() -> None:
    """An excess request gets a 503 at once; health is always admitted.

    A client that retries at once is not read from for a tenth of a second.
    """
    waiting: list[Reply] = []
    bugs: list[Exception] = []

    def handle(request_: Request, reply: Reply) -> None:
        if request_.target == INFER:
            waiting.append(reply)  # until the test replies
        else:
            reply(Response())

    def ask(port: int, reply_to_all: Callable[[], None]) -> None:
        with Client(port) as one, Client(port) as two, Client(port) as extra:
            for busy in (one, two):
                busy.send(request(INFER, GOOD))
            while len(waiting) < 2:  # until both have been read
                assert extra.ask("/v2/health/live").status == 200
            answer = extra.ask(INFER, GOOD)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert "2 requests are in flight" in answer.error
            begun = time.monotonic()
            answers = [extra.ask(INFER, GOOD).status for _ in range(3)]
            assert answers == [503] * 3
            assert time.monotonic() - begun > 3 * 0.09  # the server did not read meanwhile
            extra.send(b"HEAD /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert extra.read(has_body=False).status == 503
            assert extra.ask("/v2/health/live").status == 200
            answer = extra.ask(INFER, GOOD, {"Connection": "close"})
            assert (answer.status, answer.headers["connection"]) == (503, "close")
            assert extra.is_closed()
            reply_to_all()
            assert [one.read().status, two.read().status] == [200, 200]
            assert one.ask("/v2").status == 200

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        failures = FailureLog(Logger())
        connections = ConnectionManager(
            handle, Limits(in_flight=2), Traffic(), bugs.append, failures
        )
        server = await loop.create_server(lambda: Connection(connections), "127.0.0.1", 0)

        def reply_to_all() -> None:
            for reply in waiting:
                loop.call_soon_threadsafe(reply, Response())

        await asyncio.to_thread(ask, server.sockets[0].getsockname()[1], reply_to_all)
        server.close()
        assert (connections.traffic.in_flight, connections.traffic.rejected, bugs) == (
            0,
            {503: 6},
            [],
        )

    asyncio.run(serve())


def test_one_loop_iteration_admits_at_most_the_limit() -> None:
    """A request completed immediately still counts until the iteration ends."""

    async def iterations() -> list[list[bool]]:
        traffic, seen = Traffic(), []
        for _ in range(3):
            admitted = []
            for _ in range(4):
                admitted.append(traffic.admit(3))
                traffic.in_flight -= admitted[-1]  # completed at once
            seen.append(admitted)
            await asyncio.sleep(0)
        traffic.in_flight = 3  # pending
        return [*seen, [traffic.admit(3), traffic.admit(3, pipelined=True)]]

    assert asyncio.run(iterations()) == [[True, True, True, False]] * 3 + [[False, True]]


def test_64_busy_clients_are_always_admitted(server: Served) -> None:
    """The default suits 64 clients that wait for each response."""
    clients = [server.client() for _ in range(64)]
    for body in [GOOD] * 20 + [features(*([[7.5, 3.0]] * 500))] * 5:
        for client in clients:
            client.send(request(INFER, body))
        assert [client.read().status for client in clients] == [200] * 64
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"POST /v2 HTTP/1.1\r\nHos", "timed out receiving the header"),
        (request(INFER, GOOD)[:-3], "timed out receiving the body"),
        (request(INFER, b"x" * 100_000)[:-3], "timed out receiving the body"),
    ],
    ids=["header", "body", "large body"],
)
def test_slow_clients(
    start_server: Callable[..., Served], bundle: Path, sent: bytes, error: str
) -> None:
    """Slow senders get a 408 and are closed, whether they trickle or stall."""
    served = start_server("--bundle", bundle, "--header-timeout", 0.3, "--body-timeout", 0.3)
    with served.client() as client:
        client.send(sent)
        answer = client.read()
        assert answer.status == 408
        assert error in answer.error
        assert client.is_closed()
    assert served.ask(INFER, GOOD).status == 200


def test_idle_connections_time_out(start_server: Callable[..., Served], bundle: Path) -> None:
    """A connection without requests is closed without a response."""
    served = start_server("--bundle", bundle, "--idle-timeout", 0.3)
    with served.client() as client:
        assert client.ask("/v2/health/live").status == 200
        assert client.is_closed()


@pytest.mark.parametrize(
    ("option", "default"),
    [
        ("max_body", f"{DEFAULT_LIMITS.body_bytes // MIB} MiB"),
        ("max_rows", f"{DEFAULT_LIMITS.rows:,}"),
        ("max_in_flight", f"{DEFAULT_LIMITS.in_flight:,}"),
        ("max_connections", f"{DEFAULT_LIMITS.connections:,}"),
        ("header_timeout", f"{DEFAULT_LIMITS.header_s:g}"),
        ("body_timeout", f"{DEFAULT_LIMITS.body_s:g}"),
        ("idle_timeout", f"{DEFAULT_LIMITS.idle_s:g}"),
        ("drain_timeout", f"{DEFAULT_LIMITS.drain_s:g}"),
    ],
)
def test_help_shows_the_defaults(option: str, default: str) -> None:
    """The defaults in the help are those in effect."""
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    (found,) = (one for one in command.commands["serve"].params if one.name == option)
    assert f"(default: {default})" in str(getattr(found, "help", ""))


def test_limits_can_be_set(start_server: Callable[..., Served], bundle: Path) -> None:
    """Rows and bytes of a request are limited as the options say."""
    served = start_server("--bundle", bundle, "--max-rows", 2, "--max-body", 1000)
    assert served.ask(INFER, features([7.5, 3.0], [2.0, 1.0])).status == 200
    answer = served.ask(INFER, features([7.5, 3.0], [2.0, 1.0], [2.0, 1.0]))
    assert (answer.status, "3 rows are more than the 2" in answer.error) == (413, True)
    assert served.ask(INFER, b" " * 1001).status == 413
    assert served.ask("/predict", b"price,rating\n" + b"1,1\n" * 20).status == 413


def test_unread_responses_are_bounded(start_server: Callable[..., Served], bundle: Path) -> None:
    """The server stops reading from a client that does not read its responses."""
    served = start_server("--bundle", bundle)
    before = _resident(served)
    body = features(*([[7.5, 3.0]] * 2000))
    with served.client() as greedy:
        greedy.socket.settimeout(1)
        with pytest.raises(TimeoutError):
            greedy.send(request(INFER, body) * 1000)
        assert served.ask(INFER, GOOD).status == 200
        assert _resident(served) < before + 64 * 2**20


def test_declared_bodies_allocate_nothing(
    start_server: Callable[..., Served], bundle: Path
) -> None:
    """Clients that announce megabytes and send nothing take no memory and no capacity."""
    served = start_server("--bundle", bundle)
    before = _resident(served)
    clients = [served.client() for _ in range(30)]
    for client in clients:
        client.send(request(INFER, b"")[:-2].replace(b": 0", b": 16777216") + b"\r\n")
    assert served.ask(INFER, GOOD).status == 200
    assert _resident(served) < before + 32 * 2**20
    for client in clients:
        client.close()


def test_responses_match_their_requests(
    start_server: Callable[..., Served], bundle_copy: Path, make_bundle: Callable[..., Path]
) -> None:
    """64 clients with distinct rows, in JSON and binary, while two bundles alternate.

    Each response is its request's, and right for the version it names; benchmarks/reloading.py runs
    longer.
    """
    other = make_bundle(name="simplenet")

    def exchange() -> None:
        spare = bundle_copy.with_name("spare")
        bundle_copy.rename(spare)
        other.rename(bundle_copy)
        spare.rename(other)

    served = start_server("--bundle", f"simplenet={bundle_copy}")
    pool = draw_pool((bundle_copy, other), 64 * 30)
    result = asyncio.run(ask_while_reloading(served.port, pool, 64, 30, exchange))
    assert result.wrong == []
    assert result.kinds == {"JSON": 960, "binary": 960}
    assert result.loads


def test_prediction_is_independent_of_the_batch(server: Served, predictor: Predictor) -> None:
    """Alone, within its request, or within a batch, a row's prediction is bitwise equal."""
    rows = np.round(np.random.default_rng(1).uniform(1, 5, (300, 2)), 3)
    expected = predictor.run(rows.astype(np.float32)).logits
    with server.client() as client:
        client.send(b"".join(request(INFER, features(row)) for row in rows.tolist()))
        alone = [client.read().json["outputs"][2]["data"] for _ in rows]
    assert np.array(alone, np.float32).tobytes() == expected.tobytes()


def test_damaged_requests_affect_no_others(
    start_server: Callable[..., Served], bundle: Path, sales_bundle: Path
) -> None:
    """Thousands of damaged requests: no 5xx, and the valid ones between succeed."""
    served = start_server("--bundle", f"simplenet={bundle}", "--bundle", f"sales={sales_bundle}")
    result = attack(served.port, 3000, seed=7)
    assert result.wrong == []
    assert result.good == 900
    assert result.statuses[200]
    assert served.end() == 0
