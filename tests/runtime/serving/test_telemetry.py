"""Spans and metrics of a server, received by a collector over OTLP."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from serving_client import features, request

pytest.importorskip("opentelemetry.sdk", reason='pip install "onnxferry[otel]" installs the SDK')
from collector import Collector, Span, collecting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from serving_client import Served

INFER = "/v2/models/simplenet/infer"
ROUTE = "POST /v2/models/{model}/infer"
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=1"}
RPC = "inference.GRPCInferenceService/ModelInfer"
DURATION = "http.server.request.duration"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector."""
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def served(start_server: Callable[..., Served], bundle: Path, collector: Collector) -> Served:
    """A server that sends to it; a row and more are a batch, more than four a thread's."""
    return start_server("--bundle", bundle, "--grpc-port", 0, variables=collector.variables)


def _of(collector: Collector, trace: str, name: str, count: int = 1) -> list[Span]:
    """Wait for the spans of a trace that have a name."""

    def found() -> list[Span]:
        return [span for span in collector.named(name) if span.trace_id == trace]

    collector.wait(lambda: len(found()) >= count)
    return found()


def _trace(number: int, flags: str = "01") -> tuple[str, dict[str, str]]:
    """A trace of a caller, and its header fields."""
    trace = f"{number:032x}"
    return trace, {"traceparent": f"00-{trace}-{CALLER}-{flags}", "tracestate": "vendor=1"}


def test_request_batch_and_call_are_one_trace(served: Served, collector: Collector) -> None:
    """The caller's trace continues: request, in it the batch, in it the call of the model."""
    trace, fields = _trace(1)
    assert served.ask(INFER, features([7.5, 3.0], [2.0, 1.5]), fields).status == 200
    (asked,) = _of(collector, trace, ROUTE)
    (batch,), (call,) = _of(collector, trace, "batch"), _of(collector, trace, "model")
    assert (asked.parent_id, batch.parent_id, call.parent_id) == (CALLER, asked.id, batch.id)
    assert (asked.is_server, batch.is_server, asked.state) == (True, False, "vendor=1")
    assert asked.start <= batch.start <= call.start <= call.end <= batch.end <= asked.end
    assert 0 <= time.time_ns() - asked.end < 60e9
    version = served.ask("/v2/models/simplenet").json["versions"][0]
    model = {"onnxferry.model.name": "simplenet", "onnxferry.model.version": version}
    assert asked.attributes == {
        "http.request.method": "POST",
        "http.route": "/v2/models/{model}/infer",
        "http.response.status_code": 200,
        "http.request.body.size": len(features([7.5, 3.0], [2.0, 1.5])),
        "network.protocol.version": "1.1",
        "url.path": INFER,
        "url.scheme": "http",
        "onnxferry.model.name": "simplenet",
        "onnxferry.rows": 2,
    }
    assert batch.attributes == {**model, "onnxferry.rows": 2, "onnxferry.batch.requests": 1}
    assert call.attributes == {**model, "onnxferry.rows": 2}
    assert asked.resource["service.name"] == "onnxferry"
    assert asked.resource["process.pid"] == served.process.pid


def test_a_batch_is_linked_with_its_requests(served: Served, collector: Collector) -> None:
    """Requests that arrive together share a call: a child of the first, linked with the others."""
    traces = [_trace(number) for number in range(10, 14)]
    traces[1] = _trace(11, "00")  # a caller that does not sample
    with served.client() as client:
        bodies = [request(INFER, features([7.5, 3.0]), fields) for _, fields in traces]
        client.send(b"".join(bodies))
        assert [client.read().status for _ in traces] == [200] * 4
    first, third, fourth = (_of(collector, traces[at][0], ROUTE)[0] for at in (0, 2, 3))
    (batch,) = _of(collector, traces[0][0], "batch")
    assert batch.parent_id == first.id
    assert batch.links == {third.id, fourth.id}
    assert (first.links, third.links, fourth.links) == (set(), {batch.id}, {batch.id})
    assert batch.attributes["onnxferry.batch.requests"] == 4
    assert batch.attributes["onnxferry.rows"] == 4
    assert not [span for span in collector.spans if span.trace_id == traces[1][0]]


def test_a_large_request_in_a_thread(served: Served, collector: Collector) -> None:
    """Rows beyond a batch run in a thread, in the same trace."""
    trace, fields = _trace(20)
    assert served.ask(INFER, features(*[[7.5, 3.0]] * 3000), fields).status == 200
    (asked,), (batch,) = _of(collector, trace, ROUTE), _of(collector, trace, "batch")
    (call,) = _of(collector, trace, "model")
    assert (batch.parent_id, call.parent_id) == (asked.id, batch.id)
    assert call.attributes["onnxferry.rows"] == 3000


def test_a_table(served: Served, collector: Collector) -> None:
    """Rows of ``/predict`` are counted, bad ones, too, and neither names nor values are sent."""
    trace, fields = _trace(30)
    table = b"price,rating,secret\n7.5,3,k3y\nabc,3,k3y\n"
    fields |= {"content-type": "text/csv"}
    assert served.ask("/predict?bad_rows=null&prefix=k3y", table, fields).status == 200
    (asked,), (score,) = _of(collector, trace, "POST /predict"), _of(collector, trace, "score")
    assert score.parent_id == asked.id
    assert score.attributes["onnxferry.rows"] == 2
    assert score.attributes["onnxferry.rows.bad"] == 1
    assert 0 < float(str(score.attributes["onnxferry.stage.model"])) < 60
    assert "k3y" not in repr([asked, score])


@pytest.mark.parametrize(
    ("target", "body", "status", "reason", "name"),
    [
        ("/nowhere?k3y", None, 404, "unknown URL", "GET"),
        (INFER, b'{"k3y"', 400, "malformed body", ROUTE),
        ("/v2/models/other/infer", b"{}", 404, "unknown model", ROUTE),
    ],
    ids=["URL", "body", "model"],
)
def test_errors(  # noqa: PLR0913, PLR0917 - a table
    served: Served,
    collector: Collector,
    target: str,
    body: bytes | None,
    status: int,
    reason: str,
    name: str,
) -> None:
    """A client's fault has its status and reason, and is no error of the server."""
    trace, fields = _trace(40 + status + len(reason))
    assert served.ask(target, body, fields).status == status
    (asked,) = _of(collector, trace, name)
    assert asked.attributes["http.response.status_code"] == status
    assert asked.attributes["onnxferry.reason"] == reason
    assert ("http.route" in asked.attributes) is ("v2" in target)
    assert (asked.is_error, asked.message) == (False, "")
    assert "k3y" not in repr(asked)


def test_probes_are_counted_only(served: Served, collector: Collector) -> None:
    """Health checks and scrapes make no spans; without a caller, a request begins a trace."""
    for target in ("/v2/health/live", "/v2/health/ready", "/metrics", "/v2/models/simplenet/ready"):
        assert served.ask(target).status == 200
    assert served.ask("/v2").status == 200
    collector.wait(lambda: collector.named("GET /v2"))
    assert collector.named("GET /v2")[-1].parent_id == ""
    routes = {span.attributes.get("http.route") for span in collector.spans}
    assert not {"/v2/health/live", "/metrics", "/v2/models/{model}/ready"} & routes


def test_grpc(served: Served, collector: Collector) -> None:
    """Calls are spans by the conventions of RPC, in the caller's trace, failed ones, too."""
    grpc = pytest.importorskip("grpc")
    from runtime.serving.grpc.codec import message

    sent = message("ModelInferRequest")(model_name="simplenet")
    sent.inputs.add(name="features", datatype="FP32", shape=[1, 2])
    sent.inputs[0].contents.fp32_contents.extend([7.5, 3.0])
    content = sent.SerializeToString()
    trace, fields = _trace(50)
    wrong, wrong_fields = _trace(51)
    streamed, stream_fields = _trace(52)
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        call = channel.unary_unary(f"/{RPC}")
        call(content, metadata=[*fields.items()])
        sent.model_name = "other"
        with pytest.raises(grpc.RpcError):
            call(sent.SerializeToString(), metadata=[*wrong_fields.items()])
        stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        assert len(list(stream(iter([content] * 2), metadata=[*stream_fields.items()]))) == 2
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
    (asked,), (failed,) = _of(collector, trace, RPC), _of(collector, wrong, RPC)
    (batch,) = _of(collector, trace, "batch")
    assert (asked.parent_id, asked.is_server, asked.state) == (CALLER, True, "vendor=1")
    assert batch.parent_id == asked.id
    common = {"rpc.system.name": "grpc", "rpc.method": RPC}
    ok, missing = ({**common, "rpc.response.status_code": code} for code in ("OK", "NOT_FOUND"))
    assert asked.attributes == {**ok, "onnxferry.rows": 1}
    assert (failed.attributes, failed.is_error) == (missing, False)
    (stream_span,) = _of(collector, streamed, "inference.GRPCInferenceService/ModelStreamInfer")
    batches = _of(collector, streamed, "batch", 2)
    assert {one.parent_id for one in batches} == {stream_span.id}

    def calls() -> dict[frozenset[tuple[str, object]], Any]:
        (metrics,) = collector.metrics.values()
        return dict(metrics.get("rpc.server.call.duration", {}))

    collector.wait(lambda: len(calls()) == 4)
    assert calls()[frozenset(ok.items())].count == 1
    assert calls()[frozenset(missing.items())].count == 1


def _answered(metrics: Mapping[str, Any]) -> dict[tuple[object, object], int]:
    """Numbers of responses by route and status."""
    found: dict[tuple[object, object], int] = {}
    for key, point in metrics.get(DURATION, {}).items():
        named = dict(key)
        at = (named.get("http.route"), named["http.response.status_code"])
        found[at] = found.get(at, 0) + point.count
    return found


def test_metrics_are_those_of_prometheus(
    start_server: Callable[..., Served], bundle: Path, collector: Collector
) -> None:
    """What ``/metrics`` shows is sent at the end under the same names; durations by route."""
    before = collector.metrics.keys()
    variables = {**collector.variables, "OTEL_METRIC_EXPORT_INTERVAL": "60000"}
    server = start_server("--bundle", bundle, variables=variables)
    for body, status in ((features([7.5, 3.0], [100.0, -1.0]), 200), (b"{", 400)):
        assert server.ask(INFER, body).status == status
    assert server.ask("/nowhere").status == 404
    shown = server.ask("/metrics").body.decode()
    assert server.end() == 0
    (process,) = collector.metrics.keys() - before
    sent = collector.metrics[process]
    for line in shown.splitlines():
        if line.startswith(("onnxferry_rows_total{", "onnxferry_out_of_range_total{")):
            name, _, rest = line.removeprefix("onnxferry_").partition("_total{")
            labels, value = rest.rsplit("} ", 1)
            pairs = (pair.split("=") for pair in labels.split(","))
            key = frozenset((label, text.strip('"')) for label, text in pairs)
            assert sent[f"onnxferry.{name}"][key] == float(value)
    assert _answered(sent) == {
        ("/v2/models/{model}/infer", 200): 1,
        ("/v2/models/{model}/infer", 400): 1,
        (None, 404): 1,
        ("/metrics", 200): 1,
    }
    codes = {dict(key)["code"]: value for key, value in sent["onnxferry.answers"].items()}
    assert codes == {"200": 2, "400": 1, "404": 1}
    (batches,) = sent["onnxferry.batch_rows"].values()
    assert (batches.count, batches.sum, batches.bucket_counts[1]) == (1, 2, 1)
    (latency,) = sent["onnxferry.inference"].values()
    assert 0 < latency.sum == pytest.approx(float(_sample(shown, "inference_seconds_sum")))
    assert sent["onnxferry.draining"][frozenset()] == 1


def _sample(shown: str, name: str) -> str:
    return next(
        line.rsplit(" ", 1)[1]
        for line in shown.splitlines()
        if line.startswith(f"onnxferry_{name}{{")
    )


def test_workers_are_processes_of_their_own(
    start_server: Callable[..., Served], bundle: Path, collector: Collector
) -> None:
    """Each worker has an instance id, also where one is given, and all requests are counted."""
    given = {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=pod,service.name=shop"}
    variables = {**collector.variables, **given, "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
    variables["OTEL_EXPORTER_OTLP_HEADERS"] = "api-key=k3y"
    server = start_server("--bundle", bundle, "--workers", 2, variables=variables)
    for _ in range(20):
        assert server.ask(INFER, features([7.5, 3.0])).status == 200
    assert server.end() == 0
    instances = {name: collector.metrics[name] for name in ("pod-0", "pod-1")}
    counts = [
        _answered(sent).get(("/v2/models/{model}/infer", 200), 0) for sent in instances.values()
    ]
    assert sum(counts) == 20
    spans = [span for span in collector.named(ROUTE) if span.resource["service.name"] == "shop"]
    assert len(spans) == 20
    assert {span.resource["service.instance.id"] for span in spans} <= {"pod-0", "pod-1"}
    assert {"api-key", "content-encoding"} <= set().union(*collector.headers)


def test_a_dead_collector_is_told_and_does_no_harm(
    start_server: Callable[..., Served], bundle: Path
) -> None:
    """Requests are answered; one record tells of it, without the password; the end is in time."""
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://me:k3y@127.0.0.1:1",
        "OTEL_BSP_SCHEDULE_DELAY": "10",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "0.2",
        "OTEL_METRIC_EXPORT_INTERVAL": "50",
    }
    server = start_server("--bundle", bundle, variables=variables)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        assert server.ask(INFER, features([7.5, 3.0])).status == 200
    started = time.monotonic()
    assert server.end() == 0
    assert time.monotonic() - started < 10
    records = [json.loads(line) for line in server.lines]
    told = [each for each in records if each["event"] == "telemetry not delivered"]
    assert 1 <= len(told) <= 2  # at once, and at the end
    assert told[0]["reason"].endswith("Connection refused")
    assert told[-1]["spans"] > 0
    assert {each["event"] for each in records} == {"serving", "stopped", "telemetry not delivered"}
    assert "k3y" not in str(records)


@pytest.mark.parametrize("sampler", ["always_off", "parentbased_traceidratio"])
def test_unsampled_requests_make_no_spans(
    start_server: Callable[..., Served], bundle: Path, collector: Collector, sampler: str
) -> None:
    """A ratio of 0 samples nothing but what a caller samples, where it is followed."""
    variables = {
        **collector.variables,
        "OTEL_TRACES_SAMPLER": sampler,
        "OTEL_TRACES_SAMPLER_ARG": "0",
        "OTEL_SERVICE_NAME": sampler,
    }
    server = start_server("--bundle", bundle, variables=variables)
    for fields in ({}, SAMPLED):
        assert server.ask(INFER, features([7.5, 3.0]), fields).status == 200
    assert server.end() == 0
    spans = [span for span in collector.spans if span.resource["service.name"] == sampler]
    assert len(spans) == (0 if sampler == "always_off" else 3)
