"""Put the page together.

In: the evidence. Out: one HTML file that loads nothing, the same bytes for the same evidence. No
errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from exporter.report import regions, reliability
from exporter.report.drawing import brief, fitting, percent, short
from exporter.report.proven import draw_lines
from exporter.report.regions import draw_regions
from exporter.report.reliability import draw_reliability
from exporter.report.tested import judge_test_rows
from runtime.bundle.manifest import REPORT
from runtime.monitoring.accuracy import Interval, wilson_interval
from runtime.schema.dates import format_instant

if TYPE_CHECKING:
    from exporter.report.evidence import Evidence
    from runtime.schema.features import Feature

LISTED = 12  # names before a list is folded


def render_report(evidence: Evidence) -> bytes:
    """Write the page.

    Args:
        evidence: a bundle, its proof and rows to show it on.

    Returns:
        HTML in UTF-8.
    """
    environment = Environment(
        loader=PackageLoader("exporter.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(brief=brief, fitting=fitting, short=short, percent=percent)
    tested = judge_test_rows(evidence)
    page = environment.get_template(REPORT).render(
        manifest=evidence.manifest,
        report=evidence.report,
        lines=draw_lines(evidence.report),
        plane=draw_regions(evidence),
        tested=tested,
        stored_accuracy=_stored_accuracy(evidence.manifest.training),
        bars=draw_reliability(tested.bins) if tested else (),
        regions=regions,
        diagram=reliability,
        listed=LISTED,
        show=_show,
    )
    return page.encode()


def _show(feature: Feature, value: float) -> str:
    """Write a value of a column, of dates as a date."""
    return format_instant(value, feature.origin) if feature.origin else short(value)


def _stored_accuracy(training: dict[str, float]) -> Interval | None:
    """The accuracy that the trainer measured, with its interval."""
    accuracy, rows = training.get("accuracy"), int(training.get("test_rows", 0))
    return None if accuracy is None or not rows else wilson_interval(round(accuracy * rows), rows)
