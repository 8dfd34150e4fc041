"""A table on the disk as a ``Dataset``: read, checked, split.

In: what the user said of the table. Out: rows as tensors with their schema. Raises
``SchemaError`` for columns or classes that cannot be fitted, ``BadRowsError`` for rows.

    survey ─► classes, kinds of columns ─► schema ─► rows, read as the runtime reads them ─► split
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from runtime.schema.features import Schema
from runtime.tables.opening import open_table
from trainer.data import Dataset
from trainer.run import Rows
from trainer.table.classes import Classes, order_classes
from trainer.table.columns import Roles, assign_roles, bind_features, find_column
from trainer.table.examination import check_data
from trainer.table.features import choose_features, describe_features
from trainer.table.reading import new_tally, read_rows
from trainer.table.split import choose_test_rows
from trainer.table.survey import survey
from trainer.table.truths import Truths

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.table.reading import Labelled
    from trainer.table.source import TableSource


def read_dataset(source: TableSource, seed: int) -> Dataset:
    """Read a table to fit.

    Args:
        source: which table and columns.
        seed: of the split.

    Returns:
        Rows to learn from and rows to judge by.

    Raises:
        SchemaError: when the label's or a feature's column is missing or cannot be used.
        BadRowsError: when a row has no label or a cell that cannot be read.
        DataError: when a table cannot be read.
    """
    start = time.perf_counter()
    where = str(source.data)
    with open_table(source.data, source.reading, source.wanted) as table:
        roles = assign_roles(table.columns, source)
        found = survey(table, roles, source.reading, where=where)
        names = {at: table.columns[at] for at in roles.features}
    classes = order_classes(found, name=source.label, where=where)
    features = choose_features(found, names, source)
    truths = Truths.of(source.label, found, classes)
    with open_table(source.data, source.reading, source.wanted) as table:
        tally = new_tally(where, source.reading)
        whole = read_rows(table, tuple(features), tuple(features.values()), truths, tally)
    train, test = _split(whole, source.share, seed)
    bare = Schema(source.label, tuple(features.values()), classes.names)
    schema = describe_features(bare, whole.features, train.features)
    if source.test is not None:
        test = _read_test(source, source.test, schema)
    empty = [name for at, name in names.items() if at not in features]
    return Dataset(
        schema,
        _as_tensors(train, test),
        check_data(schema, train, test, empty=empty),
        options={"test_fraction": source.share},
        seconds=time.perf_counter() - start,
    )


def _split(whole: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Rows to learn from and rows to judge by, each in the table's order."""
    chosen = np.zeros(len(whole.labels), np.bool_)
    if share:
        chosen = choose_test_rows(whole.labels, share, seed)
    return whole.take(~chosen), whole.take(chosen)


def _read_test(source: TableSource, path: Path, schema: Schema) -> Labelled:
    """Read the rows to judge by as they would be scored."""
    where = str(path)
    wanted = (schema.target, *schema.feature_names)
    with open_table(path, source.reading, wanted) as table:
        label = find_column(table.columns, schema.target, "--label", where)
        found = survey(table, Roles(label, ()), source.reading, where=where)
    with open_table(path, source.reading, wanted) as table:
        features = bind_features(schema, table.columns, where)
        truths = Truths.of(schema.target, found, Classes(schema.classes))
        tally = new_tally(where, source.reading)
        return read_rows(table, features, schema.features, truths, tally)


def _as_tensors(train: Labelled, test: Labelled) -> Rows:
    return Rows(
        train_features=torch.from_numpy(train.features),
        train_labels=torch.from_numpy(train.labels),
        test_features=torch.from_numpy(test.features),
        test_labels=torch.from_numpy(test.labels),
    )
