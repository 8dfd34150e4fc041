"""The proof as bars and as a heat map.

In: the report of the matrix. Out: what the template draws. No errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.proof.cells import Cell
    from exporter.proof.parity import Report


@dataclass(frozen=True)
class Square:
    """One contender at one batch size.

    Attributes:
        text: worst error over its bound.
        level: the same for the colour, 0 to 1.
        detail: everything that was found, in words.
    """

    text: str
    level: float
    detail: str


@dataclass(frozen=True)
class Line:
    """One contender.

    Attributes:
        name: as in the proof.
        worst: error over its bound, over all batch sizes.
        level: the same, 0 to 1.
        squares: one a batch size.
    """

    name: str
    worst: str
    level: float
    squares: tuple[Square, ...]


def draw_lines(report: Report) -> tuple[Line, ...]:
    """One line a contender, in the order of the proof."""
    lines = []
    for name in report.contenders:
        cells = [report.cell(name, batch) for batch in report.batches]
        worst = max(cell.worst_error_over_bound for cell in cells)
        squares = tuple(_square(cell) for cell in cells)
        lines.append(Line(name, _ratio(worst), _level(worst), squares))
    return tuple(lines)


def _square(cell: Cell) -> Square:
    rows = f"{cell.contender}, batches of {cell.batch:,}: {cell.rows:,} rows"
    worst = (
        f"worst error {_ratio(cell.worst_error_over_bound)} of its limit, "
        f"{cell.worst_ulps:,} float32 steps"
    )
    counts = (
        f"{cell.label_disagreements} labels other than the exact one, "
        f"{cell.undecidable} rows undecidable, {cell.special_mismatches} NaN or infinity astray"
    )
    facts = [rows, worst, counts]
    if cell.bit_equal_to:
        facts.append(f"the same bits as {', '.join(cell.bit_equal_to)}")
    if not cell.rows:
        return Square("no rows", 0.0, rows)
    return Square(
        _ratio(cell.worst_error_over_bound),
        _level(cell.worst_error_over_bound),
        "; ".join(facts),
    )


def _ratio(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "∞"


def _level(value: float) -> float:
    return round(min(value, 1.0), 3) if math.isfinite(value) else 1.0
