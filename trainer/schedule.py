"""Learning rate schedules, written in one line of text.

constant               the same in every epoch
linear                 from the learning rate down to 1/epochs of it in the last epoch
cosine                 likewise, along half a cosine (Loshchilov and Hutter, SGDR, 2017, eq. 5)
step:EVERY:FACTOR      multiplied by FACTOR after every EVERY epochs
warmup-cosine:SHARE    from step to step: up to the learning rate, in this share of all steps, then
                       down along half a cosine
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

GRAMMAR = (
    "constant, linear, cosine, warmup-cosine:SHARE, for example warmup-cosine:0.1, or "
    "step:EVERY:FACTOR, for example step:30:0.1"
)


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes.

    Attributes:
        factor: of the learning rate, for a number of epochs, or of steps, from 0, of how many.
        is_by_step: whether it counts steps.
    """

    factor: Callable[[int, int], float]
    is_by_step: bool = False


@dataclass(frozen=True)
class Position:
    """A step of a fit.

    Attributes:
        epoch: from 0.
        step: in its epoch, from 0.
        epochs: of the fit.
        steps: of an epoch.
    """

    epoch: int
    step: int
    epochs: int
    steps: int


def _cosine(done: float, whole: float) -> float:
    return (1 + math.cos(math.pi * done / whole)) / 2


_BY_NAME: dict[str, Schedule] = {
    "constant": Schedule(lambda _epoch, _epochs: 1.0),
    "linear": Schedule(lambda epoch, epochs: 1 - epoch / epochs),
    "cosine": Schedule(_cosine),
}


def parse_schedule(text: str) -> Schedule:
    """Parse a schedule."""
    if text in _BY_NAME:
        return _BY_NAME[text]
    kind, *numbers = text.split(":")
    try:
        if kind == "step" and len(numbers) == 2:  # noqa: PLR2004 - EVERY and FACTOR
            every, factor = int(numbers[0]), float(numbers[1])
            if every >= 1 and 0 < factor <= 1:
                return Schedule(lambda epoch, _: factor ** (epoch // every))
        if kind == "warmup-cosine" and len(numbers) == 1 and 0 <= float(numbers[0]) < 1:
            return Schedule(_warm_up(float(numbers[0])), is_by_step=True)
    except ValueError:
        pass
    raise UsageError(
        f"{text!r} is not a schedule: use {GRAMMAR} (EVERY at least 1, FACTOR above 0, at most 1, "
        "SHARE at least 0, below 1)"
    )


def _warm_up(share: float) -> Callable[[int, int], float]:
    """Rise linearly in a share of the steps, to 1 at the end of the last of them, then fall."""

    def factor(step: int, steps: int) -> float:
        warm = round(share * (steps - 1))  # one step is left to begin the descent with
        if step < warm:
            return (step + 1) / (warm + 1)
        return _cosine(step - warm, steps - warm)

    return factor


def learning_rates(initial: float, text: str, first: Position, count: int) -> list[float]:
    """Compute the learning rates of ``count`` steps of an epoch, from ``first`` on."""
    schedule = parse_schedule(text)
    if not schedule.is_by_step:
        return [initial * schedule.factor(first.epoch, first.epochs)] * count
    done, total = first.epoch * first.steps + first.step, first.epochs * first.steps
    return [initial * schedule.factor(step, total) for step in range(done, done + count)]


@cache
def evenly_spaced(epochs: int, count: int) -> frozenset[int]:
    """Return up to ``count`` epochs, from 0, with the first and the last among them.

    It depends on nothing else, so a resumed fit has the same.
    """
    return frozenset((epochs - 1) * part // (count - 1) for part in range(count))


def grows_by_a_fifth(epoch: int) -> bool:
    """Return whether an epoch, from 0, is a fifth later than the last such."""
    return math.floor(math.log(epoch + 2, 1.2)) > math.floor(math.log(epoch + 1, 1.2))
