"""Suggest why required columns are missing from a header."""

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
_FORBIDDEN: Final = frozenset('"\r\n\0+-.')  # see ``dialect``


def layout_hint(header: Header, required: Sequence[str]) -> str | None:
    """Suggest an option or a fix; None without a suggestion."""
    first = header.columns[0]
    if re.match(r'\s*\{\s*("|$)', first):
        return "the first line looks like JSON Lines: give --format jsonl"
    if all(_NUMBER.fullmatch(name) for name in header.columns):
        return "the first line has only numbers: add a line with the column names above it"
    text = header.dialect.encoding.decode(header.text, "replace").removeprefix("\ufeff")
    delimiter = _other_delimiter(text, required)
    if delimiter is None:
        return None
    value = "tab" if delimiter == "\t" else shlex.quote(delimiter)
    return f"the names are separated by {delimiter!r}: give --delimiter {value}"


def _other_delimiter(text: str, required: Sequence[str]) -> str | None:
    """Find a delimiter under which the header has all required names."""
    folded = set(map(fold_name, required))
    candidates = {char for char in text if char.isascii() and not char.isalnum()} - _FORBIDDEN
    for delimiter in sorted(candidates):
        try:
            names = split_record(text, delimiter.encode())
        except csv.Error:
            continue
        if folded <= set(map(fold_name, names)):
            return delimiter
    return None
