from __future__ import annotations

import io
import os
import pty
from contextlib import closing

import pytest

from runtime.printable import printable
from runtime.terminal.tables import cut, new_table, render_tables
from runtime.wrapping import terminal_width


def draw(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Draw a table for a real terminal."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream, closing(os.fdopen(ours, "rb")):
        table = new_table()
        table.add_column("name", style="bold cyan")
        table.add_row("value")
        return render_tables(table, "a line", stream=stream)


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The header is bold and cells have the colour of their column."""
    text = draw({"TERM": "xterm-256color"}, monkeypatch)
    assert "\x1b[1;36mvalue" in text
    assert text.endswith("a line")


@pytest.mark.parametrize(
    "environment",
    [{"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": ""}],
    ids=["NO_COLOR", "dumb", "empty NO_COLOR"],
)
def test_colours_can_be_refused(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without colors a terminal gets the same text as a file."""
    assert draw(environment, monkeypatch).splitlines() == ["name", "─────", "value", "a line"]


def test_a_file_gets_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file has no colors, even if the shell forces them."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in render_tables("a line", stream=io.StringIO())


def test_an_encoding_without_lines_gets_others() -> None:
    """A table for an ASCII terminal is drawn in ASCII."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    table = new_table()
    table.add_column("name")
    table.add_row("value")
    assert render_tables(table, stream=stream).isascii()


@pytest.mark.parametrize(
    ("told", "width"), [("40", 40), ("0", 80), ("wide", 80), ("-5", 80), ("", 80)]
)
def test_the_width_is_columns_or_eighty(
    told: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default width, without a terminal and ``COLUMNS``."""
    monkeypatch.setenv("COLUMNS", told)
    assert terminal_width(io.StringIO()) == width


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("two words", 5, "two…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("a\tb", 4, r"a\tb"),
        ("x" * 10**6, 5, "xxxx…"),
        ("", 5, ""),
    ],
)
def test_text_is_cut_by_the_columns_it_takes(text: str, width: int, shown: str) -> None:
    """Wide characters have two columns, the ellipsis one."""
    assert cut(text, width) == shown


def test_what_is_not_printable_is_shown_by_its_number() -> None:
    """Control characters are escaped."""
    assert printable("a\x00\x1b\x9b\r\n\u2028\udc80é") == r"a\x00\x1b\x9b\r\n\u2028\udc80é"


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("a category that training did not have", 25, "a category that training…"),
        ("a category that training did not have", 24, "a category that…"),
        ("undecodable bytes", 14, "undecodable…"),
        ("supercalifragilistic", 10, "supercali…"),
        ("a supercalifragilistic", 12, "a supercali…"),
        ("short", 5, "short"),
    ],
)
def test_a_text_is_cut_between_words(text: str, width: int, shown: str) -> None:
    """Unless most of it would be lost, or it is one word."""
    assert cut(text, width) == shown
