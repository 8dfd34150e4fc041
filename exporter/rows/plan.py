"""How much a proof runs: batch sizes, and how many rows at each.

In: nothing. Out: a ``Plan``. Wishes that do not fit together are a ``UsageError``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from runtime.errors import UsageError

# The ends, one vector register and its neighbours, about what the runtime reads at once and its
# neighbour, and one more than 2**16.
BATCHES = (0, 1, 2, 3, 7, 31, 32, 33, 1024, 4095, 4096, 65_537)
# Rows are answered and judged so many at a time: memory stays the same for any number of rows.
CHUNK = 65_537
_MEDIUM, _LARGE = 1024, 65_537  # batch sizes from which on more rows are run
_MOST_PRODUCTS = 2**31  # multiplications of one pass over all rows: a few seconds
_LEAST_UNIFORM, _LEAST_BOUNDARY = 4096, 512
_HALVINGS = 32  # evaluations that each row on a boundary costs, about


@dataclass(frozen=True)
class Plan:
    """What a proof runs.

    A call costs the same for one row as for a hundred, so small batches run fewer rows: a proof
    that takes minutes is a proof that is switched off.

    Attributes:
        uniform: rows drawn evenly from the ranges.
        boundary: rows placed on class boundaries, at most.
        batches: rows in a batch, ascending; 0 is one empty batch.
        small: rows of each block that batches below 1024 run, the first of it.
        medium: rows of each block that batches below 65,537 run; larger batches run all.
        contender: the only one to run; None runs all.
        row: number of a row, to run nothing but the batch that holds it; None runs all.
    """

    uniform: int = 1_000_000
    boundary: int = 20_000
    batches: tuple[int, ...] = BATCHES
    small: int = 256
    medium: int = 32_768
    contender: str | None = None
    row: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every contender runs at every batch size."""
        return self.contender is None and self.row is None and self.batches == BATCHES

    def only(self, contender: str | None, batch: int | None, row: int | None) -> Plan:
        """Run a part of the matrix, as a message asks for it; None leaves all as it is.

        Args:
            contender: name of the one to run.
            batch: rows in a batch, also one that is not among the usual ones.
            row: number of a row, to run its batch alone.

        Returns:
            The plan of that part.

        Raises:
            UsageError: when the batch is negative, or a row is asked for without its batch.
        """
        if batch is not None and batch < 0:
            raise UsageError(f"a batch of {batch} rows cannot be: give 0 or more")
        if row is not None and not batch:
            raise UsageError("a row is run in its batch: give --batch, 1 or more, with --row")
        batches = self.batches if batch is None else (batch,)
        return replace(self, contender=contender, batches=batches, row=row)

    def rows_of_a_block(self, batch: int) -> int | None:
        """How many rows of each block a batch size runs; None for all of them."""
        if batch < _MEDIUM:
            return self.small
        return self.medium if batch < _LARGE else None

    def for_cost(self, products: int) -> Plan:
        """Run fewer rows of a network so large that all of them would take minutes.

        Args:
            products: multiplications that one row costs.

        Returns:
            The plan for it.
        """
        uniform = max(_MOST_PRODUCTS // products, _LEAST_UNIFORM)
        boundary = max(_MOST_PRODUCTS // (products * _HALVINGS) // 2 * 2, _LEAST_BOUNDARY)
        return replace(
            self, uniform=min(self.uniform, uniform), boundary=min(self.boundary, boundary)
        )


FULL = Plan()
