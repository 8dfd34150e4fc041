"""Counters of records, bad rows and time during scoring."""

from __future__ import annotations

import time
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Self

from runtime.errors import BadRowsError
from runtime.io.paths import STANDARD_STREAM
from runtime.io.sinks import describe_failed_output
from runtime.io.sources import source_name
from runtime.printable import truncate
from runtime.surfaces import advise, option, together
from runtime.tables.cells import (
    MISSING,
    MISSING_WORDS,
    NOT_A_NUMBER,
    UNDECODABLE,
    number_hint,
)
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.choices import Decimal
    from runtime.io.paths import Location
    from runtime.scoring.options import Options
    from runtime.tables.base import BadRow


_MAX_BAD_ROWS = 10  # in a message
_MAX_CHARACTERS = 60  # of a bad cell in a message
_MAX_CELLS = 1000  # of a column, for hints
_MAX_HINTS = 10


class StageTimer:
    """Measures the time of each stage.

    Attributes:
        seconds: by stage.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Add the time since the last call to a stage."""
        now = time.perf_counter()
        self.seconds[stage] += now - self._last  # type: ignore[assignment]  # Counter is typed for int
        self._last = now

    def skip(self) -> None:
        """Ignore the time since the last call."""
        self._last = time.perf_counter()

    def add(self, other: StageTimer) -> None:
        """Add the times of another timer."""
        self.seconds.update(other.seconds)


class BadRowsMessage(Value, frozen=True):
    """Parts of the error message for bad rows.

    Attributes:
        consequence: for the output.
        advice: options with which to continue.
        purpose: of the rows, as a participle.
        missing: texts that are read as missing already; None where none can be declared.
    """

    consequence: str
    advice: str
    purpose: str = "scored"
    missing: tuple[str, ...] | None = None


class Counters:
    """Counts of records, and the first bad rows.

    Attributes:
        rows: records read.
        blocks: of records.
        written: records written.
        rejected: records that cannot be scored.
        reasons: number of rejected records by reason.
        first_bad: the first rejected records.
        non_numeric: values that are not numbers, by column.
        missing_words: values that usually mean a missing cell, by column.
        timer: time by stage.
    """

    def __init__(
        self, where: str, message: BadRowsMessage, *, fail_on_bad: bool, decimal: Decimal = "."
    ) -> None:
        """Start at zero."""
        self.where, self.message, self.fail_on_bad = where, message, fail_on_bad
        self.decimal = decimal
        self.rows = self.blocks = self.written = self.rejected = 0
        self.reasons: Counter[str] = Counter()
        self.first_bad: list[BadRow] = []
        self.non_numeric: dict[str, list[str]] = {}
        self.missing_words: dict[str, set[str]] = {}
        self.timer = StageTimer()

    @classmethod
    def for_file(cls, source: Location, out: Location, options: Options) -> Self:
        """Create counters for a file."""
        return cls(
            source_name(source),
            BadRowsMessage(describe_failed_output(out), _bad_rows_advice(out, options)),
            fail_on_bad=options.bad_rows == "fail",
            decimal=options.reading.decimal,
        )

    @property
    def failed(self) -> bool:
        """Whether bad rows prevent an output: records are only counted from now on."""
        return self.fail_on_bad and self.rejected > 0

    def add(self, records: int, written: int, bad: Sequence[BadRow], timer: StageTimer) -> None:
        """Add a block."""
        self.rows += records
        self.blocks += 1
        self.written += written
        self.rejected += len(bad)
        self.reasons.update(row.reason.partition(" (")[0] for row in bad)
        self.first_bad += bad[: _MAX_BAD_ROWS - len(self.first_bad)]
        for row in bad[:_MAX_CELLS]:
            if row.reason == NOT_A_NUMBER:
                values = self.non_numeric.setdefault(row.column, [])
                values += [row.value][: _MAX_CELLS - len(values)]
            word = row.value.strip(" \t")
            if word in MISSING_WORDS and row.column and row.reason != MISSING:
                self.missing_words.setdefault(row.column, set()).add(word)
        self.timer.add(timer)

    def merge(self, later: Counters) -> None:
        """Add the counts of the records that follow."""
        self.rows += later.rows
        self.blocks += later.blocks
        self.written += later.written
        self.rejected += later.rejected
        self.reasons.update(later.reasons)
        self.first_bad += later.first_bad[: _MAX_BAD_ROWS - len(self.first_bad)]
        for column, found in later.non_numeric.items():
            values = self.non_numeric.setdefault(column, [])
            values += found[: _MAX_CELLS - len(values)]
        for column, words in later.missing_words.items():
            self.missing_words.setdefault(column, set()).update(words)
        self.timer.add(later.timer)

    def hints(self, *more: str) -> tuple[str, ...]:
        """Say what may be wrong with many bad cells alike, and the options for that."""
        numbers = (
            number_hint(column, values, self.decimal) for column, values in self.non_numeric.items()
        )
        found = [*filter(None, (*numbers, *more)), *self._hint_missing()]
        rest = [f"and {len(found) - _MAX_HINTS:,} more hints"] if len(found) > _MAX_HINTS else []
        return (*found[:_MAX_HINTS], *rest)

    def raise_for_bad_rows(self, *, keep_bad: bool, hint: str = "") -> None:
        """Raise ``BadRowsError`` if bad rows prevent an output; check that no record is lost."""
        if self.failed:
            remedy = f"fix them, or continue with {self.message.advice}"
            raise BadRowsError(self.describe_bad(remedy, hint))
        dropped = 0 if keep_bad else self.rejected
        if self.written + dropped != self.rows:
            raise RuntimeError(
                f"{self.where}: {self.rows} records read, {self.written} written and "
                f"{dropped} dropped: a bug in onnxferry; no output was written"
            )

    def _hint_missing(self) -> Iterator[str]:
        """Name texts of bad cells that usually mean a missing cell."""
        given = self.message.missing
        if given is None:
            return
        for column, found in self.missing_words.items():
            means = f"if {', '.join(map(repr, sorted(found)))} means missing"
            yield f"column {column!r}: {means}, {advise('missing', sorted({*given, *found}))}"
        every = sorted({*given, *chain.from_iterable(self.missing_words.values())})
        if len({frozenset(found) for found in self.missing_words.values()}) > 1:
            yield f"if all of these mean missing, {advise('missing', every)}"

    def describe_bad(self, remedy: str, hint: str = "") -> str:
        """List the first bad rows and hints; the last line is the ``remedy``."""
        counts = f"{self.rejected:,} of {self.rows:,} rows cannot be {self.message.purpose}"
        lines = [f"{self.where}: {counts}; {self.message.consequence}"]
        for row in self.first_bad:
            line = "" if row.line is None else f" (line {row.line})"
            cell = f", column {row.column!r}: {_quote(row)}" if row.column else ""
            source = f"{row.source}, " if row.source else ""
            lines.append(f"  {source}record {row.record}{line}{cell}: {row.reason}")
        if self.rejected > len(self.first_bad):
            lines.append(f"  … and {self.rejected - len(self.first_bad):,} more")
        return "\n".join((*lines, *self.hints(hint), remedy))


def _quote(row: BadRow) -> str:
    """Quote a bad cell; bytes that are no text are escaped already, and not once more."""
    text = repr(truncate(row.value, _MAX_CHARACTERS))
    return text.replace(r"\\x", r"\x") if row.reason == UNDECODABLE else text


def _bad_rows_advice(out: Location, options: Options) -> str:
    reject = [option("bad_rows", "reject")]
    if out == STANDARD_STREAM and not options.rejects:
        reject.append(option("rejects", blank="FILE"))
    return f"{together(*reject)} or {option('bad_rows', 'null')}"
