"""Small tables in HTML, as notebooks show values; every text is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.printable import printable, truncate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MAX_CHARACTERS: Final = 200  # of a cell
_LEFT: Final = "text-align:left"


def html_card(title: str, lines: Iterable[tuple[str, str]]) -> str:
    """Format names and values as a table with a title."""
    cells = ((_cell("th", name), _cell("td", value)) for name, value in lines)
    rows = (f"<tr>{name}{value}</tr>" for name, value in cells)
    return _table(title, rows)


def html_table(title: str, names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format rows with a header as a table with a title."""
    header = f"<tr>{''.join(f'<th>{_escape(name)}</th>' for name in names)}</tr>"
    cells = (f"<tr>{''.join(f'<td>{_escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return _table(title, [header, *cells])


def _table(title: str, rows: Iterable[str]) -> str:
    caption = f'<caption style="{_LEFT}"><b>{_escape(title)}</b></caption>'
    return f"<table>{caption}{''.join(rows)}</table>"


def _cell(tag: str, text: str) -> str:
    return f'<{tag} style="{_LEFT}">{_escape(text)}</{tag}>'


def _escape(text: str) -> str:
    from html import escape

    return escape(truncate(printable(text), _MAX_CHARACTERS))
