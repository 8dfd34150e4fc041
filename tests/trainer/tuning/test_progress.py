"""The trials of a search while they run: few lines, or a bar that fits the terminal."""

from __future__ import annotations

import os
import pty
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from terminals import read_all

from trainer.checkpoint.trials import FoldScore
from trainer.tuning.budget import Budget
from trainer.tuning.progress import show_trials
from trainer.tuning.search import TuningStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

FIRST = TuningStatus(
    trial=0, fold=0, epoch=3, epochs=40, best=None, seconds=1.0, fits=0.0, planned=20
)


def ended(at: int, seconds: float, **result: Any) -> TuningStatus:  # noqa: ANN401 - of a score
    """A trial that has ended, after so many seconds of the search."""
    score = replace(FoldScore(0, "complete", 40, 0.5, 0.8), **result)
    return replace(FIRST, trial=at, seconds=seconds, score=score, best=0.4 if at else None)


def logged(
    capsys: pytest.CaptureFixture[str], budget: Budget, statuses: Iterable[TuningStatus]
) -> list[str]:
    with show_trials(budget) as on_progress:
        for status in statuses:
            on_progress(status)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def numbers(lines: list[str]) -> list[int]:
    return [int(line.split()[1].partition("/")[0]) for line in lines]


@pytest.mark.parametrize(
    ("n_trials", "interval_s", "shown"),
    [
        (1000, 0.1, range(40, 1001, 40)),
        (990, 0.1, [*range(40, 990, 40), 990]),
        (100, 1.0, range(4, 101, 4)),
        (12, 4.0, range(1, 13)),
        (5, 20.0, range(1, 6)),
        (1, 500.0, [1]),  # the first is completed in any case
    ],
)
def test_lines_are_spread_over_the_seconds(
    n_trials: int,
    interval_s: float,
    shown: Iterable[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A line in each 25th of 100 seconds, as far as trials end in it, and one for the last."""
    statuses = [ended(at, (at + 1) * interval_s) for at in range(n_trials)]
    lines = logged(capsys, Budget(seconds=100.0), statuses)
    assert numbers(lines) == [*shown]
    assert len(lines) <= 25


@pytest.mark.parametrize(
    ("n_trials", "shown"),
    [
        (3, [1, 2, 3]),
        (25, range(1, 26)),
        (26, range(2, 27, 2)),
        (49, [*range(2, 49, 2), 49]),
        (174, [*range(7, 174, 7), 174]),
    ],
)
def test_lines_are_spread_over_the_trials(
    n_trials: int, shown: Iterable[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them up to 25; of more, every second one and so on, and the last."""
    statuses = [ended(at, 1.0) for at in range(n_trials)]
    lines = logged(capsys, Budget(trials=n_trials), statuses)
    assert numbers(lines) == [*shown]
    assert len(lines) <= 25


def test_a_line_has_the_result_of_a_trial(capsys: pytest.CaptureFixture[str]) -> None:
    """And the lowest loss before it; a trial under way, or being confirmed, has no line."""
    statuses = [
        FIRST,
        ended(0, 1.0),
        ended(1, 2.0, end="stopped", epochs=5),
        ended(2, 3.0, end="stopped", epochs=1),
        ended(3, 4.0, end="failed", epochs=1, loss=None),
        ended(4, 5.0, end="failed", epochs=0, loss=None),
        replace(ended(4, 6.0), fold=1),
    ]
    assert logged(capsys, Budget(trials=20), statuses) == [
        "trial 1/20  log loss 0.5000",
        "trial 2/20  log loss 0.5000, stopped after 5 epochs  (lowest before: 0.4000)",
        "trial 3/20  log loss 0.5000, stopped after 1 epoch  (lowest before: 0.4000)",
        "trial 4/20  failed after 1 epoch  (lowest before: 0.4000)",
        "trial 5/20  failed after 0 epochs  (lowest before: 0.4000)",
    ]


def drawn(monkeypatch: pytest.MonkeyPatch, width: int, budget: Budget, status: TuningStatus) -> str:
    """Draw the bar on a terminal, and return its last frame."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        with show_trials(budget) as on_progress:
            on_progress(status)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", read_all(ours).decode())
    frames = [frame for line in text.split("\n") for frame in line.split("\r") if frame.strip()]
    assert all(len(frame) <= width for frame in frames)
    return frames[-1]


LONG = replace(FIRST, trial=12, epoch=13, best=0.8007)
CONFIRMED = replace(LONG, fold=1)


@pytest.mark.parametrize(
    ("width", "status", "shown"),
    [
        (26, LONG, "trial 13/20"),
        (40, LONG, "trial 13/20"),
        (40, CONFIRMED, "trial 13/20, fold 2"),
        (60, LONG, "trial 13/20, lowest log loss 0.8007"),
        (60, CONFIRMED, "trial 13/20, fold 2, lowest log loss 0.8007"),
        (80, LONG, "trial 13/20, lowest log loss 0.8007, epoch 13/40"),
        (80, CONFIRMED, "trial 13/20, fold 2, lowest log loss 0.8007, epoch 13/40"),
        (120, CONFIRMED, "trial 13/20, fold 2, lowest log loss 0.8007, epoch 13/40"),
    ],
)
def test_the_bar_fits_the_terminal(
    width: int, status: TuningStatus, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar and the clock in any case, and of the words as many as fit; none is cut."""
    last = drawn(monkeypatch, width, Budget(trials=20), status)
    found = re.fullmatch(rf"([━╸╺ ]+) {re.escape(shown)} 0:00:0\d *", last)
    assert found, last
    room = width - len(shown) - len(" 0:00:00 ")
    assert min(20, room - 1) <= len(found[1]) <= 20


def test_the_bar_of_seconds_names_no_total(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many trials there will be is not known."""
    assert " trial 13, lowest log loss 0.8007, " in drawn(
        monkeypatch, 80, Budget(seconds=60.0), LONG
    )


@pytest.mark.parametrize(
    ("width", "seconds", "clock"),
    [(26, 36_000, "10:00:00"), (32, 93_600, "1 day, 2:00:00")],
)
def test_the_clock_of_a_long_search_is_not_cut(
    width: int, seconds: int, clock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ten hours, or a day, it is wider."""
    monkeypatch.setattr("rich.progress.Task.elapsed", property(lambda _task: seconds))
    last = drawn(monkeypatch, width, Budget(trials=20), LONG)
    assert re.fullmatch(rf"[━╸╺ ]{{5}} trial 13/20 {clock}", last), last
