"""Render the page: one HTML file that loads nothing, the same bytes for the same data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from exporter.report import evaluation_section, regions
from exporter.report.drawing import count_fitting, format_number, format_percent, truncate_middle
from exporter.report.evaluation_section import evaluate_test_rows
from exporter.report.proof_section import backend_rows
from exporter.report.regions import draw_regions
from runtime.bundle.manifest import REPORT
from runtime.monitoring.accuracy import Interval, wilson_interval
from runtime.schema.dates import format_instant

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.parity.report import Report
    from exporter.source.candidate import LabelledRows
    from runtime.bundle.manifest import Manifest
    from runtime.schema.features import Feature, Float32Matrix
    from runtime.session import Outputs

LISTED = 12  # names before a list is collapsed


@dataclass(frozen=True)
class ReportData:
    """A bundle, its proof, and rows to show it on."""

    manifest: Manifest  # as stored, without the page itself among its files
    report: Report
    run: Callable[[Float32Matrix], Outputs]  # the served model, from (rows, n_features) float32
    train: LabelledRows | None
    test: LabelledRows | None


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
    )
    schema = data.manifest.schema
    page = environment.get_template(REPORT).render(
        manifest=data.manifest,
        report=data.report,
        backend_rows=backend_rows(data.report),
        plane=draw_regions(schema, data.run, data.train),
        tested=evaluate_test_rows(schema.classes, data.run, data.test),
        stored_accuracy=_stored_accuracy(data.manifest.training),
        regions=regions,
        diagram=evaluation_section,
        listed=LISTED,
        format_value=_format_value,
    )
    return page.encode()


def _format_value(feature: Feature, value: float) -> str:
    """Format a value of a column; one of a date column as a date."""
    return format_instant(value, feature.origin) if feature.origin else format_number(value)


def _stored_accuracy(training: dict[str, float]) -> Interval | None:
    """Return the accuracy that the trainer measured, with its interval."""
    accuracy, rows = training.get("accuracy"), int(training.get("test_rows", 0))
    return None if accuracy is None or not rows else wilson_interval(round(accuracy * rows), rows)
