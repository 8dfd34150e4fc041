"""Choose the features of a table and describe the distribution of their training rows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from msgspec.structs import replace

from runtime.errors import SchemaError
from runtime.printable import list_names
from runtime.schema.dates import format_day
from runtime.schema.features import Date, Feature, OneHot, Schema
from runtime.tables.arrays import binary_array
from runtime.tables.cells import number_hint, parse_numbers
from trainer.data.dataset import describe_column
from trainer.data.profile import MAX_COUNTED_TEXTS, decode_text
from trainer.data.source import MAX_CATEGORIES, advise_exclusion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from runtime.choices import Decimal
    from runtime.schema.features import Float32Matrix, Missing
    from trainer.data.profile import TableProfile
    from trainer.data.source import TableSource

_MAX_NAMES = 3  # columns in a message


def choose_features(
    profile: TableProfile, names: Mapping[int, str], source: TableSource
) -> dict[int, Feature]:
    """Make a feature of every column that has a filled cell, by position.

    Numbers have no range yet. ``names`` are the columns by position, in the order of the inputs.
    """
    where = str(source.data)
    undeclared = {name: profile.texts.get(at, set()) for at, name in names.items()}
    for name in source.categories:
        del undeclared[name]
    check_number_formats(undeclared, source.reading.decimal, where)
    limit = source.max_categories if source.rare == "error" else MAX_COUNTED_TEXTS
    if many := [names[at] for at in names if len(profile.texts.get(at, ())) > limit]:
        raise SchemaError(_describe_many(many, len(names), source))
    features: dict[int, Feature] = {}
    for at, name in names.items():
        texts = profile.texts.get(at, set())
        if profile.column_types[at] == "number":
            features[at] = Feature(name, 0, 0, missing="imputed")
        elif at in profile.first_days:
            date = Date(format_day(profile.first_days[at]))
            features[at] = Feature(name, 0, 0, missing="imputed", date=date)
        elif texts - {b""}:
            what = f"column {name!r}"
            decoded = {decode_text(text, what, where, profile.utf8_advice): text for text in texts}
            counts = profile.text_counts.get(at, Counter())
            features[at] = Feature(name, 0, 1, one_hot=_encode_texts(decoded, counts, source))
    if not features:
        raise SchemaError(
            f"{where}: no feature column has a filled cell to predict {source.label!r}"
        )
    return features


def _encode_texts(
    texts: Mapping[str, bytes], counts: Counter[bytes], source: TableSource
) -> OneHot:
    """Encode distinct texts: all of them, or the most frequent; a missing cell is never rare."""
    categories = tuple(sorted(texts))
    if len(categories) > source.max_categories:
        by_frequency = sorted(categories, key=lambda text: (text != "", -counts[texts[text]], text))
        kept = by_frequency[: source.max_categories - 1]
        return OneHot(tuple(sorted(kept)), "other", len(categories) - len(kept))
    return OneHot(categories, "error" if _is_boolean(categories) else source.unseen or "error")


def _is_boolean(categories: Sequence[str]) -> bool:
    """Check for a column of booleans: another spelling (``TRUE``) must not pass as neither."""
    return {text.lower() for text in categories if text} <= {"true", "false"}


def describe_features(
    schema: Schema, inputs: Float32Matrix, train_inputs: Float32Matrix, source: TableSource
) -> Schema:
    """Complete a schema with missing-value policies and the distribution of the training rows.

    ``inputs`` are those of all rows and ``train_inputs`` of the training rows, ``(rows, n_inputs)``
    float32, NaN for a missing number.
    """
    for feature, span in zip(schema.features, schema.spans, strict=True):
        if not feature.categories and np.isnan(train_inputs[:, span.start]).all():
            raise SchemaError(_describe_empty(feature, schema.n_features, source))
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
    missing: Missing = "imputed" if has_gaps else "refused"
    return replace(describe_column(name, known), missing=missing, date=feature.date)


def _describe_empty(feature: Feature, n_features: int, source: TableSource) -> str:
    what = "date" if feature.origin else "number"
    exclusion = advise_exclusion(source, [feature.name], n_features) or "fill in some cells"
    return f"{source.data}: column {feature.name!r} has no {what} in any training row: {exclusion}"


def single_columns(schema: Schema, inputs: Float32Matrix) -> dict[str, np.ndarray]:
    """Reduce the inputs to one column per feature, ``(rows,)`` float32 by name.

    A category becomes its position, rare ones -1, a missing number the smallest float32.
    """
    return {
        feature.name: _positions(inputs[:, span], feature)
        if feature.categories
        else _without_nan(inputs[:, span.start])
        for feature, span in zip(schema.features, schema.spans, strict=True)
    }


def _positions(inputs: Float32Matrix, feature: Feature) -> np.ndarray:
    positions: npt.NDArray[np.float32] = inputs.argmax(axis=1).astype(np.float32)
    if feature.one_hot and feature.one_hot.rare:
        positions[~inputs.any(axis=1)] = -1
    return positions


def _without_nan(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), np.finfo(np.float32).min, values)


def _describe_many(names: Sequence[str], n_features: int, source: TableSource) -> str:
    has = "has" if len(names) == 1 else "have"
    can_join = source.rare == "error"
    limit = source.max_categories if can_join else MAX_COUNTED_TEXTS
    ways = (
        advise_exclusion(source, names, n_features),
        "keep the most frequent with --rare other" if can_join else None,
        "merge values that belong together",
    )
    return (
        f"{source.data}: {list_names(names)} {has} more than {limit:,} distinct texts, "
        f"too many for categories: {', or '.join(filter(None, ways))}"
    )


def check_number_formats(texts: Mapping[str, set[bytes]], decimal: Decimal, where: str) -> None:
    """Refuse text columns whose texts are numbers in another format.

    ``12,5`` and ``12,6`` would become two categories without --decimal. ``texts`` are the distinct
    texts by column name.
    """
    found = [hint for name in texts if (hint := _hint(name, texts[name], decimal))]
    if not found:
        return
    more = f"; and {len(found) - _MAX_NAMES} more such columns" if len(found) > _MAX_NAMES else ""
    can_be_categories = all(len(texts[name]) <= MAX_CATEGORIES for name in texts)
    declare = "; if they are categories, declare them with --categories"
    raise SchemaError(
        f"{where}: {'; '.join(found[:_MAX_NAMES])}{more}{declare if can_be_categories else ''}"
    )


def _hint(name: str, texts: set[bytes], decimal: Decimal) -> str | None:
    if not (filled := sorted(texts - {b""})):
        return None
    is_number = np.isfinite(parse_numbers(pa.chunked_array([binary_array(filled)]), decimal))
    others = [text for text, known in zip(filled, is_number, strict=True) if not known]
    return number_hint(name, [text.decode(errors="replace") for text in others], decimal)
