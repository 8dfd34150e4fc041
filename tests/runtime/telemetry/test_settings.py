"""What the variables ``OTEL_*`` ask for."""

from __future__ import annotations

import pytest

from runtime.errors import UsageError
from runtime.telemetry.settings import TelemetrySettings, read_settings, shown_url

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HOST = "http://collector:4318"
LOCAL = "http://localhost:4318"


@pytest.mark.parametrize(
    ("variables", "traces", "metrics"),
    [
        ({ENDPOINT: f"{HOST}/"}, f"{HOST}/v1/traces", f"{HOST}/v1/metrics"),
        ({ENDPOINT: f"{HOST}/otlp"}, f"{HOST}/otlp/v1/traces", f"{HOST}/otlp/v1/metrics"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, f"{LOCAL}/v1/traces", ""),
        ({"OTEL_METRICS_EXPORTER": "OTLP"}, "", f"{LOCAL}/v1/metrics"),
        ({ENDPOINT: HOST, "OTEL_TRACES_EXPORTER": "none"}, "", f"{HOST}/v1/metrics"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{HOST}/own"}, f"{HOST}/own", ""),
        (
            {ENDPOINT: HOST, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": LOCAL},
            f"{HOST}/v1/traces",
            LOCAL,
        ),
    ],
    ids=["both", "path", "traces", "metrics", "one of both", "own endpoint", "two endpoints"],
)
def test_endpoints(variables: dict[str, str], traces: str, metrics: str) -> None:
    """A signal goes to its own endpoint unchanged, or to its path below that of all."""
    assert read_settings(variables) == TelemetrySettings(traces, metrics)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_SERVICE_NAME": "shop"},
        {ENDPOINT: " "},
        {ENDPOINT: HOST, "OTEL_SDK_DISABLED": "TRUE", "OTEL_TRACES_EXPORTER": "?"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", ENDPOINT: HOST},
        {"OTEL_LOGS_EXPORTER": "none"},
    ],
    ids=["nothing", "a name", "empty", "disabled", "none", "no logs"],
)
def test_nothing_is_asked_for(variables: dict[str, str]) -> None:
    """Nothing is contacted that no variable names."""
    assert read_settings(variables) is None


@pytest.mark.parametrize(
    ("name", "argument", "follows", "ratio"),
    [
        ("always_on", "", False, 1),
        ("always_off", "", False, 0),
        ("traceidratio", "0.25", False, 0.25),
        ("parentbased_traceidratio", "1e-3", True, 0.001),
        ("parentbased_always_off", "ignored", True, 0),
        ("parentbased_traceidratio", "", True, 1),
    ],
)
def test_samplers(name: str, argument: str, *, follows: bool, ratio: float) -> None:
    """All samplers of the specification that need no other service."""
    variables = {"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument}
    found = read_settings({ENDPOINT: HOST, **variables})
    assert found
    assert (found.follows_parent, found.ratio) == (follows, ratio)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
        ("OTEL_TRACES_EXPORTER", "otlp,none"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_LOGS_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
        (ENDPOINT, "collector:4318"),
        (ENDPOINT, "http://collector:port"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "unix:/socket"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_PROPAGATORS", "tracecontext,b3"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1.5"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment"),
        ("OTEL_CONFIG_FILE", "otel.yaml"),
    ],
)
def test_what_cannot_be_honoured_is_an_error(name: str, value: str) -> None:
    """The message names the variable."""
    with pytest.raises(UsageError, match=name):
        read_settings({ENDPOINT: HOST, name: value})


@pytest.mark.parametrize("value", ["Bearer s3cret", "=s3cret", "a=b,s3cret"])
def test_secrets_are_not_shown(value: str) -> None:
    """Neither keys in header fields nor passwords in URLs get into a message."""
    with pytest.raises(UsageError) as refused:
        read_settings({ENDPOINT: HOST, "OTEL_EXPORTER_OTLP_HEADERS": value})
    assert "s3cret" not in str(refused.value)
    assert shown_url("https://me:s3cret@host:1/v1/traces?key=s3cret") == "https://host:1/v1/traces"
