"""Columns that may know more than they will when they are scored.

In: a column and the labels. Out: a suspicion. No errors.

An identifier is learnt by heart, and what was written down after the label is not there before.
Neither can be proven from the table: a person has to look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Values = npt.NDArray[np.float32]
    Labels = npt.NDArray[np.int64]

_FEWEST_ROWS = 20  # below, chance does as much
_DENSE = 10  # numbers between the smallest and the largest identifier, for each row
_FEW = 0.1  # values for each row: more tell rows rather than labels
_LOOKED_AT = 4096  # rows looked at first: most columns tell nothing, and sorting takes long


def is_identifier(values: Values) -> bool:
    """Suspect a column that numbers or names the rows.

    Args:
        values: ``(rows,)`` float32; of texts, their places in the alphabet.

    Returns:
        Whether every row has another whole number, and these follow one another in the table or
        lie close together, as quantities of money do not.
    """
    rows = len(values)
    if rows < _FEWEST_ROWS or (values != np.rint(values)).any():
        return False
    steps = np.diff(values)
    if (steps > 0).all() or (steps < 0).all():
        return True
    is_dense = float(values.max()) - float(values.min()) < _DENSE * rows
    return is_dense and len(np.unique(values)) == rows


def tells_label(values: Values, labels: Labels) -> bool:
    """Suspect a column that leaves nothing to learn.

    Args:
        values: ``(rows,)`` float32.
        labels: ``(rows,)`` int64.

    Returns:
        Whether every value goes with one label alone, and either thresholds tell the classes
        apart or there are few values.
    """
    if len(values) < _FEWEST_ROWS:
        return False
    step = -(-len(values) // _LOOKED_AT)
    return _is_telling(values[::step], labels[::step]) and _is_telling(values, labels)


def _is_telling(values: Values, labels: Labels) -> bool:
    order = np.lexsort((labels, values))
    ordered, classes = values[order], labels[order]
    changes = classes[1:] != classes[:-1]
    if (changes & (ordered[1:] == ordered[:-1])).any():  # one value, two labels
        return False
    distinct = 1 + np.count_nonzero(ordered[1:] != ordered[:-1])
    runs = 1 + np.count_nonzero(changes)
    n_classes = len(np.unique(classes))
    return n_classes > 1 and bool(runs == n_classes or distinct <= _FEW * len(values))
