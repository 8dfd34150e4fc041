"""The features of a table: which columns, of which kind, and how their rows are distributed.

In: what a survey found. Out: ``Feature`` s. Raises ``SchemaError`` for columns that cannot be one.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from runtime.errors import SchemaError
from runtime.schema.dates import format_day
from runtime.schema.features import Date, Feature, OneHot, Schema
from trainer.data import describe_column
from trainer.table.columns import join_names
from trainer.table.notations import refuse_notations
from trainer.table.survey import MOST_CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from runtime.schema.features import Float32Matrix, Missing
    from trainer.table.source import TableSource
    from trainer.table.survey import Survey


def choose_features(
    found: Survey, names: Mapping[int, str], source: TableSource
) -> dict[int, Feature]:
    """Make features of all columns that have a filled cell.

    Args:
        found: what the table holds.
        names: of the columns, by position, in the order of the model's inputs.
        source: what the user said of categories.

    Returns:
        Features by position; of numbers neither the range is known yet nor whether any is missing.

    Raises:
        SchemaError: when a column has too many categories or text that is not UTF-8, or numbers
            in a notation that was not asked for, or there is no column left.
    """
    where = str(source.data)
    unasked = {name: found.texts.get(at, set()) for at, name in names.items()}
    for name in source.categories:
        del unasked[name]
    refuse_notations(unasked, source.reading.decimal, where)
    if many := [names[at] for at in names if len(found.texts.get(at, ())) > MOST_CATEGORIES]:
        raise SchemaError(_describe_many(many, where))
    features: dict[int, Feature] = {}
    for at, name in names.items():
        texts = found.texts.get(at, set())
        if found.kinds[at] == "number":
            features[at] = Feature(name, 0, 0, missing="imputed")
        elif at in found.first_days:
            date = Date(format_day(found.first_days[at]))
            features[at] = Feature(name, 0, 0, missing="imputed", date=date)
        elif texts - {b""}:
            categories = _decode(texts, name, where)
            unseen = "error" if _is_boolean(categories) else source.unseen
            features[at] = Feature(name, 0, 1, one_hot=OneHot(categories, unseen))
    if not features:
        raise SchemaError(f"{where}: no column has a filled cell to predict {source.label!r} from")
    return features


def _is_boolean(categories: Sequence[str]) -> bool:
    """Tell a column of truths: of another spelling (``TRUE``) it would not be `none of both`."""
    return {text.lower() for text in categories if text} <= {"true", "false"}


def describe_features(schema: Schema, whole: Float32Matrix, train: Float32Matrix) -> Schema:
    """Add to a schema which numbers may be missing, and how the training rows are distributed.

    Args:
        schema: whose numbers have no range yet.
        whole: all rows, ``(rows, n_inputs)`` float32, NaN where a number is missing.
        train: those to learn from.

    Returns:
        The whole schema.

    Raises:
        SchemaError: when a column has no number among the rows to learn from.
    """
    gaps: npt.NDArray[np.bool_] = np.logical_or.reduce(np.isnan(whole), axis=0)  # (n_inputs,)
    features = tuple(
        feature
        if feature.categories
        else _describe_numbers(feature, train[:, span.start], has_gaps=bool(gaps[span.start]))
        for feature, span in zip(schema.features, schema.spans, strict=True)
    )
    return Schema(schema.target, features, schema.classes)


def _describe_numbers(feature: Feature, values: np.ndarray, *, has_gaps: bool) -> Feature:
    name = feature.name
    known = values[~np.isnan(values)] if has_gaps else values
    if not len(known):
        raise SchemaError(
            f"column {name!r} has no {'date' if feature.origin else 'number'} in any row to learn "
            f"from: leave it out with --exclude {shlex.quote(join_names([name]))}"
        )
    missing: Missing = "imputed" if has_gaps else "refused"
    return replace(describe_column(name, known), missing=missing, date=feature.date)


def single_columns(schema: Schema, inputs: Float32Matrix) -> dict[str, np.ndarray]:
    """Give each feature as one column, a category as its position.

    Args:
        schema: of the inputs.
        inputs: ``(rows, n_inputs)`` float32, NaN where a number is missing.

    Returns:
        ``(rows,)`` float32 by name; a missing number is as small as can be.
    """
    return {
        feature.name: inputs[:, span].argmax(axis=1).astype(np.float32)
        if feature.categories
        else _without_nan(inputs[:, span.start])
        for feature, span in zip(schema.features, schema.spans, strict=True)
    }


def _without_nan(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), np.finfo(np.float32).min, values)


def _decode(texts: set[bytes], name: str, where: str) -> tuple[str, ...]:
    try:
        return tuple(sorted(text.decode() for text in texts))
    except UnicodeDecodeError as exc:
        raise SchemaError(
            f"{where}: column {name!r} has {exc.object!r}, which is no UTF-8 text; say how the "
            "table is encoded: --encoding cp1252"
        ) from exc


def _describe_many(names: Sequence[str], where: str) -> str:
    shown = ", ".join(map(repr, names))
    has = "has" if len(names) == 1 else "have"
    return (
        f"{where}: {shown} {has} more than {MOST_CATEGORIES} different texts, too many for "
        f"categories: leave them out with --exclude {shlex.quote(join_names(names))}, or join "
        "values that belong together"
    )
