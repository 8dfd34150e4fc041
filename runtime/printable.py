"""Text for people: control characters escaped, long texts and lists cut, numbers as written."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MAX_LISTED: Final = 10
_MAX_CHARACTERS: Final = 100  # of a name in a list
_SMALLEST_POWER: Final = -5  # of ten, that is written as a decimal
_LARGEST_POWER: Final = 14
_SUPERSCRIPTS: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def printable(text: str) -> str:
    """Escape characters that are not printable: line breaks, terminal control codes."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def printable_lines(text: str) -> str:
    """Escape each line and keep the line breaks."""
    return "\n".join(map(printable, text.split("\n")))


def format_number(value: float, digits: int = 6) -> str:
    """Format a number as people write it: digits in groups, a power of ten only where it is short.

    Whole parts are never rounded; ``digits`` are significant ones otherwise.
    """
    if not math.isfinite(value):
        return str(value)
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    if not _SMALLEST_POWER <= magnitude <= _LARGEST_POWER:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        superscript = str(int(power)).translate(_SUPERSCRIPTS)
        return f"{_without_zeros(mantissa)} \N{MULTIPLICATION SIGN} 10{superscript}"
    text = _without_zeros(f"{value:,.{max(digits - 1 - magnitude, 0)}f}")
    return "0" if text == "-0" else text


def _without_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def truncate(text: str, limit: int) -> str:
    """Cut a text after ``limit`` characters."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def list_names(names: Collection[str], limit: int = MAX_LISTED) -> str:
    """List the first names, quoted, and count the others: ``'a', 'b' and 4,998 more``."""
    shown = [repr(truncate(name, _MAX_CHARACTERS)) for name in islice(names, limit)]
    return _join(shown, len(names))


def join_names(names: Iterable[str]) -> str:
    """Join names as an option takes them: separated by commas, quoted as in CSV."""
    import csv
    import io

    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return text.getvalue()


def list_first(parts: Collection[str], limit: int = MAX_LISTED, separator: str = ", ") -> str:
    """List the first parts as they are, and count the others."""
    return _join(list(islice(parts, limit)), len(parts), separator)


def quote_names(names: Iterable[str]) -> str:
    """Join names for an option in a command that a shell reads."""
    import shlex

    return shlex.quote(join_names(names))


def quote_command(words: Iterable[str]) -> str:
    """Quote a command for a shell, in printable characters alone, to be copied."""
    import shlex

    return " ".join(
        shlex.quote(word) if word.isprintable() else f"$'{_escape_bytes(word)}'" for word in words
    )


def _escape_bytes(word: str) -> str:
    """Escape as in bash's quotes: what is not printable by its bytes, undecodable ones too."""
    import os

    escapes = {"\\": r"\\", "'": r"\'"}
    return "".join(
        escapes.get(char, char)
        if char.isprintable()
        else "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
        for char in word
    )


def _join(shown: list[str], total: int, separator: str = ", ") -> str:
    more = total - len(shown)
    return separator.join(shown) + (f" and {more:,} more" if more else "")
