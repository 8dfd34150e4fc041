"""What the variables ``OTEL_*`` ask for.

Source: opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables. A variable that
cannot be honoured is an error; what the SDK's exporters and resource read themselves is left to
them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from runtime.errors import UsageError
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    Environment = Mapping[str, str]

PREFIX: Final = "OTEL_"
_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_DEFAULT_ENDPOINT: Final = "http://localhost:4318"
_EXPORTERS: Final = ("otlp", "none")
_RATIO: Final = "traceidratio"
_SAMPLERS: Final = {"always_on": 1.0, "always_off": 0.0, _RATIO: 1.0}
_PARENT: Final = "parentbased_"
_PROPAGATORS: Final = ("tracecontext", "baggage", "none")
# What there is one way to do: the values that mean it.
_ONLY: Final[Mapping[str, tuple[str, ...]]] = {
    "OTEL_LOGS_EXPORTER": ("none",),
    "OTEL_EXPORTER_OTLP_PROTOCOL": ("http/protobuf",),
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": ("http/protobuf",),
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": ("http/protobuf",),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": ("cumulative",),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": ("explicit_bucket_histogram",),
    "OTEL_METRICS_EXEMPLAR_FILTER": ("always_off",),
}
_COMPRESSIONS: Final = ("none", "gzip", "deflate")
_PROVIDER: Final = "_CREDENTIAL_PROVIDER"  # of OTEL_PYTHON_EXPORTER_OTLP_HTTP and others
# Lists of NAME=VALUE, which the SDK reads; their values may be keys.
_LISTS: Final = (
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
)


class TelemetrySettings(Value, frozen=True):
    """What is sent, and how.

    Attributes:
        traces: URL that spans are sent to; empty for none.
        metrics: URL that metrics are sent to; empty for none.
        follows_parent: whether a caller's decision to sample holds.
        ratio: of the other traces that are sampled, 0 to 1.
        reads_context: whether a caller's trace is continued.
        queue: spans that wait to be sent, at most.
        batch: spans that are sent together, at most.
        delay_s: seconds that a span waits, at most.
        interval_s: seconds between two reports of the metrics.
        links: of a span, at most.
    """

    traces: str
    metrics: str
    follows_parent: bool = True
    ratio: float = 1.0
    reads_context: bool = True
    queue: int = 2048
    batch: int = 512
    delay_s: float = 5.0
    interval_s: float = 60.0
    links: int = 128


def read_settings(environment: Environment) -> TelemetrySettings | None:
    """Read the variables; None where they ask for nothing.

    A signal is sent where its exporter, its endpoint or the endpoint of all signals is set: without
    any of these the specification's default would contact localhost.

    Args:
        environment: of the process; an empty value counts as none.

    Returns:
        What is sent, and how.

    Raises:
        UsageError: when a variable has a value that cannot be honoured.
    """
    found = {
        name: value.strip()
        for name, value in environment.items()
        if name.startswith(PREFIX) and value.strip()
    }
    if found.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if "OTEL_CONFIG_FILE" in found:
        raise UsageError("OTEL_CONFIG_FILE is not read: unset it, and set the variables OTEL_*")
    _check_only(found)
    traces, metrics = _endpoint("TRACES", found), _endpoint("METRICS", found)
    if not (traces or metrics):
        return None
    follows_parent, ratio = _sampler(found)
    queue = _count("OTEL_BSP_MAX_QUEUE_SIZE", 2048, found)
    batch = _count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", min(512, queue), found)
    if batch > queue:
        raise UsageError(
            f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE is {batch}, more than the {queue} of "
            "OTEL_BSP_MAX_QUEUE_SIZE: lower it"
        )
    return TelemetrySettings(
        traces,
        metrics,
        follows_parent,
        ratio,
        reads_context=_reads_context(found),
        queue=queue,
        batch=batch,
        delay_s=_count("OTEL_BSP_SCHEDULE_DELAY", 5000, found) / 1000,
        interval_s=_count("OTEL_METRIC_EXPORT_INTERVAL", 60_000, found) / 1000,
        links=_count("OTEL_SPAN_LINK_COUNT_LIMIT", 128, found),
    )


def _check_only(found: Environment) -> None:
    for name, values in _ONLY.items():
        if (value := found.get(name)) and value.lower() not in values:
            raise UsageError(f"{name} is {value!r}: set it to {values[0]}, or unset it")
    if provider := next((name for name in found if name.endswith(_PROVIDER)), None):
        raise UsageError(f"{provider} is not read: unset it, and set OTEL_EXPORTER_OTLP_HEADERS")
    for name in _LISTS:
        pairs = [pair.partition("=") for pair in found.get(name, "").split(",") if pair.strip()]
        if not all(key.strip() and equals for key, equals, _ in pairs):
            raise UsageError(f"{name} is no list such as NAME=VALUE,NAME=VALUE: correct it")
    for name in ("", "TRACES_", "METRICS_"):
        for part, check in (("COMPRESSION", _check_compression), ("TIMEOUT", _check_seconds)):
            variable = f"OTEL_EXPORTER_OTLP_{name}{part}"
            if value := found.get(variable):
                check(variable, value)


def _check_compression(name: str, value: str) -> None:
    if value.lower() not in _COMPRESSIONS:
        raise UsageError(f"{name} is {value!r}: choose {', '.join(_COMPRESSIONS)}")


def _check_seconds(name: str, value: str) -> None:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UsageError(f"{name} is {value!r}: give seconds, such as 10")


def _endpoint(signal: str, found: Environment) -> str:
    """Return the URL that a signal is sent to; empty where it is not sent."""
    variable = f"OTEL_{signal}_EXPORTER"
    own, common = f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", found.get(_ENDPOINT, "")
    exporters = {part.strip().lower() for part in found.get(variable, "").split(",")} - {""}
    if unknown := exporters - set(_EXPORTERS):
        hint = "; Prometheus reads /metrics without it" if "prometheus" in unknown else ""
        raise UsageError(
            f"{variable} is {found[variable]!r}: choose {' or '.join(_EXPORTERS)}{hint}"
        )
    if "none" in exporters or not (exporters or found.get(own) or common):
        if len(exporters) > 1:
            raise UsageError(f"{variable} is {found[variable]!r}: none excludes the others")
        return ""
    if url := found.get(own):
        return _check_url(own, url)
    base = _check_url(_ENDPOINT, common) if common else _DEFAULT_ENDPOINT
    return f"{base.rstrip('/')}/v1/{signal.lower()}"


def _check_url(name: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_valid = False
    if not is_valid:  # which is not shown: it may hold a password
        raise UsageError(f"{name} is no URL such as {_DEFAULT_ENDPOINT}: correct it")
    return url


def shown_url(url: str) -> str:
    """Return a URL as messages show it: without user, password, query and fragment."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _sampler(found: Environment) -> tuple[bool, float]:
    """Return whether a caller's decision holds, and the ratio of the other traces."""
    variable, argument = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
    name = found.get(variable, "parentbased_always_on").lower()
    base = name.removeprefix(_PARENT)
    if base not in _SAMPLERS:
        names = [*_SAMPLERS, *(_PARENT + each for each in _SAMPLERS)]
        raise UsageError(f"{variable} is {found[variable]!r}: choose one of {', '.join(names)}")
    text = found.get(argument, "") if base == _RATIO else ""
    if not text:
        return name != base, _SAMPLERS[base]
    try:
        ratio = float(text)
    except ValueError:
        ratio = math.nan
    if not 0 <= ratio <= 1:
        raise UsageError(f"{argument} is {text!r}: give a ratio from 0 to 1")
    return name != base, ratio


def _reads_context(found: Environment) -> bool:
    """Return whether W3C's traceparent is read; baggage is passed to nobody, so it is not."""
    text = found.get("OTEL_PROPAGATORS", "tracecontext,baggage")
    names = {part.strip().lower() for part in text.split(",")} - {""}
    if unknown := names - set(_PROPAGATORS):
        raise UsageError(
            f"OTEL_PROPAGATORS has {min(unknown)!r}: choose of {', '.join(_PROPAGATORS)}"
        )
    return "tracecontext" in names


def _count(name: str, default: int, found: Environment) -> int:
    text = found.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text)):  # noqa: PLR2004 - a few years of milliseconds are enough
        raise UsageError(f"{name} is {text!r}: give a whole number of at least 1")
    return int(text)
