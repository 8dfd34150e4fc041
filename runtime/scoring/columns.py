"""Bind a table's columns to the model, and name and compute the columns that scoring adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from runtime.encoding import Encoder
from runtime.errors import SchemaError
from runtime.tables.added import LABEL, PROBABILITY, REASON
from runtime.tables.arrays import binary_array, bool_array, number_array, text_array
from runtime.tables.base import AddedColumns
from runtime.tables.opening import choose_columns
from runtime.tables.text import pack_text
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from runtime.schema.features import Schema
    from runtime.scoring.options import Options
    from runtime.session import Outputs
    from runtime.tables.base import Parsed, Table


REASON_NAME = "reason"


class PredictionColumns:
    """``label``, ``probability``, and on request more.

    Attributes:
        fields: name and type of each, in order.
    """

    def __init__(
        self, schema: Schema, taken: Sequence[str], *, prefix: str, proba: bool, keep_bad: bool
    ) -> None:
        """Name the new columns."""
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

    def answer(self, parsed: Parsed, outputs: Outputs) -> AddedColumns:
        """Make a block's new columns."""
        stays = parsed.good if self._keep_bad else None
        index = _spread(outputs.label.astype(np.int32), stays)
        columns = [
            pa.DictionaryArray.from_arrays(index, self._classes, safe=False),
            _spread(label_probability(outputs), stays),
        ]
        if self._proba:
            columns += [_spread(column, stays) for column in outputs.probabilities.T]
        if self._keep_bad:
            columns.append(_reasons(parsed, len(index)))
        bad = parsed.bad if self._keep_bad else ()
        return AddedColumns(None if self._keep_bad else parsed.good, tuple(columns), bad)


def label_probability(outputs: Outputs) -> npt.NDArray[np.float32]:
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


class TableBinding(Value, frozen=True):
    """Which columns of a table are what; positions are those in the table.

    Attributes:
        features: of the features, in the schema's order.
        encoder: makes the model's inputs of them.
        carried: of the columns that go to the output, in its order.
        truth: of the column with the true class; empty where there is none.
        added: the new columns.
    """

    features: tuple[int, ...]
    encoder: Encoder
    carried: tuple[int, ...]
    truth: tuple[int, ...]
    added: PredictionColumns


def bind_table(
    table: Table, schema: Schema, options: Options, *, where: str, keep_bad: bool
) -> TableBinding:
    """Find a table's columns by their names."""
    try:
        features = schema.bind(table.columns, loose=options.reading.loose_header)
    except SchemaError as exc:
        raise SchemaError(f"{where}: {exc}{_layout_hint(table, schema)}") from exc
    encoder = Encoder(schema.features)
    table.check_numeric([at for place, at in enumerate(features) if not encoder.is_text(place)])
    try:
        carried = choose_columns(table.columns, options.columns, "--columns")
        truth_names = () if options.truth is None else (options.truth,)
        truth = choose_columns(table.columns, truth_names, "--truth")
        names = [table.columns[at] for at in carried]
        # A column "reason" does not clash where bad rows are kept only for a preview.
        reason = options.prefix + REASON_NAME
        taken = [name for name in names if name != reason or options.bad_rows == "null"]
        added = PredictionColumns(
            schema, taken, prefix=options.prefix, proba=options.proba, keep_bad=keep_bad
        )
    except SchemaError as exc:
        raise SchemaError(f"{where}: {exc}") from exc
    return TableBinding(features, encoder, carried, truth, added)


def _layout_hint(table: Table, schema: Schema) -> str:
    hint = table.layout_hint(schema.feature_names)
    return f"\n{hint}" if hint else ""
