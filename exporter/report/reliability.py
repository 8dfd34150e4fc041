"""The reliability diagram: how often the model is right, by how sure it says it is.

In: bins. Out: what the template draws. No errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.report.drawing import Scale, percent

if TYPE_CHECKING:
    from trainer.metrics import Bin

SIZE, LEFT, BOTTOM, EDGE = 340, 44, 44, 10  # user units of the drawing and its margins
ACROSS = Scale(0.0, 1.0, LEFT, SIZE - EDGE)
UP = Scale(0.0, 1.0, SIZE - BOTTOM, EDGE)


@dataclass(frozen=True)
class Bar:
    """One bin as it is drawn.

    Attributes:
        x: left edge.
        y: top.
        width: in user units.
        height: in user units.
        expected: height at which it would be calibrated.
        text: what it shows, in words.
    """

    x: float
    y: float
    width: float
    height: float
    expected: float
    text: str


def draw_reliability(bins: tuple[Bin, ...]) -> tuple[Bar, ...]:
    """Draw the bins that hold rows."""
    return tuple(_bar(each) for each in bins if each.rows)


def _bar(each: Bin) -> Bar:
    x, y = ACROSS.place(each.low), UP.place(each.accuracy)
    return Bar(
        x=x + 1,
        y=y,
        width=round(ACROSS.place(each.high) - x - 2, 1),
        height=round(UP.place(0.0) - y, 1),
        expected=UP.place(each.confidence),
        text=(
            f"{percent(each.low)} to {percent(each.high)}: {each.rows:,} rows, "
            f"{percent(each.accuracy)} right, {percent(each.confidence)} sure"
        ),
    )
