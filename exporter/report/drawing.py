"""Numbers to places on a drawing, and numbers to text.

In: values. Out: coordinates in user units, tick values, text of few digits. No errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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


def percent(share: float | None) -> str:
    """Write a share as a percentage with one digit after the point."""
    return NOTHING if share is None or math.isnan(share) else f"{100 * share:.1f} %"
