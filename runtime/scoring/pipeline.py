"""Score a table in a file or in memory: read blocks, predict, append predictions, write."""

from __future__ import annotations

import io
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runtime.bundle.manifest import to_json
from runtime.io.parallel import default_threads, map_ordered
from runtime.io.paths import check_distinct, parse_location
from runtime.io.rejects import REJECTS_HEADER
from runtime.io.sinks import Sink, open_sinks
from runtime.monitoring.monitor import Monitor
from runtime.monitoring.ranges import RangeMonitor
from runtime.scoring.columns import bad_rows_hint, bind_table, encoding_hint
from runtime.scoring.counters import BadRowsMessage, Counters, StageTimer
from runtime.scoring.options import DEFAULTS, Options, rejects_path
from runtime.scoring.outputs import (
    check_outputs,
    check_table_output,
    fixed_format,
    written_files,
)
from runtime.scoring.summary import Summary
from runtime.surfaces import option
from runtime.tables.arrays import filter_rows
from runtime.tables.base import RowIssue
from runtime.tables.csv.quoting import encode_record, encode_rejects
from runtime.tables.driver import WritePlan
from runtime.tables.opening import open_bytes, open_table
from runtime.tables.partitions import without_keys
from runtime.tables.writing import choose_format, open_output, refuse_unused, rejects_dialect
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from runtime.io.paths import Location
    from runtime.model import LoadedModel
    from runtime.scoring.columns import TableBinding
    from runtime.session import Outputs
    from runtime.tables.base import Block, Parsed, Table, TableWriter
    from runtime.tables.formats import Format
    from runtime.tables.spans import Span

    OnProgress = Callable[[int, int], None]
    OpenSink = Callable[[Location], Sink]

NOT_FINITE_OUTPUT = "no finite prediction"


class ScoringJob(Value, frozen=True):
    """One table to score.

    Attributes:
        source: the table.
        out: the output.
        rejects: path of the rejects file; None without one.
        options: how to score it.
        monitor: of the rows.
        is_single: whether the options are for this table only; unused ones are then refused.
        span: the records to score; None for all.
        counters: that count the records of a span, of which bad ones are no error yet.
    """

    source: Location
    out: Location
    rejects: Location | None
    options: Options
    monitor: Monitor
    is_single: bool = False
    span: Span | None = None
    counters: Counters | None = None


def score_file(
    model: LoadedModel,
    source: Location | str,
    out: Location | str,
    options: Options = DEFAULTS,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Score a file and write it with predictions.

    Args:
        model: the loaded model.
        source: the table, a path or URI; ``-`` is standard input.
        out: the output, replaced only when it is complete; ``-`` is standard output.
        options: policy for bad rows, columns to add, formats.
        on_progress: called after each block with the bytes read and the records read so far.

    Returns:
        Counts of records read, scored and rejected, times, and monitored statistics.

    Raises:
        UsageError: when options conflict, or an output is the input, or would replace a file of
            another kind without ``force``.
        DataError: when the table cannot be read or the output not written.
        SchemaError: when a feature's column is missing or has unseen categories alone, or a new
            column exists already.
        BadRowsError: when rows cannot be scored and ``bad_rows`` is ``fail``.
    """
    source, out = parse_location(source), parse_location(out)
    rejects = rejects_path(out, options)
    check_distinct(source, out, rejects, options.drift)
    check_outputs(out, rejects, options)
    monitor = Monitor(
        model.schema, truth=options.truth is not None, drift=options.drift is not None
    )
    with open_sinks(replaces=not options.no_overwrite) as open_sink:
        job = ScoringJob(source, out, rejects, options, monitor, is_single=True)
        summary = score_into(model, job, open_sink, on_progress)
        if options.drift and summary.drift:
            sink = open_sink(options.drift)
            sink.write(to_json(summary.drift))
            sink.flush()
    return summary


def score_into(
    model: LoadedModel, job: ScoringJob, open_sink: OpenSink, on_progress: OnProgress | None = None
) -> Summary:
    """Score a table into sinks that the caller commits; see ``score_file``."""
    started = time.perf_counter()
    options = job.options
    counters = job.counters or Counters.for_file(job.source, job.out, options)
    with ExitStack() as stack:
        required = without_keys(model.schema.feature_names, job.source)
        table = stack.enter_context(open_table(job.source, options.reading, required, job.span))
        stored = choose_format(job.out, table, options.out_format)
        if not fixed_format(job.out, options):  # else it was checked before
            check_table_output(job.out, stored, options)
        if options.columns is None and stored.kind != table.kind:
            table.find_columns()  # the output's columns are fixed before its first row
        keep_bad = options.bad_rows == "null"
        bound = bind_table(
            table,
            model.schema,
            options,
            where=counters.where,
            keep_bad=keep_bad,
            source=job.source,
        )
        output = stack.enter_context(_open_output(table, bound, stored, job, open_sink))
        rejects = open_sink(job.rejects) if job.rejects else None
        scorer = _BlockScorer(model, bound, output, counters, job.monitor)
        blocks = table.blocks(bound.read)
        threads = options.threads or default_threads()
        timed = _time_reading(blocks, counters.timer)
        scored = map_ordered(scorer, timed, threads=threads)
        if rejects and (job.span is None or job.span.begins):
            rejects.write(encode_record(REJECTS_HEADER))
        _write_blocks(scorer, scored, table, rejects, on_progress)
        if job.span is None or not counters.failed:
            hint = bad_rows_hint(table, counters.reasons)
            counters.raise_for_bad_rows(keep_bad=keep_bad, hint=hint)
        if job.is_single and job.monitor.examples:
            from runtime.scoring.unseen import refuse_unseen  # few tables need it

            refuse_unseen(model.schema, job.monitor, counters.where, job.out)
        output.finish()  # a full disk must fail before an output is committed
        if rejects:
            rejects.flush()
        absent, proba = table.absent, bound.added.classes
        hints = counters.hints(encoding_hint(table, counters.reasons))
        left_out = model.manifest.provenance.left_out_columns or {}
        job.monitor.add_other_columns(bound.others(table), left_out, options.truth)
    summary = _summarize(model, job, counters, time.perf_counter() - started)
    return replace(summary, absent=tuple(absent), proba=proba, hints=hints)


def _open_output(
    table: Table, bound: TableBinding, stored: Format, job: ScoringJob, open_sink: OpenSink
) -> AbstractContextManager[TableWriter[Any]]:
    """Open the output in its format."""
    reading = job.options.reading
    if job.is_single:
        refuse_unused(table, stored, reading)
    plan = WritePlan(
        stored.kind,
        table,
        bound.carried,
        bound.added.fields,
        reading.delimiter,
        is_selection=job.options.columns is not None,
        begins=job.span is None or job.span.begins,
        ends=job.span is None or job.span.ends,
    )
    return open_output(open_sink(job.out), stored, plan)


def _summarize(model: LoadedModel, job: ScoringJob, counters: Counters, seconds: float) -> Summary:
    name, options = model.manifest.model, job.options
    return Summary(
        rows=counters.rows,
        scored=counters.rows - counters.rejected,
        rejected=counters.rejected,
        reasons=dict(counters.reasons),
        provider=model.provider,
        seconds=seconds,
        rejects=job.rejects,
        provider_reason=model.session.reason,
        model=f"{name.name} {name.version}",
        out_of_range=job.monitor.out_of_range,
        truth=job.monitor.accuracy,
        drift=job.monitor.drift,
        stages=dict(counters.timer.seconds),
        blocks=counters.blocks,
        classes=model.schema.classes,
        files=written_files(job.out, job.rejects, options),
    )


def run_model(model: LoadedModel, block: Block, parsed: Parsed) -> tuple[Parsed, Outputs]:
    """Run the model on a parsed block; rows without finite outputs become bad."""
    outputs = model.run(parsed.features)
    if outputs.is_finite:
        return parsed, outputs
    finite = outputs.finite_rows()  # finite features can overflow in the model
    return parsed.keep(block, finite, RowIssue(NOT_FINITE_OUTPUT)), outputs.take(finite)


class _ScoredBlock(Value, frozen=True):
    """A scored block; ``encoded`` is None when it is not written."""

    block: Block
    parsed: Parsed
    outputs: Outputs
    out_of_range: npt.NDArray[np.int64]
    truth: pa.Array | None
    written: int
    encoded: Any
    timer: StageTimer
    examples: Mapping[str, tuple[str, ...]]  # see ``Monitor``


class _BlockScorer(Value, frozen=True):
    """Parses, predicts and encodes a block; thread-safe."""

    model: LoadedModel
    bound: TableBinding
    output: TableWriter[Any]
    counters: Counters
    monitor: Monitor

    def __call__(self, block: Block) -> _ScoredBlock:
        timer = StageTimer()
        partitioned = self.bound.partitioned.wrap(block)
        parsed = partitioned.parse(self.bound.features, self.bound.encoder)
        timer.lap("parse")
        parsed, outputs = run_model(self.model, block, parsed)
        timer.lap("model")
        written, encoded = 0, None
        if not (self.counters.failed or (self.counters.fail_on_bad and parsed.bad)):
            added = self.bound.added.build(parsed, outputs)
            written, encoded = len(added.columns[0]), self.output.encode(block, added)
        timer.lap("format")
        out_of_range = self.monitor.count(parsed.features)
        truth = self._read_truth(partitioned, parsed)
        examples = self._find_examples(partitioned, parsed, out_of_range)
        timer.lap("monitor")
        return _ScoredBlock(
            block, parsed, outputs, out_of_range, truth, written, encoded, timer, examples
        )

    def _find_examples(
        self, block: Block, parsed: Parsed, out_of_range: npt.NDArray[np.int64]
    ) -> Mapping[str, tuple[str, ...]]:
        names = self.monitor.lacks_examples(out_of_range)
        if not names:
            return {}
        from runtime.scoring.unseen import find_examples

        return find_examples(names, block, parsed, self.bound.features, self.model.schema)

    def _read_truth(self, block: Block, parsed: Parsed) -> pa.Array | None:
        if not self.bound.truth:
            return None
        cells = block.select(self.bound.truth).column(0)
        return cells if parsed.good is None else filter_rows(cells, parsed.good)


def _write_blocks(
    scorer: _BlockScorer,
    blocks: Iterable[_ScoredBlock],
    table: Table,
    rejects: Sink | None,
    on_progress: OnProgress | None,
) -> None:
    """Write scored blocks in order and count their records."""
    counters, output = scorer.counters, scorer.output
    dialect = rejects_dialect(table)
    timer = StageTimer()
    for scored in blocks:
        timer.skip()  # waiting, and reading, which has a timer of its own
        counters.add(len(scored.block), scored.written, scored.parsed.bad, scored.timer)
        if scored.encoded is not None and not counters.failed:
            output.write(scored.encoded)
        if rejects:
            rejects.write(encode_rejects(scored.parsed.bad, dialect))
        timer.lap("write")
        scorer.monitor.add(
            scored.parsed,
            scored.outputs,
            out_of_range=scored.out_of_range,
            truth=scored.truth,
        )
        scorer.monitor.examples = {**scored.examples, **scorer.monitor.examples}
        timer.lap("monitor")
        if on_progress:
            on_progress(table.bytes_read, counters.rows)
    counters.timer.add(timer)


def _time_reading(blocks: Iterable[Block], timer: StageTimer) -> Iterator[Block]:
    """Measure the time to read blocks."""
    timer.skip()
    for block in blocks:
        timer.lap("read")
        yield block
        timer.skip()
    timer.lap("read")


class ScoredBytes(Value, frozen=True):
    """A table scored in memory, and its statistics.

    Attributes:
        content: the encoded table.
        scored: number of rows with a prediction.
        rejected: number of rows without one.
        outside: ``(n_features, 4)`` int64, see ``RangeMonitor.counts``.
        model_s: seconds in the model.
        hints: what may be wrong with many bad cells alike, a sentence each.
    """

    content: bytes
    scored: int
    rejected: int
    outside: npt.NDArray[np.int64]
    model_s: float
    hints: tuple[str, ...]


def score_bytes(
    model: LoadedModel,
    content: bytes | bytearray,
    stored: Format,
    options: Options,
    *,
    where: str,
) -> ScoredBytes:
    """Score a table in memory.

    Args:
        model: the loaded model.
        content: the table.
        stored: its format; that of the result is ``options.out_format`` if given, else the same.
        options: how to score it.
        where: its name in messages.

    Returns:
        The scored table, and counts.

    Raises:
        DataError: when the table cannot be read, or a row cannot be scored.
        SchemaError: when a feature's column is missing, or a new column exists already.
    """
    fail_on_bad = options.bad_rows == "fail"
    message = BadRowsMessage("nothing was scored", option("bad_rows", "null"))
    counters = Counters(where, message, fail_on_bad=fail_on_bad, decimal=options.reading.decimal)
    schema, out = model.schema, io.BytesIO()
    table = open_bytes(content, stored, options.reading, schema.feature_names, where=where)
    out_format = options.out_format or stored
    if out_format.kind != stored.kind:
        table.find_columns()  # the output's columns are fixed before its first row
    bound = bind_table(table, schema, options, where=where, keep_bad=not fail_on_bad)
    sink, ranges = Sink(where, out), RangeMonitor(schema)
    plan = WritePlan(out_format.kind, table, bound.carried, bound.added.fields)
    with open_output(sink, out_format, plan) as output:
        for block in table.blocks(bound.read):
            parsed, timer = block.parse(bound.features, bound.encoder), StageTimer()
            parsed, outputs = run_model(model, block, parsed)
            timer.lap("model")
            counters.add(len(block), len(block), parsed.bad, timer)
            ranges.add(parsed.features)
            if not counters.failed:
                output.write(output.encode(block, bound.added.build(parsed, outputs)))
        hint = bad_rows_hint(table, counters.reasons)
        counters.raise_for_bad_rows(keep_bad=not fail_on_bad, hint=hint)
        output.finish()
    return ScoredBytes(
        out.getvalue(),
        counters.rows - counters.rejected,
        counters.rejected,
        ranges.counts,
        counters.timer.seconds["model"],
        counters.hints(hint),
    )
