"""Score a file: read blocks of records, predict, append the predictions, write."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.bundle.manifest import to_json
from runtime.io.parallel import available_processors, map_ordered
from runtime.io.paths import check_distinct
from runtime.io.sinks import open_sinks
from runtime.monitoring.monitor import Monitor
from runtime.scoring.columns import bind_table
from runtime.scoring.counters import Counters, StageTimer
from runtime.scoring.options import DEFAULTS, Options, rejects_path
from runtime.scoring.summary import Summary
from runtime.tables.arrays import filter_rows
from runtime.tables.base import RowIssue
from runtime.tables.csv.quoting import REJECTS_HEADER, encode_record, encode_rejects
from runtime.tables.driver import WritePlan
from runtime.tables.opening import open_table
from runtime.tables.writing import choose_format, open_output, refuse_unused, rejects_dialect
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from runtime.io.sinks import Sink
    from runtime.model import LoadedModel
    from runtime.scoring.columns import TableBinding
    from runtime.session import Outputs
    from runtime.tables.base import Block, Parsed, Table, TableWriter

    Watch = Callable[[int, int], None]
    OpenSink = Callable[[Path], Sink]


NOT_FINITE_OUTPUT = "no finite answer from the model"


def score_file(
    model: LoadedModel,
    source: Path | str,
    out: Path | str,
    options: Options = DEFAULTS,
    on_progress: Watch | None = None,
) -> Summary:
    """Score a table into another.

    Args:
        model: that predicts.
        source: the table; ``-`` is standard input.
        out: appears only when complete; ``-`` is standard output.
        options: what to do with bad rows, which columns to add.
        on_progress: called after each block with the bytes read and records written.

    Returns:
        How many records were read, scored and rejected.

    Raises:
        UsageError: when the output cannot be written or is the input.
        DataError: when the source cannot be read or is no table.
        SchemaError: when a feature's column is missing, or a new column's name is taken.
        BadRowsError: when rows cannot be scored and ``bad_rows`` is ``fail``.
    """
    source, out = Path(source), Path(out)
    rejects = rejects_path(out, options)
    check_distinct(source, out, rejects, options.drift)
    monitor = Monitor(
        model.schema, truth=options.truth is not None, drift=options.drift is not None
    )
    with open_sinks() as open_sink:
        job = ScoringJob(source, out, rejects, options, monitor, alone=True)
        summary = score_into(model, job, open_sink, on_progress)
        if options.drift and summary.drift:
            sink = open_sink(options.drift)
            sink.write(to_json(summary.drift))
            sink.flush()
    return summary


class ScoringJob(Value, frozen=True):
    """One table to score.

    Attributes:
        source: the table.
        out: where its rows go.
        rejects: where bad rows are listed, if anywhere.
        options: how it is scored.
        monitor: of the rows.
        alone: no other table is scored with the same options, which then all have to fit it.
    """

    source: Path
    out: Path
    rejects: Path | None
    options: Options
    monitor: Monitor
    alone: bool = False


def score_into(
    model: LoadedModel, job: ScoringJob, open_sink: OpenSink, on_progress: Watch | None = None
) -> Summary:
    """Score a table into outputs that the caller publishes; see ``score_file``."""
    started = time.perf_counter()
    options, schema = job.options, model.schema
    tally = Counters.of(job.source, job.out, options)
    with ExitStack() as stack:
        reading = options.reading
        table = stack.enter_context(open_table(job.source, reading, schema.feature_names))
        keep_bad = options.bad_rows == "null"
        bound = bind_table(table, schema, options, where=tally.where, keep_bad=keep_bad)
        stored = choose_format(job.out, table, options.out_format)
        if job.alone:
            refuse_unused(table, stored, reading)
        output = stack.enter_context(
            open_output(
                open_sink(job.out),
                stored,
                WritePlan(stored.kind, table, bound.carried, bound.added.fields, reading.delimiter),
            )
        )
        listed = open_sink(job.rejects) if job.rejects else None
        scorer = _Scorer(model, bound, output, tally, job.monitor)
        blocks = table.blocks(sorted({*bound.features, *bound.carried, *bound.truth}))
        threads = options.threads or available_processors()
        timed = _time_reading(blocks, tally.clock)
        _run(scorer, map_ordered(scorer, timed, threads=threads), table, listed, on_progress)
        tally.raise_for_bad_rows(keep_bad=keep_bad)
        output.finish()  # a full disk must show before either output takes its place
        if listed:
            listed.flush()
    proven = model.manifest.model
    return Summary(
        rows=tally.rows,
        scored=tally.rows - tally.rejected,
        rejected=tally.rejected,
        reasons=dict(tally.reasons),
        provider=model.provider,
        seconds=time.perf_counter() - started,
        rejects=job.rejects,
        provider_reason=model.session.reason,
        model=f"{proven.name} {proven.version}",
        out_of_range=job.monitor.out_of_range,
        truth=job.monitor.accuracy,
        drift=job.monitor.drift,
        stages=dict(tally.clock.seconds),
    )


def run_model(model: LoadedModel, block: Block, parsed: Parsed) -> tuple[Parsed, Outputs]:
    """Run the model on what was read of a block."""
    outputs = model.run(parsed.features)
    if outputs.is_finite:
        return parsed, outputs
    answered = outputs.finite_rows()  # finite features can still overflow inside the model
    return parsed.without(block, answered, RowIssue(NOT_FINITE_OUTPUT)), outputs.take(answered)


class _Scored(Value, frozen=True):
    """A block that was scored: ``piece`` is what to write, None where nothing is."""

    block: Block
    parsed: Parsed
    outputs: Outputs
    outside: npt.NDArray[np.int64]
    truth: pa.Array | None
    written: int
    piece: Any
    clock: StageTimer


class _Scorer(Value, frozen=True):
    """Scores a block, in any thread."""

    model: LoadedModel
    bound: TableBinding
    output: TableWriter[Any]
    tally: Counters
    monitor: Monitor

    def __call__(self, block: Block) -> _Scored:
        clock = StageTimer()
        parsed = block.parse(self.bound.features, self.bound.encoder)
        clock.lap("parse")
        parsed, outputs = run_model(self.model, block, parsed)
        clock.lap("model")
        written, piece = 0, None
        if not (self.tally.refused or (self.tally.fail_on_bad and parsed.bad)):
            answers = self.bound.added.answer(parsed, outputs)
            written, piece = len(answers.columns[0]), self.output.encode(block, answers)
        clock.lap("format")
        outside = self.monitor.count(parsed.features)
        truth = self._read_truth(block, parsed)
        clock.lap("monitor")
        return _Scored(block, parsed, outputs, outside, truth, written, piece, clock)

    def _read_truth(self, block: Block, parsed: Parsed) -> pa.Array | None:
        if not self.bound.truth:
            return None
        cells = block.select(self.bound.truth).column(0)
        return cells if parsed.good is None else filter_rows(cells, parsed.good)


def _run(
    scorer: _Scorer,
    scored: Iterable[_Scored],
    table: Table,
    listed: Sink | None,
    on_progress: Watch | None,
) -> None:
    """Write the blocks in order and count their records."""
    tally, output = scorer.tally, scorer.output
    if listed:
        listed.write(encode_record(REJECTS_HEADER))
    listing = rejects_dialect(table)
    clock = StageTimer()
    for done in scored:
        clock.skip()  # for reading, which is timed where it happens, and waiting
        tally.add(len(done.block), done.written, done.parsed.bad, done.clock)
        if done.piece is not None and not tally.refused:
            output.write(done.piece)
        if listed:
            listed.write(encode_rejects(done.parsed.bad, listing))
        clock.lap("write")
        scorer.monitor.add(
            done.parsed,
            done.outputs,
            first_record=done.block.first_record,
            outside=done.outside,
            truth=done.truth,
        )
        clock.lap("monitor")
        if on_progress:
            on_progress(table.bytes_read, tally.rows)
    tally.clock.add(clock)


def _time_reading(blocks: Iterable[Block], clock: StageTimer) -> Iterator[Block]:
    """Count the time that the blocks take to come."""
    clock.skip()
    for block in blocks:
        clock.lap("read")
        yield block
        clock.skip()
    clock.lap("read")
