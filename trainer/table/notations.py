"""Columns of numbers in a notation that was not asked for, which would pass for categories.

In: the different texts of columns. Out: nothing, or a ``SchemaError`` that says how to read them:
``12,5`` and ``12,6`` are two categories to a model that is not told of decimal commas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from runtime.errors import SchemaError
from runtime.tables.arrays import binary_array
from runtime.tables.cells import parse_numbers
from runtime.tables.number_formats import number_hint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.choices import Decimal

_NAMED = 3  # columns in a message


def refuse_notations(texts: Mapping[str, set[bytes]], decimal: Decimal, where: str) -> None:
    """Look whether columns of text hold numbers after all.

    Args:
        texts: the different texts of each column, by name.
        decimal: the sign before a number's fraction that was asked for.
        where: name of the table, for the message.

    Raises:
        SchemaError: when the texts of a column that are no numbers are numbers in another notation.
    """
    found = [hint for name in texts if (hint := _look(name, texts[name], decimal))]
    if not found:
        return
    more = f"; and {len(found) - _NAMED} more such columns" if len(found) > _NAMED else ""
    raise SchemaError(
        f"{where}: {'; '.join(found[:_NAMED])}{more}; if they are categories that only look so, "
        "name them with --categories"
    )


def _look(name: str, texts: set[bytes], decimal: Decimal) -> str | None:
    if not (filled := sorted(texts - {b""})):
        return None
    is_number = np.isfinite(parse_numbers(pa.chunked_array([binary_array(filled)]), decimal))
    others = [text for text, known in zip(filled, is_number, strict=True) if not known]
    return number_hint(name, [text.decode(errors="replace") for text in others], decimal)
