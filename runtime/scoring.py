"""Score a file: read blocks of records, predict, append the answers, write.

In: a predictor and a table. Out: the table with its answers, and a ``Summary``. Raises
``DataError`` for a file that is no table, ``SchemaError`` for columns that do not fit and
``BadRowsError`` for rows that cannot be scored, unless told what to do with them.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from runtime.answers import Answers
from runtime.choices import BadRows
from runtime.endpoints import open_sink, open_source, refuse_same, source_name
from runtime.errors import BadRowsError, UsageError
from runtime.files import STANDARD_STREAM, is_special
from runtime.ordered import map_ordered
from runtime.tables.csv_reader import Block, CsvReader
from runtime.tables.csv_writer import REJECTS_HEADER, encode_record, encode_rejects
from runtime.tables.feature_cells import BadRow, parse_features, without_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.predictor import Predictor

_SHOWN_BAD_ROWS = 10
_SHOWN_CHARACTERS = 60  # of a bad cell
_MOST_THREADS = 8


@dataclass(frozen=True, slots=True)
class Options:
    """How to score.

    Attributes:
        bad_rows: ``fail`` refuses the file, ``reject`` leaves bad rows out and lists them in a
            file of their own, ``null`` keeps them in place with empty answers and a reason.
        proba: add one column a class with its probability.
        prefix: put before each new column's name.
        rejects: where bad rows are listed; by default the output's name and ``.rejects.csv``.
        threads: how many blocks are scored at once; by default one a processor, at most 8.
    """

    bad_rows: BadRows = "fail"
    proba: bool = False
    prefix: str = ""
    rejects: Path | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.bad_rows not in get_args(BadRows):
            choices = ", ".join(get_args(BadRows))
            raise UsageError(f"no policy {self.bad_rows!r} for bad rows: choose {choices}")
        if self.rejects and self.bad_rows != "reject":
            raise UsageError("--rejects lists what --bad-rows reject leaves out: give both")


@dataclass(frozen=True, slots=True)
class Summary:
    """What was done.

    Attributes:
        rows: records read.
        scored: records with an answer.
        rejected: records without one.
        reasons: how many records were rejected, by reason.
        provider: what the model ran on.
        seconds: wall time.
        rejects: where rejected records are listed, if they are.
    """

    rows: int
    scored: int
    rejected: int
    reasons: dict[str, int]
    provider: str
    seconds: float
    rejects: Path | None = None

    @property
    def rows_per_second(self) -> float:
        """Records read a second."""
        return self.rows / self.seconds


@dataclass(slots=True)
class _Tally:
    """Counts while scoring, and the bad rows to show."""

    refuses_bad: bool
    rows: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: list[BadRow] = field(default_factory=list)

    @property
    def refused(self) -> bool:
        """Whether nothing more is written: bad rows are only counted."""
        return self.refuses_bad and self.rejected > 0

    def add(self, rows: int, bad: Sequence[BadRow]) -> None:
        self.rows += rows
        self.rejected += len(bad)
        self.reasons.update(row.reason.partition(" (")[0] for row in bad)
        self.first += bad[: _SHOWN_BAD_ROWS - len(self.first)]


def score_file(
    predictor: Predictor,
    source: Path | str,
    out: Path | str,
    options: Options = Options(),
    on_progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Score a CSV file into another.

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
    rejects = _rejects_path(out, options)
    refuse_same(source, out, rejects)
    tally = _Tally(refuses_bad=options.bad_rows == "fail")
    with ExitStack() as stack:
        reader = CsvReader(stack.enter_context(open_source(source)), where=source_name(source))
        features = predictor.schema.bind(reader.header.columns)
        answers = Answers(
            predictor.schema,
            reader.header,
            prefix=options.prefix,
            proba=options.proba,
            keep_bad=options.bad_rows == "null",
        )
        score = _scorer(predictor, reader, features, answers, tally)
        sink = stack.enter_context(open_sink(out))
        reject_sink = stack.enter_context(open_sink(rejects)) if rejects else None
        sink.write(answers.header(reader.header))
        if reject_sink:
            reject_sink.write(encode_record(REJECTS_HEADER))
        threads = options.threads or _available_processors()
        for block, rows, bad in map_ordered(score, reader.blocks(), threads=threads):
            tally.add(len(block), bad)
            if not tally.refused:
                sink.write(rows)
            if reject_sink:
                reject_sink.write(encode_rejects(bad))
            if on_progress:
                on_progress(reader.bytes_read, tally.rows)
        if tally.refused:
            raise BadRowsError(_describe_bad(source_name(source), out, tally))
        sink.write(reader.tail or reader.header.terminator)
        for written in (sink, reject_sink):  # a full disk must show before either takes its place
            if written:
                written.flush()
    return Summary(
        rows=tally.rows,
        scored=tally.rows - tally.rejected,
        rejected=tally.rejected,
        reasons=dict(tally.reasons),
        provider=predictor.provider,
        seconds=time.perf_counter() - started,
        rejects=rejects,
    )


def _scorer(
    predictor: Predictor,
    reader: CsvReader,
    features: Sequence[int],
    answers: Answers,
    tally: _Tally,
) -> Callable[[Block], tuple[Block, memoryview, tuple[BadRow, ...]]]:
    """Make the function that the threads apply to each block."""

    def score(block: Block) -> tuple[Block, memoryview, tuple[BadRow, ...]]:
        parsed = parse_features(block, reader.header.columns, features)
        outputs = predictor.run(parsed.features)
        answered = outputs.finite_rows()
        if not answered.all():  # finite features can still overflow inside the model
            parsed, outputs = without_answer(block, parsed, answered), outputs.take(answered)
        if tally.refused or (tally.refuses_bad and parsed.bad):
            return block, memoryview(b""), parsed.bad
        return block, answers.rows(block, parsed, outputs), parsed.bad

    return score


def _describe_bad(where: str, out: Path, tally: _Tally) -> str:
    """List the first bad rows and say which options would go on."""
    outcome = "the output is incomplete" if out == STANDARD_STREAM else f"{out} was not written"
    lines = [f"{where}: {tally.rejected} of {tally.rows} rows cannot be scored; {outcome}"]
    for row in tally.first:
        place = f"  record {row.record} (line {row.line})"
        cell = f", column {row.column!r}: {_shorten(row.value)!r}" if row.column else ""
        lines.append(f"{place}{cell}: {row.reason}")
    if tally.rejected > len(tally.first):
        lines.append(f"  … and {tally.rejected - len(tally.first)} more")
    lines.append("mend them, or go on with --bad-rows reject or --bad-rows null")
    return "\n".join(lines)


def _shorten(value: str) -> str:
    return value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"


def _rejects_path(out: Path, options: Options) -> Path | None:
    if options.bad_rows != "reject":
        return None
    beside = options.rejects is None
    if options.rejects == STANDARD_STREAM or (
        beside and (out == STANDARD_STREAM or is_special(out))
    ):
        raise UsageError(
            "--bad-rows reject lists bad rows in a file beside the output: "
            "give --out FILE or --rejects FILE"
        )
    return options.rejects or out.parent / f"{out.name}.rejects.csv"


def _available_processors() -> int:
    """Processors this process may use, as far as more threads pay."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    return min(os.cpu_count() or 1, _MOST_THREADS)
