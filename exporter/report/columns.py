"""The table of columns: what each held in training, and what is made of a missing cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from exporter.report.drawing import format_number, format_percent
from runtime.schema.dates import format_instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runtime.bundle.manifest import Manifest
    from runtime.schema.features import Feature
    from trainer.data.dataset import LabelledRows

_MEDIAN: Final = 5  # among the deciles
_SHOWN: Final = 12  # categories before the others are folded


@dataclass(frozen=True)
class Column:
    """One column of the training table."""

    name: str
    kind: str
    values: tuple[str, ...]  # parts of a sentence
    more: tuple[str, ...]  # that are folded
    missing: str
    note: str  # anything to know of it; empty without any


def describe_columns(
    manifest: Manifest, train: LabelledRows | None, fills: Mapping[str, float]
) -> tuple[Column, ...]:
    """Describe all columns but the label; ``fills`` are the numbers that replace missing cells."""
    schema = manifest.schema
    rows = None if train is None or not len(train.labels) else train.features
    total = manifest.training.get("train_rows")
    columns = []
    for feature, span in zip(schema.features, schema.spans, strict=True):
        values = list(_category_counts(feature, total)) or _describe_range(feature)
        gaps = None if rows is None else float(np.isnan(rows[:, span.start]).mean())
        columns.append(
            Column(
                name=feature.name,
                kind=feature.kind,
                values=tuple(values[:_SHOWN]),
                more=tuple(values[_SHOWN:]),
                missing=_describe_missing(
                    feature,
                    gaps,
                    fills.get(feature.name),
                    is_trained=manifest.provenance.seed is not None,
                ),
                note="; ".join(_notes(feature)),
            )
        )
    left_out = manifest.provenance.left_out_columns or {}
    columns += [Column(name, "left out", (), (), "", reason) for name, reason in left_out.items()]
    return tuple(columns)


def format_value(feature: Feature, value: float) -> str:
    """Format a value of a column; one of a date column as a date."""
    return format_instant(value, feature.origin) if feature.origin else format_number(value)


def _category_counts(feature: Feature, total: float | None) -> Iterator[str]:
    """List categories, the most frequent first, with the rows that have them where known."""
    if not feature.shares:
        yield from (_name(text) for text in feature.categories)
        return
    if not feature.categories:
        return
    shares = zip(feature.categories, feature.shares, strict=True)
    for text, share in sorted(shares, key=lambda pair: -pair[1]):
        yield f"{_name(text)} {_count(share, total)}"
    if rare := feature.one_hot.rare if feature.one_hot else None:
        yield f"{rare:,} rare ones joined {_count(1 - sum(feature.shares), total)}"


def _count(share: float, total: float | None) -> str:
    percent = format_percent(share)
    return percent if total is None else f"{round(share * total):,} ({percent})"


def _name(category: str) -> str:
    return category or "(missing)"


def _describe_range(feature: Feature) -> list[str]:
    low, high = format_value(feature, feature.minimum), format_value(feature, feature.maximum)
    if not feature.quantiles:
        return [f"{low} to {high}"]
    return [f"{low} to {high}", f"median {format_value(feature, feature.quantiles[_MEDIAN])}"]


def _describe_missing(
    feature: Feature, gaps: float | None, fill: float | None, *, is_trained: bool
) -> str:
    if "" in feature.categories:
        return "a category of its own"
    if feature.missing == "refused":
        return "refused"
    value = "" if fill is None else f" with {format_value(feature, fill)}"
    mean = " (the mean)" if is_trained and value else ""
    share = "" if gaps is None else f"{format_percent(gaps)} in training; "
    return f"{share}imputed{value}{mean}"


def _notes(feature: Feature) -> Iterator[str]:
    if feature.is_constant:
        rounded = "" if feature.categories else " in float32"
        yield f"constant{rounded}: nothing to learn from it"
    if feature.one_hot and not feature.is_boolean:
        refused = feature.one_hot.unseen == "error"
        yield "other categories are refused" if refused else "other categories count as none"
    if feature.is_folded:
        yield "case and blanks are ignored"
    if feature.date_format:
        yield f"written as {feature.date_format}"
    if texts := feature.texts_of_missing:
        yield f"{' or '.join(map(repr, texts))} means missing"
