"""Numbers to places on a drawing, and numbers to text.

In: values. Out: coordinates in user units, tick values, text of few digits. No errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PARAGRAPH = 170  # characters of a list of names, about four lines of a telephone
_STEPS = (1, 2, 2.5, 5, 10)
_TICKS = 5
NOTHING = "\N{EM DASH}"  # for what has no value


@dataclass(frozen=True)
class Scale:
    """A linear scale.

    Attributes:
        low: value at ``start``.
        high: value at ``end``, another than ``low``.
        start: coordinate.
        end: coordinate.
    """

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Coordinate of a value, with a tenth of a unit."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> tuple[float, ...]:
        """About five round values between the ends."""
        raw = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * each for each in _STEPS if power * each >= raw * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(number * step for number in range(first, last + 1))


def widen(low: float, high: float, share: float) -> tuple[float, float]:
    """Push the ends of a range apart by a share of its width; a point gets a width."""
    width = (high - low) or abs(low) or 1.0
    return low - share * width, high + share * width


def short(value: float) -> str:
    """Write a number with at most four significant digits."""
    if math.isnan(value):
        return NOTHING
    text = f"{value:.4g}"
    return "0" if text == "-0" else text


def brief(text: str, most: int) -> str:
    """Cut text to so many characters: its middle, as names often differ at their end."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 1].rstrip()}…{text[-tail:].lstrip()}"


def fitting(names: Sequence[str], most: int, longest: int) -> int:
    """Count the names that fit some lines of a telephone.

    Args:
        names: to be listed, each cut to ``longest``.
        most: names at most.
        longest: characters of a name.

    Returns:
        How many of the first; one at least, where there is one.
    """
    lengths = accumulate(min(len(name), longest) + 2 for name in names[:most])
    return max(sum(length <= _PARAGRAPH for length in lengths), 1)


def percent(share: float | None) -> str:
    """Write a share as a percentage with one digit after the point."""
    return NOTHING if share is None or math.isnan(share) else f"{100 * share:.1f} %"
