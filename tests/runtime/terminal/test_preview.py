from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from runtime.terminal.preview import format_preview

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("id", "price", "comment", "label", "probability")
ROWS = [(str(number), f"{number}.50", "x" * 5 * number, "yes", "0.9") for number in range(12)]
SAVE = "runtime predict --file products.csv --out scored.csv"


def preview(
    names: Sequence[str], rows: Sequence[Sequence[str]], *, width: int, total: int | None = 1000
) -> list[str]:
    """Format for a stream of a width that is not a terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        text = format_preview(
            names, rows, n_added=2, total=total, notes=[SAVE], stream=io.StringIO()
        )
    return text.splitlines()


def test_ten_rows_are_shown_with_what_is_not() -> None:
    """All columns fit; long cells end in an ellipsis; the last line is the command."""
    lines = preview(NAMES, ROWS, width=80)
    assert lines[0].split() == list(NAMES)
    assert [line.split()[0] for line in lines[2:12]] == [str(number) for number in range(10)]
    assert lines[10].split() == ["8", "8.50", "x" * 23 + "…", "yes", "0.9"]
    assert lines[12:] == ["", "the first 10 of 1,000 rows", SAVE]


def test_a_narrow_terminal_keeps_the_answers_and_counts_the_rest() -> None:
    """Columns are hidden from the right, before the new ones; an ellipsis marks them."""
    lines = preview(NAMES, ROWS, width=40)
    assert lines[0].split() == ["id", "price", "…", "label", "probability"]
    assert lines[2].split() == ["0", "0.50", "…", "yes", "0.9"]
    assert "1 more column: comment" in lines
    many = [f"column {number}" for number in range(30)]
    lines = preview([*many, *NAMES[3:]], [("1",) * 32], width=40, total=1)
    assert lines[0].split() == ["column", "0", "…", "label", "probability"]
    assert lines[-3:-1] == ["the only row", "29 more columns: column 1, column 2,…"]


@pytest.mark.parametrize("total", [None, 0])
def test_no_rows_are_no_failure(total: int | None) -> None:
    """The header and the number of rows are shown."""
    lines = preview(NAMES, [], width=80, total=total)
    assert lines[0].split() == list(NAMES)
    assert lines[-2] == ("the first 0 rows" if total is None else "all 0 rows")


CELL = st.text(max_size=40) | st.sampled_from(["1.5", "-2e-3", "", "日本語の長い文字列です日本語"])


@given(
    cells=st.lists(st.lists(CELL, min_size=6, max_size=6), min_size=1, max_size=5),
    width=st.integers(20, 130),
)
def test_no_line_is_wider_than_the_terminal(cells: list[list[str]], width: int) -> None:
    """For any cells, lines fit the width and have no control characters."""
    lines = preview([*"abcd", "label", "probability"], cells, width=width)
    assert len(lines) in {2 + len(cells) + 3, 2 + len(cells) + 4}
    for line in lines[:-1]:
        assert cell_len(line) <= width
        assert line.isprintable()


def test_a_cell_cannot_speak_to_the_terminal() -> None:
    """Control characters, line breaks and bidirectional marks are escaped."""
    cell = "\x1b[31mred\n\u202eback\udcff[bold]"
    lines = preview(NAMES, [("1", "2", cell, "yes", "1")], width=120, total=1)
    assert r"\x1b[31mred\n\u202eback…" in lines[2]
    (line,) = [
        line for line in preview(("[red]x", *NAMES[3:]), [("1",) * 3], width=80) if "x" in line
    ]
    assert "[red]x" in line
