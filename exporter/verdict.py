"""Judge a contender's answers for all rows against the oracle's.

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

from exporter.bounds import rows_with_all

if TYPE_CHECKING:
    import numpy.typing as npt

    from exporter.bounds import Enclosure, Float64Matrix, Mask
    from exporter.oracle import Oracle
    from exporter.rows import ProofRows
    from runtime.schema import Float32Matrix
    from runtime.session import Outputs


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        unjudged: rows of which nothing is promised.
        worst_error: largest error of a logit on rows inside the ranges.
        worst_error_over_bound: largest error of a logit or probability over its bound.
        label_disagreements: rows with a finite answer whose label is not the oracle's.
        reason: the first thing that did not hold, with its row; None when all held.
    """

    unjudged: int
    worst_error: float
    worst_error_over_bound: float
    label_disagreements: int
    reason: str | None


def judge(outputs: Outputs, rows: ProofRows, oracle: Oracle, *, keeps_specials: bool) -> Verdict:
    """Judge the answers for all rows.

    Args:
        outputs: of the contender, shapes and dtypes as the contract has them.
        rows: that were run.
        oracle: its answers for them.
        keeps_specials: whether rows without a finite answer are judged.

    Returns:
        Figures, and the reason of the first failure.
    """
    judged = oracle.bounded & (keeps_specials | ~oracle.special)  # (rows,)
    logits = _Comparison("logits", outputs.logits, oracle.logits, judged)
    probabilities = _Comparison(
        "probabilities", outputs.probabilities, oracle.probabilities, judged
    )
    differs = outputs.label != oracle.label
    return Verdict(
        unjudged=int((~judged).sum()),
        worst_error=float(logits.error[: rows.inside].max(initial=0.0)),
        worst_error_over_bound=max(logits.worst_over_bound(), probabilities.worst_over_bound()),
        label_disagreements=int((differs & oracle.bounded & ~oracle.special).sum()),
        reason=(
            logits.first_failure(rows)
            or probabilities.first_failure(rows)
            or _own_label_failure(outputs, rows)
            or _label_failure(outputs, rows, oracle, differs & oracle.decidable & judged)
        ),
    )


class _Comparison:
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
        value = oracle.value
        same = (got == value) | (np.isnan(got) & np.isnan(value))
        with np.errstate(invalid="ignore"):
            distance = np.abs(got - value)
        self.error: Float64Matrix = np.where(
            same, 0.0, np.where(np.isnan(distance), np.inf, distance)
        )

    def worst_over_bound(self) -> float:
        """Largest error over its bound; infinite where the bound is 0 and the error is not."""
        bound = np.where(self._judged, self._oracle.error, np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):  # x / 0, 0 / 0 and inf / inf
            return float(np.nanmax(self.error / bound, initial=0.0))

    def first_failure(self, rows: ProofRows) -> str | None:
        """Describe the first answer outside its bound."""
        outside = (self.error > self._oracle.error) & self._judged
        if not outside.any():
            return None
        row, column = (int(at) for at in np.argwhere(outside)[0])
        got, expected = self._got[row, column], self._oracle.value[row, column]
        bound = self._oracle.error[row, column]
        return (
            f"{_describe_row(rows, row)}: got {self._name}[{column}] = {got:.9g}, "
            f"expected {expected:.9g} ± {bound:.3g}"
        )


def _own_label_failure(outputs: Outputs, rows: ProofRows) -> str | None:
    """Describe the first label that is not the first largest of its own logits."""
    best = outputs.logits.argmax(axis=1)  # (rows,)
    numbers = rows_with_all(~np.isnan(outputs.logits))
    wrong = np.where(
        numbers,
        outputs.label != best,
        (outputs.label < 0) | (outputs.label >= outputs.logits.shape[1]),
    )
    if not wrong.any():
        return None
    row = int(np.flatnonzero(wrong)[0])
    return (
        f"{_describe_row(rows, row)}: got label {outputs.label[row]}, but the first largest of its "
        f"own logits {_show(outputs.logits[row])} is {best[row]}"
    )


def _label_failure(outputs: Outputs, rows: ProofRows, oracle: Oracle, wrong: Mask) -> str | None:
    """Describe the first label that differs from the oracle's where it is decidable."""
    if not wrong.any():
        return None
    row = int(np.flatnonzero(wrong)[0])
    return (
        f"{_describe_row(rows, row)}: got label {outputs.label[row]}, expected "
        f"{oracle.label[row]} from logits {_show(oracle.logits.value[row])} "
        f"± {_show(oracle.logits.error[row])}"
    )


def _describe_row(rows: ProofRows, row: int) -> str:
    block, position = rows.locate(row)
    return f"{block} row {position}, features {_show(rows.features[row])}"


def _show(values: npt.NDArray[np.floating[npt.NBitBase]]) -> str:
    return "[" + ", ".join(f"{value:.9g}" for value in values) + "]"
