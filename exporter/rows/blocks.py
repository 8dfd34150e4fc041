"""The rows that a model is proven on, the same on every machine.

In: a schema, what tells a row's label, and the rows that are known. Out: named blocks of float32
rows, as a whole or in parts. No errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from exporter.rows.boundary import bisect_boundaries
from exporter.rows.draws import (
    draw_corners,
    draw_edges,
    draw_outside,
    draw_uniform,
    make_specials,
    ranges_of,
)
from exporter.rows.plan import FULL
from exporter.truth.enclosure import rows_with_all
from runtime.bundle.manifest import Record

if TYPE_CHECKING:
    from exporter.rows.plan import Plan
    from exporter.truth.truth import LabelOf
    from runtime.schema.features import Float32Matrix, Schema

KNOWN_ROWS = 100_000  # the first of them; more would prove no more
_SEED = 20_240_229
_STARTS = 32_768  # rows to start from in search of class boundaries


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
class Part:
    """Some of the rows of a proof.

    Attributes:
        features: ``(rows, n_features)`` float32.
        index: ``(rows,)`` int64, ascending; the number of each among all rows.
        inside: how many lie inside the ranges; they come first.
    """

    features: Float32Matrix
    index: npt.NDArray[np.int64]
    inside: int


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

    def first_of_each_block(self, most: int | None) -> npt.NDArray[np.int64]:
        """Numbers of the first rows of every block.

        Args:
            most: rows of a block; None takes all.

        Returns:
            ``(rows,)`` int64, ascending.
        """
        if most is None:
            return np.arange(len(self.features))
        slices = [self.block(block.name) for block in self.blocks]
        return np.concatenate([np.arange(at.start, min(at.stop, at.start + most)) for at in slices])

    def part(self, index: npt.NDArray[np.int64]) -> Part:
        """Take the rows of these numbers, ascending."""
        return Part(self.features[index], index, int(np.searchsorted(index, self.inside)))


def draw_rows(
    schema: Schema, label_of: LabelOf, known: Float32Matrix, plan: Plan = FULL
) -> ProofRows:
    """Draw the rows of a proof.

    Args:
        schema: gives the ranges.
        label_of: tells the label of rows, to find the class boundaries with.
        known: ``(rows, n_features)`` float32, finite, such as the test rows of the run.
        plan: how many rows.

    Returns:
        Rows inside the ranges (known, uniform, at corners, edges and class boundaries), then
        some far outside and some with special values.
    """
    generator = np.random.default_rng(_SEED)
    ranges = ranges_of(schema)
    uniform = draw_uniform(ranges, generator, plan.uniform)
    known = known[:KNOWN_ROWS]
    starts = np.concatenate([known[:_STARTS], uniform[:_STARTS]])
    starts = starts[rows_with_all(np.isfinite(starts))]  # between a number and a gap is nothing
    parts = (
        ("known", known, True),
        ("uniform", uniform, True),
        ("corners", draw_corners(ranges, generator), True),
        ("edges", draw_edges(ranges, generator), True),
        ("boundary", bisect_boundaries(label_of, starts, most=plan.boundary), True),
        ("outside", draw_outside(ranges, generator), False),
        ("special", make_specials(uniform[0]), False),
    )
    return ProofRows(
        np.concatenate([features for _, features, _ in parts]),
        tuple(Block(name, len(features), inside) for name, features, inside in parts),
    )
