"""Monitor rows while they are scored: out-of-range values, drift, accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.monitoring.ranges import RangeMonitor

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """What has been seen so far; ``count`` may be called in any thread, ``add`` in one.

    Attributes:
        records_before: how many records the tables before this one had.
    """

    def __init__(self, schema: Schema, *, truth: bool, drift: bool) -> None:
        """Start with no rows."""
        self.records_before = 0
        self._ranges = RangeMonitor(schema)
        self._truth: AccuracyMonitor | None = None
        self._drift: DriftMonitor | None = None
        if truth:
            from runtime.monitoring.accuracy import AccuracyMonitor

            self._truth = AccuracyMonitor(schema.classes)
        if drift:
            from runtime.monitoring.drift import DriftMonitor

            self._drift = DriftMonitor(schema)

    def count(self, features: Float32Matrix) -> npt.NDArray[np.int64]:
        """Count a block's values outside the range of training."""
        return self._ranges.count(features)

    def add(
        self,
        parsed: Parsed,
        outputs: Outputs,
        *,
        first_record: int,
        outside: npt.NDArray[np.int64],
        truth: pa.Array | None,
    ) -> None:
        """Look at a block."""
        self._ranges.counts += outside
        if self._drift:
            self._drift.add(parsed.features, self.records_before + first_record, parsed.good)
        if self._truth and truth is not None:
            self._truth.add(truth, outputs.label)

    @property
    def out_of_range(self) -> Mapping[str, OutOfRange]:
        """How many values lie outside the range of training, by feature."""
        return self._ranges.outside()

    @property
    def accuracy(self) -> AccuracyReport | None:
        """Accuracy against the true classes, when requested."""
        return self._truth.result() if self._truth else None

    @property
    def drift(self) -> DriftReport | None:
        """Drift from the training rows, when requested."""
        return self._drift.report() if self._drift else None
