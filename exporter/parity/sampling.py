"""Draw rows: inside the ranges of the features, at their ends, on class boundaries and outside.

The same rows are drawn on every machine: they are part of the proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np
from msgspec import UNSET

from exporter.reference.intervals import rows_with_all
from runtime.schema.matrix import to_float32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.reference.intervals import Mask
    from exporter.reference.oracle import Labels, Predict
    from runtime.schema.features import Float32Matrix, Schema

_SAMPLE_SEED, _BOUNDARY_SEED, _BIN_SEED = 20_240_302, 20_240_301, 20_240_303
_SAMPLE_ROWS = 16_384
_VALUES = 2**22  # drawn at a time, so that they take little memory in float64
_MAX_CORNERS = 256
_MAX_EDGES = 512
_OUTSIDE_ROWS = 64
_BIN_ROUNDS = 2  # how often each edge of a bin, and each neighbour of it, is drawn
_ONE_IN_MISSING = 8  # rows: in one of so many a value is missing
_ONE_IN_UNSEEN = 97  # rows: one of so many has an unseen category
_BISECTIONS = 64  # more than the bits of a float32, so that the two sides become neighbours
_MAX_SPECIAL_FEATURES = 16
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
    1e19,  # its square overflows float32
    float(_FLOAT32.max),
    -float(_FLOAT32.max),
)


@dataclass(frozen=True)
class OneHotInputs:
    """The inputs of a categorical column, one of which is 1 and the others 0."""

    span: slice  # of the inputs in a row
    allows_unseen: bool  # whether all may be 0, for a category not seen in training


@dataclass(frozen=True)
class Ranges:
    """Smallest and largest value of each input, seen in training."""

    low: Float32Matrix  # (n_inputs,), finite
    high: Float32Matrix  # (n_inputs,), finite
    one_hot: tuple[OneHotInputs, ...] = ()
    nullable: tuple[int, ...] = ()  # inputs that may be missing, NaN

    def contain(self, features: Float32Matrix) -> Mask:
        """Find the rows of ``(rows, n_inputs)`` inside, ``(rows,)``; NaN is not."""
        return rows_with_all((features >= self.low) & (features <= self.high))


def ranges_of(schema: Schema) -> Ranges:
    """Return the ranges of a schema, rounded as the model's inputs are."""
    columns = [
        np.array([feature.minimum, feature.maximum])
        for feature in schema.features
        for _ in feature.inputs
    ]
    low, high = np.clip(to_float32(columns), _FLOAT32.min, _FLOAT32.max)
    spans = zip(schema.features, schema.spans, strict=True)
    one_hot = tuple(
        OneHotInputs(span, feature.one_hot.unseen == "other")
        for feature, span in spans
        if feature.one_hot is not UNSET
    )
    return Ranges(low, high, one_hot, schema.imputed_inputs)


def sample_inside(ranges: Ranges) -> Float32Matrix:
    """Draw rows uniformly from the ranges, after their corners, ``(rows, n_features)``."""
    generator = np.random.default_rng(_SAMPLE_SEED)
    return np.concatenate(
        [draw_corners(ranges, generator), draw_uniform(ranges, generator, _SAMPLE_ROWS)]
    )


def draw_uniform(ranges: Ranges, generator: np.random.Generator, rows: int) -> Float32Matrix:
    """Draw rows uniformly, each value rounded once and inside its range."""
    low, high = ranges.low, ranges.high
    wide_low, wide_high = low.astype(np.float64), high.astype(np.float64)
    drawn = np.empty((rows, len(low)), np.float32)
    at_once = max(_VALUES // len(low), 1)
    for start in range(0, rows, at_once):
        chunk = drawn[start : start + at_once]
        chunk[:] = wide_low + generator.random(chunk.shape) * (wide_high - wide_low)
    return _draw_categories(np.clip(drawn, low, high, out=drawn), ranges, generator)


def draw_corners(ranges: Ranges, generator: np.random.Generator) -> Float32Matrix:
    """Return all corners of the ranges, or random ones where there are too many."""
    width = len(ranges.low)
    if 2**width <= _MAX_CORNERS:
        upper = np.array(list(product((False, True), repeat=width)))
    else:
        upper = generator.random((_MAX_CORNERS, width)) < 0.5  # noqa: PLR2004 - a fair coin
        upper[0], upper[1] = False, True
    return _draw_categories(np.where(upper, ranges.high, ranges.low), ranges, generator)


def draw_edges(ranges: Ranges, generator: np.random.Generator) -> Float32Matrix:
    """Draw rows with one input at an end of its range, each input and end in turn.

    A category at its upper end is the column's only one; at its lower end another replaces it.
    """
    width = len(ranges.low)
    rows = min(max(64, 2 * width), _MAX_EDGES)
    edges = draw_uniform(ranges, generator, rows)
    for row in range(rows):
        feature = row // 2 % width
        edges[row, feature] = (ranges.low, ranges.high)[row % 2][feature]
        for column in ranges.one_hot:
            if column.span.start <= feature < column.span.stop:
                _make_one_hot(edges[row, column.span], feature - column.span.start, column)
    return edges


def draw_bin_edges(ranges: Ranges, edges: Mapping[int, Float32Matrix]) -> Float32Matrix:
    """Draw rows whose encoded inputs are at edges of their bins, or at a number next to one.

    Args:
        ranges: of the inputs.
        edges: of the bins of each encoded input, ascending, by its position.

    Returns:
        ``(rows, n_inputs)`` float32, every edge below, at and above it; none without edges.
    """
    generator = np.random.default_rng(_BIN_SEED)
    near = {at: _with_neighbours(each, ranges, at) for at, each in edges.items()}
    rows = _BIN_ROUNDS * max(map(len, near.values()), default=0)
    drawn = draw_uniform(ranges, generator, rows)
    for at, values in near.items():
        drawn[:, at] = generator.permutation(np.resize(values, rows))
    return drawn


def _with_neighbours(edges: Float32Matrix, ranges: Ranges, at: int) -> Float32Matrix:
    """Return each edge, and the float32 numbers before and after it that are in the range."""
    infinity = np.float32(np.inf)
    with np.errstate(over="ignore"):  # next to the largest number
        around = (np.nextafter(edges, -infinity), edges, np.nextafter(edges, infinity))
    values = np.clip(np.concatenate(around), ranges.low[at], ranges.high[at])
    return np.unique(values)


def draw_outside(ranges: Ranges, generator: np.random.Generator) -> Float32Matrix:
    """Draw rows increasingly far outside the ranges, up to float32's largest."""
    inside = draw_uniform(ranges, generator, _OUTSIDE_ROWS).astype(np.float64)
    largest = np.maximum(np.abs(ranges.low), np.abs(ranges.high)).astype(np.float64)
    span = np.maximum(largest, 1.0)
    signs = np.where(generator.random(inside.shape) < 0.5, -1.0, 1.0)  # noqa: PLR2004 - a fair coin
    far = 10.0 ** np.linspace(0, 38, _OUTSIDE_ROWS)[:, None] * signs * span  # (rows, n_features)
    return np.clip(inside + far, _FLOAT32.min, _FLOAT32.max).astype(np.float32)


def make_specials(ordinary: Float32Matrix) -> Float32Matrix:
    """Put NaN, infinities, zeros, denormals and the largest numbers into an ordinary row."""
    width = len(ordinary)
    rows = [np.full(width, value) for value in _SPECIAL_VALUES]
    for value in _SPECIAL_VALUES:
        for feature in range(min(width, _MAX_SPECIAL_FEATURES)):
            row = ordinary.copy()
            row[feature] = value
            rows.append(row)
    signs = np.where(np.arange(width) % 2, -1.0, 1.0)
    rows += [signs * np.inf, -signs * np.inf, signs * float(_FLOAT32.max)]
    return np.stack(rows).astype(np.float32)


def bisect_boundaries(predict: Predict, rows: Float32Matrix, *, limit: int) -> Float32Matrix:
    """Move finite rows of different classes towards each other until they are neighbours.

    Every pair of classes starts with the same number of rows. A third class may lie between two:
    the neighbours found then separate the first class from that one.

    Returns ``(2 * pairs, n_features)`` float32, at most ``limit`` rows: one side of a boundary,
    then its neighbour, the pairs of classes in turn. Empty where all rows have one label.
    """
    first, second = _pair_rows(predict(rows), limit // 2)
    left, right = rows[first], rows[second]  # (pairs, n_features)
    label = predict(left)[:, None] if len(left) else np.empty((0, 1))  # (pairs, 1)
    half = np.float32(0.5)
    for _ in range(_BISECTIONS if len(left) else 0):
        # Halved first: the sum of two large values would be infinite.
        middle = half * left + half * right  # (pairs, n_features)
        if ((middle == left) | (middle == right)).all():
            break
        is_left = predict(middle)[:, None] == label  # (pairs, 1)
        left, right = np.where(is_left, middle, left), np.where(is_left, right, middle)
    return np.stack([left, right], axis=1).reshape(-1, rows.shape[1])


def _pair_rows(labels: Labels, count: int) -> tuple[Labels, Labels]:
    """Choose positions of rows with different labels, ``(pairs,)`` each, by pairs of classes."""
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    classes = list(combinations(range(len(members)), 2))[:count]
    generator = np.random.default_rng(_BOUNDARY_SEED)
    chosen = np.empty((2, count if classes else 0), np.intp)
    for position, pair in enumerate(classes):
        for side, label in enumerate(pair):
            size = len(range(position, count, len(classes)))
            chosen[side, position :: len(classes)] = generator.choice(members[label], size)
    return chosen[0], chosen[1]


def _draw_categories(
    rows: Float32Matrix, ranges: Ranges, generator: np.random.Generator
) -> Float32Matrix:
    """Draw categories and missing values into rows, ``(rows, n_inputs)``, in place.

    Each row has exactly one category of a column; a few have none, where unseen categories are
    allowed. Some values are missing, but none of the first row.
    """
    for column in ranges.one_hot:
        categories = column.span.stop - column.span.start
        drawn = generator.integers(0, categories, len(rows))
        rows[:, column.span] = np.eye(categories, dtype=np.float32)[drawn]
        if column.allows_unseen:
            rows[_ONE_IN_UNSEEN - 1 :: _ONE_IN_UNSEEN, column.span] = 0
    for at in ranges.nullable:
        missing = generator.integers(0, _ONE_IN_MISSING, len(rows)) == 0
        rows[1:][missing[1:], at] = np.nan
    return rows


def _make_one_hot(inputs: Float32Matrix, at: int, column: OneHotInputs) -> None:
    """Restore one category, ``(categories,)`` in place, after input ``at`` was set."""
    if inputs[at] == 1:
        inputs[:] = 0
        inputs[at] = 1
    elif not inputs.any() and not column.allows_unseen:
        inputs[(at + 1) % len(inputs)] = 1
