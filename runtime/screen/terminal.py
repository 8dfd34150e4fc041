"""Text for people to see: tables drawn by rich, cells made harmless and short.

Colour only on a terminal, and not where ``NO_COLOR`` is set; elsewhere plain text. rich is
imported when something is drawn. No errors.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

ELLIPSIS: Final = "…"
_DEFAULT_WIDTH = 80


def render(*parts: RenderableType, stream: TextIO) -> str:
    """Draw tables and lines as they fit a stream.

    Args:
        *parts: drawn one below the other.
        stream: where the text will be written; its width and encoding are looked at.

    Returns:
        Lines without a line break at the end; control codes only for a terminal with colours.
    """
    from rich.console import Console

    colour = _is_colourful(stream)
    console = Console(
        file=stream,
        width=width_of(stream),
        force_terminal=colour,
        color_system="standard" if colour else None,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    with console.capture() as drawn:
        for part in parts:
            console.print(part)
    text = drawn.get()
    return text.rstrip("\n") if colour else "\n".join(map(str.rstrip, text.splitlines()))


def width_of(stream: TextIO) -> int:
    """Count the columns of a terminal; ``COLUMNS`` says it where it is set."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_WIDTH
    except (OSError, ValueError):  # no terminal, or no file at all
        return _DEFAULT_WIDTH


def new_table(*, header: bool = True) -> Table:
    """Make a table with a line below its header, columns two blanks apart."""
    from rich import box
    from rich.table import Table

    return Table(
        box=box.SIMPLE_HEAD if header else None,
        show_header=header,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0) if header else (0, 2, 0, 0),
        header_style="bold",
    )


def harmless(text: str) -> str:
    """Show what is not printable, as line breaks and a terminal's own codes, by its number."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def harmless_lines(text: str) -> str:
    """Make text harmless whose line breaks are meant."""
    return "\n".join(map(harmless, text.split("\n")))


def cut(text: str, width: int) -> str:
    """Shorten text to so many columns of a terminal, made harmless."""
    from rich.cells import cell_len, set_cell_size

    shown = harmless(text[: 4 * width])  # a long cell is not looked at to its end
    if len(text) <= 4 * width and cell_len(shown) <= width:
        return shown
    return set_cell_size(shown, width - 1).rstrip() + ELLIPSIS


def _is_colourful(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
