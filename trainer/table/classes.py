"""The classes of a label: their names, their order, and the class of each row.

In: labels as they are written. Out: class names and labels as positions. Raises ``SchemaError``
for a label that is no class.

A class is named by the label's text, every blank of it. Whole numbers are put in the order of
their values, anything else in the order of its characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.table.coding import Codes
    from trainer.table.survey import Survey

NONE = -1  # no class
_FEWEST = 2  # classes, and rows of each
_NAMED = 5  # classes in a message
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")


@dataclass(frozen=True)
class Classes:
    """What a label can be.

    Attributes:
        names: in the order of the model's outputs.
    """

    names: tuple[str, ...]

    def number(self, found: Survey) -> Codes:
        """Find the class of each row of a table: ``(rows,)``, negative where there is none."""
        places = {name.encode(): at for at, name in enumerate(self.names)}
        # The last one is for rows without a label, whose code is -1.
        numbers = [*(places.get(label, NONE) for label in found.labels), NONE]
        return np.array(numbers, dtype=np.int64)[found.codes]


def order_classes(found: Survey, *, name: str, where: str) -> Classes:
    """Put the classes of a label in order.

    Args:
        found: what the label's column holds.
        name: of the label's column, for messages.
        where: name of the table, for messages.

    Returns:
        The classes.

    Raises:
        SchemaError: when there are fewer than two, when one has a single row, when one is NaN among
            numbers, or a label is no text in UTF-8.
    """
    texts = [_decode(label, name, where) for label in found.labels]
    if len(texts) < _FEWEST:
        said = f"is {texts[0]!r} in every row" if texts else "is empty in every row"
        raise SchemaError(f"{where}: label {name!r} {said}; a classifier tells two classes apart")
    rows = np.bincount(found.codes[found.codes >= 0], minlength=len(texts))
    nameless = [text for text in texts if text.lower() == "nan"]
    if nameless and all(text in nameless or _NUMBER.fullmatch(text) for text in texts):
        count = sum(int(rows[texts.index(text)]) for text in nameless)
        raise SchemaError(
            f"{where}: label {name!r} is NaN in {count:,} rows, which is no class: remove such rows"
        )
    if lonely := [text for text, count in zip(texts, rows, strict=True) if count < _FEWEST]:
        raise SchemaError(_describe_lonely(lonely, name, where))
    whole = all(_WHOLE.fullmatch(text) for text in texts)
    return Classes(tuple(sorted(texts, key=_by_value) if whole else sorted(texts)))


def _decode(label: bytes, name: str, where: str) -> str:
    try:
        return label.decode()
    except UnicodeDecodeError as exc:
        raise SchemaError(
            f"{where}: label {name!r} has {label!r}, which is no UTF-8 text; say how the table is "
            "encoded: --encoding cp1252"
        ) from exc


def _by_value(text: str) -> tuple[int, str]:
    return int(text), text


def _describe_lonely(lonely: Sequence[str], name: str, where: str) -> str:
    shown = ", ".join(map(repr, lonely[:_NAMED])) + (", …" if len(lonely) > _NAMED else "")
    have = "1 class has" if len(lonely) == 1 else f"{len(lonely)} classes have"
    return (
        f"{where}: of label {name!r}, {have} a single row ({shown}), and a "
        "class needs one to learn from and one to judge by: remove such rows or join classes; a "
        "quantity is no label before it is written as ranges"
    )
