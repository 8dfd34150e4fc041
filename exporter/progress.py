"""The progress of an export or a verification, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["loading", "converting", "drawing rows", "proving", "checking", "reporting"]


@dataclass(frozen=True)
class Progress:
    """The progress of a stage; a step of ``proving`` is a chunk of rows in one cell.

    Attributes:
        stage: what is being done.
        done: steps.
        total: all steps of the stage; 0 where they are not counted.
        backend: that ran last, in ``proving``; else empty.
        batch: its batch size.
    """

    stage: Stage
    done: int = 0
    total: int = 0
    backend: str = ""
    batch: int = 0


OnProgress = Callable[[Progress], None]


def begin(stage: Stage, on_progress: OnProgress | None) -> None:
    """Report that a stage begins, if anyone listens."""
    if on_progress:
        on_progress(Progress(stage))
