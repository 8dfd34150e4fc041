"""Score tables, or spans of one, in the processes of any engine.

A worker reads and writes with the code of ``runtime predict``, so that bytes of text stay as they
are and the output is that of one machine.
"""

from __future__ import annotations

import os
import pickle
import socket
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec.structs import replace

from runtime.engines.parts import attempt
from runtime.errors import DataError, UnavailableError
from runtime.io.destinations import Part, Staging
from runtime.io.paths import absolute, relative_path
from runtime.io.sinks import Sink
from runtime.monitoring.accuracy import AccuracyCounts
from runtime.monitoring.drift_counts import DriftCounts
from runtime.monitoring.monitor import Monitor, MonitorCounts
from runtime.scoring.batch import BatchPlan, located
from runtime.scoring.counters import Counters
from runtime.scoring.pipeline import ScoringJob, score_into
from runtime.surfaces import Surface, command_surface, option
from runtime.value import Record, Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from runtime.engines.job import EngineJob
    from runtime.io.destinations import PartWriter
    from runtime.io.paths import Location
    from runtime.model import LoadedModel
    from runtime.scorer.portable import PortableBundle
    from runtime.scoring.options import Options
    from runtime.scoring.summary import Summary
    from runtime.tables.division import Window, WindowScan
    from runtime.tables.spans import Span


class Engine(Protocol):
    """What an engine does for a job; both methods are called while it is connected."""

    def connect(self) -> AbstractContextManager[None]:
        """Connect to its cluster, or start one."""

    def scan(self, windows: Sequence[Window]) -> list[WindowScan]:
        """Call ``scan_window`` with each window, in its processes."""

    def score(self, job: Job, indices: Sequence[int]) -> Iterator[Part]:
        """Call ``Worker.score`` with each index, in its processes, and yield the parts."""


class Job(Value, frozen=True):
    """What every worker needs to know; picklable.

    Attributes:
        bundle: the model.
        request: what the user requested.
        plan: the tables and their outputs.
        staging: where workers write.
        surface: where messages are read.
        folder: to which relative paths refer.
        spans: of the only table; without them each table is scored by one worker.
    """

    bundle: PortableBundle
    request: EngineJob
    plan: BatchPlan
    staging: Staging
    surface: Surface
    folder: Path
    spans: tuple[Span, ...] = ()

    @property
    def names(self) -> tuple[Path, ...]:
        """Paths of the tables, relative to their root."""
        return tuple(self.plan.outputs)

    @property
    def options(self) -> Options:
        """How to score a table."""
        return self.request.options

    def task(self, index: int, monitor: Monitor) -> ScoringJob:
        """Get the job of a table, or of a span."""
        if not self.spans:
            return self.plan.job(self.names[index], self.options, monitor)
        task = self.plan.job(self.names[0], self.options, monitor)
        counters = Counters.for_file(task.source, task.out, self.options)
        return replace(task, span=self.spans[index], counters=counters)

    def size(self, index: int) -> int:
        """Size of a table, or of a span, to begin with the largest."""
        if not self.spans:
            return (self.plan.root / self.names[index]).stat().st_size
        span = self.spans[index]
        return 0 if span.stop is None else span.stop - span.start

    def part_name(self, index: int) -> str:
        """Name the output of a table in the folder of outputs, or that of a span."""
        if self.spans:
            return f"{index:05}"
        return self._name(self.plan.outputs[self.names[index]][0])

    def staged_name(self, index: int, path: Location) -> str:
        """Name an output of a task, also that of its rejected rows."""
        if not self.spans:
            return self._name(path)
        is_output = path == self.request.out
        return self.part_name(index) + ("" if is_output else ".rejects")

    def _name(self, path: Location) -> str:
        return relative_path(path, self.request.out).as_posix()

    def new_monitor(self) -> Monitor:
        """Create a monitor that has counted nothing."""
        options = self.options
        schema = self.bundle.bundle.manifest.schema
        return Monitor(schema, truth=options.truth is not None, drift=options.drift is not None)


class PartCounts(Record, frozen=True):
    """What is counted of a part, to be serialized.

    Attributes:
        rows: records read.
        reasons: number of rejected records by reason.
        provider: of the worker.
        blocks: calls of the model.
        stages: seconds spent in each stage.
        absent: features that no record has.
        proba: classes whose probability has a column of its own.
        hints: see ``Summary``.
        ranges: see ``MonitorCounts``.
        accuracy: likewise.
        drift: likewise.
        examples: see ``Monitor``.
        others: the other files of the table, such as that of rejected rows.
        counters: those of a span, pickled.
    """

    rows: int
    reasons: dict[str, int]
    provider: str
    blocks: int
    stages: dict[str, float]
    absent: tuple[str, ...]
    proba: tuple[str, ...]
    hints: tuple[str, ...]
    ranges: tuple[int, ...]
    accuracy: AccuracyCounts | None
    drift: DriftCounts | None
    examples: dict[str, tuple[str, ...]]
    others: tuple[Part, ...]
    counters: bytes = b""

    @classmethod
    def of(cls, part: Part) -> PartCounts:
        """Read what is counted of a part."""
        return msgspec.msgpack.decode(part.extra, type=cls)

    @property
    def rejected(self) -> int:
        """Number of records without a prediction."""
        return sum(self.reasons.values())


def merge_monitors(job: Job, parts: Sequence[PartCounts]) -> Monitor:
    """Merge what was monitored in all parts, in their order."""
    monitor = job.new_monitor()
    total = monitor.counts()
    for part in parts:
        total = total.merge(MonitorCounts(part.ranges, part.accuracy, part.drift))
    monitor.restore(total)
    for part in reversed(parts):
        monitor.examples |= part.examples  # the first part's count
    return monitor


class Worker:
    """Scores tables or spans in a process of an engine."""

    def __init__(self, job: Job) -> None:
        """Prepare the process, which scores nothing else; the model is opened with a table."""
        self._job = job
        self._model: LoadedModel | None = None
        with suppress(OSError):
            os.chdir(job.folder)  # relative paths of messages stay those of the user

    def score(self, index: int) -> Part:
        """Score a table, or a span.

        Args:
            index: of the table or the span in the job.

        Returns:
            Its output, with what is counted of it.

        Raises:
            OnnxferryError: as ``runtime.scoring.pipeline.score_file``; of a span, bad rows are
                counted instead.
        """
        with command_surface() if self._job.surface == "command" else nullcontext():
            job = self._job
            name = job.part_name(index)
            title = f"part {index + 1} of {job.request.source}" if job.spans else name
            advice = f"; {option('resume', True)} then continues with what is complete"
            with (
                _located(),
                attempt(job.request.out, job.staging, name, title=title, advice=advice),
            ):
                return self._score(index)

    def _score(self, index: int) -> Part:
        job = self._job
        monitor = job.new_monitor()
        task = job.task(index, monitor)
        if not task.source.exists():
            raise DataError(
                f"{socket.gethostname()} has no file {absolute(task.source)}: all workers need "
                "the tables under the same path, on a file system that they share"
            )
        if self._model is None:
            self._model = job.bundle.open(job.request.provider, check=job.request.check)
        with ExitStack() as stack, ExitStack() as others:
            if not job.spans:
                stack.enter_context(located(task.source))
            writers: dict[Location, PartWriter] = {}

            def open_sink(path: Location) -> Sink:
                of_file = stack if path == task.out else others
                writer = of_file.enter_context(job.staging.write(job.staged_name(index, path)))
                writers[path] = writer
                return Sink(str(path), writer)

            summary = score_into(self._model, task, open_sink)
            others.close()  # the part is whole when its own file is, the last one
            written = [each.result for each in writers.values() if each.result]
            output = writers[task.out]
            output.rows = summary.rows
            output.extra = _to_bytes(summary, monitor, written, task.counters)
        if output.result is None:
            raise RuntimeError(f"{task.out} was not completed: a bug in onnxferry")
        return output.result


@contextmanager
def _located() -> Iterator[None]:
    """Say where something is not available: credentials and devices are those of the worker."""
    try:
        yield
    except UnavailableError as exc:
        raise type(exc)(
            f"{exc} (found by a worker on {socket.gethostname()}, in the environment that the "
            "engine has there)"
        ) from exc


def _to_bytes(
    summary: Summary, monitor: Monitor, others: Sequence[Part], counters: Counters | None
) -> bytes:
    counts = monitor.counts()
    return msgspec.msgpack.encode(
        PartCounts(
            summary.rows,
            dict(summary.reasons),
            summary.provider,
            summary.blocks,
            dict(summary.stages),
            summary.absent,
            summary.proba,
            summary.hints,
            counts.ranges,
            counts.accuracy,
            counts.drift,
            monitor.examples,
            tuple(others),
            pickle.dumps(counters) if counters else b"",
        )
    )
