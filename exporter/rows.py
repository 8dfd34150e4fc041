"""The rows that a model is proven on, the same on every machine.

In: a schema, a model's layers and the rows that are known. Out: named blocks of float32 rows. No
errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from exporter.boundary import bisect_boundaries
from runtime.manifest import Record
from runtime.schema import to_float32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.bounds import Layer
    from runtime.schema import Float32Matrix, Schema

KNOWN_ROWS = 2048  # the first of them; more would prove no more
UNIFORM_ROWS = 4096
_SEED = 20_240_229
_MOST_CORNERS = 256
_MOST_EDGES = 512
_OUTSIDE_ROWS = 64
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


class Block(Record, frozen=True):
    """Name and number of some rows that follow one another.

    Attributes:
        name: what they have in common.
        rows: how many.
        inside: whether the values are such as were seen in training, so that float32 must not
            overflow on them.
    """

    name: str
    rows: int
    inside: bool


@dataclass(frozen=True)
class ProofRows:
    """Rows, block by block.

    Attributes:
        features: ``(rows, n_features)`` float32, C-contiguous.
        blocks: in the order of the rows.
    """

    features: Float32Matrix
    blocks: tuple[Block, ...]

    @property
    def inside(self) -> int:
        """Number of rows inside the ranges; they come first."""
        return sum(block.rows for block in self.blocks if block.inside)

    def locate(self, row: int) -> tuple[str, int]:
        """Name the block of a row and its position there."""
        for block in self.blocks:
            if row < block.rows:
                return block.name, row
            row -= block.rows
        raise IndexError("no such row")

    def block(self, name: str) -> slice:
        """Where a block's rows are."""
        start = 0
        for block in self.blocks:
            if block.name == name:
                return slice(start, start + block.rows)
            start += block.rows
        raise KeyError(name)


def draw_rows(schema: Schema, layers: Sequence[Layer], known: Float32Matrix) -> ProofRows:
    """Draw the rows of a proof.

    Args:
        schema: gives the ranges.
        layers: of the model, for its class boundaries.
        known: ``(rows, n_features)`` float32, finite, such as the test rows of the run.

    Returns:
        Rows inside the ranges (known, uniform, at corners, edges and class boundaries), then
        some far outside and some with special values.
    """
    generator = np.random.default_rng(_SEED)
    low, high = _ranges(schema)
    uniform = _between(low, high, generator, UNIFORM_ROWS)
    parts = (
        ("known", known[:KNOWN_ROWS], True),
        ("uniform", uniform, True),
        ("corners", _corners(low, high, generator), True),
        ("edges", _edges(low, high, generator), True),
        ("boundary", bisect_boundaries(layers, uniform), True),
        ("outside", _outside(low, high, generator), False),
        ("special", _specials(uniform[0]), False),
    )
    return ProofRows(
        np.concatenate([features for _, features, _ in parts]),
        tuple(Block(name, len(features), inside) for name, features, inside in parts),
    )


def _ranges(schema: Schema) -> tuple[Float32Matrix, Float32Matrix]:
    """Smallest and largest value of each feature, ``(n_features,)`` float32 each, finite."""
    columns = [np.array([feature.minimum, feature.maximum]) for feature in schema.features]
    low, high = np.clip(to_float32(columns), _FLOAT32.min, _FLOAT32.max)
    return low, high


def _between(
    low: Float32Matrix, high: Float32Matrix, generator: np.random.Generator, rows: int
) -> Float32Matrix:
    """Draw rows evenly, each value rounded once and inside its range."""
    wide_low, wide_high = low.astype(np.float64), high.astype(np.float64)
    drawn = wide_low + generator.random((rows, len(low))) * (wide_high - wide_low)
    return np.clip(drawn.astype(np.float32), low, high)


def _corners(
    low: Float32Matrix, high: Float32Matrix, generator: np.random.Generator
) -> Float32Matrix:
    """All corners of the ranges, or as many at random where there are too many."""
    if 2 ** len(low) <= _MOST_CORNERS:
        choice = np.array(list(product((False, True), repeat=len(low))))
    else:
        choice = generator.random((_MOST_CORNERS, len(low))) < 0.5  # noqa: PLR2004 - a fair coin
        choice[0], choice[1] = False, True
    return np.where(choice, high, low)


def _edges(
    low: Float32Matrix, high: Float32Matrix, generator: np.random.Generator
) -> Float32Matrix:
    """Rows with one feature at an end of its range, each feature and end in turn."""
    rows = min(max(64, 2 * len(low)), _MOST_EDGES)
    edges = _between(low, high, generator, rows)
    for row in range(rows):
        feature = row // 2 % len(low)
        edges[row, feature] = (low, high)[row % 2][feature]
    return edges


def _outside(
    low: Float32Matrix, high: Float32Matrix, generator: np.random.Generator
) -> Float32Matrix:
    """Rows ever farther outside the ranges, up to float32's largest."""
    inside = _between(low, high, generator, _OUTSIDE_ROWS).astype(np.float64)
    span = np.maximum(np.maximum(np.abs(low), np.abs(high)).astype(np.float64), 1.0)
    signs = np.where(generator.random(inside.shape) < 0.5, -1.0, 1.0)  # noqa: PLR2004 - a fair coin
    far = 10.0 ** np.linspace(0, 38, _OUTSIDE_ROWS)[:, None] * signs * span  # (rows, n_features)
    return np.clip(inside + far, _FLOAT32.min, _FLOAT32.max).astype(np.float32)


def _specials(ordinary: Float32Matrix) -> Float32Matrix:
    """Rows with NaN, infinities, zeros, denormals and the largest numbers.

    Args:
        ordinary: ``(n_features,)`` float32, a row to put one special value into.

    Returns:
        ``(rows, n_features)`` float32.
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
