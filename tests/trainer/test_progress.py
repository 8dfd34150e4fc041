from __future__ import annotations

import itertools
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from trainer.epoch import Epoch
from trainer.judging import Judgement
from trainer.pace import Pace, describe_pace
from trainer.progress import show_epochs

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

ON_A_TERMINAL = """
from trainer.epoch import Epoch
from trainer.progress import show_epochs
with show_epochs(2) as watch:
    for index in range(2):
        watch(Epoch(index, 2, (), 0.25, 0.1, 0.875, learning_rate=0.1, rows=1000))
"""


LIKE_A_NUMBER = re.compile(r"[0-9,]+ rows/s|[0-9:]+ left")


FIRST = Epoch(0, 2, (0.5, 0.25), 0.375, 0.1, 0.985, learning_rate=0.1, rows=1000)


def test_elsewhere_than_a_terminal_each_epoch_is_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Epochs count from 1 for people; stdout stays free for the result."""
    with show_epochs(2) as watch:
        for index in range(2):
            watch(replace(FIRST, index=index, epochs=2))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert LIKE_A_NUMBER.sub("#", captured.err).splitlines() == [
        "epoch 1/2  loss 0.3750  accuracy 98.5%  #, #",
        "epoch 2/2  loss 0.3750  accuracy 98.5%  #",
    ]


def test_rows_held_out_show_the_best_epoch_and_the_patience_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """How long the fit has waited for a better epoch, and how long it will."""
    judged = Judgement(loss=0.5, accuracy=0.75)
    with show_epochs(9) as watch:
        watch(replace(FIRST, index=4, epochs=9, validation=judged, best=2, patience=3))
        watch(replace(FIRST, index=8, epochs=9, validation=judged, best=2))
    assert LIKE_A_NUMBER.sub("#", capsys.readouterr().err).splitlines() == [
        (
            "epoch 5/9  loss 0.3750  accuracy 98.5%  #, at most #  "
            "validation loss 0.5000 (best epoch 3, patience 2/3)"
        ),
        "epoch 9/9  loss 0.3750  accuracy 98.5%  #  validation loss 0.5000 (best epoch 3)",
    ]


def test_speed_and_time_left_are_of_the_epochs_that_were_seen() -> None:
    """A fit that is taken up in its 11th epoch has made none before; the first counts alone."""
    pace = Pace(itertools.accumulate([0, 10, 2, 2]).__next__)
    told = []
    for index in (10, 11, 12):
        pace.see(replace(FIRST, index=index, epochs=2_000))
        told.append(describe_pace(pace, replace(FIRST, index=index, epochs=2_000)))
    assert told == [
        "100 rows/s, 5:31:30 left",  # 10 s an epoch
        "500 rows/s, 1:06:16 left",  # 2 s
        "500 rows/s, 1:06:14 left",
    ]
    assert describe_pace(pace, replace(FIRST, index=1_999, epochs=2_000)) == "500 rows/s"
    assert (
        describe_pace(pace, replace(FIRST, index=1_969, epochs=2_000, patience=3))
        == "500 rows/s, at most 1:00 left"
    )


def test_a_clock_that_stands_still_stops_no_fit() -> None:
    """Epochs may be shorter than what a clock can tell."""
    pace = Pace(lambda: 1.0)
    pace.see(replace(FIRST, index=0, epochs=3))
    assert describe_pace(pace, replace(FIRST, index=0, epochs=3)).endswith("rows/s, 0:00 left")


def test_a_terminal_gets_a_bar(environment: Mapping[str, str]) -> None:
    """The bar is drawn on stderr and ends with the figures of the last epoch."""
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", ON_A_TERMINAL],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**environment, "TERM": "xterm", "COLUMNS": "130"},
        check=True,
    )
    os.close(theirs)
    drawn = os.read(ours, 2**16).decode()
    os.close(ours)
    assert done.stdout == b""
    assert "2/2" in drawn
    assert "loss 0.2500  accuracy 87.5%" in drawn
    assert "\x1b[" in drawn


def test_a_narrow_terminal_cuts_off_what_matters_least(environment: Mapping[str, str]) -> None:
    """One line an epoch, however narrow; its number and loss come first."""
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", ON_A_TERMINAL],
        stderr=theirs,
        env={**environment, "TERM": "xterm", "COLUMNS": "30"},
        check=True,
    )
    os.close(theirs)
    drawn = os.read(ours, 2**16).decode()
    os.close(ours)
    assert "epoch 2/2  loss 0.2500  accu" in drawn
    assert "rows/s" not in drawn


def test_a_terminal_without_codes_gets_lines(environment: Mapping[str, str]) -> None:
    """Where a terminal knows no control codes, none are sent."""
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", ON_A_TERMINAL],
        stderr=theirs,
        env={**environment, "TERM": "dumb"},
        check=True,
    )
    os.close(theirs)
    drawn = os.read(ours, 2**16).decode()
    os.close(ours)
    assert len(drawn.splitlines()) == 2
    assert "\x1b" not in drawn
