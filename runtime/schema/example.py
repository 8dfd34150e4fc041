"""An example of a row: values that occur, the one source of every example that people are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from runtime.schema.dates import format_instant

if TYPE_CHECKING:
    from runtime.schema.features import Feature, Schema

_MAX_WHOLE: Final = 2**53  # beyond, digits would be invented
_MAX_DECIMALS, _MAX_DIGITS = 3, 6  # a number with more was measured or computed: nobody types it
_MEDIAN: Final = 5  # of the deciles


def example_row(schema: Schema) -> dict[str, float | str]:
    """Return a row as JSON holds it: whole numbers as integers, dates in the column's format.

    Numbers are values of the training rows, rounded where they have more digits than people write.
    """
    return {feature.name: _cell(feature) for feature in schema.features}


def typical_value(feature: Feature) -> float | str:
    """Return the median, for a date in days since its origin, or the most frequent category.

    Without a distribution: the middle of the range, or the first category that is not missing.
    """
    if feature.categories:
        filled = next((text for text in feature.categories if text), "")
        return feature.most_frequent or filled
    if feature.quantiles:  # each is a value of the column
        return feature.quantiles[_MEDIAN]
    middle = (feature.minimum + feature.maximum) / 2
    is_whole = feature.minimum.is_integer() and feature.maximum.is_integer()
    inside = feature.minimum <= round(middle) <= feature.maximum
    return float(round(middle)) if inside and (is_whole or feature.origin) else middle


def _cell(feature: Feature) -> float | str:
    value = typical_value(feature)
    if isinstance(value, str):
        return value
    if feature.origin:
        return format_instant(value, feature.origin, feature.date_format)
    if value.is_integer() and abs(value) < _MAX_WHOLE:
        return int(value)
    written = str(np.float32(value))  # the digits of the table, not those of the float32
    rounded = float(f"{value:.3g}")
    decimals = len(written.partition(".")[2])
    is_measured = decimals > _MAX_DECIMALS and len(written.strip("-0.")) > _MAX_DIGITS
    if is_measured and feature.minimum <= rounded <= feature.maximum:
        return rounded
    return float(written)
