"""Compare backends with the reference, and refine the tolerance of rows that exceed it.

Such a row is either wrong, or ill-conditioned: float32 cannot resolve it. The model is evaluated on
it with perturbed operations, until their spread explains the difference or the samples are used up.
A row whose label the spread leaves open is undecidable, and counted.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from exporter.parity.verdict import compare_outputs, find_violations
from exporter.reference.intervals import Enclosure
from exporter.reference.oracle import ReferenceOutputs
from exporter.reference.softmax import enclose_probabilities

if TYPE_CHECKING:
    import numpy.typing as npt

    from exporter.parity.rows import RowChunk
    from exporter.parity.verdict import Verdict
    from exporter.reference.intervals import Float64Matrix
    from exporter.reference.oracle import Perturb, Reference
    from runtime.schema.features import Float32Matrix
    from runtime.session import Outputs

    Rows = npt.NDArray[np.intp]

# Perturbed runs of a row: all of them choose one side of a tie once in 2**63 rows.
_SAMPLES = 64
_CHUNK_ROWS = 4096  # refined at a time; if one of them is wrong, the others are not needed
_SPREAD = 2  # tolerance, over the largest shift seen
_GOLDEN_SAMPLES = 16


class RowTolerances:
    """The reference outputs of a chunk; ``compare`` widens the tolerances of single rows."""

    def __init__(
        self, chunk: RowChunk, expected: ReferenceOutputs, perturb: Perturb | None
    ) -> None:
        self.expected = expected
        self._chunk, self._perturb = chunk, perturb
        self._is_refined = np.zeros(len(chunk.features), np.bool_)

    def compare(self, outputs: Outputs, *, keeps_specials: bool) -> Verdict:
        """Compare outputs with the reference, as ``compare_outputs`` does."""
        compare = partial(compare_outputs, outputs, self._chunk, keeps_specials=keeps_specials)
        verdict = compare(self.expected)
        if verdict.violation is None or self._perturb is None:
            return verdict
        wrong = find_violations(outputs, self.expected, keeps_specials=keeps_specials)
        if not wrong.any() or (wrong & self._is_refined).any():
            return verdict
        self._refine(np.flatnonzero(wrong), outputs, self._perturb, keeps_specials=keeps_specials)
        return compare(self.expected)

    def _refine(
        self, rows: Rows, outputs: Outputs, perturb: Perturb, *, keeps_specials: bool
    ) -> None:
        """Widen the tolerances of rows to the spread of their samples; stop at a wrong row."""
        self.expected = _copy(self.expected)
        for start in range(0, len(rows), _CHUNK_ROWS):
            remaining = rows[start : start + _CHUNK_ROWS]
            for sample in range(_SAMPLES):
                perturbed = perturb(self._chunk.features[remaining], sample)
                widened = _widen(_take(self.expected, remaining), perturbed)
                _put(self.expected, remaining, widened)
                got = outputs.take(remaining)
                remaining = remaining[find_violations(got, widened, keeps_specials=keeps_specials)]
                if not remaining.size:
                    break
            self._is_refined[remaining] = True
            if remaining.size:
                return


def evaluate_with_spread(reference: Reference, features: Float32Matrix) -> ReferenceOutputs:
    """Evaluate rows whose tolerances cannot be refined later, such as golden rows."""
    expected = reference.evaluate(features)
    for sample in range(_GOLDEN_SAMPLES if reference.perturb else 0):
        expected = _widen(expected, reference.perturb(features, sample))  # type: ignore[misc]  # checked
    return expected


def _widen(expected: ReferenceOutputs, perturbed: Float64Matrix) -> ReferenceOutputs:
    """Widen tolerances to the shift of perturbed logits; those of NaN and infinities stay."""
    logits = expected.logits
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf: no bound
        shift = _SPREAD * np.abs(perturbed - logits.value)  # (rows, classes)
    shift[np.isnan(shift)] = np.inf
    error = np.where(np.isfinite(logits.value), np.maximum(logits.error, shift), logits.error)
    widened = Enclosure(logits.value, error)
    return ReferenceOutputs.of(widened, enclose_probabilities(widened))


def _copy(expected: ReferenceOutputs) -> ReferenceOutputs:
    logits, probabilities = expected.logits, expected.probabilities
    return replace(
        expected,
        logits=Enclosure(logits.value, logits.error.copy()),
        probabilities=Enclosure(probabilities.value, probabilities.error.copy()),
        decidable=expected.decidable.copy(),
    )


def _take(expected: ReferenceOutputs, rows: Rows) -> ReferenceOutputs:
    logits, probabilities = expected.logits, expected.probabilities
    return ReferenceOutputs(
        expected.label[rows],
        Enclosure(probabilities.value[rows], probabilities.error[rows]),
        Enclosure(logits.value[rows], logits.error[rows]),
        expected.decidable[rows],
    )


def _put(expected: ReferenceOutputs, rows: Rows, widened: ReferenceOutputs) -> None:
    expected.logits.error[rows] = widened.logits.error
    expected.probabilities.error[rows] = widened.probabilities.error
    expected.decidable[rows] = widened.decidable
