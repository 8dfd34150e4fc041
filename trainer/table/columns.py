"""Find the label's column and the features' in a table, by their names.

In: the table's column names and what the user said. Out: positions. Raises ``SchemaError`` for a
column that is not there or there twice, with the nearest names.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.errors import SchemaError
from runtime.schema.features import fold_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.schema.features import Schema
    from trainer.table.source import TableSource

_NAMED = 10  # columns in a message


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are for.

    Attributes:
        label: position of the column to predict.
        features: positions of the columns to predict from, in the order they will be used.
        categories: those of them that hold categories, whatever they look like.
    """

    label: int
    features: tuple[int, ...]
    categories: tuple[int, ...] = ()


def assign_roles(columns: Sequence[str], source: TableSource) -> Roles:
    """Find the columns that a user named, or those that are left.

    Args:
        columns: of the table.
        source: what the user said.

    Returns:
        Where they are; without ``--features`` all columns that are neither label nor excluded.

    Raises:
        SchemaError: when a column is not there or there twice, or none is left.
    """
    where = str(source.data)
    label = find_column(columns, source.label, "--label", where)
    excluded = {find_column(columns, name, "--exclude", where) for name in source.exclude}
    if source.features is None:
        features = [at for at in range(len(columns)) if at != label and at not in excluded]
    else:
        features = [find_column(columns, name, "--features", where) for name in source.features]
    chosen = [columns[at] for at in (label, *features)]
    if doubled := [name for name, count in Counter(chosen).items() if count > 1]:
        raise SchemaError(f"{where}: column {doubled[0]!r} is there more than once; rename one")
    if nameless := [at + 1 for at in features if not columns[at]]:
        raise SchemaError(f"{where}: column {nameless[0]} has no name; give it one in the header")
    if not features:
        raise SchemaError(f"{where}: no column is left to predict {source.label!r} from")
    return Roles(label, tuple(features), _find_categories(columns, features, source))


def _find_categories(
    columns: Sequence[str], features: Sequence[int], source: TableSource
) -> tuple[int, ...]:
    where = str(source.data)
    found = {find_column(columns, name, "--categories", where) for name in source.categories}
    if unused := found.difference(features):
        name = columns[min(unused)]
        raise SchemaError(f"{where}: --categories names {name!r}, which is no feature")
    return tuple(sorted(found))


def find_column(columns: Sequence[str], name: str, option: str, where: str) -> int:
    """Find one column by its exact name.

    Args:
        columns: of the table.
        name: of the column.
        option: that names it, for the message.
        where: name of the table, for the message.

    Returns:
        Its position.

    Raises:
        SchemaError: when it is not there, with the nearest names, or there twice.
    """
    found = columns.count(name)
    if found == 1:
        return columns.index(name)
    if found:
        raise SchemaError(f"{where}: {option}: {found} columns are named {name!r}; rename one")
    raise SchemaError(f"{where}: {option}: there is no column {name!r}; {_nearest(columns, name)}")


def bind_features(schema: Schema, columns: Sequence[str], where: str) -> tuple[int, ...]:
    """Find a schema's features in another table.

    Args:
        schema: of the table that is fitted.
        columns: of the other table.
        where: its name, for the message.

    Returns:
        Their positions.

    Raises:
        SchemaError: when one is not there, or there twice.
    """
    try:
        return schema.bind(columns)
    except SchemaError as exc:
        raise SchemaError(f"{where}: {exc}") from exc


def join_names(names: Sequence[str]) -> str:
    """Write names as an option takes them: separated by commas, quoted as in CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return text.getvalue()


def _nearest(columns: Sequence[str], name: str) -> str:
    alike = [column for column in columns if fold_name(column) == fold_name(name)]
    nearest = alike or difflib.get_close_matches(name, columns, n=3, cutoff=0.6)
    if nearest:
        return f"did you mean {' or '.join(map(repr, nearest))}?"
    more = ", …" if len(columns) > _NAMED else ""
    return f"it has {', '.join(map(repr, columns[:_NAMED]))}{more}"
