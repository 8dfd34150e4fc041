from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from terminals import read_all

from runtime.terminal.progress import scoring_progress

if TYPE_CHECKING:
    from collections.abc import Mapping

ON_A_TERMINAL = """
import sys, time
from pathlib import Path
from runtime.terminal.progress import scoring_progress
size = int(sys.argv[1]) or None
end = time.monotonic() + 1
with scoring_progress(Path("-"), Path("out.csv"), size=size) as tell:
    calls = 0
    while tell and time.monotonic() < end:
        calls += 1
        tell(500, 1234567)
print(calls)
"""


def draw(environment: Mapping[str, str], width: int, size: int, term: str = "xterm") -> str:
    """Output on a terminal of a width during a second of scoring."""
    ours, theirs = pty.openpty()
    plain = {name: value for name, value in environment.items() if name != "NO_COLOR"}
    done = subprocess.run(
        [sys.executable, "-c", ON_A_TERMINAL, str(size)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**plain, "TERM": term, "COLUMNS": str(width)},
        check=True,
    )
    os.close(theirs)
    drawn = read_all(ours)
    assert int(done.stdout) > 1000 or term == "dumb", "telling is no burden"
    return drawn.decode()


def test_off_a_terminal_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A log contains the summary only."""
    with scoring_progress(Path("in.csv"), Path("out.csv"), size=10) as tell:
        assert tell is None
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize(
    ("width", "size", "there", "not_there"),
    [
        (120, 1000, ["scoring", "━", "1,234,567 rows", " rows/s", " elapsed", " left"], []),
        (80, 1000, ["scoring", "━", "1,234,567 rows", "/s", "0:00:0", " left"], ["elapsed"]),
        (60, 1000, ["━", "1,234,567 rows", "/s", " left"], ["scoring", "elapsed"]),
        (40, 1000, ["1,234,567 rows", "/s", " left"], ["scoring", "━"]),
        (80, 0, ["scoring", "━", "1,234,567 rows", "/s", "0:00:0"], ["left", "-:--"]),
        (40, 0, ["1,234,567 rows", "/s", "0:00:0"], ["left", "━"]),
    ],
    ids=["wide", "usual", "small", "narrow", "no size", "narrow, no size"],
)
def test_a_terminal_gets_a_bar_with_its_figures(
    environment: Mapping[str, str], width: int, size: int, there: list[str], not_there: list[str]
) -> None:
    """Rows, speed and elapsed time, remaining time if the size is known; few refreshes."""
    drawn = draw(environment, width, size)
    assert [text for text in there if text not in drawn] == []
    assert [text for text in not_there if text in drawn] == []
    assert drawn.count("rows") <= 2 * 10, "at most ten times a second"


def test_a_terminal_without_a_cursor_gets_no_bar(environment: Mapping[str, str]) -> None:
    """TERM=dumb cannot draw over a line."""
    assert draw(environment, 80, 1000, "dumb") == ""
