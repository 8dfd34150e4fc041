"""A user's table as training data: its options, and its columns found by name."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal

from runtime.errors import SchemaError, UsageError
from runtime.io.discovery import find_tables
from runtime.io.paths import (
    STANDARD_STREAM,
    check_distinct,
    is_folder_or_pattern,
    is_pipe,
    is_within,
)
from runtime.printable import join_names, list_first
from runtime.schema.names import repeated_names, suggest_names
from runtime.scoring.outputs import REJECTS, check_report_output
from runtime.surfaces import option, together
from runtime.tables.options import ReadOptions
from trainer.data.cell_options import DateFormats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runtime.bundle.manifest import Scalar
    from runtime.io.paths import Location
    from runtime.schema.features import Schema, Unseen
    from runtime.tables.memory import MemoryTable


BadRowsPolicy = Literal["fail", "reject"]
MAX_CATEGORIES = 256  # of a column: one input each
_MIN_CATEGORIES, MOST_CATEGORIES = 2, 1024  # that may be chosen
_MAX_NAMES = 20  # in an option that a message advises
TEST_FRACTION = 0.2  # of each class's rows, without a test set
_POSITION: Final = re.compile(r"#([1-9][0-9]*)")  # of a column, counted from 1


@dataclass(frozen=True)
class TableSource:
    """A table with a column to predict.

    Attributes:
        data: the table, or a folder or glob pattern of tables that are read as one; it is read
            twice, so standard input is not allowed. Or a table in memory.
        label: name of the column to predict.
        features: names of the feature columns; None is all others.
        exclude: names of columns to exclude, or positions: ``#1`` is the first column.
        categories: names of categorical columns that look like numbers; with the label, words
            for missing such as ``NA`` are classes, too.
        date_formats: of columns of dates that are not in ISO 8601.
        fold_categories: join categories that differ only in case or surrounding blanks.
        missing: texts that mean a missing cell or label, beside the empty one; of a number or date,
            in every spelling and type.
        unseen: how a category not seen in training is scored: as a bad cell (``error``), or as
            none of the known ones (``other``); None is ``error`` for columns without rare ones.
        rare: a column of more than ``max_categories`` categories is refused (``error``), or its
            rare ones are joined: they are none of the known ones, like those not seen (``other``).
        max_categories: of a column, 2 to ``MOST_CATEGORIES``, those that are joined counting as
            one.
        test: the test set; None splits it off ``data``.
        test_fraction: share of each class split off, above 0 and below 1; None is
            ``TEST_FRACTION``.
        reading: how both tables are read.
        bad_rows: ``fail`` refuses a table with bad rows, ``reject`` leaves them out.
        rejects: path of the rejects file; of a test set's rows the same with ``.test`` before the
            ending; None writes none.
        force: replace other files than lists of rejected rows.
    """

    data: Location | MemoryTable
    label: str
    features: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    unseen: Unseen | None = None
    rare: Unseen = "error"
    max_categories: int = MAX_CATEGORIES
    test: Location | MemoryTable | None = None
    test_fraction: float | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)
    bad_rows: BadRowsPolicy = "fail"
    rejects: Location | None = None
    date_formats: DateFormats = field(default_factory=DateFormats)
    missing: tuple[str, ...] = ()
    fold_categories: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        from runtime.tables.memory import MemoryTable

        tables = [
            table
            for table in (self.data, self.test)
            if table is not None and not isinstance(table, MemoryTable)
        ]
        if any(table == STANDARD_STREAM or is_pipe(table) for table in tables):
            raise UsageError(
                "training data is read twice: use a file, not standard input or a pipe"
            )
        if self.test is not None and self.test_fraction is not None:
            sets = f"{option('test')} and {option('test_fraction')}"
            raise UsageError(f"{sets} both define the test set: use one")
        if self.test_fraction is not None and not 0 < self.test_fraction < 1:
            raise UsageError(
                f"the test fraction must be above 0 and below 1, got {self.test_fraction}"
            )
        if self.label in (self.features or ()):
            raise UsageError(
                f"{self.label!r} is the label: it cannot be among {option('features')}"
            )
        if both := sorted(set(self.features or ()) & set(self.exclude)):
            raise UsageError(
                f"{both[0]!r} is in {option('features')} and in {option('exclude')}: use one"
            )
        self._check_categories()
        if self.rejects is not None:
            for path in chain.from_iterable(map(find_files, tables)):
                check_distinct(path, self.rejects, self.test_rejects)
            for output in (self.rejects, self.test_rejects):
                if output is not None:
                    check_report_output(output, REJECTS, force=self.force)

    def _check_categories(self) -> None:
        if self.label in self.date_formats.columns:
            raise UsageError(
                f"{self.label!r} is the label: it cannot have a {option('date_format')}"
            )
        if both := sorted(set(self.categories) & set(self.date_formats.columns)):
            places = f"in {option('categories')} and in {option('date_format')}"
            raise UsageError(f"{both[0]!r} is {places}: use one")
        if self.rare == "other" and self.unseen == "error":
            raise UsageError(
                f"{option('rare', 'other')} also scores unseen categories: leave out "
                + option("unseen", "error")
            )
        if not _MIN_CATEGORIES <= self.max_categories <= MOST_CATEGORIES:
            raise UsageError(
                f"{option('max_categories')} must be {_MIN_CATEGORIES} to {MOST_CATEGORIES:,}, "
                f"got {self.max_categories}"
            )

    @property
    def test_rejects(self) -> Location | None:
        """Path of the rejects file of the test set; None without one."""
        if self.rejects is None or self.test is None:
            return None
        suffix = self.rejects.suffix
        return self.rejects.with_name(f"{self.rejects.name.removesuffix(suffix)}.test{suffix}")

    @property
    def share(self) -> float:
        """Share of each class split off for test; 0 with a test set."""
        if self.test is not None:
            return 0.0
        return TEST_FRACTION if self.test_fraction is None else self.test_fraction

    @property
    def required_columns(self) -> tuple[str, ...]:
        """Column names that the table must have; they help to detect the delimiter."""
        named = (*self.exclude, *self.categories, *self.date_formats.columns)
        return (self.label, *(self.features or ()), *named)

    def to_record(self) -> dict[str, Scalar]:
        """List the options for the run's record; most of them only where they are set."""
        options: dict[str, Scalar] = {"test_fraction": self.share}
        if self.bad_rows != "fail":
            options["bad_rows"] = self.bad_rows
        if self.rare != "error":
            options["rare"] = self.rare
        if self.max_categories != MAX_CATEGORIES:
            options["max_categories"] = self.max_categories
        if self.missing:
            options["missing"] = join_names(self.missing)
        if formats := self.date_formats.texts:
            options["date_format"] = join_names(formats)
        if self.fold_categories:
            options["fold_categories"] = True
        return options


def find_files(table: Location) -> Sequence[Location]:
    """Find the files of a table."""
    if not is_folder_or_pattern(table):
        return (table,)
    root, names = find_tables(table)
    return [root / name for name in names]


def advise_exclusion(source: TableSource, names: Sequence[str], n_features: int) -> str | None:
    """Name the option that leaves feature columns out; None if none of ``n_features`` was left."""
    if len(names) >= n_features:
        return None
    them = "it" if len(names) == 1 else "them"
    if source.features is not None:
        advice = f"take {them} out of {option('features')}"
    elif len(names) > _MAX_NAMES:
        advice = f"name the columns to use with {option('features')}"
    else:
        advice = f"exclude {them} with {option('exclude', (*source.exclude, *names))}"
    is_declared = not set(names).isdisjoint(source.categories)
    return f"{advice}, and take {them} out of {option('categories')}" if is_declared else advice


def parse_table_options(
    data: Location | None, label: str | None, others: Mapping[str, object]
) -> tuple[Location, str] | None:
    """Get table and label from the options; None without both.

    ``others`` are options that need them, by name; None where not set.
    """
    if data is not None and label is not None:
        return data, label
    missing = " and ".join(
        option(name) for name, value in (("data", data), ("label", label)) if value is None
    )
    if data is None and label is None:
        given = [option(name) for name, value in others.items() if value is not None]
        if not given:
            return None
        raise UsageError(f"{given[0]} describes a table: add {missing}")
    both = together(option("data", blank="FILE"), option("label", blank="COLUMN"))
    raise UsageError(f"a table needs {both}: add {missing}")


def choose_rejects_path(
    out: Path, bad_rows: BadRowsPolicy, rejects: Location | None
) -> Location | None:
    """Choose the path of the rejects file of a run; None without one.

    Args:
        out: the run directory.
        bad_rows: the policy.
        rejects: as requested; None is ``OUT.rejects.csv`` beside the run.

    Returns:
        The path, if bad rows are to be rejected.

    Raises:
        UsageError: when a file was requested without ``reject``, is standard output, or is inside
            the run directory.
    """
    if bad_rows != "reject":
        if rejects is not None:
            raise UsageError(f"{option('rejects')} needs {option('bad_rows', 'reject')}: give both")
        return None
    path = rejects or out.parent / f"{out.name}.rejects.csv"
    if path == STANDARD_STREAM:
        raise UsageError(f"{option('rejects')} names a file: standard output has the result")
    if is_within(path, out):
        raise UsageError(
            f"{option('rejects', str(path))} is inside the run directory {out}, which is "
            "replaced as a whole: give a path outside"
        )
    return path


@dataclass(frozen=True)
class ColumnRoles:
    """Positions of the columns that are used.

    Attributes:
        label: of the column to predict.
        features: of the feature columns, in the order of the model's inputs.
        categories: of those that are categorical whatever they look like.
        date_formats: formats of those that are dates whatever they look like.
    """

    label: int
    features: tuple[int, ...]
    categories: tuple[int, ...] = ()
    date_formats: Mapping[int, str] = field(default_factory=dict)


def assign_roles(columns: Sequence[str], source: TableSource) -> ColumnRoles:
    """Find the columns that a source names; features default to all that are left."""
    where = str(source.data)
    _check_names(columns, source)
    label = find_column(columns, source.label, "label", where)
    excluded = {_find_excluded(columns, name, where) for name in source.exclude}
    if source.features is None:
        features = [at for at in range(len(columns)) if at != label and at not in excluded]
    else:
        features = [_find_other(columns, name, "features", source) for name in source.features]
    chosen = [columns[at] for at in (label, *features) if columns[at]]
    if doubled := repeated_names(chosen):
        raise SchemaError(f"{where}: column {doubled[0]!r} appears more than once; rename one")
    if not features:
        raise SchemaError(f"{where}: no feature column is left to predict {source.label!r}")
    formats = source.date_formats.columns
    categories = [name for name in source.categories if name != source.label]
    return ColumnRoles(
        label,
        tuple(features),
        tuple(sorted(_find_features(columns, features, categories, "categories", source))),
        {
            at: formats[columns[at]]
            for at in _find_features(columns, features, list(formats), "date_format", source)
        },
    )


def _check_names(columns: Sequence[str], source: TableSource) -> None:
    """Refuse the names that the table does not have, all of them at once."""
    roles = {
        "label": (source.label,),
        "exclude": tuple(name for name in source.exclude if not _POSITION.fullmatch(name)),
        "features": source.features or (),
        "categories": source.categories,
        "date_format": tuple(source.date_formats.columns),
    }
    others = [column for column in columns if column != source.label]  # the label is no feature
    suggested = dict.fromkeys(roles, others) | {"label": columns, "exclude": columns}
    unknown = [
        describe_unknown(suggested[role], name, role)
        for role, names in roles.items()
        for name in dict.fromkeys(names)
        if name not in columns
    ]
    if unknown:
        more = len(unknown) - _MAX_NAMES
        rest = [f"and {more:,} more such names"] if more > 0 else []
        raise SchemaError(f"{source.data}: " + "\n".join([*unknown[:_MAX_NAMES], *rest]))


def describe_unknown(columns: Sequence[str], name: str, role: str) -> str:
    """Describe a name that no column has; ``role`` is the option that has it."""
    return f"{option(role)}: there is no column {name!r}; {suggest_names(name, columns)}"


def column_names(columns: Sequence[str], positions: Sequence[int]) -> dict[int, str]:
    """Name columns by position; one without a name is ``#`` and its number, as in ``exclude``."""
    return {at: columns[at] or f"#{at + 1}" for at in positions}


def describe_nameless(nameless: Sequence[int], source: TableSource) -> str:
    """Describe feature columns without a name, numbered from 1, that have a filled cell."""
    which = "column" if len(nameless) == 1 else "columns"
    has = "has" if len(nameless) == 1 else "have"
    numbers = [f"#{number}" for number in nameless]
    exclude = option("exclude", [*source.exclude, *numbers[:_MAX_NAMES]])
    return (
        f"{source.data}: {which} {list_first(list(map(str, nameless)), _MAX_NAMES)} {has} no name: "
        f"exclude by position with {exclude} (pandas writes row numbers so), or add a name in the "
        "header"
    )


def _find_excluded(columns: Sequence[str], name: str, where: str) -> int:
    """Find a column by its name or, where none has that name, by its position."""
    position = _POSITION.fullmatch(name)
    if position is None or name in columns:
        return find_column(columns, name, "exclude", where)
    if int(position[1]) > len(columns):
        raise SchemaError(
            f"{where}: {option('exclude', name)}: the table has {len(columns)} columns"
        )
    return int(position[1]) - 1


def _find_features(
    columns: Sequence[str],
    features: Sequence[int],
    names: Sequence[str],
    role: str,
    source: TableSource,
) -> list[int]:
    """Find the features that an option names."""
    found = [_find_other(columns, name, role, source) for name in names]
    if unused := sorted(set(found).difference(features)):
        features_too = f"name it in {option('features')} too"
        remedy = features_too if source.features else f"take it out of {option('exclude')}"
        raise SchemaError(
            f"{source.data}: {option(role)} names {columns[unused[0]]!r}, which is not a feature: "
            f"{remedy}"
        )
    return found


def _find_other(columns: Sequence[str], name: str, role: str, source: TableSource) -> int:
    """Find a column that is not the label."""
    others = [column for column in columns if column != source.label]
    return columns.index(others[find_column(others, name, role, str(source.data))])


def find_column(columns: Sequence[str], name: str, role: str, where: str) -> int:
    """Find a column by its exact name; ``role`` is the option that names it."""
    found = columns.count(name)
    if found == 1:
        return columns.index(name)
    if found:
        raise SchemaError(
            f"{where}: {option(role)}: {found} columns are named {name!r}; rename one"
        )
    raise SchemaError(f"{where}: {describe_unknown(columns, name, role)}")


def bind_features(schema: Schema, columns: Sequence[str], where: str) -> tuple[int, ...]:
    """Find the positions of a schema's features in another table."""
    missing = [name for name in schema.feature_names if name not in columns]
    if missing:
        more = f"; and {len(missing) - 1:,} more features" if len(missing) > 1 else ""
        raise SchemaError(
            f"{where}: column {missing[0]!r} is missing; {suggest_names(missing[0], columns)}{more}"
        )
    try:
        return schema.bind(columns)
    except SchemaError as exc:
        raise SchemaError(f"{where}: {exc}") from exc
