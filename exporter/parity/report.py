"""Run the proof of parity and report it, cell by cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import UNSET, UnsetType

from exporter.parity.cells import Cell, Failure
from exporter.parity.matrix import run_matrix
from exporter.parity.rows import FULL, RowGroup
from exporter.reference.intervals import FLOAT32
from exporter.reference.oracle import Tolerance
from runtime.errors import ParityError
from runtime.value import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.parity.backends import Backend
    from exporter.parity.matrix import MatrixResult
    from exporter.parity.rows import ParityRows, Plan
    from exporter.progress import OnProgress
    from exporter.reference.intervals import Arithmetic
    from exporter.reference.oracle import Reference

# Share of the rows inside the ranges, class boundaries and exact ties apart, that may be
# undecidable. A measured tolerance is 16 times PyTorch's own error: for models that float32 suits,
# some rows in ten thousand are undecidable; at one in a hundred, float32 has lost the digits that
# decide. Derived bounds hold for any order of summation and grow with every layer, far beyond
# actual errors: barely trained networks of five layers and twelve classes, exported correctly,
# leave one label in twelve undecidable, and prove the rest.
MAX_UNDECIDABLE: dict[Tolerance, float] = {"measured": 0.01, "derived": 0.25}
_ADVICE: dict[Tolerance, str] = {
    "measured": "float32 loses the digits that decide: give the model features, and functions of "
    "them, that float32 can resolve",
    "derived": "fit it on scaled features or fewer of them, with smaller weights or fewer layers",
}


class Report(Record, frozen=True):
    """The result of a proof, as stored in ``parity.json``; true when it passed.

    Attributes:
        format: version of this report.
        passed: whether everything held.
        tolerance: ``derived`` from the weights, or ``measured`` on the model itself.
        arithmetic: what the tolerances are for.
        unit_roundoff: of that arithmetic.
        groups: the rows that were drawn; the largest batches run all of them, small ones the
            first of each group.
        undecidable: rows inside the ranges, boundaries apart, whose nearest classes lie closer
            together than their bounds, so that correct backends may return different labels.
        undecidable_on_boundaries: likewise, among the rows on class boundaries.
        worst_error_over_bound: over all cells.
        cells: one per backend and batch size.
        failure: the first; None when everything held.
        output: how the logits follow from the output of the user's module; absent where they are
            its output as it is.
    """

    format: Literal[1]
    passed: bool
    tolerance: Tolerance
    arithmetic: str
    unit_roundoff: float
    groups: tuple[RowGroup, ...] = msgspec.field(name="blocks")
    undecidable: int
    undecidable_on_boundaries: int
    worst_error_over_bound: float
    cells: tuple[Cell, ...]
    failure: Failure | None
    output: str | UnsetType = UNSET

    def __bool__(self) -> bool:
        return self.passed

    @property
    def backends(self) -> tuple[str, ...]:
        """Names of the backends."""
        return tuple(dict.fromkeys(cell.backend for cell in self.cells))

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes."""
        return tuple(dict.fromkeys(cell.batch for cell in self.cells))

    @property
    def rows(self) -> int:
        """Rows that each backend ran at the largest batch size."""
        return max(cell.rows for cell in self.cells)

    def cell(self, backend: str, batch: int) -> Cell:
        """Return the cell of a backend at a batch size.

        Args:
            backend: its name.
            batch: batch size.

        Returns:
            The cell.

        Raises:
            KeyError: when there is none.
        """
        for cell in self.cells:
            if (cell.backend, cell.batch) == (backend, batch):
                return cell
        raise KeyError((backend, batch))


def prove(
    backends: Sequence[Backend],
    rows: ParityRows,
    reference: Reference,
    *,
    plan: Plan = FULL,
    arithmetic: Arithmetic = FLOAT32,
    on_progress: OnProgress | None = None,
) -> Report:
    """Run the whole matrix, cells after a failure too; ``arithmetic`` is the tolerances'.

    Raises ``ParityError`` as ``run_matrix`` does, or when the tolerances are too wide to prove
    anything.
    """
    result = run_matrix(backends, rows, reference, plan, on_progress)
    if plan.is_complete and not result.failure:
        _check_conclusive(result, reference.tolerance)
    return Report(
        format=1,
        passed=all(cell.passed for cell in result.cells),
        tolerance=reference.tolerance,
        arithmetic=arithmetic.name,
        unit_roundoff=arithmetic.unit_roundoff,
        groups=rows.groups,
        undecidable=result.undecidable,
        undecidable_on_boundaries=result.undecidable_on_boundaries,
        worst_error_over_bound=max(cell.worst_error_over_bound for cell in result.cells),
        cells=result.cells,
        failure=result.failure,
    )


def _check_conclusive(result: MatrixResult, tolerance: Tolerance) -> None:
    """Refuse a proof that leaves too many labels undecidable."""
    limit = MAX_UNDECIDABLE[tolerance]
    undecidable = result.undecidable - result.tied
    if undecidable <= limit * result.ordinary:
        return
    raise ParityError(
        f"the {tolerance} tolerances are so wide that {undecidable:,} of {result.ordinary:,} "
        f"rows inside the ranges ({undecidable / result.ordinary:.1%}, at most {limit:.0%} "
        "are allowed) are undecidable: the proof would be inconclusive; "
        f"{_ADVICE[tolerance]}"
    )


def require(report: Report, *, command: str | None, consequence: str) -> None:
    """Raise ``ParityError`` unless a report passed, naming the first backend, batch and row.

    ``command``, if there is one, reproduces the failure with ``--contender``, ``--batch`` and
    ``--row`` appended.
    """
    failure = report.failure
    if failure is None:
        return
    bad = sum(not cell.passed for cell in report.cells)
    node = f"; {failure.node}" if failure.node else ""
    row = "" if failure.row is None else f" --row {failure.row}"
    options = f" --contender {failure.backend} --batch {failure.batch}{row}"
    reproduce = f"reproduce it with `{command}{options}`; " if command else ""
    raise ParityError(
        f"parity failed in {bad} of {len(report.cells)} runs, first in {failure.backend} at "
        f"batch {failure.batch}: {failure.reason}{node}; {reproduce}{consequence}"
    )
