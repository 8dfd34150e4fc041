"""Refuse a table in which a whole column has categories that training did not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from runtime.errors import SchemaError
from runtime.io.paths import STANDARD_STREAM
from runtime.io.sinks import describe_failed_output
from runtime.printable import list_names
from runtime.surfaces import option
from runtime.tables.arrays import filter_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runtime.io.paths import Location
    from runtime.monitoring.monitor import Monitor
    from runtime.schema.features import Feature, Schema
    from runtime.tables.base import Block, Parsed

_MIN_VALUES: Final = 20  # fewer may well be new ones
_MAX_CHANCE: Final = 1e-6  # that all values are among the rare ones of training
_MAX_ROWS: Final = 100  # of a block, for examples
_MAX_EXAMPLES: Final = 3
_MAX_CATEGORIES: Final = 5  # in a message


def find_examples(
    names: Iterable[str], block: Block, parsed: Parsed, features: Sequence[int], schema: Schema
) -> dict[str, tuple[str, ...]]:
    """Read the first values of columns whose categories are unseen.

    Args:
        names: of the columns.
        block: that was parsed.
        parsed: its good records.
        features: indices of the features' columns in the block.
        schema: of the model.

    Returns:
        A few different texts of each column.
    """
    return {
        name: _read_unseen(schema.feature_names.index(name), block, parsed, features, schema)
        for name in names
    }


def _read_unseen(
    at: int, block: Block, parsed: Parsed, features: Sequence[int], schema: Schema
) -> tuple[str, ...]:
    unseen = ~parsed.features[:, schema.spans[at]].any(axis=1)
    cells = block.select([features[at]]).column(0)
    if parsed.good is not None:
        cells = filter_rows(cells, parsed.good)
    values = cells.take(np.flatnonzero(unseen)[:_MAX_ROWS]).to_pylist()
    texts = (
        value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        for value in values
    )
    return tuple(dict.fromkeys(texts))[:_MAX_EXAMPLES]


def refuse_unseen(schema: Schema, monitor: Monitor, where: str, out: Location | None) -> None:
    """Refuse to publish predictions from a column without any category of training.

    A model with ``unseen="other"`` scores such a column as if it were not there. Columns with few
    values are accepted, and those that may have rare categories of training alone.

    Args:
        schema: of the model.
        monitor: of all rows.
        where: name of the table.
        out: the output; None for a table in memory.

    Raises:
        SchemaError: with the column, its values and those of training.
    """
    counts = monitor.out_of_range
    for feature in schema.features:
        found = counts.get(feature.name)
        if found and found.all_unseen and not _may_be_new(feature, found.unseen):
            shown = list_names(monitor.examples.get(feature.name, ()))
            known = list_names([each for each in feature.categories if each], _MAX_CATEGORIES)
            has = f"it has {shown}, training had {known}" if shown else f"training had {known}"
            raise SchemaError(
                f"{where}: column {feature.name!r}: none of its {found.unseen:,} values is a "
                f"category of training ({has}); {_describe(out)}; write them as in training, or "
                f"fit without the column: {option('exclude', [feature.name])}"
            )


def _may_be_new(feature: Feature, values: int) -> bool:
    """Whether values without a category of training are few, or all rare ones by chance."""
    if values < _MIN_VALUES:
        return True
    if not feature.one_hot or not feature.one_hot.rare:
        return False
    shares = dict(zip(feature.categories, feature.shares, strict=False))
    filled = 1 - shares.pop("", 0.0)
    rare = 1 - sum(shares.values()) / filled if filled > 0 else 1.0
    return bool(rare**values > _MAX_CHANCE)


def _describe(out: Location | None) -> str:
    if out is None:
        return "nothing was scored"
    if out == STANDARD_STREAM:
        return f"{describe_failed_output(out)}, and its rows are scored without the column"
    return describe_failed_output(out)
