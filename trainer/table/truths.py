"""The class of each row of a table, and why some rows have none.

In: labels as a survey found them, and classes. Out: ``Truths``. No errors: a row without a class
is a bad row, and whoever reads the table says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.tables.base import RowIssue
from runtime.tables.cells import MISSING as MISSING_VALUE
from trainer.table.coding import MISSING

if TYPE_CHECKING:
    from trainer.table.classes import Classes
    from trainer.table.coding import Codes
    from trainer.table.survey import Survey

NO_CLASS = "not one of the classes"


@dataclass(frozen=True)
class Truths:
    """The class of each row.

    Attributes:
        name: of the label's column.
        labels: ``(rows,)`` int64, positions in the classes; negative where there is none.
        found: what the column holds.
    """

    name: str
    labels: Codes
    found: Survey

    @classmethod
    def of(cls, name: str, found: Survey, classes: Classes) -> Truths:
        """Take the labels of a table; ``classes`` may be another table's."""
        return cls(name, classes.number(found), found)

    def faults(self, start: int, stop: int) -> dict[int, RowIssue]:
        """Say what is wrong with some rows.

        Args:
            start: the first row.
            stop: the row after the last.

        Returns:
            By position after ``start``, in order.
        """
        lacking = np.flatnonzero(self.labels[start:stop] < 0).tolist()
        return {at: self._fault(int(self.found.codes[start + at])) for at in lacking}

    def _fault(self, code: int) -> RowIssue:
        if code == MISSING:
            return RowIssue(MISSING_VALUE, self.name)
        return RowIssue(
            NO_CLASS, self.name, self.found.labels[code].decode(errors="backslashreplace")
        )
