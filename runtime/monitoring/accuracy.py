"""Accuracy, precision and recall against a column that holds the true class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runtime.bundle.manifest import Record
from runtime.errors import UsageError
from runtime.tables.arrays import binary_array, bool_array, number_scalar

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Labels = npt.NDArray[np.int64]
    Counts = npt.NDArray[np.int64]

_NORMAL_95 = 1.959963984540054  # quantile 0.975 of the standard normal distribution


class Interval(Record, frozen=True):
    """A share with its 95 % interval, all from 0 to 1."""

    share: float
    low: float
    high: float


class ClassScore(Record, frozen=True):
    """Scores of one class: ``precision``, ``recall`` and ``f1``, 0 to 1, and its rows."""

    name: str
    rows: int
    precision: float | None
    recall: float | None
    f1: float | None


def wilson_interval(hits: int, rows: int) -> Interval:
    """Bound a share by Wilson's score interval (Wilson, JASA 22, 1927), 95 %."""
    share, square = hits / rows, _NORMAL_95**2
    centre = (share + square / (2 * rows)) / (1 + square / rows)
    half = (
        _NORMAL_95
        * (share * (1 - share) / rows + square / (4 * rows**2)) ** 0.5
        / (1 + square / rows)
    )
    return Interval(share, max(centre - half, 0.0), min(centre + half, 1.0))


def confusion_matrix(truth: Labels, answers: Labels, classes: int) -> Counts:
    """Count rows by true class and answered class, ``(classes, classes)`` int64."""
    counts = np.bincount(truth * classes + answers, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def class_scores(counts: Counts, names: Sequence[str]) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of each class from a confusion matrix."""
    scores = []
    for at, name in enumerate(names):
        hits = float(counts[at, at])
        of_class, answered = int(counts[at].sum()), int(counts[:, at].sum())
        scores.append(
            ClassScore(
                name,
                of_class,
                _share(hits, answered),
                _share(hits, of_class),
                _share(2 * hits, of_class + answered),
            )
        )
    return tuple(scores)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


MOST_CLASSES: Final = 1024
_SHOWN = 5  # other values
_SHOWN_CHARACTERS = 40  # of each


class AccuracyReport(Record, frozen=True):
    """Answers beside the truth.

    Attributes:
        rows: scored rows whose cell is a class.
        other: scored rows whose cell is none.
        other_values: the first different ones of these cells, shortened.
        accuracy: share of right labels among ``rows``; None without rows.
        classes: precision, recall and F1.
        confusion: rows by true class (outer) and answered class (inner), in the order of
            ``classes``.
        hint: advice when no cell is a class.
    """

    rows: int
    other: int
    other_values: tuple[str, ...]
    accuracy: Interval | None
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    hint: str | None = None


class AccuracyMonitor:
    """Counts of true and answered classes so far; for one thread, blocks in their order."""

    def __init__(self, classes: Sequence[str]) -> None:
        """Start with no rows."""
        if len(classes) > MOST_CLASSES:
            raise UsageError(
                f"--truth counts every pair of classes, of {MOST_CLASSES:,} classes at most, and "
                f"the model has {len(classes):,}: leave it out and compare the columns yourself"
            )
        self._classes = tuple(classes)
        self._names = binary_array([name.encode() for name in classes])
        # One line a true class and one for other cells, one column an answered class.
        self._counts = np.zeros((len(classes) + 1, len(classes)), dtype=np.int64)
        self._others: dict[str, None] = {}

    def add(self, cells: pa.Array, labels: Labels) -> None:
        """Count rows."""
        if len(cells) != len(labels):
            raise ValueError(f"{len(cells)} true classes for {len(labels)} labels")
        names = len(self._classes)
        cells = _as_bytes(cells)
        places = _int32_values(
            pc.index_in(cells, self._names).fill_null(number_scalar(np.int32(names)))
        )
        pairs = places.astype(np.int64) * names + labels
        self._counts += np.bincount(pairs, minlength=self._counts.size).reshape(names + 1, names)
        if len(self._others) < _SHOWN:
            self._note(cells, places == names)

    def result(self) -> AccuracyReport:
        """Judge what was added so far."""
        counts, others = self._counts[:-1], int(self._counts[-1].sum())
        rows = int(counts.sum())
        shown = tuple(self._others)
        return AccuracyReport(
            rows=rows,
            other=others,
            other_values=shown,
            accuracy=wilson_interval(int(counts.trace()), rows) if rows else None,
            classes=class_scores(counts, self._classes),
            confusion=tuple(map(tuple, counts.tolist())),
            hint=_explain(shown, self._classes) if others and not rows else None,
        )

    def _note(self, cells: pa.Array, other: npt.NDArray[np.bool_]) -> None:
        """Keep the first few values that are no class."""
        if not other.any():
            return
        for cell in pc.unique(cells.filter(bool_array(other))):
            if len(self._others) == _SHOWN:
                return
            text = (cell.as_py() or b"").decode(errors="backslashreplace")
            cut = len(text) > _SHOWN_CHARACTERS
            self._others.setdefault(text[:_SHOWN_CHARACTERS] + "…" if cut else text)


def _as_bytes(cells: pa.Array) -> pa.Array:
    """Write cells of any type as ``(rows,)`` binary."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if pa.types.is_binary(cells.type):
        return cells
    if not (pa.types.is_large_binary(cells.type) or pa.types.is_binary_view(cells.type)):
        cells = cells.cast(pa.string())
    return cells.cast(pa.binary())


def _int32_values(array: pa.Array) -> npt.NDArray[np.int32]:
    values = np.frombuffer(array.buffers()[1] or b"", dtype=np.int32)
    return values[array.offset : array.offset + len(array)]


def _explain(values: Sequence[str], classes: Sequence[str]) -> str:
    """Say why no cell may be a class: written in another way, or the wrong column."""
    for value in values:
        for name in classes:
            if value.strip().casefold() == name.strip().casefold() or _same_number(value, name):
                return (
                    f"no cell is a class as it is written: {value!r} is not {name!r}; "
                    "write the column as the classes are named"
                )
    has, wanted = (", ".join(map(repr, names[:_SHOWN])) for names in (values, classes))
    return (
        f"no cell is a class: the column has {has}, the classes are {wanted}; is it the right one?"
    )


def _same_number(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return False
