"""OpenTelemetry of a server's process: what it measures, and when that is sent."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from runtime.serving.observability.metrics import FAMILIES, Histogram, collect
from runtime.serving.observability.tracing import BatchTracing, HttpTracing
from runtime.telemetry.exporting import Exporter
from runtime.telemetry.otlp import EXPORTERS, open_sender
from runtime.telemetry.readings import Distribution, DurationHistogram, Point, Reading
from runtime.telemetry.spans import Tracer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from runtime.serving.models.repository import Repository
    from runtime.serving.observability.log import Logger
    from runtime.serving.observability.metrics import Family, Samples
    from runtime.serving.observability.traffic import Traffic
    from runtime.telemetry.settings import TelemetrySettings

    Read = Callable[[], Iterable[Reading]]

FLUSH_S: Final = 5.0  # at shutdown, at most
_UNITS: Final = {"_total": "", "_seconds": "s", "_bytes": "By"}  # by the ending of a family's name
_HTTP: Final = "http.server.request.duration"
_RPC: Final = "rpc.server.call.duration"


class ServerTelemetry:
    """What one process of a server measures and sends.

    Attributes:
        http: measures HTTP requests.
        tracer: of its spans.
        rpc_durations: of gRPC's calls.
    """

    def __init__(
        self,
        settings: TelemetrySettings,
        logger: Logger,
        worker: int | None = None,
        *,
        has_tls: bool = False,
    ) -> None:
        """Prepare to send as the settings say; what is not delivered is reported to ``logger``.

        Raises ``UnavailableError`` when the extra is not installed.
        """
        self._settings, self._logger = settings, logger
        logging.getLogger(EXPORTERS).propagate = False  # the reasons are told once a minute
        self._exporter = Exporter(settings, open_sender(settings, worker), self._report)
        if not settings.traces:  # nothing is sampled
            settings = replace(settings, follows_parent=False, ratio=0.0)
        self.tracer = Tracer(settings, self._exporter.put)
        self._http_durations, self.rpc_durations = DurationHistogram(), DurationHistogram()
        scheme = "https" if has_tls else "http"
        self.http = HttpTracing(self.tracer, self._http_durations, scheme)
        self._started = time.time()

    def observe(self, name: str, version: str) -> BatchTracing:
        """Return what records the batches of a model."""
        return BatchTracing(self.tracer, name, version)

    @asynccontextmanager
    async def running(self, traffic: Traffic, repository: Repository) -> AsyncIterator[None]:
        """Send within the context, and at its end what is left."""
        self._exporter.start()
        read = partial(self._read, traffic, repository)
        reporting = asyncio.get_running_loop().create_task(self._report_metrics(read))
        try:
            yield
        finally:
            reporting.cancel()
            self._put_metrics(read)
            await asyncio.to_thread(self._exporter.stop, FLUSH_S)

    async def _report_metrics(self, read: Read) -> None:
        while True:
            await asyncio.sleep(self._settings.interval_s)
            self._put_metrics(read)

    def _put_metrics(self, read: Read) -> None:
        if self._settings.metrics:
            self._exporter.put_metrics([*read()])

    def _read(self, traffic: Traffic, repository: Repository) -> Iterator[Reading]:
        samples = collect(traffic, repository, self._started)
        for family in FAMILIES:
            yield _read_family(family, samples[family.name])
        for name, durations in ((_HTTP, self._http_durations), (_RPC, self.rpc_durations)):
            yield Reading(name, "s", "Duration of requests.", "histogram", durations.points())

    def _report(self, fields: dict[str, object]) -> None:
        self._logger.log("error", "telemetry not delivered", **fields)


def _read_family(family: Family, samples: Samples) -> Reading:
    """Name a family so that Prometheus, which appends units, shows it under its own name."""
    name, unit = family.name, ""
    for ending, its_unit in _UNITS.items():
        if name.endswith(ending):
            name, unit = name.removesuffix(ending), its_unit
    points = [
        Point(
            tuple(zip(family.labels, values, strict=True)),
            Distribution(family.buckets, value.counts, value.total)
            if isinstance(value, Histogram)
            else value + 0,  # a flag is a number
        )
        for values, value in samples.items()
    ]
    return Reading(f"onnxferry.{name}", unit, family.help, family.kind, points)
