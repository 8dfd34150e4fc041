"""Choose the features of a table and describe the distribution of their training rows."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from runtime.errors import SchemaError
from runtime.schema.dates import format_day
from runtime.schema.features import BOOLEANS, Date, Feature, OneHot, Schema
from runtime.schema.names import fold_name
from trainer.config import join_names
from trainer.data.dataset import describe_column
from trainer.data.profile import MAX_CATEGORIES, decode_text
from trainer.data.unread import check_notations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from runtime.schema.features import Float32Matrix, Missing
    from trainer.data.profile import TableProfile
    from trainer.data.source import TableSource


def choose_features(
    profile: TableProfile, names: Mapping[int, str], source: TableSource
) -> dict[int, Feature]:
    """Make a feature of every column that has a filled cell, by position.

    Numbers have no range yet. ``names`` are the columns by position, in the order of the inputs.
    """
    where = str(source.data)
    undeclared = {name: profile.texts.get(at, set()) for at, name in names.items()}
    for name in source.categories:
        undeclared.pop(name, None)
    check_date_formats(profile, names, source)
    check_notations(undeclared, source)
    if many := [names[at] for at in names if len(profile.texts.get(at, ())) > MAX_CATEGORIES]:
        raise SchemaError(_describe_many(many, where))
    features: dict[int, Feature] = {}
    missing = source.missing or UNSET
    for at, name in names.items():
        texts = profile.texts.get(at, set())
        if profile.column_types[at] == "number":
            features[at] = Feature(name, 0, 0, missing="imputed", missing_texts=missing)
        elif at in profile.first_days:
            date_format = profile.date_formats.get(at, UNSET)
            date = Date(format_day(profile.first_days[at]), format=date_format)
            features[at] = Feature(name, 0, 0, missing="imputed", date=date, missing_texts=missing)
        elif texts - {b""}:
            what = f"column {name!r}"
            one_hot = _encode_texts({decode_text(text, what, where) for text in texts}, source)
            features[at] = Feature(name, 0, 1, one_hot=one_hot, missing_texts=missing)
    if not features:
        raise SchemaError(
            f"{where}: no feature column has a filled cell to predict {source.label!r}"
        )
    return features


def _encode_texts(texts: set[str], source: TableSource) -> OneHot:
    """Choose the categories of texts: booleans are ``false`` and ``true`` however written.

    A boolean that is misspelt must not pass as neither.
    """
    folded = {fold_name(text) for text in texts}
    if folded - {""} <= BOOLEANS:
        return OneHot(tuple(sorted(folded)))
    if source.fold_categories:
        return OneHot(tuple(sorted(folded)), source.unseen, folded=True)
    return OneHot(tuple(sorted(texts)), source.unseen)


def describe_features(schema: Schema, inputs: Float32Matrix, train_inputs: Float32Matrix) -> Schema:
    """Complete a schema with missing-value policies and the distribution of the training rows.

    ``inputs`` are those of all rows and ``train_inputs`` of the training rows, ``(rows, n_inputs)``
    float32, NaN for a missing number.
    """
    gaps: npt.NDArray[np.bool_] = np.logical_or.reduce(np.isnan(inputs), axis=0)  # (n_inputs,)
    features = tuple(
        feature
        if feature.categories
        else _describe_numbers(
            feature, train_inputs[:, span.start], has_gaps=bool(gaps[span.start])
        )
        for feature, span in zip(schema.features, schema.spans, strict=True)
    )
    return Schema(schema.target, features, schema.classes)


def _describe_numbers(feature: Feature, values: np.ndarray, *, has_gaps: bool) -> Feature:
    name = feature.name
    known = values[~np.isnan(values)] if has_gaps else values
    if not len(known):
        raise SchemaError(
            f"column {name!r} has no {'date' if feature.origin else 'number'} in any training row: "
            f"exclude it with --exclude {shlex.quote(join_names([name]))}"
        )
    missing: Missing = "imputed" if has_gaps else "refused"
    described = describe_column(name, known)
    return replace(
        described, missing=missing, date=feature.date, missing_texts=feature.missing_texts
    )


def single_columns(schema: Schema, inputs: Float32Matrix) -> dict[str, np.ndarray]:
    """Reduce the inputs to one column per feature, ``(rows,)`` float32 by name.

    A category becomes its position, a missing number the smallest float32.
    """
    return {
        feature.name: inputs[:, span].argmax(axis=1).astype(np.float32)
        if feature.categories
        else _without_nan(inputs[:, span.start])
        for feature, span in zip(schema.features, schema.spans, strict=True)
    }


def _without_nan(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), np.finfo(np.float32).min, values)


def _describe_many(names: Sequence[str], where: str) -> str:
    shown = ", ".join(map(repr, names))
    has = "has" if len(names) == 1 else "have"
    return (
        f"{where}: {shown} {has} more than {MAX_CATEGORIES} distinct texts, too many for "
        f"categories: exclude them with --exclude {shlex.quote(join_names(names))}, or merge "
        "values that belong together"
    )


def check_date_formats(
    profile: TableProfile, names: Mapping[int, str], source: TableSource
) -> None:
    """Refuse formats of dates that no cell has: the column would be left out as empty."""
    formats = source.date_formats
    positions = {name: at for at, name in names.items()}
    for name, date_format in formats.columns.items():
        if positions[name] not in profile.first_days:
            raise SchemaError(
                f"{source.data}: --date-format: column {name!r} has no date in the format "
                f"{date_format}"
            )
    if formats.default and formats.default not in profile.date_formats.values():
        raise SchemaError(
            f"{source.data}: --date-format: no column has dates in the format {formats.default}; "
            f"for a column that looks like numbers or has other text, give COLUMN={formats.default}"
        )
