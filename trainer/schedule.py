"""Learning rate schedules, written in one line of text.

constant               the same in every epoch
linear                 from the initial rate down to 1/epochs of it in the last epoch
cosine                 likewise, along half a cosine (Loshchilov and Hutter, SGDR, 2017, eq. 5)
step:EVERY:FACTOR      multiplied by FACTOR after every EVERY epochs
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from runtime.errors import UsageError

Factor = Callable[[int, int], float]  # of an epoch, from 0, and the number of epochs

GRAMMAR = "constant, linear, cosine or step:EVERY:FACTOR, for example step:30:0.1"
_BY_NAME: dict[str, Factor] = {
    "constant": lambda _epoch, _epochs: 1.0,
    "linear": lambda epoch, epochs: 1 - epoch / epochs,
    "cosine": lambda epoch, epochs: (1 + math.cos(math.pi * epoch / epochs)) / 2,
}


def parse_schedule(text: str) -> Factor:
    """Parse a schedule into the factor that an epoch applies to the initial learning rate."""
    if text in _BY_NAME:
        return _BY_NAME[text]
    kind, *numbers = text.split(":")
    try:
        every, factor = int(numbers[0]), float(numbers[1])
        is_step = kind == "step" and len(numbers) == 2  # noqa: PLR2004 - EVERY and FACTOR
        if is_step and every >= 1 and 0 < factor <= 1:
            return lambda epoch, _: factor ** (epoch // every)
    except (IndexError, ValueError):
        pass
    raise UsageError(
        f"{text!r} is not a schedule: use {GRAMMAR} (EVERY at least 1, FACTOR above 0, at most 1)"
    )


def learning_rate_at(initial: float, schedule: str, epoch: int, epochs: int) -> float:
    """Compute the learning rate of an epoch, counted from 0."""
    return initial * parse_schedule(schedule)(epoch, epochs)


@cache
def evenly_spaced(epochs: int, count: int) -> frozenset[int]:
    """Return up to ``count`` epochs, from 0, with the first and the last among them.

    It depends on nothing else, so a resumed fit has the same.
    """
    return frozenset((epochs - 1) * part // (count - 1) for part in range(count))


def grows_by_a_fifth(epoch: int) -> bool:
    """Return whether an epoch, from 0, is a fifth later than the last such."""
    return math.floor(math.log(epoch + 2, 1.2)) > math.floor(math.log(epoch + 1, 1.2))
