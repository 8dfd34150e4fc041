"""What each column of a table was taken for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from runtime.schema.features import Kind
from runtime.schema.names import fold_name, similar_names
from runtime.surfaces import advise, option
from runtime.tables.cells import MISSING_WORDS
from runtime.value import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.schema.features import Feature, Schema
    from trainer.data.source import TableSource

Taken = Kind | Literal["left out"]
MAX_LINES = 20
_MAX_NAMES = 3
_PLURALS = {
    "number": "numbers",
    "date": "dates",
    "boolean": "booleans",
    "categories": "of categories",
}


class ColumnSummary(Record, frozen=True, omit_defaults=True):
    """What a column was taken for.

    Attributes:
        name: of the column.
        taken: a number, a date, a boolean, categories, or left out.
        categories: how many, a missing cell included.
        format: of dates; empty for ISO 8601.
        missing: cells without a value.
        texts: that mean a missing cell, beside the empty one.
        reason: why the column was left out.
        words: categories that usually mean a missing cell.
        similar: groups of categories that differ only in case, surrounding blanks or Unicode form.
    """

    name: str
    taken: Taken
    categories: int = 0
    format: str = ""
    missing: int = 0
    texts: tuple[str, ...] = ()
    reason: str = ""
    words: tuple[str, ...] = ()
    similar: tuple[tuple[str, ...], ...] = ()


def summarise_columns(
    columns: Sequence[str],
    source: TableSource,
    schema: Schema,
    missing: Mapping[str, int],
) -> tuple[ColumnSummary, ...]:
    """Describe all columns but the label, in the order of the table.

    ``missing`` are the numbers of missing cells, by name.
    """
    features = {feature.name: feature for feature in schema.features}
    return tuple(
        _describe(features[name], missing.get(name, 0))
        if name in features
        else ColumnSummary(name, "left out", reason=_reason(name, position, source))
        for position, name in enumerate(columns, start=1)
        if name != source.label
    )


def _describe(feature: Feature, missing: int) -> ColumnSummary:
    return ColumnSummary(
        feature.name,
        feature.kind,
        categories=len(feature.categories),
        format=feature.date_format,
        missing=missing,
        texts=feature.texts_of_missing,
        words=_words_for_missing(feature),
        similar=similar_names(feature.categories),
    )


def _words_for_missing(feature: Feature) -> tuple[str, ...]:
    """Find the categories that usually mean a missing cell, as ``missing`` takes them."""
    if not feature.is_folded:
        return tuple(text for text in feature.categories if text.strip(" \t") in MISSING_WORDS)
    others = MISSING_WORDS.difference(feature.texts_of_missing)
    return tuple(sorted(word for word in others if fold_name(word) in feature.categories))


def _reason(name: str, position: int, source: TableSource) -> str:
    if name in source.exclude or f"#{position}" in source.exclude:
        return "excluded by name"
    if source.features is not None and name not in source.features:
        return "not among the chosen features"
    return "all cells are missing"


def format_summaries(columns: Sequence[ColumnSummary]) -> Iterator[str]:
    """Format one line a column; of many columns the first, and counts of the others."""
    for each in columns[:MAX_LINES]:
        yield f"{each.name!r}: {_format(each)}"
    if others := columns[MAX_LINES:]:
        counts = Counter(each.taken for each in others)
        shown = (f"{count:,} {_PLURALS.get(taken, taken)}" for taken, count in counts.items())
        yield f"and {len(others):,} more columns: {', '.join(shown)}"


def _format(column: ColumnSummary) -> str:
    if column.taken == "left out":
        return f"left out, {column.reason}"
    what: str = column.taken
    if column.taken == "categories":
        what = "1 category" if column.categories == 1 else f"{column.categories} categories"
    elif column.format:
        what = f"date in the format {column.format}"
    if column.missing:
        texts = f" (empty, {', '.join(map(repr, column.texts))})" if column.texts else ""
        what += f", {column.missing:,} missing{texts}"
    if words := column.words:
        what += (
            f"; {', '.join(map(repr, words))} among them: to read such cells as missing, "
            + advise("missing", sorted({*column.texts, *words}))
        )
    if groups := column.similar:
        count = sum(map(len, groups))
        what += (
            f"; {count} of them differ only in case, blanks or Unicode form, such as "
            f"{' and '.join(map(repr, groups[0][:_MAX_NAMES]))}: join them with "
            + option("fold_categories", True)
        )
    return what
