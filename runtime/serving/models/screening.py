"""Look at the rows of a batch before the model reads them: usable, and inside training's range?

In: ``(rows, n_inputs)`` float32. Out: counts of values out of range. Raises ``RequestError`` for
NaN and infinities, which the model would answer silently; NaN is usable where it stands for a
missing number that the model fills.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from runtime.errors import RequestError
from runtime.monitoring.ranges import RangeMonitor, round_limits
from runtime.schema.matrix import usable_values

if TYPE_CHECKING:
    from runtime.monitoring.ranges import Counts
    from runtime.schema.features import Float32Matrix, Schema

_FEW_ROWS: Final = 256  # above, numpy is faster along columns, as ``RangeMonitor`` goes


class Screen:
    """Looks at rows; ``check`` does so in any thread.

    Attributes:
        ranges: values outside training's range so far.
    """

    def __init__(self, schema: Schema) -> None:
        """Begin at nothing.

        Args:
            schema: of the model.
        """
        self.ranges = RangeMonitor(schema)
        self._schema = schema
        self._names = schema.inputs
        largest = np.finfo(np.float32).max  # what is inside is finite, too
        wide = [feature for feature in schema.features for _ in feature.inputs]
        self._low = np.maximum(round_limits([each.minimum for each in wide]), -largest)
        self._high = np.minimum(round_limits([each.maximum for each in wide]), largest)

    def check(self, features: Float32Matrix) -> Counts | None:
        """Look at a batch; most are a few rows, all finite and inside, and that is told at once.

        Args:
            features: ``(rows, n_inputs)`` float32.

        Returns:
            Values out of training's range, to be added to ``ranges``; None where there are none.

        Raises:
            RequestError: for the first value that is NaN or infinite.
        """
        if len(features) <= _FEW_ROWS and not self.ranges.open and self._is_inside(features):
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
