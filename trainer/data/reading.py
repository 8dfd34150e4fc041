"""Read a user's table into a dataset, with the runtime's parsers.

profile ─► classes, column types ─► schema ─► rows, parsed as in scoring ─► split
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from msgspec.structs import replace

from runtime.encoding import Encoder
from runtime.errors import DataError
from runtime.io.parallel import available_processors, map_ordered
from runtime.schema.features import Schema
from runtime.scoring.counters import BadRowsMessage, Counters, StageTimer
from runtime.tables.opening import open_table
from trainer.data.dataset import Dataset, LabelledRows, Rows
from trainer.data.features import choose_features, describe_features
from trainer.data.labels import Classes, RowLabels, order_classes
from trainer.data.profile import profile_table
from trainer.data.readings import describe_readings
from trainer.data.source import ColumnRoles, assign_roles, bind_features, find_column
from trainer.data.splits import split_test
from trainer.data.unread import check_label
from trainer.data.validation import check_data

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runtime.schema.features import Feature
    from runtime.tables.base import BadRow, Block, Parsed, Table
    from runtime.tables.options import ReadOptions
    from trainer.data.source import TableSource

_ADVICE = "--exclude (texts: --categories) and the names of such columns"


def read_dataset(source: TableSource, seed: int) -> Dataset:
    """Read a table, check it and split it; ``seed`` decides the split."""
    start = time.perf_counter()
    where = str(source.data)
    with open_table(source.data, source.reading, source.required_columns) as table:
        roles = assign_roles(table.columns, source)
        profile = profile_table(
            table,
            roles,
            where=where,
            date_format=source.date_formats.default,
            missing=source.missing,
        )
        columns = table.columns
        names = {at: columns[at] for at in roles.features}
    classes = order_classes(profile, name=source.label, where=where)
    check_label(profile, source)
    features = choose_features(profile, names, source)
    labels = RowLabels.of(source.label, profile, classes)
    with open_table(source.data, source.reading, source.required_columns) as table:
        counters = new_counters(where, source.reading)
        labelled = read_rows(table, tuple(features), tuple(features.values()), labels, counters)
    train, test = _split(labelled, source.share, seed)
    undescribed = Schema(source.label, tuple(features.values()), classes.names)
    schema = describe_features(undescribed, labelled.features, train.features)
    if source.test is not None:
        test = _read_test(source, source.test, schema)
    empty = [name for at, name in names.items() if at not in features]
    check = check_data(schema, train, test, empty=empty)
    missing = {each.name: each.cells for each in check.missing}
    readings = describe_readings(columns, source, schema, missing)
    return Dataset(
        schema,
        _as_tensors(train, test),
        replace(check, columns=readings),
        options={"test_fraction": source.share},
        seconds=time.perf_counter() - start,
    )


def _split(labelled: LabelledRows, share: float, seed: int) -> tuple[LabelledRows, LabelledRows]:
    """Split rows into training and test rows, each in the table's order."""
    chosen = np.zeros(len(labelled.labels), np.bool_)
    if share:
        chosen = split_test(labelled.labels, share, seed)
    return labelled.take(~chosen), labelled.take(chosen)


def _read_test(source: TableSource, path: Path, schema: Schema) -> LabelledRows:
    """Read the test set as scoring reads a table."""
    where = str(path)
    required = (schema.target, *schema.feature_names)
    with open_table(path, source.reading, required) as table:
        label = find_column(table.columns, schema.target, "--label", where)
        roles = ColumnRoles(label, ())
        profile = profile_table(table, roles, where=where, missing=source.missing)
    with open_table(path, source.reading, required) as table:
        features = bind_features(schema, table.columns, where)
        labels = RowLabels.of(schema.target, profile, Classes(schema.classes))
        counters = new_counters(where, source.reading)
        return read_rows(table, features, schema.features, labels, counters)


def _as_tensors(train: LabelledRows, test: LabelledRows) -> Rows:
    return Rows(
        train_features=torch.from_numpy(train.features),
        train_labels=torch.from_numpy(train.labels),
        test_features=torch.from_numpy(test.features),
        test_labels=torch.from_numpy(test.labels),
    )


def read_rows(
    table: Table,
    columns: Sequence[int],
    features: Sequence[Feature],
    labels: RowLabels,
    counters: Counters,
) -> LabelledRows:
    """Read the features of a table whose labels are known.

    ``columns`` are the positions of the feature columns, in the order of ``features``.
    """
    encoder, rows = Encoder(features), len(labels.labels)
    table.check_numeric([at for feature, at in enumerate(columns) if not encoder.is_text(feature)])
    width = sum(len(feature.inputs) for feature in features)
    matrix = np.empty((rows, width), dtype=np.float32)

    def parse(block: Block) -> tuple[Block, Parsed]:
        return block, block.parse(columns, encoder)

    blocks = table.blocks(sorted(set(columns)))
    for block, parsed in map_ordered(parse, blocks, threads=available_processors()):
        start, stop = counters.rows, counters.rows + len(block)
        if stop > rows:
            break
        bad = _merge(parsed.bad, block.report(labels.issues(start, stop)))
        counters.add(len(block), len(block) - len(bad), bad, StageTimer())
        if not counters.failed:
            matrix[start:stop] = parsed.features
    else:
        if counters.rows == rows:
            counters.raise_for_bad_rows(keep_bad=False)
            return LabelledRows(matrix, labels.labels)
    raise DataError(f"{counters.where} changed while it was read; train again when it is complete")


def new_counters(where: str, reading: ReadOptions) -> Counters:
    """Create the row counter of a table to train on."""
    return Counters(
        where,
        BadRowsMessage(
            "nothing was fitted", _ADVICE, purpose="fitted", missing_advice="give --missing {}"
        ),
        fail_on_bad=True,
        decimal=reading.decimal,
    )


def _merge(cells: Sequence[BadRow], labels: Sequence[BadRow]) -> Sequence[BadRow]:
    """Merge the errors of cells and of labels, one per record: that of its cells."""
    found = {row.record: row for row in (*labels, *cells)}
    return [found[record] for record in sorted(found)]
