"""Score many tables: a folder, or what a pattern names; the output mirrors the input."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runtime.bundle.manifest import to_json
from runtime.errors import SchemaError, UsageError
from runtime.io.discovery import find_tables, wildcard_parts
from runtime.io.folders import staged_files
from runtime.io.paths import STANDARD_STREAM, check_distinct
from runtime.io.sinks import Sink, open_sinks
from runtime.monitoring.monitor import Monitor
from runtime.scoring.options import DEFAULTS, Options
from runtime.scoring.pipeline import ScoringJob, score_into
from runtime.tables.formats import format_from_name, strip_extensions
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from runtime.model import LoadedModel
    from runtime.scoring.summary import Summary

    Announce = Callable[[Path, int, int], None]


class BatchSummary(Value, frozen=True):
    """What was done with many tables.

    Attributes:
        total: over all of them.
        tables: one summary each, by its path relative to the folder; what was monitored
            is in ``total`` alone.
    """

    total: Summary
    tables: Mapping[Path, Summary]


def score_files(
    model: LoadedModel,
    source: Path | str,
    out: Path | str,
    options: Options = DEFAULTS,
    on_table: Announce | None = None,
) -> BatchSummary:
    """Score every table of a folder or pattern into a folder."""
    source, out = Path(source), Path(out)
    root, tables = find_tables(source)
    if options.reading.format is None:
        _refuse_foreign(root, tables)
    _check_places(source, root, out, options)
    places = _plan(root, tables, out, options)
    monitor = Monitor(
        model.schema, truth=options.truth is not None, drift=options.drift is not None
    )
    summaries: dict[Path, Summary] = {}
    with open_sinks() as open_beside, staged_files(out) as open_file:
        for number, name in enumerate(tables, start=1):
            if on_table:
                on_table(name, number, len(tables))
            job = ScoringJob(root / name, *places[name], options, monitor)
            with ExitStack() as stack:  # closes each table's files: there may be many

                def open_sink(path: Path, stack: ExitStack = stack) -> Sink:
                    stream = stack.enter_context(open_file(path.relative_to(out)))
                    return Sink(str(path), stream)

                with _naming(root / name):
                    summaries[name] = score_into(model, job, open_sink)
            monitor.records_before += summaries[name].rows
        if options.drift and monitor.drift:
            sink = open_beside(options.drift)
            sink.write(to_json(monitor.drift))
            sink.flush()
    total = _add_up(list(summaries.values()), monitor)
    if options.bad_rows == "reject":
        total = replace(total, rejects=_beside(out / "**" / "*", options))
    return BatchSummary(total, summaries)


@contextmanager
def _naming(table: Path) -> Iterator[None]:
    """Say of which table's columns an error speaks: there are others."""
    try:
        yield
    except SchemaError as exc:
        if str(table) in str(exc):
            raise
        raise SchemaError(f"{table}: {exc}") from exc


def _add_up(summaries: Sequence[Summary], monitor: Monitor) -> Summary:
    reasons: Counter[str] = Counter()
    stages: Counter[str] = Counter()
    for summary in summaries:
        reasons.update(summary.reasons)
        stages.update(summary.stages)
    return replace(
        summaries[0],
        rows=sum(summary.rows for summary in summaries),
        scored=sum(summary.scored for summary in summaries),
        rejected=sum(summary.rejected for summary in summaries),
        reasons=dict(reasons),
        seconds=sum(summary.seconds for summary in summaries),
        rejects=None,
        out_of_range=monitor.out_of_range,
        truth=monitor.accuracy,
        drift=monitor.drift,
        stages=dict(stages),
    )


def _output_name(name: Path, options: Options) -> Path:
    """Name an output as its table; in another format, with the ending of that."""
    if options.out_format is None:
        return name
    return name.with_name(f"{strip_extensions(name.name)}.{options.out_format}")


def _plan(
    root: Path, tables: Sequence[Path], out: Path, options: Options
) -> dict[Path, tuple[Path, Path | None]]:
    """Name the output and the list of rejects of every table, before the first is read."""
    outputs = {name: out / _output_name(name, options) for name in tables}
    places = {name: (target, _beside(target, options)) for name, target in outputs.items()}
    drift = [options.drift] if options.drift else []
    written = [path for place in places.values() for path in place if path] + drift
    for name in tables:
        check_distinct(root / name, *places[name], options.drift)
    if again := [path for path, count in Counter(written).items() if count > 1]:
        raise UsageError(f"{again[0]} would be written twice: rename one of the tables")
    read = {os.path.realpath(root / name) for name in tables}
    if over := [path for path in written if os.path.realpath(path) in read]:
        raise UsageError(f"{over[0]} is one of the tables; give another folder to write to")
    return places


def _beside(target: Path, options: Options) -> Path | None:
    if options.bad_rows != "reject":
        return None
    return target.with_name(f"{target.name}.rejects.csv")


def _check_places(source: Path, root: Path, out: Path, options: Options) -> None:
    if out == STANDARD_STREAM:
        raise UsageError(f"{source} is more than one table: give --out FOLDER")
    if options.rejects:
        raise UsageError("--rejects names one file, and there are more tables: leave it out")
    inside = out.resolve().is_relative_to(root.resolve())
    flat = not source.is_dir() and "**" not in source.parts and len(wildcard_parts(source)) == 1
    if inside and not (flat and out.resolve() != root.resolve()):
        raise UsageError(f"{out} lies in {root}, which is read; give another folder to write to")


def _refuse_foreign(root: Path, tables: Sequence[Path]) -> None:
    """Refuse files that are no tables before the first is read; to pass over them hides loss."""
    for name in tables:
        try:
            format_from_name(root / name)
        except UsageError as exc:
            example = str(root / "**" / "*.csv")
            raise UsageError(f"{exc}; or name the tables alone: --file {example!r}") from exc
