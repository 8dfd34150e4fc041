"""Bad rows of a table to train on: which ones there are, the rejects file, and the messages."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import BadRowsError
from runtime.io.rejects import REJECTS_HEADER, REJECTS_SOURCE
from runtime.printable import list_names
from runtime.scoring.counters import BadRowsMessage, Counters, StageTimer
from runtime.surfaces import option
from runtime.tables.base import Encoded
from runtime.tables.cells import MISSING, UNDECODABLE
from runtime.tables.csv.quoting import encode_record, encode_rejects
from runtime.tables.folders import FolderTable
from runtime.tables.writing import rejects_dialect
from trainer.data.faults import NOTHING_FITTED
from trainer.data.source import advise_exclusion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from runtime.io.paths import Location
    from runtime.io.sinks import Sink
    from runtime.scoring.pipeline import OnProgress
    from runtime.tables.base import BadRow, Block, Column, Mask, Numbers, Table
    from runtime.tables.dialect import Dialect
    from trainer.data.faults import Faults
    from trainer.data.source import TableSource

    OpenSink = Callable[[Location], Sink]

# Of the labelled rows: more bad ones are a wrong option. Tables are often labelled in part.
_MAX_REJECTED = 0.5


class RowCounter:
    """Counts the rows of a table, and refuses or rejects the bad ones; for one thread.

    Attributes:
        on_progress: takes the number of bytes and of rows read so far; None for nobody.
    """

    def __init__(
        self,
        where: str,
        source: TableSource,
        features: Sequence[str],
        faults: Faults,
        utf8_advice: str,
    ) -> None:
        """Start at zero; ``where`` names the table, ``features`` are its feature columns.

        ``faults`` gets the bad rows that prevent training; ``utf8_advice`` is what to do where
        many have texts that are not in the table's encoding.
        """
        message = BadRowsMessage(
            NOTHING_FITTED, advice="", purpose="fitted", missing=tuple(source.missing)
        )
        self._counters = Counters(
            where, message, fail_on_bad=source.bad_rows == "fail", decimal=source.reading.decimal
        )
        self._source, self._features, self._faults = source, frozenset(features), faults
        self._utf8_advice = utf8_advice
        self._columns: Counter[str] = Counter()  # of first bad cells
        self._unlabelled = 0
        self._sink: Sink | None = None
        self._dialect: Dialect | None = None
        self.on_progress: OnProgress | None = None
        self._has_files = False  # which the rejects file names

    @property
    def where(self) -> str:
        """Name of the table."""
        return self._counters.where

    @property
    def rows(self) -> int:
        """Number of rows so far."""
        return self._counters.rows

    @property
    def reasons(self) -> Counter[str]:
        """Number of bad rows by reason."""
        return self._counters.reasons

    @property
    def writes_records(self) -> bool:
        """Whether whole records are needed, for the rejects file."""
        return self._sink is not None

    def write_rejects(self, sink: Sink, table: Table) -> None:
        """Write the bad rows to come as ``runtime predict`` does."""
        self._sink, self._dialect = sink, rejects_dialect(table)
        self._has_files = isinstance(table, FolderTable)
        source = (REJECTS_SOURCE,) if self._has_files else ()
        sink.write(encode_record((*source, *REJECTS_HEADER)))

    def add(self, rows: int, bad: Sequence[BadRow]) -> None:
        """Add a block."""
        self._counters.add(rows, rows - len(bad), bad, StageTimer())
        self._columns.update(row.column for row in bad)
        self._unlabelled += sum(
            row.column == self._source.label and row.reason == MISSING for row in bad
        )
        if self._sink and self._dialect:
            rejects = encode_rejects(bad, self._dialect, with_source=self._has_files)
            self._sink.write(rejects)

    def report(self, bytes_read: int) -> None:
        """Report the progress."""
        if self.on_progress:
            self.on_progress(bytes_read, self.rows)

    def finish(self) -> None:
        """Add a fault when bad rows prevent training."""
        counters = self._counters
        if counters.failed or self._are_too_many():
            words = chain.from_iterable(counters.missing_words.values())
            error = BadRowsError(counters.describe_bad(self._remedy()))
            self._faults.add(error, missing=words)
        else:
            counters.raise_for_bad_rows(keep_bad=False)
        if self._sink:
            self._sink.flush()

    def _are_too_many(self) -> bool:
        bad = self._counters.rejected - self._unlabelled
        return bad > _MAX_REJECTED * (self._counters.rows - self._unlabelled)

    def _remedy(self) -> str:
        """Suggest an option only where it helps."""
        reject = option("bad_rows", "reject")
        if not self._are_too_many():
            return f"fix them, or continue with {reject}"
        limit = _MAX_REJECTED * (self._counters.rows - self._unlabelled)
        if self.reasons[UNDECODABLE] > limit:
            return self._utf8_advice
        left, at_fault = self._counters.rejected - self._unlabelled, list[str]()
        for name, count in self._columns.most_common():
            if left > limit and name in self._features:
                left, at_fault = left - count, [*at_fault, name]
        exclusion = advise_exclusion(self._source, at_fault, len(self._features))
        if not at_fault or left > limit or not exclusion:
            return f"fix them: {reject} is for at most half of the labelled rows"
        them = (
            f"column {at_fault[0]!r}" if len(at_fault) == 1 else f"columns {list_names(at_fault)}"
        )
        others = f" and reject the other bad rows with {reject}" if left else ""
        return f"fix {them}, or {exclusion}{others}"


def find_well_formed(block: Block, label: int) -> Mask | None:
    """Mark the records with the header's number of fields, ``(rows,)``; None for all.

    ``label`` is the position of any column.
    """
    return block.parse([label], _AnyText()).good


class _AnyText:
    """Accepts every cell: the bad rows are those that are not a record of the table."""

    is_numeric = False
    null_texts = ()

    def select(self, features: Sequence[int]) -> _AnyText:  # noqa: ARG002 - of all features
        return self

    def width(self, feature: int) -> int:  # noqa: ARG002
        return 1

    def is_text(self, feature: int) -> bool:  # noqa: ARG002
        return True

    def is_date(self, feature: int) -> bool:  # noqa: ARG002
        return False

    def allows_missing(self, feature: int) -> bool:  # noqa: ARG002
        return True

    def with_missing(self, feature: int, numbers: Numbers, cells: pa.Array) -> Column:  # noqa: ARG002
        return cells

    def encode(self, columns: Sequence[Column]) -> Encoded:
        rows = len(columns[0])
        return Encoded(np.zeros((rows, 1), np.float32), np.ones((rows, 1), np.bool_))

    def means_missing(self, feature: int, number: float) -> bool:  # noqa: ARG002
        return False

    def explain(self, feature: int, cell: bytes | None, dialect: Dialect) -> str:  # noqa: ARG002
        return ""
