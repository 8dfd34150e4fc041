"""Options of the command line that say how a table is read.

In: text. Out: a ``Reading``. Raises ``UsageError`` for what is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.scoring.options import Reading
from runtime.tables.delimited.dialect import parse_delimiter
from runtime.tables.stored.encodings import parse_encoding
from runtime.tables.stored.formats import parse_format

if TYPE_CHECKING:
    from runtime.choices import Decimal


def parse_reading(
    table_format: str | None,
    delimiter: str | None,
    encoding: str | None,
    decimal: Decimal,
    *,
    loose: bool,
) -> Reading:
    """Read the options.

    Args:
        table_format: such as ``csv.gz``.
        delimiter: a character, or ``tab``.
        encoding: its name.
        decimal: the sign before a number's fraction.
        loose: take column names that differ in case or blanks.

    Returns:
        How a table is read.
    """
    return Reading(
        format=None if table_format is None else parse_format(table_format),
        delimiter=None if delimiter is None else parse_delimiter(delimiter),
        encoding=None if encoding is None else parse_encoding(encoding),
        decimal=decimal,
        loose_header=loose,
    )
