"""Judge a contender's answers for some rows against the oracle's.

In: outputs, rows and the oracle's answers. Out: a ``Verdict``. No errors.

What must hold of each answer:
- each logit and probability lies within its bound of the oracle's; where the oracle has NaN or an
  infinity, it is the very same. Where float32 may overflow on the way, nothing is promised;
- the label is the first largest of the contender's own logits, unless one of them is NaN, and is
  the oracle's wherever the classes lie further apart than their bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporter.truth.enclosure import rows_with_all

if TYPE_CHECKING:
    import numpy.typing as npt

    from exporter.rows.blocks import Part
    from exporter.truth.enclosure import Enclosure, Float64Matrix, Mask
    from exporter.truth.oracle import Oracle
    from runtime.schema.features import Float32Matrix
    from runtime.session import Outputs


@dataclass(frozen=True)
class Violation:
    """One answer that is not as it must be.

    Attributes:
        row: its position among the rows that were judged.
        reason: what was got and what was expected.
    """

    row: int
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        unjudged: rows of which nothing is promised.
        undecidable: rows whose nearest classes lie closer together than their bounds.
        worst_error: largest error of a logit on rows inside the ranges.
        worst_error_over_bound: largest error of a logit or probability over its bound.
        worst_ulps: largest distance of a logit from the exact one rounded to float32, in float32
            numbers between them, on rows inside the ranges.
        label_disagreements: rows with a finite answer whose label is not the oracle's.
        special_mismatches: logits and probabilities that are NaN, infinite or finite where the
            oracle's are not, on rows where something is promised.
        violation: the first thing that did not hold; None when all held.
    """

    unjudged: int
    undecidable: int
    worst_error: float
    worst_error_over_bound: float
    worst_ulps: int
    label_disagreements: int
    special_mismatches: int
    violation: Violation | None


def judge(outputs: Outputs, part: Part, oracle: Oracle, *, keeps_specials: bool) -> Verdict:
    """Judge the answers for some rows.

    Args:
        outputs: of the contender, shapes and dtypes as the contract has them.
        part: the rows that were run.
        oracle: its answers for them.
        keeps_specials: whether rows without a finite answer are judged.

    Returns:
        Figures, and the first violation.
    """
    judged = oracle.bounded & (keeps_specials | ~oracle.special)  # (rows,)
    logits = Comparison("logits", outputs.logits, oracle.logits, judged)
    probabilities = Comparison("probabilities", outputs.probabilities, oracle.probabilities, judged)
    differs = outputs.label != oracle.label
    return Verdict(
        unjudged=int((~judged).sum()),
        undecidable=int(oracle.undecidable.sum()),
        worst_error=float(logits.error[: part.inside].max(initial=0.0)),
        worst_error_over_bound=max(logits.worst_over_bound(), probabilities.worst_over_bound()),
        worst_ulps=_count_ulps(outputs.logits[: part.inside], oracle.logits.value[: part.inside]),
        label_disagreements=int((differs & oracle.bounded & ~oracle.special).sum()),
        special_mismatches=sum(
            each.count_special_mismatches(oracle.bounded) for each in (logits, probabilities)
        ),
        violation=(
            logits.first_violation()
            or probabilities.first_violation()
            or _own_label_violation(outputs)
            or _label_violation(outputs, oracle, differs & oracle.decidable & judged)
        ),
    )


def show(values: npt.NDArray[np.floating[npt.NBitBase]]) -> str:
    """Write a row of numbers so that float32 can be read back from it."""
    return "[" + ", ".join(f"{value:.9g}" for value in values) + "]"


class Comparison:
    """One output beside the oracle's.

    Args:
        name: of the output.
        got: ``(rows, classes)`` float32.
        oracle: ``(rows, classes)``.
        judged: ``(rows,)`` bool, the rows that count.

    Attributes:
        error: ``(rows, classes)`` float64, infinite where an answer is NaN and should not be.
    """

    def __init__(self, name: str, got: Float32Matrix, oracle: Enclosure, judged: Mask) -> None:
        self._name, self._got, self._oracle = name, got, oracle
        self._judged = judged[:, None]  # (rows, 1)
        with np.errstate(invalid="ignore"):
            error: Float64Matrix = np.abs(got - oracle.value)
        odd = ~np.isfinite(error)
        if odd.any():
            value, given = oracle.value[odd], got[odd]
            same = (given == value) | (np.isnan(given) & np.isnan(value))
            error[odd] = np.where(same, 0.0, np.inf)
        self.error = error

    def worst_over_bound(self) -> float:
        """Largest error over its bound; infinite where the bound is 0 and the error is not."""
        bound = np.where(self._judged, self._oracle.error, np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):  # x / 0, 0 / 0 and inf / inf
            return float(np.fmax.reduce(self.error / bound, axis=None, initial=0.0))

    def count_special_mismatches(self, promised: Mask) -> int:
        """Count answers that are NaN, +inf, -inf or finite where the oracle's are not."""
        got, value = self._got, self._oracle.value
        ordinary = np.isfinite(got) & np.isfinite(value)
        odd = promised[:, None] & ~ordinary
        given, expected = got[odd], value[odd]
        same = (given == expected) | (np.isnan(given) & np.isnan(expected))
        return int((~same).sum())

    def first_violation(self) -> Violation | None:
        """Describe the first answer outside its bound."""
        outside = (self.error > self._oracle.error) & self._judged
        if not outside.any():
            return None
        row, column = (int(at) for at in np.argwhere(outside)[0])
        got, expected = self._got[row, column], self._oracle.value[row, column]
        bound = self._oracle.error[row, column]
        return Violation(
            row, f"got {self._name}[{column}] = {got:.9g}, expected {expected:.9g} ± {bound:.3g}"
        )


def _count_ulps(got: Float32Matrix, exact: Float64Matrix) -> int:
    """Largest number of float32 steps between answers and the rounded exact values."""
    both = np.isfinite(got) & np.isfinite(exact)
    with np.errstate(over="ignore"):
        steps = np.abs(_position(got) - _position(exact.astype(np.float32)))
    return int(steps.max(where=both, initial=0))


def _position(values: Float32Matrix) -> npt.NDArray[np.int64]:
    """Number float32 values in their order; both zeros are 0."""
    bits = np.ascontiguousarray(values).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _own_label_violation(outputs: Outputs) -> Violation | None:
    """Describe the first label that is not the first largest of its own logits."""
    best = outputs.logits.argmax(axis=1)  # (rows,)
    wrong = outputs.label != best
    if wrong.any():
        numbers = rows_with_all(~np.isnan(outputs.logits))
        no_class = (outputs.label < 0) | (outputs.label >= outputs.logits.shape[1])
        wrong &= numbers | no_class
    if not wrong.any():
        return None
    row = int(np.flatnonzero(wrong)[0])
    return Violation(
        row,
        f"got label {outputs.label[row]}, but the first largest of its own logits "
        f"{show(outputs.logits[row])} is {best[row]}",
    )


def _label_violation(outputs: Outputs, oracle: Oracle, wrong: Mask) -> Violation | None:
    """Describe the first label that differs from the oracle's where it is decidable."""
    if not wrong.any():
        return None
    row = int(np.flatnonzero(wrong)[0])
    return Violation(
        row,
        f"got label {outputs.label[row]}, expected {oracle.label[row]} from logits "
        f"{show(oracle.logits.value[row])} ± {show(oracle.logits.error[row])}",
    )
