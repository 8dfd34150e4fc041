"""Bind a table's columns to a model's features; build the columns that scoring adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from runtime.encoding import Encoder
from runtime.errors import SchemaError
from runtime.printable import MAX_LISTED, list_names
from runtime.schema.names import has_similar, suggest_names
from runtime.surfaces import advise, advise_encoding
from runtime.tables.arrays import (
    LABEL,
    PROBABILITY,
    REASON,
    binary_array,
    bool_array,
    number_array,
    text_array,
)
from runtime.tables.base import AddedColumns
from runtime.tables.cells import UNDECODABLE
from runtime.tables.formats import Format
from runtime.tables.opening import choose_columns
from runtime.tables.partitions import PartitionColumns, partition_keys
from runtime.tables.text import pack_text
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy.typing as npt

    from runtime.io.paths import Location
    from runtime.schema.classes import Proba
    from runtime.schema.features import Schema
    from runtime.scoring.options import Options
    from runtime.session import Outputs
    from runtime.tables.base import Parsed, Table


REASON_NAME = "reason"


class PredictionColumns:
    """Builds the new columns: ``label``, its ``probability``, and on request those of classes.

    Attributes:
        fields: name and type of each column.
    """

    def __init__(
        self, schema: Schema, existing: Sequence[str], *, prefix: str, proba: Proba, keep_bad: bool
    ) -> None:
        """Name the columns; ``SchemaError`` when one exists already."""
        self._chosen, self._keep_bad = _choose_classes(schema, proba), keep_bad
        self._classes = text_array(schema.classes)
        types = {"label": LABEL, "probability": PROBABILITY}
        types |= {f"probability_{schema.classes[at]}": PROBABILITY for at in self._chosen}
        if keep_bad:
            types[REASON_NAME] = REASON
        self.fields = tuple(pa.field(prefix + name, data_type) for name, data_type in types.items())
        if clashes := [name for name in self.names if name in existing]:
            raise SchemaError(
                f"the table already has a column {clashes[0]!r}; "
                + advise("prefix", blank="TEXT", phrase="rename the new columns with {}")
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes whose probability has a column of its own."""
        return tuple(self._classes[at].as_py() for at in self._chosen)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the new columns."""
        return tuple(field.name for field in self.fields)

    def build(self, parsed: Parsed, outputs: Outputs) -> AddedColumns:
        """Build the new columns of a block."""
        good = parsed.good if self._keep_bad else None
        index = _scatter(outputs.label.astype(np.int32), good)
        columns = [
            pa.DictionaryArray.from_arrays(index, self._classes, safe=False),
            _scatter(label_probability(outputs), good),
        ]
        columns += [_scatter(outputs.probabilities[:, at], good) for at in self._chosen]
        if self._keep_bad:
            columns.append(_reasons(parsed, len(index)))
        bad = parsed.bad if self._keep_bad else ()
        return AddedColumns(None if self._keep_bad else parsed.good, tuple(columns), bad)


def _choose_classes(schema: Schema, proba: Proba) -> tuple[int, ...]:
    if proba is False:
        return ()
    from runtime.schema.classes import choose_classes

    return choose_classes(schema.classes, proba)


def label_probability(outputs: Outputs) -> npt.NDArray[np.float32]:
    """Get the probability of each row's label: ``(rows,)`` float32."""
    rows, classes = outputs.probabilities.shape
    probability: npt.NDArray[np.float32] = outputs.probabilities.reshape(-1)[
        np.arange(0, rows * classes, classes) + outputs.label
    ]
    return probability


def _scatter(values: npt.NDArray[Any], good: npt.NDArray[np.bool_] | None) -> pa.Array:
    """Expand the values of good records to all records, with null for the others."""
    if good is None:
        return number_array(np.ascontiguousarray(values))
    expanded = np.zeros(len(good), dtype=values.dtype)
    expanded[good] = values
    data_type = pa.from_numpy_dtype(values.dtype)
    validity = bool_array(good).buffers()[1]
    return pa.Array.from_buffers(data_type, len(good), [validity, pa.py_buffer(expanded)])


def _reasons(parsed: Parsed, rows: int) -> pa.Array:
    """Build the reason column, null for good records."""
    messages = binary_array([pack_text(row.message) for row in parsed.bad])
    if parsed.good is None:
        index = pa.nulls(rows, pa.int32())
    else:
        index = _scatter(np.arange(len(messages), dtype=np.int32), ~parsed.good)
    return pa.DictionaryArray.from_arrays(index, messages)


class TableBinding(Value, frozen=True):
    """Roles of a table's columns, by index; the partition columns of its path come after its own.

    Attributes:
        features: the features, in the order of the schema.
        encoder: of the features.
        carried: the columns to write, in the order of the output.
        truth: the column with the true class; empty without one.
        added: the new columns.
        partitioned: the columns with the partition columns.
    """

    features: tuple[int, ...]
    encoder: Encoder
    carried: tuple[int, ...]
    truth: tuple[int, ...]
    added: PredictionColumns
    partitioned: PartitionColumns

    @property
    def read(self) -> tuple[int, ...]:
        """Indices of the columns to read, ascending."""
        n_columns = self.partitioned.n_columns
        used = {*self.features, *self.carried, *self.truth}
        return tuple(sorted(column for column in used if column < n_columns))

    def others(self, table: Table) -> tuple[str, ...]:
        """Names of the columns that are no features, in order; those of late records too."""
        names = self.partitioned.names
        features = {names[index] for index in self.features}
        return tuple(
            name for name in dict.fromkeys((*table.columns, *names)) if name not in features
        )


def bind_table(
    table: Table,
    schema: Schema,
    options: Options,
    *,
    where: str,
    keep_bad: bool,
    source: Location | None = None,
) -> TableBinding:
    """Find a table's columns by name; those it lacks may be partition columns of its path."""
    keys = partition_keys(source) if source else {}
    truth_names = () if options.truth is None else (options.truth,)
    needed = (*schema.feature_names, *(options.columns or ()), *truth_names)
    table.find_columns([name for name in needed if name not in keys])
    partitioned = PartitionColumns.of(table, keys)
    try:
        features = schema.bind(partitioned.names, loose=options.reading.loose_header)
    except SchemaError as exc:
        raise SchemaError(f"{where}: {exc}{_layout_hint(table, schema)}") from exc
    encoder = Encoder(schema.features)
    numeric = [column for n, column in enumerate(features) if not encoder.is_text(n)]
    table.check_numeric([column for column in numeric if column < partitioned.n_columns])
    try:
        carried = choose_columns(table.columns, options.columns, "columns")
        truth = choose_columns(partitioned.names, truth_names, "truth")
    except SchemaError as exc:
        raise SchemaError(f"{where}: {exc}{_layout_hint(table, schema)}") from exc
    try:
        names = [table.columns[index] for index in carried]
        # A preview keeps bad rows, but does not show a reason column unless it is requested.
        reason = options.prefix + REASON_NAME
        existing = [name for name in names if name != reason or options.bad_rows == "null"]
        added = PredictionColumns(
            schema, existing, prefix=options.prefix, proba=options.proba, keep_bad=keep_bad
        )
    except SchemaError as exc:
        raise SchemaError(f"{where}: {exc}") from exc
    return TableBinding(features, encoder, carried, truth, added, partitioned)


def bad_rows_hint(table: Table, reasons: Collection[str]) -> str:
    """Name what may be wrong with all rows, once they are read; empty if there is nothing."""
    return "\n".join(filter(None, (encoding_hint(table, reasons), _absent_hint(table))))


def encoding_hint(table: Table, reasons: Collection[str]) -> str:
    """Advise to give the encoding if there is text in another one; else empty."""
    if UNDECODABLE not in reasons or not Format(table.kind).is_text:
        return ""
    return f"there is text in another encoding: {advise_encoding()}"


def _absent_hint(table: Table) -> str:
    """Name the features that no record has; empty if there are none."""
    absent, known = table.absent, table.columns
    similar = [name for name in absent[:MAX_LISTED] if len(absent) == 1 or has_similar(name, known)]
    lines = [
        f"no record has a key {name!r}" + (f"; {suggest_names(name, known)}" if known else "")
        for name in similar
    ]
    if others := [name for name in absent if name not in similar]:
        has = f"; they have {list_names(known)}" if known else ""
        keys = "a key" if len(others) == 1 else "the keys"
        lines.append(f"no record has {keys} {list_names(others)}{has}")
    return "\n".join(lines)


def _layout_hint(table: Table, schema: Schema) -> str:
    hint = table.layout_hint(schema.feature_names)
    return f"\n{hint}" if hint else ""
