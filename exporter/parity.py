"""The proof of parity: run every contender at every batch size and judge each answer.

In: contenders, rows and the oracle's answers. Out: a ``Report``, true when everything held, with
the first failure when something did not; ``require`` turns that into a ``ParityError``.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Literal

import numpy as np

from exporter.bounds import FLOAT32
from exporter.rows import Block
from exporter.verdict import judge
from runtime.errors import ParityError
from runtime.manifest import Record
from runtime.session import Outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.bounds import Arithmetic
    from exporter.contenders import Contender
    from exporter.oracle import Oracle
    from exporter.rows import ProofRows
    from runtime.schema import Float32Matrix

_LONGEST_REASON = 300
# The ends, one vector register and its neighbours, and about what the runtime reads at once.
BATCHES = (0, 1, 2, 31, 32, 33, 4096)


class Failure(Record, frozen=True):
    """The first thing that did not hold.

    Attributes:
        contender: its name.
        batch: rows in a batch.
        reason: what is wrong, with the row, its input, got, expected and bound where there are.
    """

    contender: str
    batch: int
    reason: str


class Cell(Record, frozen=True):
    """One contender at one batch size; figures as in ``exporter.verdict.Verdict``.

    Attributes:
        contender: its name.
        batch: rows in a batch.
        rows: rows that were run.
        unjudged: rows of which nothing is promised.
        worst_error: largest error of a logit on rows inside the ranges.
        worst_error_over_bound: largest error of a logit or probability over its bound.
        label_disagreements: rows with a finite answer whose label is not the oracle's.
        passed: whether everything held.
    """

    contender: str
    batch: int
    rows: int = 0
    unjudged: int = 0
    worst_error: float = 0.0
    worst_error_over_bound: float = 0.0
    label_disagreements: int = 0
    passed: bool = True


class Report(Record, frozen=True):
    """A proof, or the reason why there is none.

    Attributes:
        format: version of this report.
        passed: whether everything held.
        arithmetic: what the bounds were derived for.
        unit_roundoff: of that arithmetic.
        blocks: the rows that each contender ran at each batch size.
        undecidable: of these, rows whose nearest classes lie closer together than their bounds,
            so that correct engines may give different labels.
        undecidable_on_boundaries: likewise, among the rows placed on class boundaries.
        worst_error_over_bound: over all cells.
        cells: a contender at a batch size each.
        failure: the first; None when everything held.
    """

    format: Literal[1]
    passed: bool
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
        """Rows that each contender ran at each batch size."""
        return sum(block.rows for block in self.blocks)


def prove(
    contenders: Sequence[Contender],
    rows: ProofRows,
    oracle: Oracle,
    *,
    batches: Sequence[int] = BATCHES,
    arithmetic: Arithmetic = FLOAT32,
) -> Report:
    """Run the whole matrix; cells after a failure are run too.

    Args:
        contenders: in the order of the report.
        rows: to run.
        oracle: its answers for these rows.
        batches: rows in a batch; 0 runs one empty batch.
        arithmetic: that the oracle's bounds were derived for.

    Returns:
        The report.

    Raises:
        ParityError: when nothing can be proven, because float32 may overflow inside the ranges.
    """
    _check_provable(rows, oracle)
    on_boundaries = int(oracle.undecidable[rows.block("boundary")].sum())
    results = [
        _run_cell(contender, batch, rows, oracle) for contender in contenders for batch in batches
    ]
    cells = tuple(cell for cell, _ in results)
    return Report(
        format=1,
        passed=all(cell.passed for cell in cells),
        arithmetic=arithmetic.name,
        unit_roundoff=arithmetic.unit_roundoff,
        blocks=rows.blocks,
        undecidable=int(oracle.undecidable.sum()) - on_boundaries,
        undecidable_on_boundaries=on_boundaries,
        worst_error_over_bound=max(cell.worst_error_over_bound for cell in cells),
        cells=cells,
        failure=next((failure for _, failure in results if failure), None),
    )


def require(report: Report, *, consequence: str) -> None:
    """Insist on a proof.

    Args:
        report: of the matrix.
        consequence: what follows from a failure, for the message.

    Raises:
        ParityError: when something did not hold; names the first contender, batch and row.
    """
    if report.failure:
        bad = sum(not cell.passed for cell in report.cells)
        raise ParityError(
            f"parity failed in {bad} of {len(report.cells)} runs, first in "
            f"{report.failure.contender} at batch {report.failure.batch}: "
            f"{report.failure.reason}; {consequence}"
        )


def _check_provable(rows: ProofRows, oracle: Oracle) -> None:
    unbounded = np.flatnonzero(~oracle.bounded[: rows.inside])
    if unbounded.size:
        block, position = rows.locate(int(unbounded[0]))
        raise ParityError(
            f"the model may overflow float32 on {unbounded.size} rows inside the ranges seen in "
            f"training, first on {block} row {position}, features "
            f"{rows.features[unbounded[0]].tolist()}: fit it again on scaled features"
        )


def _run_cell(
    contender: Contender, batch: int, rows: ProofRows, oracle: Oracle
) -> tuple[Cell, Failure | None]:
    """Run one contender at one batch size and judge its answers."""
    run = rows.features if batch else rows.features[:0]
    try:
        outputs = _answer(contender, run, batch, oracle.logits.value.shape[1])
    except Exception as exc:  # noqa: BLE001 - whatever a contender raises, it did not answer
        reason = (
            str(exc) if isinstance(exc, ParityError) else f"it raised {type(exc).__name__}: {exc}"
        )
        failed = Cell(contender.name, batch, rows=len(run), passed=False)
        return failed, Failure(contender.name, batch, _shorten(reason))
    if not batch:
        return Cell(contender.name, batch), None
    verdict = judge(outputs, rows, oracle, keeps_specials=contender.keeps_specials)
    cell = Cell(
        contender.name,
        batch,
        rows=len(run),
        unjudged=verdict.unjudged,
        worst_error=verdict.worst_error,
        worst_error_over_bound=verdict.worst_error_over_bound,
        label_disagreements=verdict.label_disagreements,
        passed=verdict.reason is None,
    )
    return cell, Failure(contender.name, batch, verdict.reason) if verdict.reason else None


def _shorten(reason: str) -> str:
    """Put a foreign message on one line, without its traceback."""
    return textwrap.shorten(reason, width=_LONGEST_REASON, placeholder=" …")


def _answer(contender: Contender, features: Float32Matrix, batch: int, classes: int) -> Outputs:
    """Run all rows in batches; 0 rows are one empty batch."""
    rows = len(features)
    answers = Outputs(
        np.empty(rows, np.int64),
        np.empty((rows, classes), np.float32),
        np.empty((rows, classes), np.float32),
    )
    for start in range(0, max(rows, 1), max(batch, 1)):
        part = features[start : start + batch]
        got = contender.answer(part)
        for name in ("label", "probabilities", "logits"):
            target, found = getattr(answers, name)[start : start + batch], getattr(got, name)
            if found.shape != target.shape or found.dtype != target.dtype:
                raise ParityError(
                    f"{len(part)} rows from row {start} give {name} {found.dtype} {found.shape}, "
                    f"expected {target.dtype} {target.shape}"
                )
            target[:] = found
    return answers
