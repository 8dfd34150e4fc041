"""Compare a backend's outputs for some rows with the reference.

Conditions on each output:
- each logit and probability lies within its bound of the reference; where the reference is NaN or
  infinite, it is the same. Where float32 may overflow on the way, there is no bound;
- the label is the first largest of the backend's own logits, unless one of them is NaN, and is the
  reference's wherever the classes lie further apart than their bounds.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.reference.intervals import rows_with_all

if TYPE_CHECKING:
    import numpy.typing as npt

    from exporter.parity.rows import RowChunk
    from exporter.reference.intervals import Enclosure, Float64Matrix, Mask
    from exporter.reference.oracle import ReferenceOutputs
    from runtime.schema.features import Float32Matrix
    from runtime.session import Outputs

_MAX_REASON = 300  # characters


@dataclass(frozen=True)
class Violation:
    """One output that is wrong."""

    row: int  # its position among the compared rows
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The result of a comparison; ``Cell`` documents the figures."""

    unchecked: int
    undecidable: int
    worst_error: float
    worst_error_over_bound: float
    worst_ulps: int
    label_disagreements: int
    special_mismatches: int
    violation: Violation | None  # the first one


def compare_outputs(
    outputs: Outputs, chunk: RowChunk, expected: ReferenceOutputs, *, keeps_specials: bool
) -> Verdict:
    """Compare outputs of the contract's shapes and dtypes with the reference.

    Rows without a finite reference are checked only where the backend ``keeps_specials``.
    """
    checked = expected.bounded & (keeps_specials | ~expected.special)  # (rows,)
    logits = Comparison("logits", outputs.logits, expected.logits, checked)
    probabilities = Comparison(
        "probabilities", outputs.probabilities, expected.probabilities, checked
    )
    differs = outputs.label != expected.label
    inside = slice(chunk.inside)
    return Verdict(
        unchecked=int((~checked).sum()),
        undecidable=int(expected.undecidable.sum()),
        worst_error=float(logits.error[inside].max(initial=0.0)),
        worst_error_over_bound=max(logits.worst_over_bound(), probabilities.worst_over_bound()),
        worst_ulps=_count_ulps(outputs.logits[inside], expected.logits.value[inside]),
        label_disagreements=int((differs & expected.bounded & ~expected.special).sum()),
        special_mismatches=sum(
            each.count_special_mismatches(expected.bounded) for each in (logits, probabilities)
        ),
        violation=(
            logits.first_violation()
            or probabilities.first_violation()
            or _own_label_violation(outputs)
            or _label_violation(outputs, expected, differs & expected.decidable & checked)
        ),
    )


def find_violations(outputs: Outputs, expected: ReferenceOutputs, *, keeps_specials: bool) -> Mask:
    """Find the rows, ``(rows,)``, whose numbers or label differ from the reference."""
    checked = expected.bounded & (keeps_specials | ~expected.special)  # (rows,)
    wrong: Mask = checked & (outputs.label != expected.label) & expected.decidable
    for name in ("logits", "probabilities"):
        comparison = Comparison(name, getattr(outputs, name), getattr(expected, name), checked)
        wrong |= comparison.outside().any(axis=1)
    return wrong


def format_values(values: npt.NDArray[np.floating[npt.NBitBase]]) -> str:
    """Format a row of numbers so that float32 can be read back from it."""
    return "[" + ", ".join(f"{value:.9g}" for value in values) + "]"


def shorten(reason: str) -> str:
    """Truncate a reason to the length of a message, at a blank."""
    return textwrap.shorten(reason, width=_MAX_REASON, placeholder=" …")


class Comparison:
    """One output compared with the reference.

    ``got`` and ``expected`` are ``(rows, columns)``; ``checked``, ``(rows,)``, marks the rows that
    count. ``error`` is ``(rows, columns)`` float64, infinite where only one of the two is NaN.
    """

    def __init__(
        self, name: str, got: npt.NDArray[np.floating[Any]], expected: Enclosure, checked: Mask
    ) -> None:
        self._name, self._got, self._expected = name, got, expected
        self._checked = checked[:, None]  # (rows, 1)
        with np.errstate(invalid="ignore"):
            error: Float64Matrix = np.abs(got - expected.value)
        special = ~np.isfinite(error)
        if special.any():
            same = _are_equal(got[special], expected.value[special])
            error[special] = np.where(same, 0.0, np.inf)
        self.error = error

    def worst_over_bound(self) -> float:
        """Return the largest error over its bound; infinite where only the bound is 0."""
        bound = np.where(self._checked, self._expected.error, np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):  # x / 0, 0 / 0 and inf / inf
            return float(np.fmax.reduce(self.error / bound, axis=None, initial=0.0))

    def count_special_mismatches(self, bounded: Mask) -> int:
        """Count outputs that are NaN, +inf, -inf or finite where the reference is not."""
        got, value = self._got, self._expected.value
        ordinary = np.isfinite(got) & np.isfinite(value)
        special = bounded[:, None] & ~ordinary
        return int((~_are_equal(got[special], value[special])).sum())

    def outside(self) -> Mask:
        """Mark the outputs outside their bound, ``(rows, columns)``."""
        return np.asarray((self.error > self._expected.error) & self._checked)

    def first_violation(self) -> Violation | None:
        """Describe the first output outside its bound."""
        outside = self.outside()
        if not outside.any():
            return None
        row, column = (int(at) for at in np.argwhere(outside)[0])
        got, expected = self._got[row, column], self._expected.value[row, column]
        bound = self._expected.error[row, column]
        return Violation(
            row, f"got {self._name}[{column}] = {got:.9g}, expected {expected:.9g} ± {bound:.3g}"
        )


def _are_equal(got: npt.NDArray[np.floating[Any]], expected: Float64Matrix) -> Mask:
    """Compare values; NaN equals NaN."""
    return np.asarray((got == expected) | (np.isnan(got) & np.isnan(expected)))


def _count_ulps(got: Float32Matrix, exact: Float64Matrix) -> int:
    """Return the largest number of float32 steps between outputs and rounded exact values."""
    both = np.isfinite(got) & np.isfinite(exact)
    with np.errstate(over="ignore"):
        steps = np.abs(_ordinal(got) - _ordinal(exact.astype(np.float32)))
    return int(steps.max(where=both, initial=0))


def _ordinal(values: Float32Matrix) -> npt.NDArray[np.int64]:
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
        f"{format_values(outputs.logits[row])} is {best[row]}",
    )


def _label_violation(outputs: Outputs, expected: ReferenceOutputs, wrong: Mask) -> Violation | None:
    """Describe the first label that differs from the reference where it is decidable."""
    if not wrong.any():
        return None
    row = int(np.flatnonzero(wrong)[0])
    return Violation(
        row,
        f"got label {outputs.label[row]}, expected {expected.label[row]} from logits "
        f"{format_values(expected.logits.value[row])} ± "
        f"{format_values(expected.logits.error[row])}",
    )
