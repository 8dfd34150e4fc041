"""Escape control characters in untrusted text before it is printed."""

from __future__ import annotations


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
