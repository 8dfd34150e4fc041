"""Score a file: read blocks of records, predict, add the answers, write.

In: a predictor and a table. Out: the table with its answers, and a ``Summary``. Raises
``DataError`` for a file that is no table, ``SchemaError`` for columns that do not fit and
``BadRowsError`` for rows that cannot be scored, unless told what to do with them.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.answers import NewColumns
from runtime.endpoints import describe_loss, open_sink, refuse_same, rejects_path, source_name
from runtime.options import DEFAULTS, Options
from runtime.ordered import map_ordered
from runtime.tables.csv_writer import REJECTS_HEADER, encode_record, encode_rejects
from runtime.tables.opening import choose_columns, open_output, open_table
from runtime.tables.table import Fault
from runtime.tally import Clock, Summary, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runtime.endpoints import Sink
    from runtime.predictor import Predictor
    from runtime.session import Outputs
    from runtime.tables.output import Output
    from runtime.tables.table import BadRow, Block, Parsed, Table

    Watch = Callable[[int, int], None]

NO_ANSWER = "no finite answer from the model"
_MOST_THREADS = 8


def score_file(
    predictor: Predictor,
    source: Path | str,
    out: Path | str,
    options: Options = DEFAULTS,
    on_progress: Watch | None = None,
) -> Summary:
    """Score a table into another.

    Args:
        predictor: the model.
        source: the table; ``-`` is standard input.
        out: appears only when complete; ``-`` is standard output.
        options: what to do with bad rows, which columns to add.
        on_progress: told after each block how many bytes were read and records written.

    Returns:
        How many records were read, scored and rejected.

    Raises:
        UsageError: when the output cannot be written or is the input.
        DataError: when the source cannot be read or is no table.
        SchemaError: when a feature's column is missing, or a new column's name is taken.
        BadRowsError: when rows cannot be scored and ``bad_rows`` is ``fail``.
    """
    started = time.perf_counter()
    source, out = Path(source), Path(out)
    rejects = rejects_path(out, options)
    refuse_same(source, out, rejects)
    tally = Tally(
        source_name(source),
        refuses_bad=options.bad_rows == "fail",
        consequence=describe_loss(out),
        advice="--bad-rows reject or --bad-rows null",
    )
    with ExitStack() as stack:
        table = stack.enter_context(open_table(source))
        features = predictor.schema.bind(table.columns)
        table.expect_numbers(features)
        carried = choose_columns(table.columns, options.columns)
        columns = NewColumns(
            predictor.schema,
            [table.columns[at] for at in carried],
            prefix=options.prefix,
            proba=options.proba,
            keep_bad=options.bad_rows == "null",
        )
        output = stack.enter_context(open_output(out, table, carried, columns))
        listed = stack.enter_context(open_sink(rejects)) if rejects else None
        scorer = _Scorer(predictor, features, columns, output, tally)
        blocks = table.blocks(sorted({*features, *carried}))
        threads = options.threads or _available_processors()
        _run(
            scorer,
            map_ordered(scorer, blocks, threads=threads),
            table,
            listed,
            on_progress,
        )
        tally.settle(keeps_bad=options.bad_rows == "null")
        output.finish()  # a full disk must show before either output takes its place
        if listed:
            listed.flush()
    return tally.sum_up(predictor.provider, time.perf_counter() - started, rejects)


@dataclass(frozen=True, slots=True)
class _Scored:
    """A block that was scored: ``piece`` is what to write, None where nothing is."""

    records: int
    written: int
    bad: tuple[BadRow, ...]
    piece: Any
    clock: Clock


@dataclass(frozen=True, slots=True)
class _Scorer:
    """Scores a block, in any thread."""

    predictor: Predictor
    features: Sequence[int]
    columns: NewColumns
    output: Output[Any]
    tally: Tally

    def __call__(self, block: Block) -> _Scored:
        clock = Clock()
        parsed = block.parse(self.features)
        clock.lap("parse")
        parsed, outputs = answer_block(self.predictor, block, parsed)
        clock.lap("model")
        if self.tally.refused or (self.tally.refuses_bad and parsed.bad):
            return _Scored(len(block), 0, parsed.bad, None, clock)
        answers = self.columns.answer(parsed, outputs)
        piece = self.output.encode(block, answers)
        clock.lap("format")
        return _Scored(len(block), len(answers.columns[0]), parsed.bad, piece, clock)


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
    clock = Clock()
    for block in scored:
        clock.lap("wait")
        tally.add(block.records, block.written, block.bad, block.clock)
        if block.piece is not None and not tally.refused:
            output.write(block.piece)
        if listed:
            listed.write(encode_rejects(block.bad))
        clock.lap("write")
        if on_progress:
            on_progress(table.bytes_read, tally.rows)
    tally.clock.add(clock)


def answer_block(predictor: Predictor, block: Block, parsed: Parsed) -> tuple[Parsed, Outputs]:
    """Run the model on what was read of a block.

    Args:
        predictor: the model.
        block: the records.
        parsed: their features.

    Returns:
        What was read, records without a finite answer now among the bad, and the model's outputs.
    """
    outputs = predictor.run(parsed.features)
    if outputs.is_finite:
        return parsed, outputs
    answered = outputs.finite_rows()  # finite features can still overflow inside the model
    return parsed.without(block, answered, Fault(NO_ANSWER)), outputs.take(answered)


def _available_processors() -> int:
    """Processors this process may use, as far as more threads pay."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    return min(os.cpu_count() or 1, _MOST_THREADS)
