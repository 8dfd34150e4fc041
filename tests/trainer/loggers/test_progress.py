from __future__ import annotations

import itertools
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from terminals import read_all

from trainer.checkpoint.state import Epoch
from trainer.evaluation.metrics import Scores
from trainer.loggers.progress import (
    Throughput,
    describe_overfitting,
    format_throughput,
    show_progress,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        "epoch 1/2  train loss 0.3750  test loss 0.1000  test accuracy 98.5%  #, #",
        "epoch 2/2  train loss 0.3750  test loss 0.1000  test accuracy 98.5%  #",
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
            "epoch 5/9  train loss 0.3750  test loss 0.1000  test accuracy 98.5%  #, at most #  "
            "validation loss 0.5000 (best epoch 3, patience 2/3)"
        ),
        (
            "epoch 9/9  train loss 0.3750  test loss 0.1000  test accuracy 98.5%  #  "
            "validation loss 0.5000 (best epoch 3)"
        ),
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
    drawn = read_all(ours).decode()
    assert done.stdout == b""
    assert "2/2" in drawn
    assert "train loss 0.2500  test loss 0.1000  test accuracy 87.5%" in drawn
    assert "\x1b[" in drawn


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, "train loss 0.2500  test loss 0.1000  test accuracy 87.5%"),
        (60, "train loss 0.2500  test loss 0.1000"),
        (30, "train loss 0.2500"),
    ],
)
def test_a_narrow_terminal_shows_whole_words(
    environment: Mapping[str, str], width: int, shown: str
) -> None:
    """A bar and the most important metrics, as many as fit; none is cut."""
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", ON_A_TERMINAL],
        stderr=theirs,
        env={**environment, "TERM": "xterm", "COLUMNS": str(width)},
        check=True,
    )
    os.close(theirs)
    drawn = read_all(ours).decode()
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn).split("\r")[-2].rstrip("\n")
    assert len(last) <= width
    assert re.fullmatch(rf"epoch 2/2 +━+ +{re.escape(shown)} *", last)


def rising(epochs: int, lowest: int, slope: float) -> list[Epoch]:
    """Epochs whose test loss falls to 0.5 at an epoch, counted from 1, and rises after it."""
    found: list[Epoch] = []
    for index in range(epochs):
        away = index + 1 - lowest
        loss = 0.5 + (slope * away if away > 0 else -0.01 * away)
        epoch = replace(FIRST, index=index, epochs=epochs, test_loss=loss)
        found.append(epoch.after(found[-1] if found else None))
    return found


def test_a_test_loss_that_rises_for_long_is_one_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the epoch to stop at, once; neither a plateau nor a single peak is one."""
    with show_progress(200) as report:
        for epoch in rising(200, lowest=104, slope=0.002):
            report(epoch)
    found = [line for line in capsys.readouterr().err.splitlines() if "lowest" in line]
    assert len(found) == 1
    assert found[0] == (
        "the test loss was lowest at epoch 104 (0.5000) and has risen since (0.6020 at epoch 155): "
        "stop at epochs=104, or select the best epoch with validation=0.1"
    )
    few = replace(rising(200, lowest=104, slope=0.002)[-1], rows=199)
    assert describe_overfitting(few).endswith("stop at epochs=104")
    assert not any(epoch.is_overfitting for epoch in rising(200, lowest=104, slope=0.0001))
    assert not any(epoch.is_overfitting for epoch in rising(200, lowest=170, slope=0.01))
    *_, plateau = rising(190, lowest=100, slope=0.0001)
    peak = replace(plateau, index=190, test_loss=0.9).after(plateau)
    assert not peak.is_overfitting
    validated = replace(rising(200, lowest=104, slope=0.002)[-1], validation=Scores(0.5, 0.75))
    assert not validated.is_overfitting  # its model is that of the best epoch


def test_a_dumb_terminal_gets_lines(environment: Mapping[str, str]) -> None:
    """No control codes are sent to a terminal that has none."""
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", ON_A_TERMINAL],
        stderr=theirs,
        env={**environment, "TERM": "dumb", "COLUMNS": "120"},
        check=True,
    )
    os.close(theirs)
    drawn = read_all(ours).decode()
    assert len(drawn.splitlines()) == 2
    assert "\x1b" not in drawn
