"""The labels of a table: class names in order, and the class of each row.

A class is named by the label's exact text. Whole numbers are ordered by value, texts by code point.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import SchemaError
from runtime.tables.base import RowIssue
from runtime.tables.cells import MISSING as MISSING_VALUE
from trainer.data.profile import MISSING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from runtime.schema.features import Float32Matrix
    from trainer.data.profile import Codes, TableProfile


NONE = -1  # no class
NO_CLASS = "not one of the classes"
_FEWEST = 2  # classes, and rows of each
_NAMED = 5  # classes in a message
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")


@dataclass(frozen=True)
class Classes:
    """The classes of a label.

    Attributes:
        names: in the order of the model's outputs.
    """

    names: tuple[str, ...]

    def encode(self, found: TableProfile) -> Codes:
        """Map each row of a table to its class, ``(rows,)``; negative where there is none."""
        places = {name.encode(): at for at, name in enumerate(self.names)}
        # The last entry is for rows without a label, whose code is -1.
        numbers = [*(places.get(label, NONE) for label in found.labels), NONE]
        return np.array(numbers, dtype=np.int64)[found.codes]


def order_classes(found: TableProfile, *, name: str, where: str) -> Classes:
    """Order the classes of a label's column; refuse labels that cannot be classes."""
    texts = [_decode(label, name, where) for label in found.labels]
    if len(texts) < _FEWEST:
        content = f"is {texts[0]!r} in every row" if texts else "is empty in every row"
        raise SchemaError(f"{where}: label {name!r} {content}; a classifier needs two classes")
    rows = np.bincount(found.codes[found.codes >= 0], minlength=len(texts))
    nans = [text for text in texts if text.lower() == "nan"]
    if nans and all(text in nans or _NUMBER.fullmatch(text) for text in texts):
        count = sum(int(rows[texts.index(text)]) for text in nans)
        raise SchemaError(
            f"{where}: label {name!r} is NaN in {count:,} rows, which is not a class: remove these "
            "rows"
        )
    if singletons := [text for text, count in zip(texts, rows, strict=True) if count < _FEWEST]:
        raise SchemaError(_describe_singletons(singletons, name, where))
    whole = all(_WHOLE.fullmatch(text) for text in texts)
    return Classes(tuple(sorted(texts, key=_by_value) if whole else sorted(texts)))


def _decode(label: bytes, name: str, where: str) -> str:
    try:
        return label.decode()
    except UnicodeDecodeError as exc:
        raise SchemaError(
            f"{where}: label {name!r} has {label!r}, which is not UTF-8; set the encoding of the "
            "table, for example --encoding cp1252"
        ) from exc


def _by_value(text: str) -> tuple[int, str]:
    return int(text), text


def _describe_singletons(singletons: Sequence[str], name: str, where: str) -> str:
    shown = ", ".join(map(repr, singletons[:_NAMED])) + (", …" if len(singletons) > _NAMED else "")
    have = "1 class has" if len(singletons) == 1 else f"{len(singletons)} classes have"
    return (
        f"{where}: of label {name!r}, {have} a single row ({shown}), but a "
        "class needs one for training and one for test: remove these rows or merge classes; bin a "
        "continuous quantity into ranges"
    )


@dataclass(frozen=True)
class RowLabels:
    """The class of each row.

    Attributes:
        name: of the label's column.
        labels: ``(rows,)`` int64, positions in the classes; negative where there is none.
        found: profile of the table.
    """

    name: str
    labels: Codes
    found: TableProfile

    @classmethod
    def of(cls, name: str, found: TableProfile, classes: Classes) -> RowLabels:
        """Encode the labels of a table; ``classes`` may be another table's."""
        return cls(name, classes.encode(found), found)

    def faults(self, start: int, stop: int) -> dict[int, RowIssue]:
        """Report the rows without a class in a range, by position after ``start``, in order."""
        lacking = np.flatnonzero(self.labels[start:stop] < 0).tolist()
        return {at: self._fault(int(self.found.codes[start + at])) for at in lacking}

    def _fault(self, code: int) -> RowIssue:
        if code == MISSING:
            return RowIssue(MISSING_VALUE, self.name)
        return RowIssue(
            NO_CLASS, self.name, self.found.labels[code].decode(errors="backslashreplace")
        )


@dataclass(frozen=True)
class LabelledRows:
    """Rows with their classes.

    Attributes:
        features: ``(rows, n_inputs)`` float32, NaN for a missing number.
        labels: ``(rows,)`` int64, positions in the classes.
    """

    features: Float32Matrix
    labels: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[np.bool_]) -> LabelledRows:
        """Select rows by a mask, ``(rows,)`` bool."""
        return self if rows.all() else LabelledRows(self.features[rows], self.labels[rows])
