"""Read a user's table into a dataset, with the runtime's parsers.

[good rows ─►] profile ─► classes, column types ─► schema ─► rows, parsed as in scoring ─► split
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from msgspec import UNSET
from msgspec.structs import replace

from runtime.errors import SchemaError, UsageError
from runtime.schema.features import Schema
from runtime.schema.names import fold_name
from runtime.surfaces import option
from runtime.tables.folders import open_tables
from runtime.tables.formats import Format
from trainer.data.bad_rows import RowCounter, find_well_formed
from trainer.data.category_validation import check_label
from trainer.data.column_summary import summarise_columns
from trainer.data.dataset import Dataset, JoinedLabels, LabelledRows, RejectedRows, Rows
from trainer.data.faults import Faults
from trainer.data.features import choose_features, describe_features
from trainer.data.labels import Classes, RowLabels, order_classes, usable_classes
from trainer.data.profile import (
    MAX_COUNTED_TEXTS,
    RowChoice,
    TextCollector,
    profile_table,
    without_undecodable,
)
from trainer.data.progress import NoProgress
from trainer.data.report import list_column_findings
from trainer.data.rows import read_rows
from trainer.data.source import (
    MOST_CATEGORIES,
    TEST_FRACTION,
    ColumnRoles,
    assign_roles,
    bind_features,
    column_names,
    describe_nameless,
    find_column,
)
from trainer.data.splits import split_test
from trainer.data.validation import check_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from runtime.io.paths import Location
    from runtime.schema.features import Feature
    from runtime.scoring.pipeline import OnProgress
    from runtime.tables.base import Block, Mask, Table
    from runtime.tables.memory import MemoryTable
    from trainer.data.bad_rows import OpenSink
    from trainer.data.profile import TableProfile
    from trainer.data.progress import ReadingProgress
    from trainer.data.source import TableSource


def read_dataset(
    source: TableSource,
    seed: int,
    open_sink: OpenSink | None = None,
    progress: ReadingProgress | None = None,
) -> Dataset:
    """Read a table, check it and split it.

    Args:
        source: the table and its options.
        seed: decides the split.
        open_sink: opens the rejects files; None writes none.
        progress: shows what is under way; None shows nothing.

    Returns:
        Training and test rows with their schema and data check.

    Raises:
        UsageError: when a rejects file cannot be written.
        DataError: when a table cannot be read or has no two classes, columns do not fit, or bad
            rows prevent training.
    """
    start = time.perf_counter()
    _refuse_unused(source)
    faults, progress, good = Faults(source), progress or NoProgress(), None
    if source.bad_rows == "reject":
        good = _find_good_rows(source, open_sink, faults, progress)
    table = _read_table(source, good, faults, progress)
    train, test = _split(table.rows, source.share, seed)
    schema = describe_features(table.schema, table.rows.features, train.features, source)
    test_reasons: Counter[str] = Counter()
    if source.test is not None:
        test, test_reasons = _read_test(source, source.test, schema, open_sink, progress)
    with progress.phase("checking"):
        check = check_data(schema, train, test, empty=table.empty)
    missing = {each.name: each.cells for each in check.missing}
    columns = summarise_columns(table.columns, source, schema, missing)
    check = replace(check, columns=columns, joined_labels=table.joined or UNSET)
    if good is not None:
        check = replace(check, rejected=_count_rejected(good.reasons, test_reasons))
    return Dataset(
        schema,
        _as_tensors(train, test),
        check,
        options=source.to_record(),
        seconds=time.perf_counter() - start,
    )


@dataclass(frozen=True)
class _Table:
    """A table whose rows can all be used."""

    schema: Schema
    rows: LabelledRows
    joined: tuple[JoinedLabels, ...]
    columns: tuple[str, ...]
    empty: tuple[str, ...]  # columns without a filled cell


@dataclass(frozen=True)
class _GoodRows:
    """The rows to train on, ``(rows,)`` bool, the reasons of the others, and the whole profile."""

    mask: Mask
    reasons: Counter[str]
    profile: TableProfile

    def choose(self, start: int, block: Block) -> Mask:
        """Choose the rows of a block."""
        return self.mask[start : start + len(block)]


def _read_table(
    source: TableSource, good: _GoodRows | None, faults: Faults, progress: ReadingProgress
) -> _Table:
    """Read a table, or its good rows: the others have no influence on classes and features.

    Raises the error with all its faults.
    """
    where = str(source.data)
    with _open(source, source.features and source.required_columns) as table:
        roles = _assign_roles(table, source)
        with progress.rows("inspecting", source.data) as on_progress:
            profile = _profile(table, roles, source, good, on_progress)
        columns = column_names(table.columns, range(len(table.columns)))
        names = _name_features(table, roles, profile, source, faults)
    if good is None and not _has_classes(profile, source):
        with _open(source, source.features and source.required_columns) as table:
            records = _profile(table, roles, source, None, None, only_records=True)
        profile = records if records.labels else profile
    words = check_label(profile, source, faults)
    classes = order_classes(profile, faults, name=source.label, where=where, refused=words)
    features = choose_features(profile, names, source, faults)
    labels = RowLabels.of(source.label, profile, classes)
    if not features:
        raise faults.to_error(len(names))
    counter = RowCounter(where, source, tuple(names.values()), faults, profile.utf8_advice)
    chosen = tuple(features.values())
    with (
        _open(source, names.values()) as table,
        progress.rows("reading", source.data) as counter.on_progress,
    ):
        rows = read_rows(table, tuple(features), chosen, labels, counter)
    if faults or classes is None:
        raise faults.to_error(len(names), _find_more(source, chosen, classes, rows, faults))
    if good is not None and len(rows.labels) != good.mask.sum():
        raise RuntimeError(f"{where}: {len(rows.labels)} rows of {good.mask.sum()} good ones")
    return _Table(
        Schema(source.label, chosen, classes.names),
        rows,
        classes.joined,
        tuple(columns.values()),
        tuple(name for at, name in names.items() if at not in features),
    )


def _find_more(
    source: TableSource,
    features: tuple[Feature, ...],
    classes: Classes | None,
    rows: LabelledRows,
    faults: Faults,
) -> list[str]:
    """Find in the usable rows what is reported for a table without faults."""
    if not len(rows.labels):
        return []
    names = classes.names if classes else ("a", "b")  # of which no row has the second
    schema = Schema(source.label, features, names)
    findings: list[str] = []
    with faults.gather():
        schema = describe_features(schema, rows.features, rows.features, source)
        none = LabelledRows(rows.features[:0], rows.labels[:0])
        others = source
        if source.features is None:  # an option to exclude more has these, too
            others = dataclasses.replace(source, exclude=(*source.exclude, *faults.columns))
        check = check_data(schema, rows, none, empty=())
        columns = summarise_columns(schema.feature_names, source, schema, {})
        findings += list_column_findings(replace(check, columns=columns), others)
    return findings


def _profile(
    table: Table,
    roles: ColumnRoles,
    source: TableSource,
    good: _GoodRows | None,
    on_progress: OnProgress | None,
    *,
    only_records: bool = False,
) -> TableProfile:
    """Profile the good rows; before they are known all, or all that are records of the table."""

    def choose_rows(start: int, block: Block) -> Mask | None:
        if good is not None:
            return good.choose(start, block)
        return find_well_formed(block, roles.label) if only_records else None

    profile = profile_table(
        table,
        roles,
        where=str(source.data),
        rows=RowChoice(choose_rows, good.profile if good else None, on_progress),
        texts=_new_collector(source),
        date_format=source.date_formats.default,
    )
    if not len(profile.codes):
        raise SchemaError(f"{source.data}: there are no rows to learn from")
    if source.bad_rows == "reject":
        return profile
    rejected = f"if only a few rows have such texts, {option('bad_rows', 'reject')} leaves them out"
    return dataclasses.replace(profile, utf8_advice=f"{profile.utf8_advice}; {rejected}")


def _has_classes(profile: TableProfile, source: TableSource) -> bool:
    """Whether labels are without fault; a row with too many fields may have a wrong one."""
    found = Faults(source)
    words = check_label(profile, source, found)
    order_classes(profile, found, name=source.label, where=str(source.data), refused=words)
    return not found


def _name_features(
    table: Table, roles: ColumnRoles, profile: TableProfile, source: TableSource, faults: Faults
) -> dict[int, str]:
    """Name the feature columns; one that has cells needs a name."""
    names = column_names(table.columns, roles.features)
    filled = [at for at in roles.features if profile.column_types[at] != "empty"]
    if nameless := [at for at in filled if not table.columns[at]]:
        message = describe_nameless([at + 1 for at in nameless], source)
        faults.add(SchemaError(message), [names[at] for at in nameless])
    return names


def _find_good_rows(
    source: TableSource, open_sink: OpenSink | None, faults: Faults, progress: ReadingProgress
) -> _GoodRows:
    """Find the rows whose label and cells can be used; write the others to the rejects file."""
    where = str(source.data)
    with _open(source, source.features and source.required_columns) as table:
        roles = _assign_roles(table, source)
        with progress.rows("inspecting", source.data) as on_progress:
            profile = _profile(table, roles, source, None, on_progress, only_records=True)
        names = _name_features(table, roles, profile, source, faults)
    features = choose_features(without_undecodable(profile), names, source, faults)
    if not features:
        raise faults.to_error(len(names))
    labels = RowLabels.of(source.label, profile, usable_classes(profile))
    bad_rows = Faults(source)
    counter = RowCounter(where, source, tuple(names.values()), bad_rows, profile.utf8_advice)
    good = np.ones(len(labels.labels), np.bool_)
    with _open(source, names.values()) as table:
        if open_sink and source.rejects:
            counter.write_rejects(open_sink(source.rejects), table)
        columns = tuple(features), tuple(features.values())
        with progress.rows("finding bad rows", source.data) as counter.on_progress:
            read_rows(table, *columns, labels, counter, good=good)
    if bad_rows:  # more than may be left out
        faults.merge(bad_rows)
        raise faults.to_error(len(names))
    return _GoodRows(good, counter.reasons, profile)


def _new_collector(source: TableSource) -> TextCollector:
    """Collect as many texts as could be categories; the rare ones are found by counting."""
    is_rare = source.rare == "other"
    are_all_needed = is_rare or source.fold_categories
    limit = MAX_COUNTED_TEXTS if are_all_needed else MOST_CATEGORIES
    return TextCollector(limit, source.missing, counts=is_rare)


def _count_rejected(reasons: Counter[str], test: Counter[str]) -> tuple[RejectedRows, ...]:
    """Count the rejected rows by reason, the most frequent first."""
    counted = [RejectedRows(reason, reasons[reason], test[reason]) for reason in reasons | test]
    return tuple(sorted(counted, key=lambda each: (-each.rows - each.test_rows, each.reason)))


def _assign_roles(table: Table, source: TableSource) -> ColumnRoles:
    """Find the columns that a source names; a wrong delimiter or format is suggested."""
    try:
        return assign_roles(table.columns, source)
    except SchemaError as exc:
        is_found = fold_name(source.label) in map(fold_name, table.columns)
        hint = "" if is_found else table.layout_hint((source.label,))
        raise SchemaError(f"{exc}\n{hint}" if hint else str(exc)) from exc


def _refuse_unused(source: TableSource) -> None:
    """Refuse options that apply to no table."""
    reading = source.reading
    if not (reading.encoding or reading.delimiter):
        return
    kinds = []
    for path in (source.data, source.test):
        if path is None:
            continue
        with _open_tables(source, path, source.required_columns) as table:
            kinds.append(Format(table.kind))
    shown = " and ".join(dict.fromkeys(kind.kind for kind in kinds))
    if reading.encoding and not any(kind.is_text for kind in kinds):
        raise UsageError(f"{option('encoding')} is for text, and the data is {shown}: leave it out")
    if reading.delimiter and not any(kind.is_delimited for kind in kinds):
        raise UsageError(
            f"{option('delimiter')} is for delimited text, and the data is {shown}: leave it out"
        )


def _open_tables(
    source: TableSource, path: Location | MemoryTable, required: Sequence[str]
) -> AbstractContextManager[Table]:
    """Open the training data or the test set."""
    name = "data" if path is source.data else "test"
    return open_tables(path, source.reading, required, option=name)


@contextmanager
def _open(source: TableSource, names: Iterable[str] | None) -> Iterator[Table]:
    """Open the data; the columns are those of all records, or at least those with these names."""
    with _open_tables(source, source.data, source.required_columns) as table:
        table.find_columns(None if names is None else (source.label, *names))
        yield table


def _split(labelled: LabelledRows, share: float, seed: int) -> tuple[LabelledRows, LabelledRows]:
    """Split rows into training and test rows, each in the table's order."""
    chosen = np.zeros(len(labelled.labels), np.bool_)
    if share:
        chosen = split_test(labelled.labels, share, seed)
    return labelled.take(~chosen), labelled.take(chosen)


def _read_test(
    source: TableSource,
    path: Location | MemoryTable,
    schema: Schema,
    open_sink: OpenSink | None,
    progress: ReadingProgress,
) -> tuple[LabelledRows, Counter[str]]:
    """Read the test set as scoring reads a table; also count its rejected rows by reason."""
    where = str(path)
    required = (schema.target, *schema.feature_names)
    with _open_tables(source, path, required) as table:
        table.find_columns((schema.target,))
        label = find_column(table.columns, schema.target, "label", where)
        profile = profile_table(
            table, ColumnRoles(label, ()), where=where, texts=_new_collector(source)
        )
    labels = RowLabels.of(schema.target, profile, Classes(schema.classes))
    faults = Faults(source)
    # Another --encoding would be that of the training data, too.
    encoding = source.reading.encoding
    utf8_advice = f"save it as {encoding.name if encoding else 'UTF-8'} text"
    counter = RowCounter(where, source, schema.feature_names, faults, utf8_advice)
    with _open_tables(source, path, required) as table:
        table.find_columns((schema.target,))
        features = bind_features(schema, (*table.columns, *table.absent), where)
        if open_sink and source.test_rejects:
            counter.write_rejects(open_sink(source.test_rejects), table)
        with progress.rows("reading test set", path) as counter.on_progress:
            rows = read_rows(table, features, schema.features, labels, counter)
    if faults:
        raise faults.to_error(schema.n_features)
    if not len(rows.labels):
        share = option("test_fraction", TEST_FRACTION)
        raise SchemaError(
            f"{where}: there is no labelled row to test on; give another table, or {share} instead"
        )
    return rows, counter.reasons


def _as_tensors(train: LabelledRows, test: LabelledRows) -> Rows:
    return Rows(
        train_features=torch.from_numpy(train.features),
        train_labels=torch.from_numpy(train.labels),
        test_features=torch.from_numpy(test.features),
        test_labels=torch.from_numpy(test.labels),
    )
