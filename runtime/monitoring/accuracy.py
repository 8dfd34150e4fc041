"""Accuracy, precision and recall against a column with the true class."""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runtime.errors import UsageError
from runtime.printable import list_names
from runtime.schema.spellings import ClassIndex
from runtime.surfaces import option
from runtime.tables.arrays import binary_array, bool_array, number_scalar, number_values
from runtime.tables.text import cell_texts
from runtime.value import Record, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Labels = npt.NDArray[np.int64]
    Counts = npt.NDArray[np.int64]

MAX_CLASSES: Final = 1024
_MAX_VALUES: Final = 5  # in a report
_MAX_CHARACTERS: Final = 40  # of a value
_MAX_BYTES: Final = 256  # of a value that is kept, more than the characters take
_NORMAL_95: Final = 1.959963984540054  # quantile 0.975 of the standard normal distribution


class Interval(Record, frozen=True):
    """A proportion with its 95 % interval, 0 to 1."""

    share: float
    low: float
    high: float


class ClassScore(Record, frozen=True):
    """Precision, recall and F1 of one class, 0 to 1, and the number of its rows."""

    name: str
    rows: int
    precision: float | None
    recall: float | None
    f1: float | None


class AccuracyReport(Record, frozen=True):
    """Predictions compared with true classes.

    Attributes:
        rows: scored rows whose true class is one of the model's.
        other: the other scored rows.
        other_values: the first distinct values of these in alphabetical order, truncated.
        accuracy: proportion of correct labels among ``rows``; None without rows.
        classes: precision, recall and F1.
        confusion: rows by true class (outer) and predicted class (inner), in the order of
            ``classes``.
        hint: advice when no true class is one of the model's.
    """

    rows: int
    other: int
    other_values: tuple[str, ...]
    accuracy: Interval | None
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    hint: str | None = None


def wilson_interval(hits: int, rows: int) -> Interval:
    """Compute Wilson's 95 % score interval of a proportion (Wilson, JASA 22, 1927)."""
    share, square = hits / rows, _NORMAL_95**2
    centre = (share + square / (2 * rows)) / (1 + square / rows)
    half = (
        _NORMAL_95
        * (share * (1 - share) / rows + square / (4 * rows**2)) ** 0.5
        / (1 + square / rows)
    )
    return Interval(share, max(centre - half, 0.0), min(centre + half, 1.0))


def confusion_matrix(truth: Labels, predicted: Labels, classes: int) -> Counts:
    """Count rows by true and predicted class, ``(classes, classes)`` int64."""
    counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def class_scores(counts: Counts, names: Sequence[str]) -> tuple[ClassScore, ...]:
    """Compute precision, recall and F1 of each class from a confusion matrix."""
    scores = []
    for index, name in enumerate(names):
        hits = float(counts[index, index])
        actual, predicted = int(counts[index].sum()), int(counts[:, index].sum())
        scores.append(
            ClassScore(
                name,
                actual,
                _ratio(hits, predicted),
                _ratio(hits, actual),
                _ratio(2 * hits, actual + predicted),
            )
        )
    return tuple(scores)


def _ratio(part: float, total: float) -> float | None:
    return part / total if total else None


class AccuracyCounts(Value, frozen=True):
    """Counts of rows; ``merge`` is associative and commutative.

    Attributes:
        pairs: rows by true class, the last for other values, and by predicted class, flattened.
        others: the first distinct values that are no class in the order of their bytes, cut.
    """

    pairs: tuple[int, ...]
    others: tuple[bytes, ...]

    def merge(self, other: AccuracyCounts) -> AccuracyCounts:
        """Get the counts of the rows of both."""
        return AccuracyCounts(
            tuple(map(add, self.pairs, other.pairs)),
            tuple(sorted({*self.others, *other.others})[:_MAX_VALUES]),
        )


class AccuracyMonitor:
    """Accumulates a confusion matrix, independent of blocks and their order; for one thread."""

    def __init__(self, classes: Sequence[str]) -> None:
        """Start with no rows."""
        if len(classes) > MAX_CLASSES:
            raise UsageError(
                f"{option('truth')} supports up to {MAX_CLASSES:,} classes, and the model has "
                f"{len(classes):,}: leave it out and compare the columns yourself"
            )
        self._classes = tuple(classes)
        self._spellings = ClassIndex(classes)
        self._names = binary_array([name.encode() for name in classes])
        # Rows by true class, the last for other values; columns by predicted class.
        self._counts = np.zeros((len(classes) + 1, len(classes)), dtype=np.int64)
        self._others: tuple[bytes, ...] = ()

    def add(self, cells: pa.Array, labels: Labels) -> None:
        """Count rows."""
        if len(cells) != len(labels):
            raise ValueError(f"{len(cells)} true classes for {len(labels)} labels")
        n_classes = len(self._classes)
        cells = cell_texts(cells)
        found = pc.index_in(cells, self._names)
        truth = number_values(pc.fill_null(found, number_scalar(np.int32(n_classes))))
        if self._spellings.knows_spellings and found.null_count:
            truth = self._find_spellings(cells, truth)
        pairs = truth.astype(np.int64) * n_classes + labels
        self._counts += np.bincount(pairs, minlength=self._counts.size).reshape(-1, n_classes)
        self._collect_others(cells, truth == n_classes)

    def _find_spellings(self, cells: pa.Array, truth: Labels) -> Labels:
        """Find the classes of other spellings, such as ``1.0`` of ``1``."""
        truth, none = truth.copy(), len(self._classes)
        encoded = cells.filter(bool_array(truth == none)).dictionary_encode()
        found = [
            self._spellings.find((text or b"").decode(errors="replace"))
            for text in encoded.dictionary.to_pylist()
        ]
        classes = np.array([*(none if at is None else at for at in found), none], dtype=truth.dtype)
        indices = number_values(pc.fill_null(encoded.indices, number_scalar(np.int32(-1))))
        truth[truth == none] = classes[indices]
        return truth

    def counts(self) -> AccuracyCounts:
        """Get the counts of the rows added so far."""
        return AccuracyCounts(tuple(self._counts.reshape(-1).tolist()), self._others)

    def restore(self, counts: AccuracyCounts) -> None:
        """Continue from counts."""
        self._counts = np.array(counts.pairs, dtype=np.int64).reshape(self._counts.shape)
        self._others = counts.others

    def report(self) -> AccuracyReport:
        """Evaluate the rows added so far."""
        counts, others = self._counts[:-1], int(self._counts[-1].sum())
        rows = int(counts.sum())
        values = tuple(map(_display, self._others))
        return AccuracyReport(
            rows=rows,
            other=others,
            other_values=values,
            accuracy=wilson_interval(int(counts.trace()), rows) if rows else None,
            classes=class_scores(counts, self._classes),
            confusion=tuple(map(tuple, counts.tolist())),
            hint=_class_hint(values, self._classes) if others and not rows else None,
        )

    def _collect_others(self, cells: pa.Array, other: npt.NDArray[np.bool_]) -> None:
        """Collect the first few values that are not a class."""
        if not other.any():
            return
        found = pc.unique(pc.binary_slice(cells.filter(bool_array(other)), 0, _MAX_BYTES))
        first = found.take(pc.array_sort_indices(found)[: _MAX_VALUES + found.null_count])
        texts = {text or b"" for text in first.to_pylist()} | ({b""} if found.null_count else set())
        self._others = tuple(sorted({*self._others, *texts})[:_MAX_VALUES])


def _display(value: bytes) -> str:
    text = value.decode(errors="backslashreplace")
    return text[:_MAX_CHARACTERS] + "…" if len(text) > _MAX_CHARACTERS else text


def _class_hint(values: Sequence[str], classes: Sequence[str]) -> str:
    """Suggest why no value is a class: another spelling, or the wrong column."""
    for value in values:
        for name in classes:
            if value.strip().casefold() == name.strip().casefold() or _are_equal_numbers(
                value, name
            ):
                return (
                    f"no value is a class: {value!r} is spelled {name!r} in the model; "
                    "spell the column like the classes"
                )
    found, expected = (list_names(names, _MAX_VALUES) for names in (values, classes))
    return (
        f"no value is a class: the column has {found}, the classes are {expected}; "
        "is it the right column?"
    )


def _are_equal_numbers(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return False
