from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

from trainer.epoch import Epoch
from trainer.judging import Judgement
from trainer.progress import show_epochs

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

ON_A_TERMINAL = """
from types import SimpleNamespace
from trainer.progress import show_epochs
with show_epochs(2) as watch:
    for index in range(2):
        watch(SimpleNamespace(index=index, loss=0.25, accuracy=0.875, validation=None))
"""


def test_elsewhere_than_a_terminal_each_epoch_is_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Epochs count from 1 for people; stdout stays free for the result."""
    with show_epochs(2) as watch:
        for index in range(2):
            watch(Epoch(index, 2, (0.5, 0.25), 0.375, 0.1, 0.985, learning_rate=0.1))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "epoch 1/2  loss 0.3750  accuracy 98.5%",
        "epoch 2/2  loss 0.3750  accuracy 98.5%",
    ]


def test_rows_held_out_show_the_best_epoch_and_the_patience_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """How long the fit has waited for a better epoch, and how long it will."""
    judged = Judgement(loss=0.5, accuracy=0.75)
    with show_epochs(9) as watch:
        watch(Epoch(4, 9, (), 0.25, 0.1, 0.5, 0.1, validation=judged, best=2, patience=3))
        watch(Epoch(4, 9, (), 0.25, 0.1, 0.5, 0.1, validation=judged, best=2))
    assert capsys.readouterr().err.splitlines() == [
        (
            "epoch 5/9  loss 0.2500  accuracy 50.0%  "
            "validation loss 0.5000 (best epoch 3, patience 2/3)"
        ),
        "epoch 5/9  loss 0.2500  accuracy 50.0%  validation loss 0.5000 (best epoch 3)",
    ]


def test_a_terminal_gets_a_bar(environment: Mapping[str, str]) -> None:
    """The bar is drawn on stderr and ends with the figures of the last epoch."""
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
    assert "2/2" in drawn
    assert "loss 0.2500  accuracy 87.5%" in drawn
    assert "\x1b[" in drawn
