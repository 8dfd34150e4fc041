"""A user's table as training data: its options, and its columns found by name."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from runtime.errors import SchemaError, UsageError
from runtime.io.paths import STANDARD_STREAM
from runtime.schema.names import repeated_names, suggest_names
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runtime.schema.features import Schema, Unseen


TEST_FRACTION = 0.2  # of each class's rows, without a test set
_POSITION: Final = re.compile(r"#([1-9][0-9]*)")  # of a column, counted from 1


@dataclass(frozen=True)
class TableSource:
    """A table with a column to predict.

    Attributes:
        data: the table, or a folder or glob pattern of tables that are read as one; it is read
            twice, so standard input is not allowed.
        label: name of the column to predict.
        features: names of the feature columns; None is all others.
        exclude: names of columns to exclude, or positions: ``#1`` is the first column.
        categories: names of categorical columns that look like numbers.
        unseen: how a category not seen in training is scored: as a bad cell (``error``), or as
            none of the known ones (``other``).
        test: the test set; None splits it off ``data``.
        test_fraction: share of each class split off, above 0 and below 1; None is
            ``TEST_FRACTION``.
        reading: how both tables are read.
    """

    data: Path
    label: str
    features: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    unseen: Unseen = "error"
    test: Path | None = None
    test_fraction: float | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)

    def __post_init__(self) -> None:
        if STANDARD_STREAM in {self.data, self.test}:
            raise UsageError("training data is read twice: use a file, not standard input")
        if self.test is not None and self.test_fraction is not None:
            raise UsageError("--test and --test-fraction both define the test set: use one")
        if self.test_fraction is not None and not 0 < self.test_fraction < 1:
            raise UsageError(
                f"the test fraction must be above 0 and below 1, got {self.test_fraction}"
            )
        if self.label in (self.features or ()):
            raise UsageError(f"{self.label!r} is the label: it cannot be among --features")
        if self.label in self.categories:
            raise UsageError(f"{self.label!r} is the label: it cannot be among --categories")
        if both := sorted(set(self.features or ()) & set(self.exclude)):
            raise UsageError(f"{both[0]!r} is in --features and in --exclude: use one")

    @property
    def share(self) -> float:
        """Share of each class split off for test; 0 with a test set."""
        if self.test is not None:
            return 0.0
        return TEST_FRACTION if self.test_fraction is None else self.test_fraction

    @property
    def required_columns(self) -> tuple[str, ...]:
        """Column names that the table must have; they help to detect the delimiter."""
        return (self.label, *(self.features or ()), *self.exclude, *self.categories)


def parse_table_options(
    data: Path | None, label: str | None, others: Mapping[str, object]
) -> tuple[Path, str] | None:
    """Get table and label from the options; None without both.

    ``others`` are options that need them, by name; None where not set.
    """
    if data is not None and label is not None:
        return data, label
    missing = " and ".join(
        option for option, value in (("--data", data), ("--label", label)) if value is None
    )
    if data is None and label is None:
        given = [option for option, value in others.items() if value is not None]
        if not given:
            return None
        raise UsageError(f"{given[0]} describes a table: add {missing}")
    raise UsageError(f"a table needs --data FILE --label COLUMN: add {missing}")


@dataclass(frozen=True)
class ColumnRoles:
    """Positions of the columns that are used.

    Attributes:
        label: of the column to predict.
        features: of the feature columns, in the order of the model's inputs.
        categories: of those that are categorical whatever they look like.
    """

    label: int
    features: tuple[int, ...]
    categories: tuple[int, ...] = ()


def assign_roles(columns: Sequence[str], source: TableSource) -> ColumnRoles:
    """Find the columns that a source names; features default to all that are left."""
    where = str(source.data)
    label = find_column(columns, source.label, "--label", where)
    excluded = {_find_excluded(columns, name, where) for name in source.exclude}
    if source.features is None:
        features = [at for at in range(len(columns)) if at != label and at not in excluded]
    else:
        features = [find_column(columns, name, "--features", where) for name in source.features]
    chosen = [columns[at] for at in (label, *features) if columns[at]]
    if doubled := repeated_names(chosen):
        raise SchemaError(f"{where}: column {doubled[0]!r} appears more than once; rename one")
    if not features:
        raise SchemaError(f"{where}: no feature column is left to predict {source.label!r}")
    return ColumnRoles(label, tuple(features), _find_categories(columns, features, source))


def column_names(columns: Sequence[str], positions: Sequence[int]) -> dict[int, str]:
    """Name columns by position; one without a name is ``#`` and its number, as in --exclude."""
    return {at: columns[at] or f"#{at + 1}" for at in positions}


def refuse_nameless(columns: Sequence[str], filled: Sequence[int], where: str) -> None:
    """Refuse feature columns without a name; those without a filled cell are excluded anyway."""
    nameless = [at + 1 for at in filled if not columns[at]]
    if not nameless:
        return
    which = "column" if len(nameless) == 1 else "columns"
    has = "has" if len(nameless) == 1 else "have"
    option = shlex.quote(",".join(f"#{number}" for number in nameless))
    raise SchemaError(
        f"{where}: {which} {', '.join(map(str, nameless))} {has} no name: exclude by position with "
        f"--exclude {option} (pandas writes row numbers so), or add a name in the header"
    )


def _find_excluded(columns: Sequence[str], name: str, where: str) -> int:
    """Find a column by its name or, where none has that name, by its position."""
    position = _POSITION.fullmatch(name)
    if position is None or name in columns:
        return find_column(columns, name, "--exclude", where)
    if int(position[1]) > len(columns):
        raise SchemaError(f"{where}: --exclude {name}: the table has {len(columns)} columns")
    return int(position[1]) - 1


def _find_categories(
    columns: Sequence[str], features: Sequence[int], source: TableSource
) -> tuple[int, ...]:
    where = str(source.data)
    found = {find_column(columns, name, "--categories", where) for name in source.categories}
    if unused := found.difference(features):
        name = columns[min(unused)]
        raise SchemaError(f"{where}: --categories names {name!r}, which is not a feature")
    return tuple(sorted(found))


def find_column(columns: Sequence[str], name: str, option: str, where: str) -> int:
    """Find a column by its exact name; ``option`` names it in the error."""
    found = columns.count(name)
    if found == 1:
        return columns.index(name)
    if found:
        raise SchemaError(f"{where}: {option}: {found} columns are named {name!r}; rename one")
    raise SchemaError(
        f"{where}: {option}: there is no column {name!r}; {suggest_names(name, columns)}"
    )


def bind_features(schema: Schema, columns: Sequence[str], where: str) -> tuple[int, ...]:
    """Find the positions of a schema's features in another table."""
    try:
        return schema.bind(columns)
    except SchemaError as exc:
        raise SchemaError(f"{where}: {exc}") from exc
