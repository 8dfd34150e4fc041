"""Draw rows for a proof: inside the ranges of the features, at their ends, and far outside.

In: the ranges and a random generator. Out: float32 rows, the same on every machine. No errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from msgspec import UNSET

from exporter.truth.enclosure import rows_with_all
from runtime.schema.matrix import to_float32

if TYPE_CHECKING:
    from exporter.truth.enclosure import Mask
    from runtime.schema.features import Float32Matrix, Schema

_PIECE = 65_536  # rows drawn at a time, so that their float64 values take little memory
_MOST_CORNERS = 256
_MOST_EDGES = 512
_OUTSIDE_ROWS = 64
_GAPS = 8  # of so many rows one has a gap
_WITHOUT = 97  # of so many rows one is without a category
_MOST_SPECIAL_FEATURES = 16
_FLOAT32 = np.finfo(np.float32)
_SPECIAL_VALUES = (
    float("nan"),
    float("inf"),
    float("-inf"),
    0.0,
    -0.0,
    float(_FLOAT32.smallest_subnormal),
    -float(_FLOAT32.smallest_subnormal),
    float(_FLOAT32.tiny) / 2,
    float(_FLOAT32.tiny),
    1e19,  # its square is infinite in float32
    float(_FLOAT32.max),
    -float(_FLOAT32.max),
)


@dataclass(frozen=True)
class Choice:
    """The inputs of a column of categories, of which one is 1 and the others 0.

    Attributes:
        span: where they are in a row.
        may_be_none: whether all may be 0, as for a category that training did not have.
    """

    span: slice
    may_be_none: bool


@dataclass(frozen=True)
class Ranges:
    """Smallest and largest value of each input.

    Attributes:
        low: ``(n_inputs,)`` float32, finite.
        high: ``(n_inputs,)`` float32, finite.
        choices: inputs that are categories of a column.
        gaps: inputs that may be missing, NaN.
    """

    low: Float32Matrix
    high: Float32Matrix
    choices: tuple[Choice, ...] = ()
    gaps: tuple[int, ...] = ()

    def hold(self, features: Float32Matrix) -> Mask:
        """Tell which rows ``(rows, n_inputs)`` lie inside, ``(rows,)``; NaN does not."""
        return rows_with_all((features >= self.low) & (features <= self.high))


def ranges_of(schema: Schema) -> Ranges:
    """Read the ranges seen in training, as the model would read such values."""
    columns = [
        np.array([feature.minimum, feature.maximum])
        for feature in schema.features
        for _ in feature.inputs
    ]
    low, high = np.clip(to_float32(columns), _FLOAT32.min, _FLOAT32.max)
    spans = zip(schema.features, schema.spans, strict=True)
    choices = tuple(
        Choice(span, feature.one_hot.unseen == "other")
        for feature, span in spans
        if feature.one_hot is not UNSET
    )
    return Ranges(low, high, choices, schema.imputed_inputs)


def fill_in(rows: Float32Matrix, ranges: Ranges, generator: np.random.Generator) -> Float32Matrix:
    """Put categories and gaps at random into rows, ``(rows, n_inputs)``, in place.

    Each row has exactly one category of a column; one row in many has none, where the model takes
    categories that training did not have. One in a few has a gap. The first row has neither.
    """
    for choice in ranges.choices:
        categories = choice.span.stop - choice.span.start
        chosen = generator.integers(0, categories, len(rows))
        rows[:, choice.span] = np.eye(categories, dtype=np.float32)[chosen]
        if choice.may_be_none:
            rows[_WITHOUT - 1 :: _WITHOUT, choice.span] = 0
    for gap in ranges.gaps:
        missing = generator.integers(0, _GAPS, len(rows)) == 0
        rows[1:][missing[1:], gap] = np.nan
    return rows


def draw_uniform(ranges: Ranges, generator: np.random.Generator, rows: int) -> Float32Matrix:
    """Draw rows evenly, each value rounded once and inside its range."""
    low, high = ranges.low, ranges.high
    wide_low, wide_high = low.astype(np.float64), high.astype(np.float64)
    drawn = np.empty((rows, len(low)), np.float32)
    for start in range(0, rows, _PIECE):
        part = drawn[start : start + _PIECE]
        part[:] = wide_low + generator.random(part.shape) * (wide_high - wide_low)
    return fill_in(np.clip(drawn, low, high, out=drawn), ranges, generator)


def draw_corners(ranges: Ranges, generator: np.random.Generator) -> Float32Matrix:
    """All corners of the ranges, or as many at random where there are too many."""
    width = len(ranges.low)
    if 2**width <= _MOST_CORNERS:
        choice = np.array(list(product((False, True), repeat=width)))
    else:
        choice = generator.random((_MOST_CORNERS, width)) < 0.5  # noqa: PLR2004 - a fair coin
        choice[0], choice[1] = False, True
    return fill_in(np.where(choice, ranges.high, ranges.low), ranges, generator)


def draw_edges(ranges: Ranges, generator: np.random.Generator) -> Float32Matrix:
    """Rows with one input at an end of its range, each input and end in turn.

    A category at its upper end is the column's only one; at its lower end another takes its place.
    """
    width = len(ranges.low)
    rows = min(max(64, 2 * width), _MOST_EDGES)
    edges = draw_uniform(ranges, generator, rows)
    for row in range(rows):
        feature = row // 2 % width
        edges[row, feature] = (ranges.low, ranges.high)[row % 2][feature]
        for choice in ranges.choices:
            if choice.span.start <= feature < choice.span.stop:
                _keep_one(edges[row, choice.span], feature - choice.span.start, choice)
    return edges


def _keep_one(inputs: Float32Matrix, at: int, choice: Choice) -> None:
    """Let a row have one category again, ``(categories,)`` in place, after that ``at`` was set."""
    if inputs[at] == 1:
        inputs[:] = 0
        inputs[at] = 1
    elif not inputs.any() and not choice.may_be_none:
        inputs[(at + 1) % len(inputs)] = 1


def draw_outside(ranges: Ranges, generator: np.random.Generator) -> Float32Matrix:
    """Rows ever farther outside the ranges, up to float32's largest."""
    inside = draw_uniform(ranges, generator, _OUTSIDE_ROWS).astype(np.float64)
    largest = np.maximum(np.abs(ranges.low), np.abs(ranges.high)).astype(np.float64)
    span = np.maximum(largest, 1.0)
    signs = np.where(generator.random(inside.shape) < 0.5, -1.0, 1.0)  # noqa: PLR2004 - a fair coin
    far = 10.0 ** np.linspace(0, 38, _OUTSIDE_ROWS)[:, None] * signs * span  # (rows, n_features)
    return np.clip(inside + far, _FLOAT32.min, _FLOAT32.max).astype(np.float32)


def make_specials(ordinary: Float32Matrix) -> Float32Matrix:
    """Rows with NaN, infinities, zeros, denormals and the largest numbers.

    Args:
        ordinary: ``(n_inputs,)`` float32, a row to put one special value into.

    Returns:
        ``(rows, n_inputs)`` float32.
    """
    width = len(ordinary)
    rows = [np.full(width, value) for value in _SPECIAL_VALUES]
    for value in _SPECIAL_VALUES:
        for feature in range(min(width, _MOST_SPECIAL_FEATURES)):
            row = ordinary.copy()
            row[feature] = value
            rows.append(row)
    signs = np.where(np.arange(width) % 2, -1.0, 1.0)
    rows += [signs * np.inf, -signs * np.inf, signs * float(_FLOAT32.max)]
    return np.stack(rows).astype(np.float32)
