"""Text from outside with its control characters made visible."""

from __future__ import annotations


def printable(text: str) -> str:
    """Escape what is not printable, such as line breaks and terminal control codes."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def printable_lines(text: str) -> str:
    """Escape each line; the line breaks stay."""
    return "\n".join(map(printable, text.split("\n")))
