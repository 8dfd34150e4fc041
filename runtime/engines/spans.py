"""Score one table as spans of its records, on any engine, into one file."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from runtime.bundle.manifest import to_json
from runtime.engines.parts import check_seen, open_run, staging_folder
from runtime.engines.tables import EngineResult, identify, score_parts
from runtime.engines.worker import Job, PartCounts, merge_monitors
from runtime.errors import DataError, UsageError
from runtime.io.atomic import check_writable
from runtime.io.paths import (
    STANDARD_STREAM,
    absolute,
    check_distinct,
    is_special,
)
from runtime.io.sinks import open_sinks
from runtime.scorer.portable import PortableBundle
from runtime.scoring.batch import BatchPlan
from runtime.scoring.columns import bad_rows_hint, bind_table, encoding_hint
from runtime.scoring.counters import Counters
from runtime.scoring.options import rejects_path
from runtime.scoring.outputs import (
    check_outputs,
    check_table_output,
    fixed_format,
    written_files,
)
from runtime.scoring.summary import Summary
from runtime.scoring.unseen import refuse_unseen
from runtime.surfaces import current_surface, option
from runtime.tables.division import WINDOW_BYTES, TextLayout, divide_text, join_scans
from runtime.tables.formats import Format, file_driver, text_driver
from runtime.tables.joining import join_files
from runtime.tables.opening import detect_storage, open_table
from runtime.tables.partitions import without_keys
from runtime.tables.writing import choose_format, refuse_unused
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.engines.job import EngineJob
    from runtime.engines.worker import Engine
    from runtime.io.charsets import Encoding
    from runtime.io.destinations import Destination, Part
    from runtime.io.paths import Location
    from runtime.schema.features import Schema
    from runtime.scoring.pipeline import OnProgress
    from runtime.tables.base import Table
    from runtime.tables.spans import Span

_MAX_GROUP_BYTES: Final = 256 * 1024 * 1024  # of a Parquet file that one worker scores


def score_table(
    job: EngineJob, engine: Engine, on_progress: OnProgress | None = None
) -> EngineResult:
    """Score a table on an engine, divided among its workers; the output is that of one machine.

    See ``runtime.scoring.pipeline.score_file`` for the callback and errors. Raises ``UsageError``
    for a table or an output that cannot be divided.
    """
    started = time.perf_counter()
    bundle = PortableBundle.read(job.bundle, embed=True, key=job.key)
    source, out, options = job.source, job.out, job.options
    _check_locations(source, out)
    rejects = rejects_path(out, options)
    check_distinct(source, out, rejects, options.drift)
    check_outputs(out, rejects, options)
    check_writable(out, rejects, options.drift)
    division = _divide(job, bundle.bundle.manifest.schema)
    plan = BatchPlan(source.parent, {Path(source.name): (out, rejects)})
    identity = identify(bundle, plan, options)
    folder = staging_folder(out)
    with open_run(folder, identity, resume=job.cluster.resume, for_file=True) as destination:
        with engine.connect():
            spans = division.find_spans(source, engine)
            parts = Job(
                bundle, job, plan, destination.staging, current_surface(), Path.cwd(), spans
            )
            progress = _Progress(parts, division, on_progress)
            outputs, resumed = score_parts(parts, engine, destination, progress)
        if identify(bundle, plan, options) != identity:
            raise DataError(f"{source} has changed while it was scored: {out} was not written")
        summary = _publish(parts, destination, outputs, division)
    return EngineResult(replace(summary, seconds=time.perf_counter() - started), resumed)


def _check_locations(source: Location, out: Location) -> None:
    if source == STANDARD_STREAM or is_special(source):
        raise UsageError(
            f"{source} is not a file that all workers can read: give a file, a folder or a "
            f"pattern, or leave {option('engine')} out"
        )
    if out == STANDARD_STREAM or is_special(out):
        raise UsageError(
            f"the workers of an engine write files: give {option('out', blank='FILE')}, or leave "
            f"{option('engine')} out"
        )


class _Division(Value, frozen=True):
    """How a table is divided.

    Attributes:
        table: of which the header was read.
        stored: format of the output.
        layout: of text, to be scanned.
        spans: of a columnar file.
        rows: of a columnar file.
    """

    table: Table
    stored: Format
    layout: TextLayout | None = None
    spans: tuple[Span, ...] = ()
    rows: int = 0

    def find_spans(self, source: Location, engine: Engine) -> tuple[Span, ...]:
        """Find the spans, those of text in the processes of the engine."""
        if self.layout is None:
            return self.spans
        windows = divide_text(absolute(source), self.layout, WINDOW_BYTES)
        return join_scans(self.layout, engine.scan(windows) if len(windows) > 1 else ())


def _divide(job: EngineJob, schema: Schema) -> _Division:
    """Open the table, and find where it can be divided; refuse what cannot be."""
    source, out, options = job.source, job.out, job.options
    found, encoding = detect_storage(source, options.reading)
    required = without_keys(schema.feature_names, source)
    with open_table(source, options.reading, required) as table:
        stored = choose_format(out, table, options.out_format)
        if not fixed_format(out, options):  # else it was checked before
            check_table_output(out, stored, options)
        refuse_unused(table, stored, options.reading)
        _refuse_whole(job, found, encoding, stored)
        keep_bad = options.bad_rows == "null"
        where = str(source)
        bind_table(table, schema, options, where=where, keep_bad=keep_bad, source=source)
        if found.is_text:
            return _Division(table, stored, text_driver(found.kind).text_layout(table))
        size = source.stat().st_size
        spans = file_driver(found.kind).divide(table, size)
        if len(spans) == 1 and size > _MAX_GROUP_BYTES:
            raise _whole(f"{source} has too large row groups: write it with groups of 1,000,000")
        rows = getattr(table, "parquet_metadata").num_rows  # noqa: B009
        return _Division(table, stored, None, spans, rows)


def _refuse_whole(job: EngineJob, found: Format, encoding: Encoding, stored: Format) -> None:
    """Refuse a table or an output that is read or written from its beginning on."""
    source, out = job.source, job.out
    if found.compression:
        raise _whole(f"{source} is {found.compression}-compressed text: unpack it")
    if encoding.is_wide:
        raise _whole(f"{source} is {encoding.name.upper()} text: convert it to UTF-8")
    if found.kind == "arrow":
        raise _whole(f"{source} is an Arrow file: write it as Parquet")
    if stored.compression:
        raise _whole(f"{out} would be {stored.compression}-compressed text: choose another format")
    if stored.kind == "arrow":
        raise _whole(f"{out} would be an Arrow file: choose Parquet")
    if found.kind == "jsonl" != stored.kind and job.options.columns is None:
        raise _whole(
            f"{out} would have the keys of all records as columns: give "
            f"{option('columns', blank='NAMES')}"
        )


def _whole(reason: str) -> UsageError:
    return UsageError(
        f"{reason}, or leave {option('engine')} out: it cannot be divided among workers"
    )


class _Progress:
    """Reports spans as they are completed."""

    def __init__(self, job: Job, division: _Division, on_progress: OnProgress | None) -> None:
        self._spans, self._on_progress = job.spans, on_progress
        self._size = job.request.source.stat().st_size
        self._end = division.rows or self._size
        # Bytes of text, after the header, or rows of a columnar file; records.
        self._done, self._rows = job.spans[0].start, 0

    def add(self, index: int, part: Part) -> None:
        """Count a span."""
        span = self._spans[index]
        self._done += (self._end if span.stop is None else span.stop) - span.start
        self._rows += part.rows
        if self._on_progress:
            self._on_progress(self._size * self._done // max(self._end, 1), self._rows)


def _publish(
    job: Job, destination: Destination, outputs: Sequence[Part], division: _Division
) -> Summary:
    """Sum up, and join the parts to the files that one machine would write."""
    spans = [PartCounts.of(part) for part in outputs]
    summary = _sum_up(job, spans, division.table)
    options, rejects = job.options, rejects_path(job.request.out, job.options)
    rejected = [other for span in spans for other in span.others]
    check_seen(destination, [*outputs, *rejected])
    with open_sinks(replaces=not options.no_overwrite) as open_sink:
        written = [(destination.location(part), part.size) for part in outputs]
        join_files(division.stored, written, open_sink(job.request.out))
        if rejects:
            listed = [(destination.location(part), part.size) for part in rejected]
            join_files(Format("csv"), listed, open_sink(rejects))
        if options.drift and summary.drift:
            sink = open_sink(options.drift)
            sink.write(to_json(summary.drift))
            sink.flush()
    destination.discard()
    return summary


def _sum_up(job: Job, spans: Sequence[PartCounts], table: Table) -> Summary:
    """Merge what was counted of the spans; raise ``BadRowsError`` as one machine would."""
    request, options, manifest = job.request, job.options, job.bundle.bundle.manifest
    counters = Counters.for_file(request.source, request.out, options)
    for span in spans:
        counters.merge(pickle.loads(span.counters))  # noqa: S301 - from our own workers
    hint = bad_rows_hint(table, counters.reasons)
    counters.raise_for_bad_rows(keep_bad=options.bad_rows == "null", hint=hint)
    monitor = merge_monitors(job, spans)
    refuse_unseen(manifest.schema, monitor, counters.where, request.out)
    rejects = rejects_path(request.out, options)
    absent = [name for name in spans[0].absent if all(name in span.absent for span in spans)]
    return Summary(
        rows=counters.rows,
        scored=counters.rows - counters.rejected,
        rejected=counters.rejected,
        reasons=dict(counters.reasons),
        provider=", ".join(sorted({span.provider for span in spans})),
        seconds=0.0,
        rejects=rejects,
        provider_reason="of the workers",
        model=f"{manifest.model.name} {manifest.model.version}",
        out_of_range=monitor.out_of_range,
        truth=monitor.accuracy,
        drift=monitor.drift,
        stages=dict(counters.timer.seconds),
        absent=tuple(absent),
        classes=manifest.schema.classes,
        proba=spans[0].proba,
        blocks=counters.blocks,
        files=written_files(request.out, rejects, options),
        hints=counters.hints(encoding_hint(table, counters.reasons)),
    )
