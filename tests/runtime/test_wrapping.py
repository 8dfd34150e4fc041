"""Lines for people on terminals of any width."""

from __future__ import annotations

import os
import pty
from contextlib import closing

import pytest

from runtime.wrapping import wrap_for, wrap_lines

CURL = """curl http://127.0.0.1:8000/predict -d '{"age": 53, "region": "north"}'"""


@pytest.mark.parametrize(
    ("line", "wrapped"),
    [
        ("short enough", ["short enough"]),
        ("a line of words that is longer", ["a line of words that is", "  longer"]),
        ("  'id': unique, like an identifier", ["  'id': unique, like an", "    identifier"]),
        ("exclude columns with --exclude id", ["exclude columns with", "  --exclude id"]),
        ("there is no 'two  blanks' in it", ["there is no", "  'two  blanks' in it"]),
        (f"served at a port; try: {CURL}", ["served at a port;", f"try: {CURL}"]),
        ("kept; next: exporter export --run 'a b'", ["kept;", "next: exporter export --run 'a b'"]),
        ("save all: runtime predict --file x", ["save all: runtime predict --file x"]),
        ("x" * 30, ["x" * 30]),
        ("日本語 日本語 日本語 日本語", ["日本語 日本語 日本語", "  日本語"]),
        ('{"a json": "object of many words"}', ['{"a json": "object of many words"}']),
        ("\033[1mlaid out\033[0m" + " and wide" * 3, ["\033[1mlaid out\033[0m" + " and wide" * 3]),
        ("first\na line of words that is longer", ["first", "a line of words that is", "  longer"]),
    ],
    ids=[
        "short",
        "words",
        "indented",
        "option",
        "quoted",
        "curl",
        "command",
        "label",
        "one word",
        "wide characters",
        "JSON",
        "coloured",
        "lines",
    ],
)
def test_lines_break_between_words_and_commands_stay_whole(line: str, wrapped: list[str]) -> None:
    """No word, quoted name or option with its value is cut; a command can be copied."""
    assert wrap_lines(line, 24).split("\n") == wrapped


def test_only_a_terminal_gets_other_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or pipe has each message on one line."""
    monkeypatch.setenv("COLUMNS", "24")
    text = "a line of words that is longer"
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal, closing(os.fdopen(ours, "rb")):
        assert wrap_for(terminal, text) == "a line of words that is\n  longer"
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "w", encoding="utf-8") as pipe, closing(os.fdopen(ours, "rb")):
        assert wrap_for(pipe, text) == text
