"""Score the tables of a folder as the parts of a job, one table a part, on any engine.

A worker reads and writes a table with the code of ``runtime predict``, so that bytes of text stay
as they are and the output is that of one machine.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from runtime.bundle.manifest import to_json
from runtime.engines.parts import attempt, commit, open_run
from runtime.errors import DataError, UsageError
from runtime.io.destinations import Destination, Part, Staging
from runtime.io.paths import absolute, is_within, relative_path
from runtime.io.sinks import Sink, open_sinks
from runtime.monitoring.accuracy import AccuracyCounts
from runtime.monitoring.drift_counts import DriftCounts
from runtime.monitoring.monitor import Monitor, MonitorCounts
from runtime.scorer.portable import PortableBundle
from runtime.scoring.batch import BatchPlan, located, plan_batch, sum_summaries
from runtime.scoring.pipeline import score_into
from runtime.scoring.summary import Summary
from runtime.scoring.unseen import refuse_unseen
from runtime.surfaces import Surface, command_surface, current_surface, option
from runtime.value import Record, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from runtime.engines.job import EngineJob
    from runtime.io.destinations import PartWriter
    from runtime.io.paths import Location
    from runtime.model import LoadedModel
    from runtime.scoring.batch import OnTable
    from runtime.scoring.options import Options
    from runtime.scoring.pipeline import OnProgress, ScoringJob

    # Scores the tables of these indices on an engine, and yields their parts as they come.
    ScoreTables = Callable[["TablesJob", Sequence[int]], Iterator[Part]]


class _TableCounts(Record, frozen=True):
    """What is counted of a table, to be serialized.

    Attributes:
        rows: records read.
        reasons: number of rejected records by reason.
        provider: of the worker.
        stages: seconds spent in each stage.
        absent: features that no record has.
        proba: classes whose probability has a column of its own.
        ranges: see ``MonitorCounts``.
        accuracy: likewise.
        drift: likewise.
        examples: see ``Monitor``.
        others: the other files of the table, such as that of rejected rows.
    """

    rows: int
    reasons: dict[str, int]
    provider: str
    stages: dict[str, float]
    absent: tuple[str, ...]
    proba: tuple[str, ...]
    ranges: tuple[int, ...]
    accuracy: AccuracyCounts | None
    drift: DriftCounts | None
    examples: dict[str, tuple[str, ...]]
    others: tuple[Part, ...]


class TablesJob(Value, frozen=True):
    """What every worker needs to know; picklable.

    Attributes:
        bundle: the model.
        request: what the user requested.
        plan: the tables and their outputs.
        staging: where workers write.
        surface: where messages are read.
        folder: to which relative paths refer.
    """

    bundle: PortableBundle
    request: EngineJob
    plan: BatchPlan
    staging: Staging
    surface: Surface
    folder: Path

    @property
    def names(self) -> tuple[Path, ...]:
        """Paths of the tables, relative to their root."""
        return tuple(self.plan.outputs)

    def part_name(self, path: Location) -> str:
        """Name an output in the folder of outputs."""
        return relative_path(path, self.request.out).as_posix()

    @property
    def options(self) -> Options:
        """How to score a table."""
        return self.request.options

    def new_monitor(self) -> Monitor:
        """Create a monitor that has counted nothing."""
        options = self.options
        schema = self.bundle.bundle.manifest.schema
        return Monitor(schema, truth=options.truth is not None, drift=options.drift is not None)


class TablesWorker:
    """Scores tables in a process of an engine."""

    def __init__(self, job: TablesJob) -> None:
        """Prepare the process, which scores nothing else; the model is opened with a table."""
        self._job = job
        self._model: LoadedModel | None = None
        with suppress(OSError):
            os.chdir(job.folder)  # relative paths of messages stay those of the user

    def score(self, index: int) -> Part:
        """Score a table.

        Args:
            index: of the table in the job.

        Returns:
            Its output, with what is counted of it.

        Raises:
            OnnxferryError: as ``runtime.scoring.pipeline.score_file``.
        """
        with command_surface() if self._job.surface == "command" else nullcontext():
            return self._score(index)

    def _score(self, index: int) -> Part:
        job = self._job
        monitor = job.new_monitor()
        task = job.plan.job(job.names[index], job.options, monitor)
        advice = f"; {option('resume', True)} then continues with the complete tables"
        with attempt(job.request.out, job.staging, job.part_name(task.out), advice):
            return self._score_task(task, monitor)

    def _score_task(self, task: ScoringJob, monitor: Monitor) -> Part:
        job = self._job
        if not task.source.exists():
            raise DataError(
                f"{socket.gethostname()} has no file {absolute(task.source)}: all workers need "
                "the tables under the same path, on a file system that they share"
            )
        if self._model is None:
            self._model = job.bundle.open(job.request.provider, check=job.request.check)
        with ExitStack() as stack, ExitStack() as others, located(task.source):
            writers: dict[Location, PartWriter] = {}

            def open_sink(path: Location) -> Sink:
                of_file = stack if path == task.out else others
                writer = of_file.enter_context(job.staging.write(job.part_name(path)))
                writers[path] = writer
                return Sink(str(path), writer)

            summary = score_into(self._model, task, open_sink)
            others.close()  # the part is whole when its own file is, the last one
            written = [each.result for each in writers.values() if each.result]
            output = writers[task.out]
            output.rows = summary.rows
            output.extra = _to_bytes(summary, monitor, written)
        if output.result is None:
            raise RuntimeError(f"{task.out} was not completed: a bug in onnxferry")
        return output.result


class TablesResult(Value, frozen=True):
    """The summary of a job, and how many tables an interrupted run had completed."""

    summary: Summary
    resumed: int


def score_tables(
    job: EngineJob,
    run: ScoreTables,
    on_table: OnTable | None = None,
    on_progress: OnProgress | None = None,
) -> TablesResult:
    """Score the tables of a job on an engine; outputs appear when all are complete.

    ``run`` scores tables there; see ``runtime.scoring.batch.score_files`` for callbacks and errors.
    """
    started = time.perf_counter()
    bundle = PortableBundle.read(job.bundle, embed=True, key=job.key)
    plan = plan_batch(job.source, job.out, job.options)
    _check_drift(job)
    identity = _identify(bundle, plan, job.options)
    with open_run(job.out, identity, resume=job.cluster.resume) as destination:
        tables = TablesJob(bundle, job, plan, destination.staging, current_surface(), Path.cwd())
        expected = {
            tables.part_name(out): number for number, (out, _) in enumerate(plan.outputs.values())
        }
        complete = {part.name: part for part in destination.whole_parts() if part.name in expected}
        resumed = len(complete)
        progress = _Progress(tables, on_table, on_progress)
        for part in complete.values():
            progress.add(expected[part.name], part)
        missing = [number for name, number in expected.items() if name not in complete]
        for part in run(tables, missing) if missing else ():
            complete[part.name] = part  # that of a repeated attempt replaces another
            progress.add(expected[part.name], part)
        if complete.keys() != expected.keys():
            raise RuntimeError(
                f"{len(expected)} tables, {len(complete)} of them scored: a bug in onnxferry; no "
                "output was written"
            )
        summary = _publish(tables, destination, [complete[name] for name in expected])
    summary = replace(summary, seconds=time.perf_counter() - started)
    return TablesResult(summary, resumed)


def _check_drift(job: EngineJob) -> None:
    """Refuse a report within the output, which must be empty when it is published."""
    path, out = job.options.drift, job.out
    if path and is_within(path, out):
        raise UsageError(
            f"{path} is in {out}, which an engine publishes as a whole: give "
            f"{option('drift', blank='FILE')} in another folder"
        )


def _publish(job: TablesJob, destination: Destination, outputs: Sequence[Part]) -> Summary:
    """Sum up, and publish the outputs and the other files of their tables."""
    tables = [_from_bytes(part) for part in outputs]
    summary = _sum_up(job, tables)
    with open_sinks() as open_single:
        if job.options.drift and summary.drift:
            sink = open_single(job.options.drift)
            sink.write(to_json(summary.drift))
            sink.flush()
        commit(destination, [*outputs, *(other for table in tables for other in table.others)])
    return summary


class _Progress:
    """Reports tables as they are completed."""

    def __init__(
        self, job: TablesJob, on_table: OnTable | None, on_progress: OnProgress | None
    ) -> None:
        self._job, self._on_table, self._on_progress = job, on_table, on_progress
        self._tables, self._size, self._rows = 0, 0, 0  # complete ones, bytes, records

    def add(self, index: int, part: Part) -> None:
        """Count a table."""
        table = self._job.names[index]
        self._tables += 1
        self._rows += part.rows
        with suppress(OSError):
            self._size += (self._job.plan.root / table).stat().st_size
        if self._on_table:
            self._on_table(table, self._tables, len(self._job.names))
        if self._on_progress:
            self._on_progress(self._size, self._rows)


def _identify(bundle: PortableBundle, plan: BatchPlan, options: Options) -> dict[str, str]:
    """Describe what determines the output."""
    from importlib.metadata import version

    tables = []
    for name in plan.outputs:
        state = (plan.root / name).stat()
        tables.append((str(name), state.st_size, state.st_mtime_ns))
    return {
        "a version of onnxferry": version("onnxferry"),
        "a bundle": bundle.digest,
        "options": repr(replace(options, threads=None, force=False, no_overwrite=False)),
        "tables": repr((str(plan.root.resolve()), tables)),
    }


def _to_bytes(summary: Summary, monitor: Monitor, others: Sequence[Part]) -> bytes:
    counts = monitor.counts()
    return msgspec.msgpack.encode(
        _TableCounts(
            summary.rows,
            dict(summary.reasons),
            summary.provider,
            dict(summary.stages),
            summary.absent,
            summary.proba,
            counts.ranges,
            counts.accuracy,
            counts.drift,
            monitor.examples,
            tuple(others),
        )
    )


def _from_bytes(part: Part) -> _TableCounts:
    return msgspec.msgpack.decode(part.extra, type=_TableCounts)


def _sum_up(job: TablesJob, tables: Sequence[_TableCounts]) -> Summary:
    """Merge what was counted of the tables, in their order."""
    manifest = job.bundle.bundle.manifest
    monitor = job.new_monitor()
    total = monitor.counts()
    for table in tables:
        total = total.merge(MonitorCounts(table.ranges, table.accuracy, table.drift))
    monitor.restore(total)
    for table in reversed(tables):
        monitor.examples |= table.examples  # the first table's count
    refuse_unseen(manifest.schema, monitor, str(job.request.source), job.request.out)
    providers = ", ".join(sorted({table.provider for table in tables}))
    summaries = []
    for table in tables:
        rejected = sum(table.reasons.values())
        summaries.append(
            Summary(
                rows=table.rows,
                scored=table.rows - rejected,
                rejected=rejected,
                reasons=table.reasons,
                provider=providers,
                seconds=0.0,
                model=f"{manifest.model.name} {manifest.model.version}",
                provider_reason="of the workers",
                stages=table.stages,
                absent=table.absent,
                classes=manifest.schema.classes,
                proba=table.proba,
            )
        )
    return sum_summaries(summaries, monitor, job.request.out, job.options)
