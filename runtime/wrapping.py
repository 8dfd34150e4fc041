"""Lines for people that fit a terminal: broken between words, never within one or in a command."""

from __future__ import annotations

import os
import re
import unicodedata
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULT_WIDTH: Final = 80
_MIN_WIDTH: Final = 20  # of the words beside the indentation
_HANGING: Final = 2  # further than the first line
# What is copied as one: a command to the end of its line, with a label; an option and its value.
_COMMAND: Final = re.compile(
    r"(?:^|(?<=; ))(?:[a-z][a-z ,]*: )?"
    r"(?:(?:runtime|trainer|exporter) [a-z]+\b|(?:curl|pip|make|torchrun) ).*"
)
# Quoted names, too: their blanks count.
_WORD: Final = re.compile(r"( *)(--[\w-]+ (?:'[^']*'\S*|\S+)|'[^']{1,40}'\S*|\S+)")


def terminal_width(stream: TextIO) -> int:
    """Get the width of a terminal; ``COLUMNS`` overrides it."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_WIDTH
    except (OSError, ValueError):  # not a terminal, or not a file
        return _DEFAULT_WIDTH


def wrap_for(stream: TextIO, text: str) -> str:
    """Wrap a text where the stream is a terminal; others get lines as they are."""
    return wrap_lines(text, terminal_width(stream)) if stream.isatty() else text


def wrap_lines(text: str, width: int) -> str:
    """Wrap the lines of a text that are wider than ``width`` columns, with a hanging indent.

    A command at the end of a line stays whole, on a line with its label, however long: the
    terminal continues it, and it can be copied.
    """
    return "\n".join(part for line in text.split("\n") for part in _wrap(line, width))


def _wrap(line: str, width: int) -> Iterator[str]:
    is_laid_out = line.startswith("{") or "\033" in line  # JSON, or coloured
    if is_laid_out or _columns(line) <= width:
        yield line
        return
    found = _COMMAND.search(line)
    prose, command = (line[: found.start()], found.group()) if found else (line, "")
    indent = prose[: len(prose) - len(prose.lstrip(" "))]
    room = max(width, len(indent) + _MIN_WIDTH)
    shown = ""
    for blanks, word in _WORD.findall(prose):
        if shown.strip() and _columns(shown + blanks + word) > room:
            yield shown
            shown = indent + " " * _HANGING + word
        else:
            shown += blanks + word
    if shown:
        yield shown
    if command:
        yield command


def _columns(text: str) -> int:
    """Count the columns that a text takes: wide characters have two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
