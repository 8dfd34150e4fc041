"""Walk the matrix: rows in parts, for each part every contender at every batch size.

In: contenders, rows and what asks the oracle. Out: the cells. The oracle is asked once for each
part, and answers with the same bits are judged once. A model without a finite answer inside the
ranges is a ``ParityError``; whatever a contender raises is a failed cell.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporter.proof.cells import Failure, Tally
from exporter.proof.running import are_same, join, run_in_batches
from exporter.proof.verdict import judge, show
from exporter.rows.plan import CHUNK
from runtime.errors import ParityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from exporter.proof.cells import Cell
    from exporter.proof.contenders import Contender
    from exporter.proof.verdict import Verdict
    from exporter.rows.blocks import Part, ProofRows
    from exporter.rows.plan import Plan
    from exporter.truth.oracle import Ask, Oracle
    from runtime.session import Outputs

_LONGEST_REASON = 300


@dataclass(frozen=True)
class Step:
    """How far the matrix has come.

    Attributes:
        done: steps done; a step is a part of the rows in one cell.
        total: steps in all.
        contender: that was run last.
        batch: rows in a batch that it ran.
    """

    done: int
    total: int
    contender: str
    batch: int


Watch = Callable[[Step], None]


@dataclass(frozen=True)
class Found:
    """What came of the matrix.

    Attributes:
        cells: contender by contender, each at all batch sizes.
        failure: of the first cell that failed, or None.
        ordinary: rows inside the ranges, boundaries apart, that the largest batches run.
        tied: those of them whose largest exact logits are equal, which no tolerance could tell
            apart.
        undecidable: those of them whose label is not sure, tied ones included.
        undecidable_on_boundaries: likewise, among the rows placed on class boundaries.
    """

    cells: tuple[Cell, ...]
    failure: Failure | None
    ordinary: int
    tied: int
    undecidable: int
    undecidable_on_boundaries: int


def run_matrix(
    contenders: Sequence[Contender],
    rows: ProofRows,
    ask: Ask,
    plan: Plan,
    watch: Watch | None = None,
) -> Found:
    """Run every contender at every batch size.

    Args:
        contenders: in the order of the cells.
        rows: to run.
        ask: gives the oracle's answers for rows.
        plan: which batch sizes run how many of the rows.
        watch: told after every step.

    Returns:
        The cells.

    Raises:
        ParityError: when an answer inside the ranges is not finite, or may not be in float32.
        UsageError: when the plan's row is not run by its batch size.
    """
    matrix = _Matrix(contenders, rows, plan)
    total = sum(len(indices) * len(batches) for batches, indices in matrix.groups())
    done = 0
    for batches, indices in matrix.groups():
        matrix.counts = np.zeros(4, np.int64)  # of the last group, which has all the rows
        for index in indices:
            part = rows.part(index)
            oracle = ask(part.features)
            _check_provable(rows, part, oracle)
            for contender, batch in matrix.run_part(part, oracle, batches):
                done += 1
                if watch:
                    watch(Step(done, total * len(contenders), contender, batch))
    return matrix.sum_up()


def find_batch(rows: ProofRows, plan: Plan, batch: int, row: int | None) -> npt.NDArray[np.int64]:
    """Find the batch that holds a row.

    Args:
        rows: of the proof.
        plan: which batch sizes run how many of them.
        batch: rows in a batch.
        row: number of the row; None takes the first batch.

    Returns:
        ``(rows of the batch,)`` int64, their numbers.

    Raises:
        UsageError: when this batch size does not run the row.
    """
    index = rows.first_of_each_block(plan.rows_of_a_block(batch))
    if row is None:
        return index[: min(batch, CHUNK)]
    place = int(np.searchsorted(index, row))
    if place == len(index) or index[place] != row:
        raise UsageError(
            f"row {row} is none of the {len(index)} that batches of {batch} run; a proof of this "
            f"model has rows 0 to {len(rows.features) - 1}, all of them run in batches of {CHUNK}"
        )
    start = place // CHUNK * CHUNK  # of the part; batches start anew in each
    end = min(start + CHUNK, len(index))
    start += (place - start) // batch * batch
    return index[start : min(start + batch, end)]


class _Matrix:
    """The cells while they are filled."""

    def __init__(self, contenders: Sequence[Contender], rows: ProofRows, plan: Plan) -> None:
        self._contenders, self._rows, self._plan = contenders, rows, plan
        self._shared = rows.first_of_each_block(plan.small)  # what every batch size runs
        self._tallies = {
            (contender.name, batch): Tally() for contender in contenders for batch in plan.batches
        }
        self._references = _first_of_each_kind(contenders)
        self.counts = np.zeros(4, np.int64)  # as in Found

    def groups(self) -> list[tuple[list[int], list[npt.NDArray[np.int64]]]]:
        """Batch sizes that run the same rows, with the numbers of these rows, part by part."""
        plan, groups = self._plan, []
        if plan.row is not None:
            found = [find_batch(self._rows, plan, batch, plan.row) for batch in plan.batches]
            return [([batch], [index]) for batch, index in zip(plan.batches, found, strict=True)]
        limits = {batch: plan.rows_of_a_block(batch) for batch in plan.batches}
        for limit in dict.fromkeys(limits.values()):
            index = self._rows.first_of_each_block(limit)
            parts = [index[start : start + CHUNK] for start in range(0, len(index), CHUNK)]
            groups.append(([batch for batch in limits if limits[batch] == limit], parts))
        return groups

    def run_part(
        self, part: Part, oracle: Oracle, batches: Sequence[int]
    ) -> Iterator[tuple[str, int]]:
        """Run all contenders on a part; yields contender and batch of each step."""
        boundary = self._rows.block("boundary")
        on_boundary = (part.index >= boundary.start) & (part.index < boundary.stop)
        ordinary = ~on_boundary & (part.index < self._rows.inside)
        undecidable = oracle.undecidable
        self.counts += [
            int(each.sum())
            for each in (
                ordinary,
                oracle.tied & undecidable & ordinary,
                undecidable & ordinary,
                undecidable & on_boundary,
            )
        ]
        judged: list[tuple[bool, Outputs, Verdict]] = []
        for batch in batches:
            answers: dict[str, Outputs] = {}
            for contender in self._contenders:
                answer = self._run(contender, batch, part, oracle)
                if answer is not None and batch:
                    self._tallies[contender.name, batch].compare(answer, answers)
                    verdict = _judge_once(contender, answer, part, oracle, judged)
                    self._add(contender, batch, part, answer, verdict)
                    if contender.name in self._references:
                        answers[contender.name] = answer
                yield contender.name, batch

    def sum_up(self) -> Found:
        """Make the cells."""
        cells = [
            tally.cell(contender, batch, batch_invariant=self._is_invariant(contender, batch))
            for (contender, batch), tally in self._tallies.items()
        ]
        failures = (tally.failure for tally in self._tallies.values() if tally.failure)
        return Found(tuple(cells), next(failures, None), *map(int, self.counts))

    def _run(self, contender: Contender, batch: int, part: Part, oracle: Oracle) -> Outputs | None:
        """Run one contender, unless it has failed to answer before."""
        tally = self._tallies[contender.name, batch]
        if tally.failure and tally.failure.row is None:
            return None
        features = part.features if batch else part.features[:0]
        tally.rows += len(features)
        classes = oracle.logits.value.shape[1]
        try:
            return run_in_batches(contender.answer, features, batch, classes)
        except Exception as exc:  # noqa: BLE001 - whatever a contender raises, it did not answer
            raised = "" if isinstance(exc, ParityError) else f"it raised {type(exc).__name__}: "
            tally.failure = tally.failure or Failure(
                contender.name, batch, _shorten(f"{raised}{exc}")
            )
            return None

    def _add(
        self, contender: Contender, batch: int, part: Part, answer: Outputs, verdict: Verdict
    ) -> None:
        """Count a verdict, and keep the answers for the rows that every batch size runs."""
        tally = self._tallies[contender.name, batch]
        tally.verdicts.append(verdict)
        tally.shared.append(answer.take(np.isin(part.index, self._shared, assume_unique=True)))
        if verdict.violation and not tally.failure:
            at = verdict.violation.row
            row = int(part.index[at])
            block, position = self._rows.locate(row)
            reason = (
                f"{block} row {position}, features {show(part.features[at])}: "
                f"{verdict.violation.reason}"
            )
            tally.failure = Failure(contender.name, batch, reason, row)

    def _is_invariant(self, contender: str, batch: int) -> bool:
        here = self._tallies[contender, batch].shared
        there = self._tallies[contender, self._plan.batches[-1]].shared
        if not batch:
            return True
        return bool(here) and bool(there) and are_same(join(here), join(there))


def _first_of_each_kind(contenders: Sequence[Contender]) -> set[str]:
    first: dict[str, str] = {}
    for contender in contenders:
        first.setdefault(contender.kind, contender.name)
    return set(first.values())


def _judge_once(
    contender: Contender,
    answer: Outputs,
    part: Part,
    oracle: Oracle,
    judged: list[tuple[bool, Outputs, Verdict]],
) -> Verdict:
    """Judge answers, or find the verdict on the same bits; ``judged`` is added to."""
    for keeps_specials, other, verdict in reversed(judged):
        if keeps_specials == contender.keeps_specials and are_same(answer, other):
            return verdict
    verdict = judge(answer, part, oracle, keeps_specials=contender.keeps_specials)
    judged.append((contender.keeps_specials, answer, verdict))
    return verdict


def _check_provable(rows: ProofRows, part: Part, oracle: Oracle) -> None:
    for bad, problem, advice in (
        (oracle.special, "answers NaN or an infinity", "such a model cannot be served"),
        (~oracle.bounded, "may overflow float32", "fit it again on scaled features"),
    ):
        found = np.flatnonzero(bad[: part.inside])
        if found.size:
            first = int(found[0])
            block, position = rows.locate(int(part.index[first]))
            raise ParityError(
                f"the model {problem} on {found.size} of {part.inside} rows inside the ranges "
                f"seen in training, first on {block} row {position}, features "
                f"{part.features[first].tolist()}: {advice}"
            )


def _shorten(reason: str) -> str:
    """Put a foreign message on one line, without its traceback."""
    return textwrap.shorten(reason, width=_LONGEST_REASON, placeholder=" …")
