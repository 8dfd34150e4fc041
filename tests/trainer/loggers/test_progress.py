from __future__ import annotations

import itertools
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from trainer.checkpoint.state import Epoch
from trainer.evaluation.metrics import Scores
from trainer.loggers.progress import Throughput, format_throughput, show_progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

ON_A_TERMINAL = """
from trainer.checkpoint.state import Epoch
from trainer.loggers.progress import show_progress
with show_progress(2) as report:
    for index in range(2):
        report(Epoch(index, 2, (), 0.25, 0.1, 0.875, learning_rate=0.1, rows=1000))
"""


LIKE_A_NUMBER = re.compile(r"[0-9,]+ rows/s|[0-9:]+ left")


FIRST = Epoch(0, 2, (0.5, 0.25), 0.375, 0.1, 0.985, learning_rate=0.1, rows=1000)


def test_without_a_terminal_each_epoch_is_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Epochs are shown from 1; stdout has the result only."""
    with show_progress(2) as report:
        for index in range(2):
            report(replace(FIRST, index=index, epochs=2))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert LIKE_A_NUMBER.sub("#", captured.err).splitlines() == [
        "epoch 1/2  loss 0.3750  accuracy 98.5%  #, #",
        "epoch 2/2  loss 0.3750  accuracy 98.5%  #",
    ]


def test_validation_shows_the_best_epoch_and_the_patience(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Epochs since the best one, of how many at most."""
    scores = Scores(loss=0.5, accuracy=0.75)
    with show_progress(9) as report:
        report(replace(FIRST, index=4, epochs=9, validation=scores, best=2, patience=3))
        report(replace(FIRST, index=8, epochs=9, validation=scores, best=2))
    assert LIKE_A_NUMBER.sub("#", capsys.readouterr().err).splitlines() == [
        (
            "epoch 5/9  loss 0.3750  accuracy 98.5%  #, at most #  "
            "validation loss 0.5000 (best epoch 3, patience 2/3)"
        ),
        "epoch 9/9  loss 0.3750  accuracy 98.5%  #  validation loss 0.5000 (best epoch 3)",
    ]


def test_the_last_epoch_is_shown_after_early_stopping(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a thousand epochs every 40th is a line, and the one that stops early."""
    scores = Scores(loss=0.5, accuracy=0.75)
    with show_progress(1_000) as report:
        for index in (39, 40, 41):
            patient = replace(FIRST, index=index, epochs=1_000, validation=scores, patience=3)
            report(replace(patient, best=38))
    shown = [line.split()[1] for line in capsys.readouterr().err.splitlines()]
    assert shown == ["40/1000", "42/1000"]


def test_throughput_and_time_left_count_this_process_only() -> None:
    """Of a run resumed in its 11th epoch; the first epoch counts only until the second."""
    throughput = Throughput(itertools.accumulate([0, 10, 2, 2]).__next__)
    shown = []
    for index in (10, 11, 12):
        throughput.on_epoch_end(replace(FIRST, index=index, epochs=2_000))
        shown.append(format_throughput(throughput, replace(FIRST, index=index, epochs=2_000)))
    assert shown == [
        "100 rows/s, 5:31:30 left",  # 10 s per epoch
        "500 rows/s, 1:06:16 left",  # 2 s
        "500 rows/s, 1:06:14 left",
    ]
    assert format_throughput(throughput, replace(FIRST, index=1_999, epochs=2_000)) == "500 rows/s"
    patient = replace(FIRST, index=1_969, epochs=2_000, patience=3, best=1_968)
    assert format_throughput(throughput, patient) == "500 rows/s, at most 1:00 left"


def test_a_clock_without_progress_is_no_error() -> None:
    """An epoch may be shorter than the resolution of the clock."""
    throughput = Throughput(lambda: 1.0)
    throughput.on_epoch_end(replace(FIRST, index=0, epochs=3))
    assert format_throughput(throughput, replace(FIRST, index=0, epochs=3)).endswith(
        "rows/s, 0:00 left"
    )


def test_a_terminal_gets_a_bar(environment: Mapping[str, str]) -> None:
    """The progress bar is on stderr and ends with the metrics of the last epoch."""
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


def test_a_narrow_terminal_shows_the_most_important_first(environment: Mapping[str, str]) -> None:
    """One line, however narrow; epoch and loss come first."""
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


def test_a_dumb_terminal_gets_lines(environment: Mapping[str, str]) -> None:
    """No control codes are sent to a terminal that has none."""
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
