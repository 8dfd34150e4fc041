"""Which rows a proof runs, and how many of them at each batch size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from exporter.parity.sampling import (
    bisect_boundaries,
    draw_bin_edges,
    draw_corners,
    draw_edges,
    draw_outside,
    draw_uniform,
    make_specials,
    ranges_of,
)
from exporter.reference.intervals import rows_with_all
from runtime.errors import UsageError
from runtime.schema.matrix import usable_values
from runtime.surfaces import option
from runtime.value import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.reference.oracle import Predict
    from runtime.schema.features import Float32Matrix, Schema

# Both ends, a vector register and its neighbours, about a runtime block and its neighbour, and
# one more than 2**16.
BATCHES = (0, 1, 2, 3, 7, 31, 32, 33, 1024, 4095, 4096, 65_537)
# Rows run and checked at a time: memory stays the same for any number of rows.
CHUNK = 65_537
KNOWN_ROWS = 100_000  # test rows at most: more would prove no more
_MEDIUM, _LARGE = 1024, 65_537  # batch sizes from which more rows are run
_MAX_COST = 2**31  # multiplications of one pass over all rows: a few seconds
_MAX_VALUES = 2**27  # of all uniform rows: half a gigabyte
_MIN_UNIFORM, _MIN_BOUNDARY = 4096, 512
_BISECTIONS = 32  # evaluations that each boundary row costs, about
_SEED = 20_240_229
_STARTS = 32_768  # rows from which the search for class boundaries starts


@dataclass(frozen=True)
class Plan:
    """What a proof runs.

    A call costs the same for one row as for a hundred, so small batches run fewer rows: a proof
    that takes minutes would be skipped.

    Attributes:
        uniform: rows drawn uniformly from the ranges.
        boundary: rows on class boundaries, at most.
        batches: batch sizes, ascending; 0 is one empty batch.
        small: rows of each group that batches below 1024 run, the first of it.
        medium: rows of each group that batches below 65,537 run; larger batches run all.
        backend: the only one to run; None runs all.
        row: number of the row whose batch alone is run; None runs all.
    """

    uniform: int = 1_000_000
    boundary: int = 20_000
    batches: tuple[int, ...] = BATCHES
    small: int = 256
    medium: int = 32_768
    backend: str | None = None
    row: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every backend runs at every batch size."""
        return self.backend is None and self.row is None and self.batches == BATCHES

    def only(self, backend: str | None, batch: int | None, row: int | None) -> Plan:
        """Restrict the plan to a backend, a batch size (any) and a row; None does not restrict.

        Raises ``UsageError`` when the batch is negative, or a row is given without its batch.
        """
        if batch is not None and batch < 0:
            raise UsageError(f"{option('batch')} must be 0 or more, got {batch}")
        if row is not None and not batch:
            raise UsageError(f"{option('row')} needs {option('batch')}, 1 or more")
        batches = self.batches if batch is None else (batch,)
        return replace(self, backend=backend, batches=batches, row=row)

    def rows_per_group(self, batch: int) -> int | None:
        """Return how many rows of each group a batch size runs; None for all of them."""
        if batch < _MEDIUM:
            return self.small
        return self.medium if batch < _LARGE else None

    def for_cost(self, cost: int, n_inputs: int) -> Plan:
        """Reduce the rows where all of them would take minutes or gigabytes.

        ``cost`` is that of one, in multiplications; ``n_inputs`` are its values.
        """
        uniform = max(min(_MAX_COST // cost, _MAX_VALUES // n_inputs), _MIN_UNIFORM)
        boundary = max(_MAX_COST // (cost * _BISECTIONS) // 2 * 2, _MIN_BOUNDARY)
        return replace(
            self, uniform=min(self.uniform, uniform), boundary=min(self.boundary, boundary)
        )


FULL = Plan()


class RowGroup(Record, frozen=True):
    """Consecutive rows that were drawn in one way."""

    name: str
    rows: int
    inside: bool  # whether such values were seen in training, so that float32 must not overflow


@dataclass(frozen=True)
class RowChunk:
    """Some of the rows of a proof."""

    features: Float32Matrix  # (rows, n_features)
    index: npt.NDArray[np.int64]  # (rows,), ascending: their numbers among all rows
    inside: int  # how many lie inside the ranges; they come first


@dataclass(frozen=True)
class ParityRows:
    """The rows of a proof, group by group."""

    features: Float32Matrix  # (rows, n_features), C-contiguous
    groups: tuple[RowGroup, ...]

    @property
    def inside(self) -> int:
        """Number of rows inside the ranges; they come first."""
        return sum(group.rows for group in self.groups if group.inside)

    def locate(self, row: int) -> tuple[str, int]:
        """Return the group of a row and its position there."""
        for group in self.groups:
            if row < group.rows:
                return group.name, row
            row -= group.rows
        raise IndexError("no such row")

    def group(self, name: str) -> slice:
        """Return where a group's rows are."""
        start = 0
        for group in self.groups:
            if group.name == name:
                return slice(start, start + group.rows)
            start += group.rows
        raise KeyError(name)

    def first_of_each_group(self, limit: int | None) -> npt.NDArray[np.int64]:
        """Return the numbers of the first rows of every group, ascending; None takes all."""
        if limit is None:
            return np.arange(len(self.features))
        slices = [self.group(group.name) for group in self.groups]
        return np.concatenate(
            [np.arange(at.start, min(at.stop, at.start + limit)) for at in slices]
        )

    def take(self, index: npt.NDArray[np.int64]) -> RowChunk:
        """Take the rows of these numbers, ascending."""
        return RowChunk(self.features[index], index, int(np.searchsorted(index, self.inside)))


def draw_rows(
    schema: Schema,
    predict: Predict,
    known: Float32Matrix,
    plan: Plan = FULL,
    *,
    edges: Mapping[int, Float32Matrix] | None = None,
    only_usable: bool = False,
) -> ParityRows:
    """Draw the rows of a proof; ``only_usable`` leaves out those that no backend is ever given.

    Rows inside the ranges come first: ``known`` ones such as test rows, uniform, at corners, edges
    and class boundaries, and at the ``edges`` of the bins of encoded inputs, by their position;
    then some far outside and some with special values.
    """
    generator = np.random.default_rng(_SEED)
    ranges = ranges_of(schema)
    uniform = draw_uniform(ranges, generator, plan.uniform)
    known = known[:KNOWN_ROWS]
    starts = np.concatenate([known[:_STARTS], uniform[:_STARTS]])
    starts = starts[rows_with_all(np.isfinite(starts))]  # a missing value cannot be bisected
    specials = make_specials(uniform[0])
    if only_usable:
        specials = specials[rows_with_all(usable_values(schema, specials))]
    drawn = (
        ("known", known, True),
        ("uniform", uniform, True),
        ("corners", draw_corners(ranges, generator), True),
        ("edges", draw_edges(ranges, generator), True),
        ("boundary", bisect_boundaries(predict, starts, limit=plan.boundary), True),
        *((("bins", draw_bin_edges(ranges, edges), True),) if edges else ()),
        ("outside", draw_outside(ranges, generator), False),
        ("special", specials, False),
    )
    return ParityRows(
        np.concatenate([features for _, features, _ in drawn]),
        tuple(RowGroup(name, len(features), inside) for name, features, inside in drawn),
    )
