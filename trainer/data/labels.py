"""The labels of a table: class names in order, and the class of each row.

A class is named by the label's exact text. Where all labels are numbers, or all are booleans, equal
values are one class: ``1`` and ``1.0``, ``TRUE`` and ``true``. Whole numbers are ordered by value,
texts by code point.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import SchemaError
from runtime.printable import list_names
from runtime.schema.numbers import number_key
from runtime.schema.spellings import ClassIndex, choose_key
from runtime.surfaces import option
from runtime.tables.base import RowIssue
from runtime.tables.cells import MISSING, NOT_FINITE, UNDECODABLE, is_decodable
from trainer.data.dataset import JoinedLabels
from trainer.data.profile import NO_LABEL, decode_text

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from trainer.data.faults import Faults
    from trainer.data.profile import Codes, TableProfile


_NO_CLASS = -1
_UNKNOWN_CLASS = "not one of the classes"
_MIN_COUNT = 2  # classes, and rows of each
_MAX_NAMES = 5  # classes in a message
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True)
class Classes:
    """The classes of a label.

    Attributes:
        names: in the order of the model's outputs.
        joined: those that the table has in several spellings.
    """

    names: tuple[str, ...]
    joined: tuple[JoinedLabels, ...] = ()

    def encode(self, profile: TableProfile) -> Codes:
        """Map each row of a table to its class, ``(rows,)``; negative where there is none."""
        classes = ClassIndex(self.names)
        found = (
            classes.find(label.decode()) if is_decodable(label) else None
            for label in profile.labels
        )
        # The last entry is for rows without a label, whose codes are negative.
        class_of_code = [*(_NO_CLASS if at is None else at for at in found), _NO_CLASS]
        return np.array(class_of_code, dtype=np.int64)[np.maximum(profile.codes, NO_LABEL)]


def order_classes(
    profile: TableProfile,
    faults: Faults,
    *,
    name: str,
    where: str,
    refused: frozenset[str] = frozenset(),
) -> Classes | None:
    """Order the classes of a label's column; None where its labels cannot be classes.

    ``refused`` are labels that cannot for another reason.
    """
    what, advice = f"label {name!r}", profile.utf8_advice
    try:
        texts = [decode_text(label, what, where, advice) for label in profile.labels]
    except SchemaError as exc:
        faults.add(exc)
        return None
    counts = np.bincount(profile.codes[profile.codes >= 0], minlength=len(texts))
    rows = dict(zip(texts, counts.tolist(), strict=True))
    nans = find_nans(texts)
    if nans:
        count = sum(rows[text] for text in nans)
        faults.add(
            SchemaError(
                f"{where}: label {name!r} is NaN in {count:,} rows, which is not a class: remove "
                f"these rows, or leave them out with {option('bad_rows', 'reject')}"
            )
        )
    others = {text: count for text, count in rows.items() if text not in {*nans, *refused}}
    spellings = group_spellings(others)
    sizes = {text: sum(counts.values()) for text, counts in spellings.items()}
    if len(spellings) < _MIN_COUNT:
        content = f"is {next(iter(others))!r} in every" if others else "is empty in every"
        other = " other" if len(others) < len(rows) else ""
        faults.add(
            SchemaError(
                f"{where}: label {name!r} {content}{other} row; a classifier needs two classes"
            )
        )
    elif singletons := [text for text, count in sizes.items() if count < _MIN_COUNT]:
        faults.add(SchemaError(_describe_singletons(singletons, name, where)))
    elif not nans and not refused:
        return _sort_classes(spellings)
    return None


def _sort_classes(spellings: Mapping[str, Mapping[str, int]]) -> Classes:
    """Sort whole numbers by value, texts by code point."""
    whole = all(_WHOLE.fullmatch(text) for text in spellings)
    names = tuple(sorted(spellings, key=_by_value) if whole else sorted(spellings))
    return Classes(
        names,
        tuple(
            _describe_joined(text, spellings[text]) for text in names if len(spellings[text]) > 1
        ),
    )


def group_spellings(rows: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Group labels of equal value under the plainest spelling; ``rows`` are counts by label."""
    key = choose_key([*rows])
    groups: dict[Hashable, dict[str, int]] = {}
    for text, count in rows.items():
        groups.setdefault(key(text), {})[text] = count
    return {min(counts, key=_plainness): counts for counts in groups.values()}


def _plainness(text: str) -> tuple[bool, bool, int, str]:
    """Order spellings: ``1`` before ``1.0``, ``0.5`` before ``.5``, ``true`` before ``TRUE``."""
    return (
        text != text.strip(),
        not text[-1:].isalnum() or text[:1] in ".+",
        len(text),
        text.swapcase(),
    )


def _describe_joined(name: str, rows: Mapping[str, int]) -> JoinedLabels:
    others = sorted(text for text in rows if text != name)
    return JoinedLabels(name, tuple(others), sum(rows[text] for text in others))


def usable_classes(profile: TableProfile) -> Classes:
    """Take every label that can be a class; rows with another are bad rows."""
    texts = [label.decode() for label in profile.labels if is_decodable(label)]
    nans = find_nans(texts)
    return Classes(tuple(text for text in texts if text not in nans))


def find_nans(texts: Sequence[str]) -> list[str]:
    """Find NaN among numbers; among texts it is a text."""
    nans = [text for text in texts if text.lower() == "nan"]
    is_numeric = all(text in nans or number_key(text) is not None for text in texts)
    return nans if is_numeric else []


def _by_value(text: str) -> tuple[int, str]:
    return int(text), text


def _describe_singletons(singletons: Sequence[str], name: str, where: str) -> str:
    shown = list_names(singletons, _MAX_NAMES)
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
        profile: of the table.
    """

    name: str
    labels: Codes
    profile: TableProfile

    @classmethod
    def of(cls, name: str, profile: TableProfile, classes: Classes | None) -> RowLabels:
        """Encode the labels of a table; ``classes`` may be another table's, None accepts all."""
        if classes is None:  # where all labels are missing, that is reported once
            codes = profile.codes
            return cls(name, np.minimum(codes, 0) if profile.labels else codes * 0, profile)
        return cls(name, classes.encode(profile), profile)

    def issues(self, start: int, stop: int) -> dict[int, RowIssue]:
        """Report the rows without a class in a range, by position after ``start``, in order."""
        lacking = np.flatnonzero(self.labels[start:stop] < 0).tolist()
        return {at: self._issue(int(self.profile.codes[start + at])) for at in lacking}

    def _issue(self, code: int) -> RowIssue:
        if code <= NO_LABEL:
            text = b"" if code == NO_LABEL else self.profile.missing_labels[NO_LABEL - 1 - code]
            return RowIssue(MISSING, self.name, text.decode())
        label = self.profile.labels[code]
        reason = _UNKNOWN_CLASS if is_decodable(label) else UNDECODABLE
        if label.lower() == b"nan":
            reason = NOT_FINITE
        return RowIssue(reason, self.name, label.decode(errors="backslashreplace"))
