"""Exact values of numbers in texts, such as names of classes."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_NUMBER: Final = re.compile(
    r"[ \t]*([+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?)[ \t]*"
)


def number_key(text: str) -> Decimal | None:
    """Get the exact value of a number; None for another text."""
    found = _NUMBER.fullmatch(text)
    return Decimal(found[1]) if found else None
