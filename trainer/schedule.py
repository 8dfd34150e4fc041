"""How the learning rate changes from epoch to epoch, in one line of text.

    constant               the same in every epoch
    linear                 from the given rate down to a part of it in the last epoch
    cosine                 likewise, along half a cosine
    step:EVERY:FACTOR      times FACTOR after every EVERY epochs

In: the text. Out: the rate of an epoch, a function of its number alone; or a ``UsageError``.
Loshchilov and Hutter, SGDR (2017), equation 5, is the cosine without restarts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from runtime.errors import UsageError

Factor = Callable[[int, int], float]  # of an epoch, from 0, and the number of epochs

GRAMMAR = "constant, linear, cosine or step:EVERY:FACTOR, for example step:30:0.1"


def parse_schedule(text: str) -> Factor:
    """Read a schedule.

    Args:
        text: as in the module's table.

    Returns:
        What the learning rate is multiplied with in an epoch.

    Raises:
        UsageError: when it is none.
    """
    if text in _SIMPLE:
        return _SIMPLE[text]
    kind, *numbers = text.split(":")
    try:
        every, factor = int(numbers[0]), float(numbers[1])
        known = kind == "step" and len(numbers) == 2  # noqa: PLR2004 - EVERY and FACTOR
        if known and every >= 1 and 0 < factor <= 1:
            return lambda epoch, _: factor ** (epoch // every)
    except (IndexError, ValueError):
        pass
    raise UsageError(f"{text!r} is no schedule: give {GRAMMAR} (EVERY from 1, FACTOR to 1)")


def rate_of(learning_rate: float, schedule: str, epoch: int, epochs: int) -> float:
    """Find the learning rate of an epoch.

    Args:
        learning_rate: of the first epoch.
        schedule: as in the module's table.
        epoch: from 0.
        epochs: how many there will be.

    Returns:
        The rate.
    """
    return learning_rate * parse_schedule(schedule)(epoch, epochs)


_SIMPLE: dict[str, Factor] = {
    "constant": lambda _epoch, _epochs: 1.0,
    "linear": lambda epoch, epochs: 1 - epoch / epochs,
    "cosine": lambda epoch, epochs: (1 + math.cos(math.pi * epoch / epochs)) / 2,
}
