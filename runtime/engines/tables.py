"""Score the tables of a folder as the parts of a job, one table a part, on any engine."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from runtime.bundle.manifest import to_json
from runtime.engines.parts import commit, open_run
from runtime.engines.worker import Job, PartCounts, merge_monitors
from runtime.errors import DataError, UsageError
from runtime.io.atomic import check_writable
from runtime.io.paths import is_within
from runtime.io.sinks import open_sinks
from runtime.scorer.portable import PortableBundle
from runtime.scoring.batch import BatchPlan, plan_batch, sum_summaries
from runtime.scoring.summary import Summary
from runtime.scoring.unseen import refuse_unseen
from runtime.surfaces import current_surface, option
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.engines.job import EngineJob
    from runtime.engines.worker import Engine
    from runtime.io.destinations import Destination, Part
    from runtime.scoring.batch import OnTable
    from runtime.scoring.options import Options
    from runtime.scoring.pipeline import OnProgress


class Progress(Protocol):
    """Is told of complete parts."""

    def add(self, index: int, part: Part) -> None:
        """Count a part."""


class EngineResult(Value, frozen=True):
    """The summary of a job, and how many parts an interrupted run had completed."""

    summary: Summary
    resumed: int


def score_tables(
    job: EngineJob,
    engine: Engine,
    on_table: OnTable | None = None,
    on_progress: OnProgress | None = None,
) -> EngineResult:
    """Score the tables of a job on an engine; outputs appear when all are complete.

    See ``runtime.scoring.batch.score_files`` for callbacks and errors.
    """
    started = time.perf_counter()
    bundle = PortableBundle.read(job.bundle, embed=True, key=job.key)
    plan = plan_batch(job.source, job.out, job.options)
    _check_names(plan)
    _check_drift(job)
    check_writable(job.options.drift)
    identity = identify(bundle, plan, job.options)
    with open_run(job.out, identity, resume=job.cluster.resume) as destination:
        tables = Job(bundle, job, plan, destination.staging, current_surface(), Path.cwd())
        progress = _Progress(tables, on_table, on_progress)
        outputs, resumed = score_parts(tables, engine, destination, progress)
        summary = _publish(tables, destination, outputs)
    return EngineResult(replace(summary, seconds=time.perf_counter() - started), resumed)


def score_parts(
    job: Job, engine: Engine, destination: Destination, progress: Progress
) -> tuple[list[Part], int]:
    """Score what an interrupted run has not completed; all parts, and how many it had."""
    expected = {job.part_name(index): index for index in range(len(job.spans or job.names))}
    complete = {part.name: part for part in destination.whole_parts() if part.name in expected}
    resumed = len(complete)
    for part in complete.values():
        progress.add(expected[part.name], part)
    if missing := [index for name, index in expected.items() if name not in complete]:
        with engine.connect():
            for part in engine.score(job, missing):
                complete[part.name] = part  # that of a repeated attempt replaces another
                progress.add(expected[part.name], part)
    if complete.keys() != expected.keys():
        raise RuntimeError(
            f"{len(expected)} parts, {len(complete)} of them scored: a bug in onnxferry; no "
            "output was written"
        )
    return [complete[name] for name in expected], resumed


def _check_names(plan: BatchPlan) -> None:
    """Refuse names that are no text, which the list of the output has."""
    for name in plan.outputs:
        try:
            str(name).encode()
        except UnicodeEncodeError as exc:
            raise DataError(
                f"{plan.root / name}: the name is not UTF-8, and an engine lists it in the output: "
                f"rename it, or leave {option('engine')} out"
            ) from exc


def _check_drift(job: EngineJob) -> None:
    """Refuse a report within the output, which must be empty when it is published."""
    path, out = job.options.drift, job.out
    if path and is_within(path, out):
        raise UsageError(
            f"{path} is in {out}, which an engine publishes as a whole: give "
            f"{option('drift', blank='FILE')} in another folder"
        )


def _publish(job: Job, destination: Destination, outputs: Sequence[Part]) -> Summary:
    """Sum up, and publish the outputs and the other files of their tables."""
    tables = [PartCounts.of(part) for part in outputs]
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

    def __init__(self, job: Job, on_table: OnTable | None, on_progress: OnProgress | None) -> None:
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


def identify(bundle: PortableBundle, plan: BatchPlan, options: Options) -> dict[str, str]:
    """Describe what determines the output, by what a message calls it."""
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


def _sum_up(job: Job, tables: Sequence[PartCounts]) -> Summary:
    """Merge what was counted of the tables, in their order."""
    manifest = job.bundle.bundle.manifest
    monitor = merge_monitors(job, tables)
    refuse_unseen(manifest.schema, monitor, str(job.request.source), job.request.out)
    providers = ", ".join(sorted({table.provider for table in tables}))
    summaries = [
        Summary(
            rows=table.rows,
            scored=table.rows - table.rejected,
            rejected=table.rejected,
            reasons=table.reasons,
            provider=providers,
            blocks=table.blocks,
            seconds=0.0,
            model=f"{manifest.model.name} {manifest.model.version}",
            provider_reason="of the workers",
            stages=table.stages,
            absent=table.absent,
            classes=manifest.schema.classes,
            proba=table.proba,
            hints=table.hints,
        )
        for table in tables
    ]
    return sum_summaries(summaries, monitor, job.request.out, job.options)
