"""Startup line, log, request ids and metrics."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from serving_client import PATIENCE_S, features

from runtime.errors import BodyError, OnnxferryError, OverloadError, RequestError
from runtime.serving.app import App
from runtime.serving.auth import Auth
from runtime.serving.http.messages import Request, Response, exception_response
from runtime.serving.models.repository import Repository
from runtime.serving.observability.failures import FailureLog
from runtime.serving.observability.log import Logger
from runtime.serving.observability.traffic import Traffic
from runtime.serving.settings import Limits
from runtime.serving.startup import ServerAddress, startup_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serving_client import Client, Served

    from runtime.choices import LogLevel

INFER = "/v2/models/simplenet/infer"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def _metrics(served: Served) -> dict[str, float]:
    """Samples by name and labels; every line is of Prometheus's text format."""
    answer = served.ask("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found: dict[str, float] = {}
    families: list[str] = []
    for line in answer.body.decode().splitlines():
        if line.startswith("# TYPE "):
            families.append(line.split()[2])
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP [a-z_]+ .+|TYPE [a-z_]+ (counter|gauge|histogram))", line)
            continue
        sample = re.fullmatch(r'([a-z_]+(\{([a-z]+="[^"]*",?)+\})?) ([0-9.e+-]+)', line)
        assert sample, line
        assert sample[1].startswith(families[-1])
        assert sample[1] not in found
        found[sample[1]] = float(sample[4])
    assert len(set(families)) == len(families)
    return found


def test_startup_line_has_a_working_command(server: Served) -> None:
    """One record: what, where, on what; its curl command works verbatim."""
    record = json.loads(server.lines[0])
    assert (record["level"], record["event"]) == ("info", "serving")
    line = record["text"]
    pattern = r"simplenet [0-9a-f]{12} at http://127\.0\.0\.1:\d+ on cpu \(requested\); "
    assert re.match(pattern, line)
    command = shlex.split(line.partition("try: ")[2])
    assert command[0] == "curl"
    url, body = command[1], command[3]
    assert url.startswith(f"http://127.0.0.1:{server.port}/")
    answer = server.ask("/" + url.split("/", 3)[3], body.encode())
    assert answer.json["label"] in {"yes", "no"}


def test_the_command_of_a_model_with_a_column_label_works(make_bundle: Callable[..., Path]) -> None:
    """New columns get a prefix where a feature has the name of one."""
    bundle = make_bundle(features=("label", "price"))
    repository = Repository({"linear": bundle}, "cpu", Limits(), lambda *_: None)
    repository.open_all()
    app = App(repository, Limits(), Traffic(), Logger(), Auth(None))
    line = startup_line(app, ServerAddress("127.0.0.1", 80, None, False, 1))
    _, url, _, body = shlex.split(line.partition("try: ")[2])

    async def ask() -> Response:
        replied: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        request = Request("POST", url.partition(":80")[2], {}, body.encode(), 0)
        app.handle(request, replied.set_result)
        return await replied

    assert json.loads(b"".join(asyncio.run(ask()).body)).keys() > {"label", "predicted_label"}


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.parametrize(
    "options",
    [
        ["--bundle", "a b&c's?={bundle}", "--bundle", "other={bundle}"],
        ["--bundle", "{bundle}", "--workers", "2"],
        ["--bundle", "{bundle}", "--api-key-file", "{keys}"],
        pytest.param(
            ["--bundle", "{bundle}", "--host", "::1"],
            marks=pytest.mark.skipif(not _has_ipv6(), reason="there is no IPv6"),
        ),
        ["--bundle", "{named}"],
    ],
    ids=["names", "workers", "key", "IPv6", "quote"],
)
def test_startup_command_works_in_a_shell(
    start_server: Callable[..., Served],
    make_bundle: Callable[..., Path],
    bundle: Path,
    tmp_path: Path,
    options: list[str],
) -> None:
    """A shell and curl get a prediction, whatever a model or a column is named."""
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-some-length")
    named = make_bundle(["it's $HOME", "`b`"])
    server = start_server(*(one.format(bundle=bundle, keys=keys, named=named) for one in options))
    command = json.loads(server.lines[0])["text"].partition("try: ")[2]
    done = subprocess.run(
        ["sh", "-c", f"{command} --silent --show-error --noproxy '*'"],
        check=False,
        env={**os.environ, "KEY": keys.read_text()},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert 0 < json.loads(done.stdout)["probability"] <= 1
    assert server.end() == 0


def test_startup_command_uses_loopback() -> None:
    """The wildcard address ``::`` is replaced by loopback."""
    address = ServerAddress("::", 8000, None, has_tls=False, workers=1)
    assert address.url == "http://[::]:8000"
    assert address.local_url == "http://[::1]:8000"


def test_metrics(start_server: Callable[..., Served], bundle: Path) -> None:
    """Requests, rows, errors, batches, values out of range and loads are counted."""
    server = start_server("--bundle", bundle)
    version = server.ask("/v2/models/simplenet").json["versions"][0]
    labels = f'model="simplenet",version="{version}"'
    assert server.ask(INFER, features([7.5, 3.0], [100.0, -1.0])).status == 200
    assert server.ask(INFER, b"{").status == 400
    assert server.ask("/predict", b"price,rating\n100,2\n2,2\n").status == 200
    assert server.ask("/nowhere").status == 404
    found = _metrics(server)
    expected = {
        'onnxferry_answers_total{code="400"}': 1,
        'onnxferry_answers_total{code="404"}': 1,
        f'onnxferry_inferences_total{{{labels},outcome="answered"}}': 2,
        f'onnxferry_inferences_total{{{labels},outcome="refused"}}': 1,
        f"onnxferry_rows_total{{{labels}}}": 4,
        f'onnxferry_batch_rows_bucket{{{labels},le="1"}}': 0,
        f'onnxferry_batch_rows_bucket{{{labels},le="4"}}': 1,
        f"onnxferry_batch_rows_sum{{{labels}}}": 2,
        f"onnxferry_inference_seconds_count{{{labels}}}": 2,
        f'onnxferry_inference_seconds_bucket{{{labels},le="+Inf"}}': 2,
        f'onnxferry_out_of_range_total{{{labels},feature="price",side="above"}}': 2,
        f'onnxferry_out_of_range_total{{{labels},feature="rating",side="below"}}': 1,
        f'onnxferry_model_info{{{labels},provider="cpu"}}': 1,
        'onnxferry_model_ready{model="simplenet"}': 1,
        'onnxferry_model_loads_total{model="simplenet",outcome="served"}': 1,
        "onnxferry_connections": 1,
        "onnxferry_draining": 0,
    }
    assert {name: found[name] for name in expected} == expected


def test_statistics_extension(start_server: Callable[..., Served], bundle: Path) -> None:
    """Counts of requests, rows and executions, with durations of each stage."""
    server = start_server("--bundle", bundle)
    for _ in range(3):
        assert server.ask(INFER, features([7.5, 3.0], [2.0, 1.0])).status == 200
    assert server.ask(INFER, b"{}").status == 400
    (found,) = server.ask("/v2/models/simplenet/stats").json["model_stats"]
    assert (found["inference_count"], found["execution_count"]) == (6, 3)
    stages = found["inference_stats"]
    assert stages["success"]["count"] == stages["compute_infer"]["count"] == 3
    assert stages["fail"]["count"] == 1
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert sum(stages[part]["ns"] for part in parts) == stages["success"]["ns"]
    assert [(one["batch_size"], one["compute_infer"]["count"]) for one in found["batch_stats"]] == [
        (2, 3)
    ]
    assert server.ask("/v2/models/stats").json["model_stats"][0]["name"] == "simplenet"


@pytest.mark.parametrize(
    ("sent", "back"),
    [
        ({"traceparent": TRACE}, {"traceparent": TRACE}),
        ({"X-Request-Id": "a-1"}, {"x-request-id": "a-1"}),
        ({"traceparent": TRACE.replace("4", "X")}, {}),
        ({"traceparent": f"00-{'0' * 32}-{'1' * 16}-01"}, {}),
        ({}, {}),
    ],
    ids=["trace", "id", "malformed", "zero", "none"],
)
def test_request_ids_are_echoed(client: Client, sent: dict[str, str], back: dict[str, str]) -> None:
    """A response carries its request's ids, unless malformed."""
    answer = client.ask("/v2/health/live", headers=sent)
    names = {"traceparent", *back} & set(answer.headers)
    assert {name: answer.headers[name] for name in names} == back


def _log(server: Served) -> list[dict[str, Any]]:
    assert server.end() == 0
    return [json.loads(line) for line in server.lines[1:]]


def test_requests_are_logged_at_debug(start_server: Callable[..., Served], bundle: Path) -> None:
    """One JSON object a request, with its ids, without header fields and body."""
    server = start_server("--bundle", bundle, "--log-level", "debug")
    secret = {"Authorization": "Bearer secret", "traceparent": TRACE, "X-Request-Id": "a-1"}
    server.ask(f"{INFER}?secret=1", features([7.5, 3.0], id="secret"), secret)
    server.ask("/nowhere")
    lines = _log(server)
    assert "secret" not in json.dumps(lines)
    first, second, _, last = lines  # the third has the counts
    assert (first["event"], first["path"], first["status"]) == ("request", INFER, 200)
    assert (first["x_request_id"], first["traceparent"]) == ("a-1", TRACE)
    assert second["status"] == 404
    assert second["x_request_id"]
    assert last["event"] == "stopped"
    assert all(re.fullmatch(r"[\d-]+T[\d:]+\.\d{3}Z", line["time"]) for line in lines)


@pytest.mark.parametrize("workers", [1, 2])
def test_failed_requests_are_counted_in_the_log(
    start_server: Callable[..., Served], bundle: Path, workers: int
) -> None:
    """By default: counts by status and reason, no line each, nothing of what was sent."""
    server = start_server("--bundle", bundle, "--workers", workers, "--grpc-port", 0)
    server.ask(INFER, features([7.5, 3.0]))
    for _ in range(40):
        server.ask(INFER, b"{secret", {"X-Request-Id": "secret"})
        server.ask("/secret?secret=1")
        server.ask("/v2/models/secret")
        server.ask("/predict", b"price,rating\nsecret,1\n")
    records = _log(server)
    assert "secret" not in json.dumps(records)
    records = [one for one in records if one["event"] == "failed requests"]
    assert 1 <= len(records) <= 3 * workers  # the first ones at once, the last ones at the end
    found: dict[tuple[int, str], int] = {}
    for record in records:
        assert (record["level"], "worker" in record) == ("info", workers > 1)
        assert record["total"] == sum(one["count"] for one in record["counts"])
        for one in record["counts"]:
            key = one["status"], one["reason"]
            found[key] = found.get(key, 0) + one["count"]
    assert found == {
        (400, "bad rows"): 40,
        (400, "malformed body"): 40,
        (404, "unknown URL"): 40,
        (404, "unknown model"): 40,
    }


def test_failed_calls_of_grpc_are_counted_too(
    start_server: Callable[..., Served], bundle: Path
) -> None:
    """Inference and what HTTP's handlers answer."""
    grpc = pytest.importorskip("grpc")
    server = start_server("--bundle", bundle, "--grpc-port", 0)
    unknown = b"\x0a\x06secret"  # field 1, the name of a model
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        for method in ("ModelInfer", "ModelMetadata"):
            call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            with pytest.raises(grpc.RpcError):
                call(unknown, timeout=PATIENCE_S)
    records = _log(server)
    assert "secret" not in json.dumps(records)
    counts = [one for record in records for one in record.get("counts", [])]
    assert {(one["status"], one["reason"]) for one in counts} == {(404, "unknown model")}
    assert sum(one["count"] for one in counts) == 2


class _Written(Logger):
    """Keeps what it logs."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[dict[str, Any]] = []

    def log(self, level: LogLevel, event: str, **fields: object) -> None:
        self.records.append({"level": level, "event": event, **fields})


def test_faults_of_the_server_are_logged_each_but_a_flood() -> None:
    """With the request's place and ids; beyond a limit they are in the counts alone."""
    written = _Written()
    failures = FailureLog(written)
    request = Request("POST", "/predict?key=secret", {}, b"secret", time.perf_counter_ns())
    response = exception_response(OverloadError("try again in a second"))
    response = replace(response, headers=((b"x-request-id", b"a-1"),))
    for _ in range(1000):
        failures.record(response, request)
    failures.flush_if_due()
    *each, counts = written.records
    assert len(each) == 20
    first = each[0]
    assert first.pop("ms") >= 0
    assert first == {
        "level": "error",
        "event": "request failed",
        "status": 503,
        "reason": "overload",
        "method": "POST",
        "path": "/predict",
        "error": "try again in a second",
        "x_request_id": "a-1",
    }
    assert counts["counts"] == [{"status": 503, "reason": "overload", "count": 1000}]
    failures.record(response)
    failures.flush_if_due()
    assert len(written.records) == 21  # the next counts follow in a minute


def test_tracebacks_are_limited() -> None:
    """A bug that clients can reach does not fill the disk."""
    written = _Written()
    for _ in range(30):
        written.internal_error(ValueError("a bug"))
    assert [one["event"] for one in written.records] == ["internal error"] * 20
    written.log_left_out()
    assert written.records[-1] == {"level": "info", "event": "internal error", "left_out": 10}


def test_every_error_has_a_status_and_a_reason() -> None:
    """No two kinds share a reason, and none depends on its message."""
    kinds: list[type[OnnxferryError]] = [OnnxferryError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    found = {kind: exception_response(kind("x")) for kind in kinds}
    assert all(one.reason and one.status >= 400 for one in found.values())
    assert found[BodyError].reason == "malformed body"
    assert found[RequestError].reason == "invalid request"


def test_port_is_reusable_after_shutdown(start_server: Callable[..., Served], bundle: Path) -> None:
    """The next server can bind the port immediately."""
    server = start_server("--bundle", bundle)
    server.ask("/v2/health/live")
    assert server.end() == 0
    assert isinstance(server.process, subprocess.Popen)
    again = start_server("--bundle", bundle, "--port", server.port)
    assert again.port == server.port
