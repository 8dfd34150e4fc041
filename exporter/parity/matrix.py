"""Run the matrix: rows in chunks, for each chunk every backend at every batch size.

The reference is evaluated once a chunk, and outputs with the same bits are compared with it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporter.parity.cells import CellProgress, Failure, are_same, concatenate, run_in_batches
from exporter.parity.refinement import RowTolerances
from exporter.parity.rows import CHUNK
from exporter.parity.verdict import format_values, shorten
from exporter.progress import Progress
from runtime.errors import ParityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from exporter.parity.backends import Backend
    from exporter.parity.cells import Cell
    from exporter.parity.rows import ParityRows, Plan, RowChunk
    from exporter.parity.verdict import Verdict
    from exporter.progress import OnProgress
    from exporter.reference.oracle import Reference, ReferenceOutputs
    from runtime.session import Outputs


@dataclass(frozen=True)
class MatrixResult:
    """All cells, and counts of the rows that the largest batches run."""

    cells: tuple[Cell, ...]  # backend by backend, each at all batch sizes
    failure: Failure | None  # of the first cell that failed
    ordinary: int  # rows inside the ranges, class boundaries apart
    tied: int  # of these: rows with equal largest logits, which no tolerance could separate
    undecidable: int  # of these: rows without a certain label, tied ones included
    undecidable_on_boundaries: int  # likewise, of the rows on class boundaries


def run_matrix(
    backends: Sequence[Backend],
    rows: ParityRows,
    reference: Reference,
    plan: Plan,
    on_progress: OnProgress | None = None,
) -> MatrixResult:
    """Run every backend at every batch size; whatever a backend raises is a failed cell.

    Raises ``ParityError`` when a reference output inside the ranges is not finite, or may not be
    in float32; ``UsageError`` when the plan's row is not run by its batch size.
    """
    matrix = _Matrix(backends, rows, plan)
    total = sum(len(indices) * len(batches) for batches, indices in matrix.batch_groups())
    done = 0
    for batches, indices in matrix.batch_groups():
        matrix.counts = np.zeros(4, np.int64)  # of the last group, which runs all rows
        for index in indices:
            chunk = rows.take(index)
            expected = reference.evaluate(chunk.features)
            _check_provable(rows, chunk, expected)
            tolerances = RowTolerances(chunk, expected, reference.perturb)
            for backend, batch in matrix.run_chunk(chunk, tolerances, batches):
                done += 1
                if on_progress:
                    on_progress(Progress("proving", done, total * len(backends), backend, batch))
    return matrix.result()


def find_batch(rows: ParityRows, plan: Plan, batch: int, row: int | None) -> npt.NDArray[np.int64]:
    """Return the numbers of the rows in the batch that holds a row; the first batch for None.

    Raises ``UsageError`` when this batch size does not run the row.
    """
    index = rows.first_of_each_group(plan.rows_per_group(batch))
    if row is None:
        return index[: min(batch, CHUNK)]
    at = int(np.searchsorted(index, row))
    if at == len(index) or index[at] != row:
        raise UsageError(
            f"row {row} is not among the {len(index)} that batches of {batch} run; this model is "
            f"proven on rows 0 to {len(rows.features) - 1}, all of them in batches of {CHUNK}"
        )
    start = at // CHUNK * CHUNK  # of the chunk; batches start anew in each
    end = min(start + CHUNK, len(index))
    start += (at - start) // batch * batch
    return index[start : min(start + batch, end)]


class _Matrix:
    """The cells of a matrix in progress."""

    def __init__(self, backends: Sequence[Backend], rows: ParityRows, plan: Plan) -> None:
        self._backends, self._rows, self._plan = backends, rows, plan
        self._shared = rows.first_of_each_group(plan.small)  # what every batch size runs
        self._cells = {
            (backend.name, batch): CellProgress() for backend in backends for batch in plan.batches
        }
        self._first_of_kind = _first_of_each_kind(backends)
        self.counts = np.zeros(4, np.int64)  # as in MatrixResult

    def batch_groups(self) -> list[tuple[list[int], list[npt.NDArray[np.int64]]]]:
        """Return batch sizes that run the same rows, with the numbers of these, in chunks."""
        plan, groups = self._plan, []
        if plan.row is not None:
            found = [find_batch(self._rows, plan, batch, plan.row) for batch in plan.batches]
            return [([batch], [index]) for batch, index in zip(plan.batches, found, strict=True)]
        limits = {batch: plan.rows_per_group(batch) for batch in plan.batches}
        for limit in dict.fromkeys(limits.values()):
            index = self._rows.first_of_each_group(limit)
            chunks = [index[start : start + CHUNK] for start in range(0, len(index), CHUNK)]
            groups.append(([batch for batch in limits if limits[batch] == limit], chunks))
        return groups

    def run_chunk(
        self, chunk: RowChunk, tolerances: RowTolerances, batches: Sequence[int]
    ) -> Iterator[tuple[str, int]]:
        """Run all backends on a chunk; yields backend and batch size of each step."""
        compared: list[tuple[bool, Outputs, Verdict]] = []
        for batch in batches:
            earlier: dict[str, Outputs] = {}
            for backend in self._backends:
                outputs = self._run(backend, batch, chunk, tolerances.expected)
                if outputs is not None and batch:
                    self._cells[backend.name, batch].compare(outputs, earlier)
                    verdict = _compare_once(backend, outputs, tolerances, compared)
                    self._add(backend, batch, chunk, outputs, verdict)
                    if backend.name in self._first_of_kind:
                        earlier[backend.name] = outputs
                yield backend.name, batch
        self._count(chunk, tolerances.expected)

    def result(self) -> MatrixResult:
        """Aggregate the cells."""
        cells = [
            cell.cell(backend, batch, batch_invariant=self._is_invariant(backend, batch))
            for (backend, batch), cell in self._cells.items()
        ]
        failures = (cell.failure for cell in self._cells.values() if cell.failure)
        return MatrixResult(tuple(cells), next(failures, None), *map(int, self.counts))

    def _count(self, chunk: RowChunk, expected: ReferenceOutputs) -> None:
        boundary = self._rows.group("boundary")
        on_boundary = (chunk.index >= boundary.start) & (chunk.index < boundary.stop)
        ordinary = ~on_boundary & (chunk.index < self._rows.inside)
        undecidable = expected.undecidable
        self.counts += [
            int(each.sum())
            for each in (
                ordinary,
                expected.tied & undecidable & ordinary,
                undecidable & ordinary,
                undecidable & on_boundary,
            )
        ]

    def _run(
        self, backend: Backend, batch: int, chunk: RowChunk, expected: ReferenceOutputs
    ) -> Outputs | None:
        """Run one backend, unless it raised before."""
        cell = self._cells[backend.name, batch]
        if cell.failure and cell.failure.row is None:
            return None
        features = chunk.features if batch else chunk.features[:0]
        cell.rows += len(features)
        classes = expected.logits.value.shape[1]
        try:
            return run_in_batches(backend.run, features, batch, classes)
        except Exception as exc:  # noqa: BLE001 - whatever a backend raises is its failure
            raised = "" if isinstance(exc, ParityError) else f"it raised {type(exc).__name__}: "
            reason = shorten(f"{raised}{exc}")
            cell.failure = cell.failure or Failure(backend.name, batch, reason)
            return None

    def _add(
        self, backend: Backend, batch: int, chunk: RowChunk, outputs: Outputs, verdict: Verdict
    ) -> None:
        """Add a verdict, and keep the outputs for the rows that every batch size runs."""
        cell = self._cells[backend.name, batch]
        cell.verdicts.append(verdict)
        cell.shared.append(outputs.take(np.isin(chunk.index, self._shared, assume_unique=True)))
        if verdict.violation and not cell.failure:
            at = verdict.violation.row
            row = int(chunk.index[at])
            group, position = self._rows.locate(row)
            reason = (
                f"{group} row {position}, features {format_values(chunk.features[at])}: "
                f"{verdict.violation.reason}"
            )
            cell.failure = Failure(backend.name, batch, reason, row)

    def _is_invariant(self, backend: str, batch: int) -> bool:
        if not batch:
            return True
        outputs = self._cells[backend, batch].shared
        largest = self._cells[backend, self._plan.batches[-1]].shared
        if not (outputs and largest):
            return False
        return are_same(concatenate(outputs), concatenate(largest))


def _first_of_each_kind(backends: Sequence[Backend]) -> set[str]:
    first: dict[str, str] = {}
    for backend in backends:
        first.setdefault(backend.kind, backend.name)
    return set(first.values())


def _compare_once(
    backend: Backend,
    outputs: Outputs,
    tolerances: RowTolerances,
    compared: list[tuple[bool, Outputs, Verdict]],
) -> Verdict:
    """Compare outputs, or reuse the verdict on the same bits; extends ``compared``."""
    for keeps_specials, other, verdict in reversed(compared):
        if keeps_specials == backend.keeps_specials and are_same(outputs, other):
            return verdict
    verdict = tolerances.compare(outputs, keeps_specials=backend.keeps_specials)
    compared.append((backend.keeps_specials, outputs, verdict))
    return verdict


def _check_provable(rows: ParityRows, chunk: RowChunk, expected: ReferenceOutputs) -> None:
    for bad, problem, advice in (
        (expected.special, "returns NaN or an infinity", "such a model cannot be served"),
        (~expected.bounded, "may overflow float32", "fit it again on scaled features"),
    ):
        found = np.flatnonzero(bad[: chunk.inside])
        if found.size:
            first = int(found[0])
            group, position = rows.locate(int(chunk.index[first]))
            raise ParityError(
                f"the model {problem} on {found.size} of {chunk.inside} rows inside the ranges "
                f"seen in training, first on {group} row {position}, features "
                f"{chunk.features[first].tolist()}: {advice}"
            )
