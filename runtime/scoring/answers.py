"""The columns that scoring adds to a table: their names, and their cells for a block.

In: what was read of a block, and the model's outputs for its good records. Out: one array a new
column, for the records that stay. Raises ``SchemaError`` for a name that is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from runtime.errors import SchemaError
from runtime.tables.arrow import binary_array, bool_array, number_array, text_array
from runtime.tables.text_cells import pack_text
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from runtime.schema import Schema
    from runtime.session import Outputs
    from runtime.tables.table import BadRow, Parsed

LABEL = pa.dictionary(pa.int32(), pa.string())
REASON = pa.dictionary(pa.int32(), pa.binary())  # see ``pack_text``
PROBABILITY = pa.float32()
REASON_NAME = "reason"


class Answers(Value, frozen=True):
    """What is added to a block.

    Attributes:
        kept: ``(records,)`` bool, which records stay; None when all do.
        columns: one array a new column, ``(records that stay,)``.
        bad: records that stay without an answer.
    """

    kept: npt.NDArray[np.bool_] | None
    columns: tuple[pa.Array, ...]
    bad: tuple[BadRow, ...] = ()


class NewColumns:
    """``label``, ``probability``, and on request more.

    Attributes:
        fields: name and type of each, in order.
    """

    def __init__(
        self, schema: Schema, taken: Sequence[str], *, prefix: str, proba: bool, keep_bad: bool
    ) -> None:
        """Name the new columns.

        Args:
            schema: of the model.
            taken: names of the columns that they are added to.
            prefix: put before each new column's name.
            proba: add one column a class with its probability.
            keep_bad: bad rows stay, with empty cells and their reason in a last column.

        Raises:
            SchemaError: when the table already has a column of such a name.
        """
        self._proba, self._keep_bad = proba, keep_bad
        self._classes = text_array(schema.classes)
        kinds = {"label": LABEL, "probability": PROBABILITY}
        if proba:
            kinds |= {f"probability_{name}": PROBABILITY for name in schema.classes}
        if keep_bad:
            kinds[REASON_NAME] = REASON
        self.fields = tuple(pa.field(prefix + name, kind) for name, kind in kinds.items())
        if again := [name for name in self.names if name in taken]:
            raise SchemaError(
                f"the table already has a column {again[0]!r}; "
                "give the new columns another name with --prefix TEXT"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the new columns."""
        return tuple(field.name for field in self.fields)

    def answer(self, parsed: Parsed, outputs: Outputs) -> Answers:
        """Make a block's new columns.

        Args:
            parsed: what was read of the block.
            outputs: ``(good records, …)``, the model's.

        Returns:
            The columns, and which records stay.
        """
        stays = parsed.good if self._keep_bad else None
        index = _spread(outputs.label.astype(np.int32), stays)
        columns = [
            pa.DictionaryArray.from_arrays(index, self._classes, safe=False),
            _spread(chosen_probability(outputs), stays),
        ]
        if self._proba:
            columns += [_spread(column, stays) for column in outputs.probabilities.T]
        if self._keep_bad:
            columns.append(_reasons(parsed, len(index)))
        bad = parsed.bad if self._keep_bad else ()
        return Answers(None if self._keep_bad else parsed.good, tuple(columns), bad)


def chosen_probability(outputs: Outputs) -> npt.NDArray[np.float32]:
    """Look up the probability of each row's label: ``(rows,)`` float32."""
    rows, classes = outputs.probabilities.shape
    chosen: npt.NDArray[np.float32] = outputs.probabilities.reshape(-1)[
        np.arange(0, rows * classes, classes) + outputs.label
    ]
    return chosen


def _spread(values: npt.NDArray[Any], good: npt.NDArray[np.bool_] | None) -> pa.Array:
    """Put the values of good records in their places, null in the others."""
    if good is None:
        return number_array(np.ascontiguousarray(values))
    whole = np.zeros(len(good), dtype=values.dtype)
    whole[good] = values
    kind = pa.from_numpy_dtype(values.dtype)
    validity = bool_array(good).buffers()[1]
    return pa.Array.from_buffers(kind, len(good), [validity, pa.py_buffer(whole)])


def _reasons(parsed: Parsed, rows: int) -> pa.Array:
    """Say of each record why it has no answer, null where it has one."""
    sentences = binary_array([pack_text(row.sentence) for row in parsed.bad])
    if parsed.good is None:
        index = pa.nulls(rows, pa.int32())
    else:
        index = _spread(np.arange(len(sentences), dtype=np.int32), ~parsed.good)
    return pa.DictionaryArray.from_arrays(index, sentences)
