from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

from exporter.progress import proof_progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

ON_A_TERMINAL = """
from types import SimpleNamespace
from exporter.progress import proof_progress
with proof_progress() as watch:
    for done in range(1, 5):
        watch(SimpleNamespace(done=done, total=4, contender="onnx-cpu-all-1", batch=33))
"""


def test_elsewhere_than_a_terminal_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A log gets the result alone."""
    with proof_progress() as watch:
        assert watch is None
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_terminal_gets_a_bar(environment: Mapping[str, str]) -> None:
    """The bar is drawn on stderr, names the cell and ends with all of it done."""
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", ON_A_TERMINAL],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**environment, "TERM": "xterm", "COLUMNS": "100"},
        check=True,
    )
    os.close(theirs)
    drawn = os.read(ours, 2**16).decode()
    os.close(ours)
    assert done.stdout == b""
    assert "100 %" in drawn
    assert "onnx-cpu-all-1 at batch 33" in drawn
