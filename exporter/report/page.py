"""Render the report of a bundle."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from exporter.report import drawing, regions
from exporter.report.columns import describe_columns
from exporter.report.drawing import (
    count_fitting,
    format_number,
    format_percent,
    format_share,
    truncate_middle,
)
from exporter.report.evaluation import evaluate_test_rows
from exporter.report.regions import draw_regions
from runtime.bundle.manifest import REPORT
from runtime.monitoring.accuracy import Interval, wilson_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter.parity.cells import Cell
    from exporter.parity.report import Report
    from runtime.bundle.manifest import Manifest, Scalar
    from runtime.schema.features import Float32Matrix
    from runtime.session import Outputs
    from trainer.data.dataset import LabelledRows

LISTED = 12  # names before a list is collapsed
_METRICS = {
    "accuracy": "test accuracy",
    "loss": "training loss",
    "test_loss": "test loss",
    "epochs": "epochs",
    "best_epoch": "best epoch",
    "validation_loss": "validation loss",
    "validation_accuracy": "validation accuracy",
}


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
    cells: tuple[HeatCell, ...]  # one per batch size


def backend_rows(report: Report) -> tuple[BackendRow, ...]:
    """Return one row per backend, in the order of the proof."""
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
        f"{cell.undecidable:,} rows undecidable, "
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


@dataclass(frozen=True)
class ReportData:
    """A bundle, its proof, and rows to show it on."""

    manifest: Manifest  # as stored, without the page itself among its files
    report: Report
    run: Callable[[Float32Matrix], Outputs]  # the served model, from (rows, n_features) float32
    train: LabelledRows | None
    test: LabelledRows | None
    fills: Mapping[str, float] = field(default_factory=dict)  # of imputed columns, by name


def render_report(data: ReportData) -> bytes:
    """Render the page as HTML in UTF-8."""
    environment = Environment(
        loader=PackageLoader("exporter.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        truncate_middle=truncate_middle,
        count_fitting=count_fitting,
        number=format_number,
        percent=format_percent,
        share=format_share,
        plain=_format_option,
    )
    schema = data.manifest.schema
    page = environment.get_template(REPORT).render(
        manifest=data.manifest,
        report=data.report,
        backend_rows=backend_rows(data.report),
        plane=draw_regions(schema, data.run, data.train),
        tested=evaluate_test_rows(schema.classes, data.run, data.test, data.train),
        columns=describe_columns(data.manifest, data.train, data.fills),
        trained=_describe_training(data.manifest.training),
        stored_accuracy=_stored_accuracy(data.manifest.training),
        regions=regions,
        diagram=drawing,
        listed=LISTED,
    )
    return page.encode()


def _format_option(value: Scalar) -> str:
    """Format the value of an option as a word or number."""
    if value is None or isinstance(value, bool):
        return "yes" if value else "none" if value is None else "no"
    return format_number(value) if isinstance(value, float) else str(value)


def _describe_training(training: Mapping[str, float]) -> list[str]:
    """Write the trainer's metrics as parts of a sentence."""
    return [
        f"{_METRICS.get(name, name)} "
        f"{format_percent(value) if name.endswith('accuracy') else format_number(value)}"
        for name, value in training.items()
        if not name.endswith("_rows")
    ]


def _stored_accuracy(training: dict[str, float]) -> Interval | None:
    """Return the accuracy that the trainer measured, with its interval."""
    accuracy, rows = training.get("accuracy"), int(training.get("test_rows", 0))
    return None if accuracy is None or not rows else wilson_interval(round(accuracy * rows), rows)
