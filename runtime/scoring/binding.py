"""Find the columns of a table that scoring reads, carries and adds.

In: a table's columns and options. Out: a ``Binding``. Raises ``SchemaError`` for columns that do
not fit, which names the table: there may be many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.encoding import Encoder
from runtime.errors import SchemaError
from runtime.scoring.answers import REASON_NAME, NewColumns
from runtime.tables.delimited.csv_table import CsvTable
from runtime.tables.opening import choose_columns
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.schema import Schema
    from runtime.scoring.options import Options
    from runtime.tables.table import Table


class Binding(Value, frozen=True):
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
    added: NewColumns


def bind_table(
    table: Table, schema: Schema, options: Options, *, where: str, keep_bad: bool
) -> Binding:
    """Find a table's columns by their names.

    Args:
        table: opened for reading.
        schema: of the model.
        options: which columns are carried and added.
        where: name of the table for messages.
        keep_bad: bad rows stay, with their reason in a column of its own.

    Returns:
        Where they are.

    Raises:
        SchemaError: when a column is missing, there twice or of a type that is no number, or a
            new column's name is taken.
    """
    try:
        features = schema.bind(table.columns, loose=options.reading.loose_header)
    except SchemaError as exc:
        raise SchemaError(f"{where}: {exc}{_layout_hint(table, schema)}") from exc
    encoder = Encoder(schema.features)
    table.expect_numbers([at for place, at in enumerate(features) if not encoder.reads_text(place)])
    try:
        carried = choose_columns(table.columns, options.columns, "--columns")
        judged_by = () if options.truth is None else (options.truth,)
        truth = choose_columns(table.columns, judged_by, "--truth")
        names = [table.columns[at] for at in carried]
        # A column "reason" is in nobody's way where bad rows are kept only for a look.
        reason = options.prefix + REASON_NAME
        taken = [name for name in names if name != reason or options.bad_rows == "null"]
        added = NewColumns(
            schema, taken, prefix=options.prefix, proba=options.proba, keep_bad=keep_bad
        )
    except SchemaError as exc:
        raise SchemaError(f"{where}: {exc}") from exc
    return Binding(features, encoder, carried, truth, added)


def _layout_hint(table: Table, schema: Schema) -> str:
    if not isinstance(table, CsvTable):
        return ""
    from runtime.tables.delimited.layout_hints import layout_hint

    hint = layout_hint(table.header, schema.feature_names)
    return f"\n{hint}" if hint else ""
