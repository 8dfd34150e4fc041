"""The cells of the matrix: one contender at one batch size, and what was found there.

In: verdicts and answers, part by part. Out: a ``Cell``, as it is stored in the proof. No errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exporter.proof.running import are_same, have_same_logits
from runtime.bundle.manifest import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.proof.verdict import Verdict
    from runtime.session import Outputs


class Failure(Record, frozen=True):
    """The first thing that did not hold.

    Attributes:
        contender: its name.
        batch: rows in a batch.
        reason: what is wrong, with the row, its input, got, expected and bound where there are.
        row: its number among all rows of the proof; None where no row is to blame.
        node: the first node of the graph whose value is wrong, in words; None where the contender
            has no graph to look into.
    """

    contender: str
    batch: int
    reason: str
    row: int | None = None
    node: str | None = None


class Cell(Record, frozen=True):
    """One contender at one batch size; figures as in ``exporter.verdict.Verdict``.

    Figures are written with three digits: further ones depend on the kind of CPU.

    Attributes:
        contender: its name.
        batch: rows in a batch.
        rows: rows that were run.
        unjudged: rows of which nothing is promised.
        undecidable: rows whose nearest classes lie closer together than their bounds.
        worst_error: largest error of a logit on rows inside the ranges.
        worst_error_over_bound: largest error of a logit or probability over its bound.
        worst_ulps: largest error of a logit on rows inside the ranges, in float32 steps.
        label_disagreements: rows with a finite answer whose label is not the oracle's.
        special_mismatches: NaN, infinite or finite answers where the oracle has another kind.
        logits_bit_equal_to: contenders before it, the first of each kind, whose logits at this
            batch size have the same bits on all rows.
        bit_equal_to: those of them with the same labels and probabilities too.
        batch_invariant: whether the rows that every batch size runs have the same bits as at
            this contender's largest batch size.
        passed: whether everything held.
    """

    contender: str
    batch: int
    rows: int = 0
    unjudged: int = 0
    undecidable: int = 0
    worst_error: float = 0.0
    worst_error_over_bound: float = 0.0
    worst_ulps: int = 0
    label_disagreements: int = 0
    special_mismatches: int = 0
    logits_bit_equal_to: tuple[str, ...] = ()
    bit_equal_to: tuple[str, ...] = ()
    batch_invariant: bool = True
    passed: bool = True


@dataclass
class Tally:
    """What was found in a cell so far.

    Attributes:
        rows: that were run.
        verdicts: of the parts, in their order.
        failure: the first, or None.
        same_logits: for each contender to compare with, whether all logits were the same.
        same: likewise, whether all outputs were.
        shared: answers for the rows that every batch size runs, part by part.
    """

    rows: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    failure: Failure | None = None
    same_logits: dict[str, bool] = field(default_factory=dict)
    same: dict[str, bool] = field(default_factory=dict)
    shared: list[Outputs] = field(default_factory=list)

    def compare(self, answers: Outputs, others: Mapping[str, Outputs]) -> None:
        """Compare answers for a part with those of other contenders, bit by bit.

        Args:
            answers: of this cell's contender.
            others: of contenders to compare with, by name.
        """
        for name, other in others.items():
            logits = self.same_logits.get(name, True) and have_same_logits(answers, other)
            self.same_logits[name] = logits
            self.same[name] = self.same.get(name, True) and logits and are_same(answers, other)

    def cell(self, contender: str, batch: int, *, batch_invariant: bool) -> Cell:
        """Sum up.

        Args:
            contender: its name.
            batch: rows in a batch.
            batch_invariant: as in ``Cell``.

        Returns:
            The cell.
        """
        found = self.verdicts
        return Cell(
            contender,
            batch,
            rows=self.rows,
            unjudged=sum(verdict.unjudged for verdict in found),
            undecidable=sum(verdict.undecidable for verdict in found),
            worst_error=_worst([verdict.worst_error for verdict in found]),
            worst_error_over_bound=_worst([verdict.worst_error_over_bound for verdict in found]),
            worst_ulps=max((verdict.worst_ulps for verdict in found), default=0),
            label_disagreements=sum(verdict.label_disagreements for verdict in found),
            special_mismatches=sum(verdict.special_mismatches for verdict in found),
            logits_bit_equal_to=tuple(name for name, same in self.same_logits.items() if same),
            bit_equal_to=tuple(name for name, same in self.same.items() if same),
            batch_invariant=batch_invariant,
            passed=self.failure is None,
        )


def _worst(values: list[float]) -> float:
    return float(f"{max(values, default=0.0):.3g}")
