"""The proof of parity: run every contender at every batch size and judge each answer.

In: contenders, rows and what they must compute. Out: a ``Report``, true when everything held, with
the first failure when something did not; ``require`` turns that into a ``ParityError``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from exporter.proof.cells import Cell, Failure
from exporter.proof.matrix import run_matrix
from exporter.rows.blocks import Block
from exporter.rows.plan import FULL
from exporter.truth.arithmetic import FLOAT32
from exporter.truth.truth import Tolerance
from runtime.bundle.manifest import Record
from runtime.errors import ParityError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.proof.contenders import Contender
    from exporter.proof.matrix import Found, Watch
    from exporter.rows.blocks import ProofRows
    from exporter.rows.plan import Plan
    from exporter.truth.arithmetic import Arithmetic
    from exporter.truth.truth import Truth


# Share of the rows inside the ranges, class boundaries and exact ties apart, whose label a proof
# may leave open. A measured tolerance is 16 times what PyTorch itself loses. Of models that float32
# suits, some rows in ten thousand lie that near to a boundary; where it is one in a hundred,
# float32 has lost the digits that decide. Derived bounds hold for any order of the sums and grow
# with every layer, far beyond the errors that are met: barely trained networks of five layers and
# twelve classes, exported without a fault, leave one label in twelve open, and prove the rest.
MOST_UNDECIDABLE: dict[Tolerance, float] = {"measured": 0.01, "derived": 0.25}
_ADVICE: dict[Tolerance, str] = {
    "measured": "float32 loses the digits that decide: give the model features, and functions of "
    "them, that float32 can tell apart",
    "derived": "fit it on scaled features, with smaller weights or fewer layers",
}


class Report(Record, frozen=True):
    """A proof, or the reason why there is none.

    Attributes:
        format: version of this report.
        passed: whether everything held.
        tolerance: ``derived`` from the weights, or ``measured`` on the model itself.
        arithmetic: what the tolerances are for.
        unit_roundoff: of that arithmetic.
        blocks: the rows that were drawn; the largest batches run all of them, small ones the
            first of each block.
        undecidable: rows inside the ranges, boundaries apart, whose nearest classes lie closer
            together than their bounds, so that correct engines may give different labels.
        undecidable_on_boundaries: likewise, among the rows placed on class boundaries.
        worst_error_over_bound: over all cells.
        cells: a contender at a batch size each.
        failure: the first; None when everything held.
    """

    format: Literal[1]
    passed: bool
    tolerance: Tolerance
    arithmetic: str
    unit_roundoff: float
    blocks: tuple[Block, ...]
    undecidable: int
    undecidable_on_boundaries: int
    worst_error_over_bound: float
    cells: tuple[Cell, ...]
    failure: Failure | None

    def __bool__(self) -> bool:
        return self.passed

    @property
    def contenders(self) -> tuple[str, ...]:
        """Names of the contenders."""
        return tuple(dict.fromkeys(cell.contender for cell in self.cells))

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes."""
        return tuple(dict.fromkeys(cell.batch for cell in self.cells))

    @property
    def rows(self) -> int:
        """Rows that each contender ran at the largest batch size."""
        return max(cell.rows for cell in self.cells)

    def cell(self, contender: str, batch: int) -> Cell:
        """Find the cell of a contender at a batch size."""
        for cell in self.cells:
            if (cell.contender, cell.batch) == (contender, batch):
                return cell
        raise KeyError((contender, batch))


def prove(
    contenders: Sequence[Contender],
    rows: ProofRows,
    truth: Truth,
    *,
    plan: Plan = FULL,
    arithmetic: Arithmetic = FLOAT32,
    watch: Watch | None = None,
) -> Report:
    """Run the whole matrix; cells after a failure are run too.

    Args:
        contenders: in the order of the report.
        rows: to run.
        truth: what the contenders must compute.
        plan: which batch sizes run how many of the rows.
        arithmetic: that the tolerances are for.
        watch: told after every step.

    Returns:
        The report.

    Raises:
        ParityError: when an answer inside the ranges is not finite, or may not be in float32; or
            when the tolerances are so wide that the proof says next to nothing.
    """
    found = run_matrix(contenders, rows, truth.ask, plan, watch)
    if plan.is_whole and not found.failure:
        _check_telling(found, truth.tolerance)
    return Report(
        format=1,
        passed=all(cell.passed for cell in found.cells),
        tolerance=truth.tolerance,
        arithmetic=arithmetic.name,
        unit_roundoff=arithmetic.unit_roundoff,
        blocks=rows.blocks,
        undecidable=found.undecidable,
        undecidable_on_boundaries=found.undecidable_on_boundaries,
        worst_error_over_bound=max(cell.worst_error_over_bound for cell in found.cells),
        cells=found.cells,
        failure=found.failure,
    )


def _check_telling(found: Found, tolerance: Tolerance) -> None:
    """Refuse a proof that leaves too many labels open."""
    most = MOST_UNDECIDABLE[tolerance]
    open_ones = found.undecidable - found.tied
    if open_ones <= most * found.ordinary:
        return
    raise ParityError(
        f"the {tolerance} tolerances are so wide that {open_ones:,} of {found.ordinary:,} "
        f"rows inside the ranges ({open_ones / found.ordinary:.1%}, at most {most:.0%} "
        "are allowed) have no sure label: the proof would say next to nothing; "
        f"{_ADVICE[tolerance]}"
    )


def require(report: Report, *, again: str | None, consequence: str) -> None:
    """Insist on a proof.

    Args:
        report: of the matrix.
        again: the command that takes ``--contender``, ``--batch`` and ``--row``, to see the failure
            again; None where there is none.
        consequence: what follows from a failure, for the message.

    Raises:
        ParityError: when something did not hold; names the first contender, batch and row.
    """
    failure = report.failure
    if failure is None:
        return
    bad = sum(not cell.passed for cell in report.cells)
    node = f"; {failure.node}" if failure.node else ""
    row = "" if failure.row is None else f" --row {failure.row}"
    place = f" --contender {failure.contender} --batch {failure.batch}{row}"
    see = f"see it again with `{again}{place}`; " if again else ""
    raise ParityError(
        f"parity failed in {bad} of {len(report.cells)} runs, first in {failure.contender} at "
        f"batch {failure.batch}: {failure.reason}{node}; {see}{consequence}"
    )
