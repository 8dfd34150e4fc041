"""Guess what a header is in which the columns are not found."""

from __future__ import annotations

import csv
import re
import shlex
from typing import TYPE_CHECKING, Final

from runtime.schema.features import fold_name
from runtime.tables.dialect import split_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.tables.csv.reader import Header


_NUMBER: Final = re.compile(r"\s*[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)([eE][+-]?[0-9]+)?\s*")
_NEVER: Final = frozenset('"\r\n\0+-.')  # see ``dialect``


def layout_hint(header: Header, wanted: Sequence[str]) -> str | None:
    """Say what helps with a header in which names are missing."""
    first = header.columns[0]
    if re.match(r'\s*\{\s*("|$)', first):
        return "the first line looks like JSON, one object a line: give --format jsonl"
    if all(_NUMBER.fullmatch(name) for name in header.columns):
        return "the first line holds numbers alone: put a line with the columns' names above it"
    text = header.dialect.encoding.decode(header.text, "replace").removeprefix("\ufeff")
    sign = _other_delimiter(text, wanted)
    if sign is None:
        return None
    given = "tab" if sign == "\t" else shlex.quote(sign)
    return f"the names are separated by {sign!r}: give --delimiter {given}"


def _other_delimiter(text: str, wanted: Sequence[str]) -> str | None:
    """Find the sign at which the header falls into all of the names."""
    folded = set(map(fold_name, wanted))
    signs = {sign for sign in text if sign.isascii() and not sign.isalnum()} - _NEVER
    for sign in sorted(signs):
        try:
            names = split_record(text, sign.encode())
        except csv.Error:
            continue
        if folded <= set(map(fold_name, names)):
            return sign
    return None
