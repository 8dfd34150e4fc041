"""Summaries of parts of a table, which merge to the summary of the whole."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from runtime.errors import UsageError
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.monitoring.monitor import MonitorCounts


class PartialSummary(Value, frozen=True):
    """Counts of some of the rows of a table.

    ``merge`` is associative and commutative: parts merge to the summary of the whole, bit by bit,
    however the rows were divided. Pickled, it takes a few hundred bytes, with ``drift`` at most
    200 kB a feature.

    Attributes:
        settings: of the scorer, a digest; parts of different settings do not merge.
        rows: scored or not.
        reasons: number of rows without a prediction by reason, in alphabetical order.
        providers: execution providers, in alphabetical order.
        counts: of values out of range, true classes and drift.
    """

    settings: str
    rows: int
    reasons: tuple[tuple[str, int], ...]
    providers: tuple[str, ...]
    counts: MonitorCounts

    @property
    def rejected(self) -> int:
        """Rows without a prediction."""
        return sum(count for _, count in self.reasons)

    def merge(self, other: PartialSummary) -> PartialSummary:
        """Get the summary of the rows of both.

        Args:
            other: of other rows, by a scorer with the same bundle and options.

        Returns:
            The summary of all rows.

        Raises:
            UsageError: when the bundle or the options differ.
        """
        if self.settings != other.settings:
            raise UsageError(
                "summaries of scorers with different bundles or options cannot be merged: keep "
                "those of each scorer apart"
            )
        return PartialSummary(
            self.settings,
            self.rows + other.rows,
            tuple(sorted((Counter(dict(self.reasons)) + Counter(dict(other.reasons))).items())),
            tuple(sorted({*self.providers, *other.providers})),
            self.counts.merge(other.counts),
        )
