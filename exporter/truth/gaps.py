"""Missing numbers, filled before the first layer: the imputation of a model, in numpy.

In: rows with NaN where a number is missing. Out: the rows that the layers get. A choice between
two numbers rounds nothing: whatever is proven of the layers for the one holds for the other. No
errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from runtime.schema.features import Float32Matrix

    Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Gaps:
    """Which inputs may be missing, and what stands in for them.

    Attributes:
        fills: ``(n_inputs,)`` float32.
        places: of the inputs that may be missing, ascending.
    """

    fills: Float32Matrix
    places: tuple[int, ...]

    def fill(self, rows: Float32Matrix) -> Float32Matrix:
        """Fill and mark, ``(rows, n_inputs)`` to ``(rows, n_inputs + places)`` float32."""
        marks = np.isnan(rows[:, self.places])  # (rows, places)
        filled = rows.copy()
        filled[:, self.places] = np.where(
            marks, self.fills[list(self.places)], rows[:, self.places]
        )
        return np.concatenate([filled, marks.astype(np.float32)], axis=1)


def after_filling(
    gaps: Gaps | None, answer: Callable[[Float32Matrix], Answer]
) -> Callable[[Float32Matrix], Answer]:
    """Fill the gaps of rows, if any, before they are answered."""
    if gaps is None:
        return answer
    return lambda rows: answer(gaps.fill(rows))
