"""Cells of the matrix: one backend at one batch size, and its result.

The keys of ``parity.json`` are part of the bundle format: some differ from the names here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from runtime.errors import ParityError
from runtime.session import Outputs
from runtime.value import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from exporter.parity.verdict import Verdict
    from runtime.schema.features import Float32Matrix

_FIRST = 1024  # rows compared before the others
_OUTPUTS = ("label", "probabilities", "logits")


class Failure(Record, frozen=True):
    """The first failure of a proof.

    Attributes:
        backend: its name.
        batch: batch size.
        reason: with the row, its features, got, expected and bound where there are.
        row: its number among all rows of the proof; None where no row is to blame.
        node: the first diverging node of the graph, in words; None for a backend without a graph.
    """

    backend: str = msgspec.field(name="contender")
    batch: int
    reason: str
    row: int | None = None
    node: str | None = None


class Cell(Record, frozen=True):
    """One backend at one batch size.

    Figures have three digits: further ones depend on the kind of CPU.

    Attributes:
        backend: its name.
        batch: batch size.
        rows: rows that were run.
        unchecked: rows without a bound, or whose special values the backend does not keep.
        undecidable: rows whose nearest classes lie closer together than their bounds.
        worst_error: largest error of a logit on rows inside the ranges.
        worst_error_over_bound: largest error of a logit or probability over its bound.
        worst_ulps: largest error of a logit on rows inside the ranges, in float32 steps from the
            rounded exact value.
        label_disagreements: rows with a finite output whose label is not the reference's.
        special_mismatches: NaN, infinite or finite outputs where the reference is of another kind.
        logits_bit_equal_to: earlier backends, the first of each kind, whose logits at this batch
            size have the same bits on all rows.
        bit_equal_to: those of them with the same labels and probabilities too.
        batch_invariant: whether the rows that every batch size runs have the same bits as at the
            backend's largest batch size.
        passed: whether everything held.
    """

    backend: str = msgspec.field(name="contender")
    batch: int
    rows: int = 0
    unchecked: int = msgspec.field(default=0, name="unjudged")
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
class CellProgress:
    """A cell whose chunks of rows are being run."""

    rows: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    failure: Failure | None = None
    same_logits: dict[str, bool] = field(default_factory=dict)  # by the backend compared with
    same: dict[str, bool] = field(default_factory=dict)  # likewise, all outputs
    shared: list[Outputs] = field(default_factory=list)  # for rows that every batch size runs

    def compare(self, outputs: Outputs, others: Mapping[str, Outputs]) -> None:
        """Compare a chunk's outputs with those of other backends, bit by bit."""
        for name, other in others.items():
            logits = self.same_logits.get(name, True) and have_same_logits(outputs, other)
            self.same_logits[name] = logits
            self.same[name] = self.same.get(name, True) and logits and are_same(outputs, other)

    def cell(self, backend: str, batch: int, *, batch_invariant: bool) -> Cell:
        """Aggregate the verdicts of all chunks."""
        verdicts = self.verdicts
        return Cell(
            backend,
            batch,
            rows=self.rows,
            unchecked=sum(verdict.unchecked for verdict in verdicts),
            undecidable=sum(verdict.undecidable for verdict in verdicts),
            worst_error=_worst([verdict.worst_error for verdict in verdicts]),
            worst_error_over_bound=_worst([each.worst_error_over_bound for each in verdicts]),
            worst_ulps=max((verdict.worst_ulps for verdict in verdicts), default=0),
            label_disagreements=sum(verdict.label_disagreements for verdict in verdicts),
            special_mismatches=sum(verdict.special_mismatches for verdict in verdicts),
            logits_bit_equal_to=tuple(name for name, same in self.same_logits.items() if same),
            bit_equal_to=tuple(name for name, same in self.same.items() if same),
            batch_invariant=batch_invariant,
            passed=self.failure is None,
        )


def run_in_batches(
    run: Callable[[Float32Matrix], Outputs], features: Float32Matrix, batch: int, classes: int
) -> Outputs:
    """Run all rows in order, the last batch short; no rows are one empty batch.

    Raises ``ParityError`` when an output has another shape or dtype than the contract's.
    """
    rows = len(features)
    outputs = Outputs(
        np.empty(rows, np.int64),
        np.empty((rows, classes), np.float32),
        np.empty((rows, classes), np.float32),
    )
    for start in range(0, max(rows, 1), max(batch, 1)):
        part = features[start : start + batch]
        got = run(part)
        for name in _OUTPUTS:
            target, found = getattr(outputs, name)[start : start + batch], getattr(got, name)
            if found.shape != target.shape or found.dtype != target.dtype:
                raise ParityError(
                    f"{len(part)} rows from row {start} give {name} {found.dtype} {found.shape}, "
                    f"expected {target.dtype} {target.shape}"
                )
            target[:] = found
    return outputs


def have_same_logits(one: Outputs, other: Outputs) -> bool:
    """Return whether logits have the same bits; all NaN are equal."""
    return _have_same_bits(one.logits, other.logits)


def are_same(one: Outputs, other: Outputs) -> bool:
    """Return whether all outputs have the same bits; all NaN are equal."""
    return (
        have_same_logits(one, other)
        and _have_same_bits(one.probabilities, other.probabilities)
        and np.array_equal(one.label, other.label)
    )


def concatenate(chunks: Sequence[Outputs]) -> Outputs:
    """Concatenate the outputs of several chunks."""
    return Outputs(
        *(np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in _OUTPUTS)
    )


def _have_same_bits(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> bool:
    for rows in (slice(_FIRST), slice(_FIRST, None)):  # most differences are in the first rows
        a, b = one[rows], other[rows]
        differs = a.view(np.int32) != b.view(np.int32)
        if differs.any() and not (np.isnan(a[differs]) & np.isnan(b[differs])).all():
            return False
    return True


def _worst(values: list[float]) -> float:
    return float(f"{max(values, default=0.0):.3g}")
