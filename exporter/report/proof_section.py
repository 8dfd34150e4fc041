"""The proof section: worst errors as bars and as a heat map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.parity.cells import Cell
    from exporter.parity.report import Report


@dataclass(frozen=True)
class HeatCell:
    """One backend at one batch size."""

    text: str  # worst error over its bound
    level: float  # the same for the colour, 0 to 1
    detail: str  # all figures, in words


@dataclass(frozen=True)
class BackendRow:
    """One backend, over all batch sizes."""

    name: str
    worst: str  # error over its bound
    level: float  # the same, 0 to 1
    cells: tuple[HeatCell, ...]  # one a batch size


def backend_rows(report: Report) -> tuple[BackendRow, ...]:
    """Return one row a backend, in the order of the proof."""
    rows = []
    for name in report.backends:
        cells = [report.cell(name, batch) for batch in report.batches]
        worst = max(cell.worst_error_over_bound for cell in cells)
        heat_cells = tuple(_heat_cell(cell) for cell in cells)
        rows.append(BackendRow(name, _ratio(worst), _level(worst), heat_cells))
    return tuple(rows)


def _heat_cell(cell: Cell) -> HeatCell:
    rows = f"{cell.backend}, batches of {cell.batch:,}: {cell.rows:,} rows"
    worst = (
        f"worst error {_ratio(cell.worst_error_over_bound)} of its limit, "
        f"{cell.worst_ulps:,} float32 steps"
    )
    counts = (
        f"{cell.label_disagreements} labels differ from the exact one, "
        f"{cell.undecidable} rows undecidable, "
        f"{cell.special_mismatches} mismatched NaN or infinities"
    )
    facts = [rows, worst, counts]
    if cell.bit_equal_to:
        facts.append(f"bit-identical to {', '.join(cell.bit_equal_to)}")
    if not cell.rows:
        return HeatCell("no rows", 0.0, rows)
    return HeatCell(
        _ratio(cell.worst_error_over_bound),
        _level(cell.worst_error_over_bound),
        "; ".join(facts),
    )


def _ratio(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "∞"


def _level(value: float) -> float:
    return round(min(value, 1.0), 3) if math.isfinite(value) else 1.0
