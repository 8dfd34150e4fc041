"""Monitor scored rows: out-of-range values, drift, accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.monitoring.ranges import RangeMonitor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from runtime.monitoring.accuracy import AccuracyMonitor, AccuracyReport
    from runtime.monitoring.drift import DriftMonitor, DriftReport
    from runtime.monitoring.ranges import OutOfRange
    from runtime.schema.features import Float32Matrix, Schema
    from runtime.session import Outputs
    from runtime.tables.base import Parsed


class Monitor:
    """Accumulates statistics of scored rows; ``count`` is thread-safe, ``add`` is not.

    Attributes:
        records_before: number of records in the previous tables.
    """

    def __init__(self, schema: Schema, *, truth: bool, drift: bool) -> None:
        """Start with no rows."""
        self.records_before = 0
        self._schema = schema
        self._ranges = RangeMonitor(schema)
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

    def add(
        self,
        parsed: Parsed,
        outputs: Outputs,
        *,
        first_record: int,
        out_of_range: npt.NDArray[np.int64],
        truth: pa.Array | None,
    ) -> None:
        """Add a block."""
        self._ranges.counts += out_of_range
        if self._drift:
            self._drift.add(parsed.features, self.records_before + first_record, parsed.good)
        if self._accuracy and truth is not None:
            self._accuracy.add(truth, outputs.label)

    def add_other_columns(
        self, columns: Sequence[str], left_out: Mapping[str, str], truth: str | None
    ) -> None:
        """Add the columns of a table that are no features; see ``drift.other_columns``."""
        if self._drift:
            from runtime.monitoring.drift import other_columns

            self._drift.add_others(other_columns(columns, self._schema, left_out, truth))

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
