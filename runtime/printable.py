"""Text from outside with its control characters made visible."""

from __future__ import annotations


def printable(text: str) -> str:
    """Show what is not printable, as line breaks and a terminal's own codes, by its number."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def printable_lines(text: str) -> str:
    """Make text printable whose line breaks are meant."""
    return "\n".join(map(printable, text.split("\n")))
