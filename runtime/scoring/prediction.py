"""The result of a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from runtime.printable import list_first, printable, truncate
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MAX_ROWS: Final = 10  # of a table in a notebook
_MAX_CLASSES: Final = 5
_MAX_CHARACTERS: Final = 30  # of a class


class Prediction(Value, frozen=True):
    """Predictions for a batch of rows.

    Attributes:
        label: ``(rows,)`` str, name of the predicted class.
        probability: ``(rows,)`` float32, of that label, 0 to 1; not that of a certain class.
        probabilities: ``(rows, classes)`` float32, in the order of ``classes``.
        classes: names of the classes.
    """

    label: npt.NDArray[np.str_]
    probability: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        rows = "1 row" if len(self) == 1 else f"{len(self):,} rows"
        counts = [f"{_short(name)} {count:,}" for name, count in self._counts() if count]
        return f"Prediction({': '.join(filter(None, (rows, list_first(counts))))})"

    def probability_of(self, name: str | float) -> npt.NDArray[np.float32]:
        """Get the probability of one class.

        Args:
            name: of the class; a class that is a number or boolean may be given as one.

        Returns:
            ``(rows,)`` float32, 0 to 1.

        Raises:
            UsageError: when there is no such class; the message lists the classes.
        """
        from runtime.schema.classes import find_class

        column: npt.NDArray[np.float32] = self.probabilities[:, find_class(self.classes, name)]
        return column

    def _counts(self) -> Iterator[tuple[str, int]]:
        """Count the rows of each label, the most frequent first."""
        names, counts = np.unique(self.label, return_counts=True)
        for at in np.argsort(-counts, kind="stable"):
            yield str(names[at]), int(counts[at])

    def _repr_html_(self) -> str:
        from runtime.cards import html_table

        shown = self.classes[:_MAX_CLASSES]
        names = ("label", "probability", *(f"P({name})" for name in shown))
        return html_table(repr(self), names, map(self._cells, range(min(len(self), _MAX_ROWS))))

    def _cells(self, row: int) -> Sequence[str]:
        numbers = (self.probability[row], *self.probabilities[row, :_MAX_CLASSES])
        return (str(self.label[row]), *(f"{number:.4f}" for number in numbers))


def _short(name: str) -> str:
    return truncate(printable(name), _MAX_CHARACTERS)
