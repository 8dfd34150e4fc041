"""Validation of a batch: finite values, and values outside the training ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from runtime.errors import RequestError
from runtime.monitoring.ranges import RangeMonitor, round_limits
from runtime.schema.matrix import usable_values

if TYPE_CHECKING:
    from runtime.monitoring.ranges import Counts
    from runtime.schema.features import Float32Matrix, Schema

_SMALL_ROWS: Final = 256  # larger batches are faster along columns, as in ``RangeMonitor``


class InputValidator:
    """Validates batches; ``validate`` is thread-safe.

    Attributes:
        ranges: counts of values outside the training ranges.
    """

    def __init__(self, schema: Schema) -> None:
        """Begin with zero counts."""
        self.ranges = RangeMonitor(schema)
        self._schema = schema
        self._names = schema.inputs
        largest = np.finfo(np.float32).max  # so that values within are finite
        per_input = [feature for feature in schema.features for _ in feature.inputs]
        self._low = np.maximum(round_limits([feature.minimum for feature in per_input]), -largest)
        self._high = np.minimum(round_limits([feature.maximum for feature in per_input]), largest)

    def validate(self, features: Float32Matrix) -> Counts | None:
        """Return the counts of values outside the training ranges, None without any.

        Raises ``RequestError`` for NaN and infinities, except NaN where the model imputes it. Most
        batches are small and within the ranges, which one comparison shows.
        """
        if len(features) <= _SMALL_ROWS and not self.ranges.open and self._is_inside(features):
            return None
        usable = usable_values(self._schema, features)
        if not usable.all():
            row, column = (int(at) for at in np.argwhere(~usable)[0])
            raise RequestError(
                f"row {row}, column {self._names[column]!r}: NaN, infinity or a number out of "
                "float32's range cannot be scored; leave such rows out"
            )
        return self.ranges.count(features)

    def _is_inside(self, features: Float32Matrix) -> bool:
        return bool(((features >= self._low) & (features <= self._high)).all())
