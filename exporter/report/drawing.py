"""Scales from values to coordinates, and short text for numbers and names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from runtime.printable import format_number as written_number

if TYPE_CHECKING:
    from collections.abc import Sequence

_PARAGRAPH = 170  # characters of a list of names, about four lines on a phone
_STEPS = (1, 2, 2.5, 5, 10)
_TICKS = 5
_DIGITS = 4
NO_VALUE = "\N{EM DASH}"


@dataclass(frozen=True)
class Scale:
    """A linear scale, from ``low`` at coordinate ``start`` to ``high`` at ``end``."""

    low: float
    high: float
    start: float
    end: float

    def position(self, value: float) -> float:
        """Return the coordinate of a value, rounded to a tenth of a unit."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> tuple[float, ...]:
        """Return about five round values between the ends."""
        raw = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * each for each in _STEPS if power * each >= raw * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(number * step for number in range(first, last + 1))


# Diagrams of shares from 0 to 1 on both axes, in user units, with their margins.
SIZE, LEFT, BOTTOM, EDGE = 340, 56, 46, 10
UNIT_X = Scale(0.0, 1.0, LEFT, SIZE - EDGE)
UNIT_Y = Scale(0.0, 1.0, SIZE - BOTTOM, EDGE)


def widen(low: float, high: float, share: float) -> tuple[float, float]:
    """Widen a range on both sides by a share of its width; a point gets a width."""
    width = (high - low) or abs(low) or 1.0
    return low - share * width, high + share * width


def format_number(value: float) -> str:
    """Format a number with about four significant digits."""
    return NO_VALUE if math.isnan(value) else written_number(value, _DIGITS)


def truncate_middle(text: str, limit: int) -> str:
    """Truncate text in its middle, as names often differ at their end."""
    if len(text) <= limit:
        return text
    tail = limit // 3
    return f"{text[: limit - tail - 1].rstrip()}…{text[-tail:].lstrip()}"


def count_fitting(names: Sequence[str], limit: int, longest: int) -> int:
    """Count the names, each cut to ``longest``, that fit a paragraph; at most ``limit``."""
    lengths = accumulate(min(len(name), longest) + 2 for name in names[:limit])
    return max(sum(length <= _PARAGRAPH for length in lengths), 1)


def format_percent(share: float | None) -> str:
    """Format a share as a percentage with one decimal, 100 % only if exact."""
    if share is None or math.isnan(share):
        return NO_VALUE
    text = f"{100 * share:.1f} %"
    return "99.9 %" if text == "100.0 %" and share < 1 else text


def format_share(share: float | None) -> str:
    """Format a share, such as an area under a curve, with three decimals or, near 1, four."""
    if share is None or math.isnan(share):
        return NO_VALUE
    text = f"{share:.3f}"
    return f"{min(share, 0.9999):.4f}" if text == "1.000" and share < 1 else text
