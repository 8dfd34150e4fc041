"""Monitor scored rows: out-of-range values, drift, accuracy."""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from runtime.monitoring.ranges import N_COUNTS, RangeMonitor
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from runtime.monitoring.accuracy import AccuracyCounts, AccuracyMonitor, AccuracyReport
    from runtime.monitoring.drift import DriftMonitor, DriftReport
    from runtime.monitoring.drift_counts import DriftCounts
    from runtime.monitoring.ranges import OutOfRange
    from runtime.schema.features import Float32Matrix, Schema
    from runtime.session import Outputs
    from runtime.tables.base import Parsed

    Counts = TypeVar("Counts", AccuracyCounts, DriftCounts)


class MonitorCounts(Value, frozen=True):
    """What a monitor has counted; ``merge`` is associative and commutative.

    Attributes:
        ranges: of ``RangeMonitor``, flattened.
        accuracy: against the true classes, when requested.
        drift: from the training rows, when requested.
    """

    ranges: tuple[int, ...]
    accuracy: AccuracyCounts | None
    drift: DriftCounts | None

    def merge(self, other: MonitorCounts) -> MonitorCounts:
        """Get the counts of the rows of both."""
        return MonitorCounts(
            tuple(map(add, self.ranges, other.ranges)),
            _merge(self.accuracy, other.accuracy),
            _merge(self.drift, other.drift),
        )


def _merge(one: Counts | None, other: Counts | None) -> Counts | None:
    return one.merge(other) if one and other else None


class Monitor:
    """Accumulates statistics of scored rows; ``count`` is thread-safe, ``add`` is not.

    Attributes:
        examples: the first values of columns in which whole blocks are unseen categories, by name.
    """

    def __init__(self, schema: Schema, *, truth: bool, drift: bool) -> None:
        """Start with no rows."""
        self._schema = schema
        self._ranges = RangeMonitor(schema)
        self.examples: dict[str, tuple[str, ...]] = {}
        self._accuracy: AccuracyMonitor | None = None
        self._drift: DriftMonitor | None = None
        if truth:
            from runtime.monitoring.accuracy import AccuracyMonitor

            self._accuracy = AccuracyMonitor(schema.classes)
        if drift:
            from runtime.monitoring.drift import DriftMonitor

            self._drift = DriftMonitor(schema)

    def count(self, features: Float32Matrix) -> npt.NDArray[np.int64]:
        """Count the values of a block outside the training range."""
        return self._ranges.count(features)

    def lacks_examples(self, counts: npt.NDArray[np.int64]) -> list[str]:
        """Name the columns in which a block has unseen categories alone, the first of each."""
        return [name for name in self._ranges.all_unseen(counts) if name not in self.examples]

    def add(
        self,
        parsed: Parsed,
        outputs: Outputs,
        *,
        out_of_range: npt.NDArray[np.int64],
        truth: pa.Array | None,
    ) -> None:
        """Add a block."""
        self._ranges.counts += out_of_range
        if self._drift:
            self._drift.add(parsed.features)
        if self._accuracy and truth is not None:
            self._accuracy.add(truth, outputs.label)

    def add_other_columns(
        self, columns: Sequence[str], left_out: Mapping[str, str], truth: str | None
    ) -> None:
        """Add the columns of a table that are no features; see ``drift.other_columns``."""
        if self._drift:
            from runtime.monitoring.drift import other_columns

            self._drift.add_others(other_columns(columns, self._schema, left_out, truth))

    def counts(self) -> MonitorCounts:
        """Get the counts of the rows added so far."""
        return MonitorCounts(
            tuple(self._ranges.counts.reshape(-1).tolist()),
            self._accuracy.counts() if self._accuracy else None,
            self._drift.counts() if self._drift else None,
        )

    def restore(self, counts: MonitorCounts) -> None:
        """Continue from the counts of another monitor with the same settings."""
        self._ranges.counts = np.array(counts.ranges, dtype=np.int64).reshape(-1, N_COUNTS)
        if self._accuracy and counts.accuracy:
            self._accuracy.restore(counts.accuracy)
        if self._drift and counts.drift:
            self._drift.restore(counts.drift)

    @property
    def accepts_unseen(self) -> bool:
        """Whether a feature accepts unseen categories."""
        return bool(self._ranges.open)

    @property
    def out_of_range(self) -> Mapping[str, OutOfRange]:
        """Values outside the training range, by feature."""
        return self._ranges.report()

    @property
    def accuracy(self) -> AccuracyReport | None:
        """Accuracy against the true classes, when requested."""
        return self._accuracy.report() if self._accuracy else None

    @property
    def drift(self) -> DriftReport | None:
        """Drift from the training rows, when requested."""
        return self._drift.report() if self._drift else None
