"""Score the tables of a folder or glob pattern into a folder of the same structure."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING

from msgspec.structs import replace

from runtime.bundle.manifest import to_json
from runtime.errors import SchemaError, UsageError
from runtime.io.discovery import find_tables, wildcard_parts
from runtime.io.folders import may_hold_files, staged_files
from runtime.io.paths import (
    STANDARD_STREAM,
    check_distinct,
    is_within,
    parse_location,
    real_name,
    relative_path,
)
from runtime.io.sinks import Sink, open_sinks
from runtime.monitoring.monitor import Monitor
from runtime.scoring.options import DEFAULTS, Options
from runtime.scoring.outputs import check_outputs, written_files
from runtime.scoring.pipeline import ScoringJob, score_into
from runtime.scoring.unseen import refuse_unseen
from runtime.surfaces import option
from runtime.tables.folders import check_formats
from runtime.tables.formats import strip_extensions
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from runtime.io.paths import Location
    from runtime.model import LoadedModel
    from runtime.scoring.pipeline import OnProgress
    from runtime.scoring.summary import Summary

    OpenFile = Callable[[Path | str], IO[bytes]]
    OnTable = Callable[[Path, int, int], None]


class BatchPlan(Value, frozen=True):
    """What is read and written.

    Attributes:
        root: the folder that the output mirrors.
        outputs: paths of the output and the rejects file of each table, by its path relative to
            ``root``.
    """

    root: Location
    outputs: Mapping[Path, tuple[Location, Location | None]]

    def job(self, table: Path, options: Options, monitor: Monitor) -> ScoringJob:
        """Get the job of one table."""
        return ScoringJob(self.root / table, *self.outputs[table], options, monitor)


class BatchSummary(Value, frozen=True):
    """Summaries of a batch.

    Attributes:
        total: of all tables.
        tables: one per table, by path relative to the folder, without monitored statistics.
    """

    total: Summary
    tables: Mapping[Path, Summary]


def score_files(
    model: LoadedModel,
    source: Location | str,
    out: Location | str,
    options: Options = DEFAULTS,
    on_table: OnTable | None = None,
    on_progress: OnProgress | None = None,
) -> BatchSummary:
    """Score every table of a folder or glob pattern into a folder; see ``score_file``.

    ``on_table`` is called with each table, its number and their count; ``on_progress`` with the
    bytes and records that were read of all tables.
    """
    source, out = parse_location(source), parse_location(out)
    plan = plan_batch(source, out, options)
    monitor = Monitor(
        model.schema, truth=options.truth is not None, drift=options.drift is not None
    )
    summaries: dict[Path, Summary] = {}
    done, rows = 0, 0  # bytes, records
    written: dict[Path, int] = {}  # rows, by path in the folder
    replaces = not options.no_overwrite
    with (
        open_sinks(replaces=replaces) as open_single,
        staged_files(out, rows=written, replaces=replaces) as open_file,
    ):
        for number, name in enumerate(plan.outputs, start=1):
            if on_table:
                on_table(name, number, len(plan.outputs))
            job = plan.job(name, options, monitor)
            of_table = on_progress and _shift(on_progress, done, rows)
            summary = _score_table(model, job, out, open_file, of_table)
            summaries[name] = summary
            written |= _count_rows(job, summary, out)
            rows += summary.rows
            done += job.source.stat().st_size
        refuse_unseen(model.schema, monitor, str(source), out)
        if options.drift and monitor.drift:
            sink = open_single(options.drift)
            sink.write(to_json(monitor.drift))
            sink.flush()
    total = sum_summaries(list(summaries.values()), monitor, out, options)
    return BatchSummary(total, summaries)


def plan_batch(source: Location, out: Location, options: Options) -> BatchPlan:
    """Find the tables of a folder or glob pattern, and choose their outputs.

    Raises ``DataError`` without tables, and ``UsageError`` for an output that cannot be written.
    """
    root, tables = find_tables(source)
    if options.reading.format is None:
        check_formats(root, tables, "file")
    _check_folders(source, root, out, options)
    return BatchPlan(root, _plan_outputs(root, tables, out, options))


def _shift(on_progress: OnProgress, size: int, rows: int) -> OnProgress:
    """Count bytes and records of a table after those of the tables before."""
    return lambda bytes_read, records: on_progress(size + bytes_read, rows + records)


def _score_table(
    model: LoadedModel,
    job: ScoringJob,
    folder: Location,
    open_file: OpenFile,
    on_progress: OnProgress | None,
) -> Summary:
    """Score one table into files of the output folder, and close them."""
    with ExitStack() as stack, located(job.source):

        def open_sink(path: Location) -> Sink:
            stream = stack.enter_context(open_file(relative_path(path, folder)))
            return Sink(str(path), stream)

        return score_into(model, job, open_sink, on_progress)


def _count_rows(job: ScoringJob, summary: Summary, folder: Location) -> dict[Path, int]:
    """Count the rows of the files that were written of a table, by path in the folder."""
    kept = summary.rows if job.options.bad_rows == "null" else summary.scored
    rejects = {relative_path(job.rejects, folder): summary.rejected} if job.rejects else {}
    return {relative_path(job.out, folder): kept, **rejects}


@contextmanager
def located(table: Location) -> Iterator[None]:
    """Add the table's path to errors of its schema."""
    try:
        yield
    except SchemaError as exc:
        if str(table) in str(exc):
            raise
        raise SchemaError(f"{table}: {exc}") from exc


def sum_summaries(
    summaries: Sequence[Summary], monitor: Monitor, out: Location, options: Options
) -> Summary:
    """Sum the summaries of the tables of a batch; ``monitor`` has counted all of them."""
    rejects = _rejects_path(out / "**" / "*", options)
    reasons: Counter[str] = Counter()
    stages: Counter[str] = Counter()
    for summary in summaries:
        reasons.update(summary.reasons)
        stages.update(summary.stages)
    return replace(
        summaries[0],
        rows=sum(summary.rows for summary in summaries),
        blocks=sum(summary.blocks for summary in summaries),
        scored=sum(summary.scored for summary in summaries),
        rejected=sum(summary.rejected for summary in summaries),
        reasons=dict(reasons),
        seconds=sum(summary.seconds for summary in summaries),
        rejects=rejects,
        files=written_files(out, rejects, options),
        out_of_range=monitor.out_of_range,
        truth=monitor.accuracy,
        drift=monitor.drift,
        stages=dict(stages),
        absent=tuple(dict.fromkeys(name for summary in summaries for name in summary.absent)),
        hints=tuple(dict.fromkeys(hint for summary in summaries for hint in summary.hints)),
    )


def _output_name(name: Path, options: Options) -> Path:
    """Name an output like its table, with the extension of the output's format."""
    if options.out_format is None:
        return name
    return name.with_name(f"{strip_extensions(name.name)}.{options.out_format}")


def _plan_outputs(
    root: Location, tables: Sequence[Path], out: Location, options: Options
) -> dict[Path, tuple[Location, Location | None]]:
    """Choose the paths of the output and rejects file of every table."""
    targets = {name: out / _output_name(name, options) for name in tables}
    outputs = {name: (path, _rejects_path(path, options)) for name, path in targets.items()}
    drift = [options.drift] if options.drift else []
    written = [path for pair in outputs.values() for path in pair if path] + drift
    for name in tables:
        check_distinct(root / name, *outputs[name], options.drift)
        if may_hold_files(out):
            check_outputs(*outputs[name], options)
    if repeated := [path for path, count in Counter(written).items() if count > 1]:
        raise UsageError(f"{repeated[0]} would be written twice: rename one of the tables")
    read = {real_name(root / name) for name in tables}
    if overwritten := [path for path in written if real_name(path) in read]:
        raise UsageError(f"{overwritten[0]} is one of the tables; give another output folder")
    return outputs


def _rejects_path(target: Location, options: Options) -> Location | None:
    if options.bad_rows != "reject":
        return None
    return target.with_name(f"{target.name}.rejects.csv")


def _check_folders(source: Location, root: Location, out: Location, options: Options) -> None:
    """Refuse outputs that cannot hold many tables, or are within the input."""
    if out == STANDARD_STREAM:
        raise UsageError(f"{source} can be several tables: give {option('out', blank='FOLDER')}")
    if options.rejects:
        raise UsageError(
            f"{option('rejects')} names a single file, and there can be several tables: "
            "leave it out"
        )
    is_pattern = bool(wildcard_parts(source)) and source != root and "**" not in source.parts
    has_one_level = is_pattern and len(wildcard_parts(source)) == 1
    if is_within(out, root) and not (has_one_level and not is_within(root, out)):
        raise UsageError(f"{out} is in the input folder {root}; give another output folder")
