"""Choose the features of a table and describe the distribution of their training rows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from runtime.errors import SchemaError
from runtime.printable import list_names
from runtime.schema.dates import format_day
from runtime.schema.features import BOOLEANS, Date, Feature, OneHot, Schema
from runtime.schema.names import fold_name
from runtime.schema.spellings import spelling_key
from runtime.surfaces import option
from trainer.data.category_validation import check_categories
from trainer.data.dataset import describe_column
from trainer.data.profile import MAX_COUNTED_TEXTS, NO_LABEL, decode_text
from trainer.data.source import MOST_CATEGORIES, advise_exclusion

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import numpy.typing as npt

    from runtime.schema.features import Float32Matrix, Missing
    from trainer.data.faults import Faults
    from trainer.data.profile import TableProfile
    from trainer.data.source import TableSource

_ROWS_PER_CATEGORY = 2  # on average: with fewer, texts identify rows


def choose_features(
    profile: TableProfile, names: Mapping[int, str], source: TableSource, faults: Faults
) -> dict[int, Feature]:
    """Make a feature of every column that has a filled cell and no fault, by position.

    Numbers have no range yet. ``names`` are the columns by position, in the order of the inputs.
    """
    where = str(source.data)

    def encode(name: str, texts: set[bytes], counts: Counter[bytes]) -> OneHot:
        what, advice = f"column {name!r}", profile.utf8_advice
        decoded = {decode_text(text, what, where, advice): text for text in texts}
        return _encode_texts(what, decoded, counts, source)

    usable = {name: at for at, name in names.items() if name not in faults.columns}
    undeclared = usable.keys() - set(source.categories)
    texts_of = {name: profile.texts.get(at, set()) for name, at in usable.items()}
    check_date_formats(profile, names, source, faults)
    check_categories(
        {name: texts_of[name] for name in usable if name in undeclared}, source, faults
    )
    others = usable.keys() - faults.columns.keys()
    many = {
        name: _count_categories(texts_of[name], source)
        for name in usable
        if name in others and _are_many(texts_of[name], source)
    }
    if many:
        rows = int(np.count_nonzero(profile.codes > NO_LABEL))
        faults.add(SchemaError(_describe_many(many, rows, len(names), source)), many)
    features: dict[int, Feature] = {}
    missing = source.missing or UNSET
    for name, at in usable.items():
        if name in faults.columns:
            continue
        texts = profile.texts.get(at, set())
        if profile.column_types[at] == "number":
            features[at] = Feature(name, 0, 0, missing="imputed", missing_texts=missing)
        elif at in profile.first_days:
            date_format = profile.date_formats.get(at, UNSET)
            date = Date(format_day(profile.first_days[at]), format=date_format)
            features[at] = Feature(name, 0, 0, missing="imputed", date=date, missing_texts=missing)
        elif texts - {b""}:
            with faults.gather(name):
                one_hot = encode(name, texts, profile.text_counts.get(at, Counter()))
                features[at] = Feature(name, 0, 1, one_hot=one_hot, missing_texts=missing)
    if not features and not faults.columns:
        faults.add(
            SchemaError(f"{where}: no feature column has a filled cell to predict {source.label!r}")
        )
    return features


def _are_many(texts: set[bytes], source: TableSource) -> bool:
    """Check whether a column's texts are more than can be categories, or be counted."""
    limit = source.max_categories if source.rare == "error" else MAX_COUNTED_TEXTS
    if len(texts) <= limit:
        return False
    return len(texts) > MAX_COUNTED_TEXTS or _count_categories(texts, source) > limit


def _count_categories(texts: set[bytes], source: TableSource) -> int:
    """Count the categories of distinct texts if all of them are kept."""
    if not source.fold_categories:
        return len(texts)
    return len({fold_name(text.decode(errors="replace")) for text in texts})


def _encode_texts(
    what: str, texts: Mapping[str, bytes], counts: Counter[bytes], source: TableSource
) -> OneHot:
    """Choose the categories of distinct texts: all of them, or the most frequent.

    Booleans are ``false`` and ``true`` however written; one that is misspelt must not pass as
    neither. ``what`` names the column in the ``SchemaError``.
    """
    folded = {fold_name(text) for text in texts}
    if folded - {""} <= BOOLEANS:
        return OneHot(tuple(sorted(folded)))
    cells: Counter[str] = Counter()
    for text, content in texts.items():
        cells[fold_name(text) if source.fold_categories else text] += counts[content]
    is_folded = True if source.fold_categories else UNSET
    categories = tuple(sorted(cells))
    if len(categories) > source.max_categories:
        kept = _most_frequent(cells, source)
        if not kept:
            raise SchemaError(
                f"{source.data}: {what} has no category that fits into "
                f"{option('max_categories', source.max_categories)} with its other spellings: give "
                f"a higher number, or join spellings with {option('fold_categories', True)}"
            )
        return OneHot(kept, "other", len(categories) - len(kept), is_folded)
    return OneHot(categories, source.unseen or "error", folded=is_folded)


def _most_frequent(cells: Counter[str], source: TableSource) -> tuple[str, ...]:
    """Choose the most frequent categories, one fewer than the limit; a missing cell is never rare.

    Spellings of one category are kept or joined together: a text that only writes a kept category
    in another way is a bad cell, not an unseen category.
    """
    groups: dict[Hashable, list[str]] = {}
    for text in cells:
        key = text if source.fold_categories else spelling_key(text)
        groups.setdefault(key, []).append(text)
    kept: list[str] = []
    for texts in sorted(
        groups.values(),
        key=lambda texts: ("" not in texts, -sum(cells[text] for text in texts), min(texts)),
    ):
        if len(kept) + len(texts) < source.max_categories:
            kept += texts
    return tuple(sorted(kept))


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
        replace(feature, shares=tuple(map(float, train_inputs[:, span].mean(axis=0, dtype=float))))
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
    described = describe_column(name, known)
    return replace(
        described, missing=missing, date=feature.date, missing_texts=feature.missing_texts
    )


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


def _describe_many(
    counts: Mapping[str, int], rows: int, n_features: int, source: TableSource
) -> str:
    """Refuse columns of too many texts; ``counts`` are exact up to ``MOST_CATEGORIES``."""
    names = list(counts)
    has = "has" if len(names) == 1 else "have"
    can_join = source.rare == "error"
    limit = source.max_categories if can_join else MAX_COUNTED_TEXTS
    ways = (
        _advise_limit(counts, rows) if can_join else None,
        advise_exclusion(source, names, n_features),
        f"keep the most frequent with {option('rare', 'other')}" if can_join else None,
        "merge values that belong together",
    )
    return (
        f"{source.data}: {list_names(names)} {has} more than {limit:,} distinct texts, "
        f"too many for categories: {', or '.join(filter(None, ways))}"
    )


def _advise_limit(counts: Mapping[str, int], rows: int) -> str | None:
    """Name the option that keeps all categories, where it may and a category has some rows."""
    possible = [
        name
        for name, count in counts.items()
        if count <= min(MOST_CATEGORIES, rows / _ROWS_PER_CATEGORY)
    ]
    if not possible:
        return None
    which = "them" if len(possible) == len(counts) else list_names(possible)
    most = max(counts[name] for name in possible)
    return f"keep all of {which} with {option('max_categories', most)}"


def check_date_formats(
    profile: TableProfile, names: Mapping[int, str], source: TableSource, faults: Faults
) -> None:
    """Refuse formats of dates that no cell has: the column would be left out as empty."""
    formats = source.date_formats
    positions = {name: at for at, name in names.items()}
    for name, date_format in formats.columns.items():
        if positions[name] not in profile.first_days:
            message = (
                f"{source.data}: {option('date_format')}: column {name!r} has no date in the "
                f"format {date_format}"
            )
            faults.add(SchemaError(message), [name])
    if formats.default and formats.default not in profile.date_formats.values():
        message = (
            f"{source.data}: {option('date_format')}: no column has dates in the format "
            f"{formats.default}; "
            f"for a column that looks like numbers or has other text, give COLUMN={formats.default}"
        )
        faults.add(SchemaError(message))
