"""Count records, bad rows and time while scoring."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Self

from runtime.errors import BadRowsError
from runtime.io.paths import STANDARD_STREAM
from runtime.io.sinks import describe_failed_output
from runtime.io.sources import source_name
from runtime.tables.cells import NOT_A_NUMBER
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runtime.choices import Decimal
    from runtime.scoring.options import Options
    from runtime.tables.base import BadRow


_SHOWN_BAD_ROWS = 10
_SHOWN_CHARACTERS = 60  # of a bad cell
_LOOKED_AT = 1000  # cells of a column, for what they have in common


class StageTimer:
    """Splits time between stages.

    Attributes:
        seconds: by stage.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Count the time since the last call for a stage."""
        now = time.perf_counter()
        self.seconds[stage] += now - self._last  # type: ignore[assignment]  # Counter is typed for int
        self._last = now

    def skip(self) -> None:
        """Count the time since the last call for nothing."""
        self._last = time.perf_counter()

    def add(self, other: StageTimer) -> None:
        """Count another clock's time too."""
        self.seconds.update(other.seconds)


class BadRowsMessage(Value, frozen=True):
    """What a message says of rows that cannot be read.

    Attributes:
        consequence: what becomes of the output.
        advice: options that continue.
        purpose: what rows are read for.
        decimal_option: how another decimal sign is given.
    """

    consequence: str
    advice: str
    purpose: str = "scored"
    decimal_option: str = "--decimal {}"


class Counters:
    """Counts, and the bad rows to show.

    Attributes:
        rows: read so far.
        written: of them.
        rejected: that cannot be scored.
        reasons: how many were rejected, by reason.
        first: the first of them.
        no_numbers: values that are no numbers, by column.
        clock: time by stage.
    """

    def __init__(
        self, where: str, wording: BadRowsMessage, *, fail_on_bad: bool, decimal: Decimal = "."
    ) -> None:
        """Start without records."""
        self.where, self.wording, self.fail_on_bad = where, wording, fail_on_bad
        self.decimal = decimal
        self.rows, self.written, self.rejected = 0, 0, 0
        self.reasons: Counter[str] = Counter()
        self.first: list[BadRow] = []
        self.no_numbers: dict[str, list[str]] = {}
        self.clock = StageTimer()

    @classmethod
    def of(cls, source: Path, out: Path, options: Options) -> Self:
        """Start counting a file's records."""
        return cls(
            source_name(source),
            BadRowsMessage(describe_failed_output(out), _advise(out, options)),
            fail_on_bad=options.bad_rows == "fail",
            decimal=options.reading.decimal,
        )

    @property
    def refused(self) -> bool:
        """Whether nothing more is written: bad rows are only counted."""
        return self.fail_on_bad and self.rejected > 0

    def add(self, records: int, written: int, bad: Sequence[BadRow], clock: StageTimer) -> None:
        """Count a block."""
        self.rows += records
        self.written += written
        self.rejected += len(bad)
        self.reasons.update(row.reason.partition(" (")[0] for row in bad)
        self.first += bad[: _SHOWN_BAD_ROWS - len(self.first)]
        for row in bad[:_LOOKED_AT]:
            if row.reason == NOT_A_NUMBER:
                values = self.no_numbers.setdefault(row.column, [])
                values += [row.value][: _LOOKED_AT - len(values)]
        self.clock.add(clock)

    def raise_for_bad_rows(self, *, keep_bad: bool) -> None:
        """Look at the counts before an output takes its place."""
        if self.refused:
            raise BadRowsError(self._describe_bad())
        left_out = 0 if keeps_bad else self.rejected
        if self.written + left_out != self.rows:
            raise RuntimeError(
                f"{self.where}: {self.rows} records were read, {self.written} written and "
                f"{left_out} left out: a bug of onnxferry, and nothing was published"
            )

    def _describe_bad(self) -> str:
        """List the first bad rows and the options that continue."""
        from runtime.tables.number_formats import number_hint

        counts = f"{self.rejected} of {self.rows} rows cannot be {self.wording.purpose}"
        lines = [f"{self.where}: {counts}; {self.wording.consequence}"]
        for row in self.first:
            line = "" if row.line is None else f" (line {row.line})"
            cell = f", column {row.column!r}: {_shorten(row.value)!r}" if row.column else ""
            lines.append(f"  record {row.record}{line}{cell}: {row.reason}")
        if self.rejected > len(self.first):
            lines.append(f"  … and {self.rejected - len(self.first)} more")
        hints = (
            number_hint(column, values, self.decimal, self.wording.decimal_option)
            for column, values in self.no_numbers.items()
        )
        lines += filter(None, hints)
        lines.append(f"fix them, or continue with {self.wording.advice}")
        return "\n".join(lines)


def _advise(out: Path, options: Options) -> str:
    listed = " --rejects FILE" if out == STANDARD_STREAM and not options.rejects else ""
    return f"--bad-rows reject{listed} or --bad-rows null"


def _shorten(value: str) -> str:
    return value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
