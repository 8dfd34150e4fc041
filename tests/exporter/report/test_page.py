from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import sync_playwright

from exporter.report.drawing import (
    BOTTOM,
    EDGE,
    LEFT,
    SIZE,
    Scale,
    format_number,
    format_percent,
    format_share,
    truncate_middle,
    widen,
)
from exporter.report.evaluation import evaluate_test_rows
from exporter.report.page import ReportData, render_report
from exporter.report.regions import CELLS, draw_regions
from runtime.bundle.manifest import ONNX_MODEL
from runtime.bundle.reading import read_bundle
from runtime.schema.features import Date, Feature, OneHot, Schema
from runtime.session import Outputs, Session
from trainer.data.dataset import LabelledRows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from exporter.parity.report import Report
    from runtime.bundle.manifest import Manifest
    from runtime.schema.features import Float32Matrix
    from trainer.run import Run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
VOID = {"meta", "link", "br", "rect", "path", "img", "hr"}


class Page(HTMLParser):
    """Parses a page strictly: its tags must close, in order."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(content.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def lead(content: bytes) -> str:
    """The visible text of the first paragraph."""
    paragraph = content.decode().split("<p>Predicts", 1)[1].split("</p>", 1)[0]
    return re.sub(r"<[^>]*>", "", paragraph)


def test_long_names_are_cut_at_the_top_of_the_page(evidence: ReportData) -> None:
    """Long names are truncated; the full name is in the tooltip."""
    drawn_evidence = drawn(evidence, features=12, classes=12, rows=5)
    long = [f"a column whose name says everything about it, number {at}" * 3 for at in range(12)]
    schema = Schema("kind" * 50, tuple(Feature(name, 0, 1) for name in long), tuple(long))
    manifest = with_schema(evidence.manifest, schema)
    page = render_report(replace(drawn_evidence, manifest=manifest))
    assert len(lead(page)) < 450
    assert " and 6 more" in lead(page)
    attributes = Page(page).attributes
    for name in (*long[:6], "kind" * 50):
        assert ("title", name) in attributes


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("price", "price"),
        ("x" * 24, "x" * 24),
        ("turnover of branch number 17", "turnover of bra…umber 17"),
    ],
)
def test_the_middle_of_a_long_name_is_cut(text: str, shown: str) -> None:
    """Its end is kept, where names with a common beginning differ."""
    assert truncate_middle(text, 24) == shown


@pytest.fixture(scope="module")
def evidence(bundle: Path, run: Run, report: Report) -> ReportData:
    """The report's data of a real bundle."""
    opened = read_bundle(bundle)
    rows = run.rows
    return ReportData(
        manifest=opened.manifest,
        report=report,
        run=Session(opened.files[ONNX_MODEL], provider="cpu").run,
        train=LabelledRows(rows.train_features.numpy(), rows.train_labels.numpy()),
        test=LabelledRows(rows.test_features.numpy(), rows.test_labels.numpy()),
    )


def with_schema(manifest: Manifest, schema: Schema) -> Manifest:
    return msgspec.structs.replace(manifest, schema=schema)


def imagined(features: int, classes: int) -> tuple[Schema, Callable[[Float32Matrix], Outputs]]:
    """A schema, and a function that runs its rows."""
    schema = Schema(
        "kind",
        tuple(Feature(f"column {number}", -1, number) for number in range(features)),
        tuple(f"class {number}" for number in range(classes)),
    )

    def run(rows: Float32Matrix) -> Outputs:
        logits = np.cos(rows.sum(axis=1, keepdims=True) * np.arange(1, classes + 1))
        terms = np.exp(logits)
        probabilities = (terms / terms.sum(axis=1, keepdims=True)).astype(np.float32)
        return Outputs(logits.argmax(axis=1), probabilities, logits.astype(np.float32))

    return schema, run


def drawn(evidence: ReportData, features: int, classes: int, rows: int) -> ReportData:
    """The report's data of a synthetic model, with rows drawn for it."""
    schema, run = imagined(features, classes)
    generator = np.random.default_rng(1)
    labelled = LabelledRows(
        generator.normal(size=(rows, features)).astype(np.float32),
        generator.integers(0, classes, rows),
    )
    manifest = with_schema(evidence.manifest, schema)
    return ReportData(manifest, evidence.report, run, labelled, labelled)


# ---- The page -------------------------------------------------------------------------------


def test_the_page_is_in_the_bundle(bundle: Path, evidence: ReportData) -> None:
    """The page is in the manifest, and rendering is deterministic."""
    stored = read_bundle(bundle).files["report.html"]
    files = {name: file for name, file in evidence.manifest.files.items() if name != "report.html"}
    manifest = msgspec.structs.replace(evidence.manifest, files=files)
    again = ReportData(manifest, evidence.report, evidence.run, evidence.train, evidence.test)
    assert render_report(again) == stored


def test_the_page_loads_nothing(evidence: ReportData) -> None:
    """No scripts, URLs or external resources; the content security policy forbids them."""
    content = render_report(evidence).decode()
    assert "<script" not in content
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|<img|<iframe", content)
    assert "default-src 'none'; style-src 'unsafe-inline'" in content
    assert not [name for name, _ in Page(content.encode()).attributes if name.startswith("on")]
    assert len(content) < 400_000


def test_the_page_says_what_was_found(evidence: ReportData) -> None:
    """Verdict, figures of the proof, ranges, classes, hashes: all from the bundle itself."""
    text = " ".join(Page(render_report(evidence)).text.split())
    manifest, report = evidence.manifest, evidence.report
    for words in (
        f"{manifest.model.name} {manifest.model.version}",
        "✓ proven",
        f"{report.worst_error_over_bound:.3f} of its bound",
        f"{len(report.backends)} backends",
        f"{len(report.batches)} batch sizes",
        f"{report.rows:,}",
        "ROC",
        "Precision and recall",
        "the mean squared error of the probability of “yes”",
        "two classes lie closer together than the bound",
        "800 training rows and 200 test rows, drawn with seed 11",
        f"SHA-256 of all of them: {manifest.provenance.data_digest}",
        "Decision regions",
        "Confusion matrix",
        "Calibration",
        *(name for name in report.backends),
        *(file.sha256 for file in manifest.files.values()),
    ):
        assert words in text, words


def test_answer_quality_comes_before_the_proof(evidence: ReportData) -> None:
    """The many equal cells of the proof are one line, and folded."""
    page = render_report(evidence).decode()
    places = [page.index(f'id="{name}"') for name in ("answers", "card", "proof", "made")]
    assert places == sorted(places)
    proof = page[places[2] : places[3]]
    assert proof.index("<details>") < proof.index('<table class="heat">')
    assert f"All {len(evidence.report.cells)} runs" in proof


def test_columns_are_described_as_people_would(evidence: ReportData) -> None:
    """Categories with counts, dates, booleans, missing policies, columns that were left out."""
    categories = OneHot(("", "north", "south"), "other", rare=4)
    features = (
        Feature("income", 1200, 288207.25, missing="imputed"),
        Feature("region", 0, 1, one_hot=categories, shares=(0.05, 0.7, 0.2)),
        Feature("autopay", 0, 1, one_hot=OneHot(("false", "true")), shares=(0.25, 0.75)),
        Feature("signup", 0, 366, date=Date("2024-01-01")),
        Feature("country", 0, 1, one_hot=OneHot(("NL",)), shares=(1.0,)),
        Feature("pressure", 1e6, 1e6),
    )
    provenance = msgspec.structs.replace(
        evidence.manifest.provenance, left_out_columns={"id": "excluded by name"}
    )
    manifest = msgspec.structs.replace(
        with_schema(evidence.manifest, Schema("churn", features, ("no", "yes"))),
        provenance=provenance,
    )
    page = replace(evidence, manifest=manifest, train=None, test=None, fills={"income": 45187.6})
    text = " ".join(Page(render_report(page)).text.split())
    for words in (
        "income number 1,200 to 288,207 missing values: imputed with 45,188 (the mean)",
        "region categories north 560 (70.0 %), south 160 (20.0 %), (missing) 40 (5.0 %), ",
        "4 rare ones joined 40 (5.0 %)",
        "other categories count as none",
        "missing values: a category of its own",
        "autopay boolean true 600 (75.0 %), false 200 (25.0 %) missing values: refused",
        "signup date 2024-01-01 to 2025-01-01 missing values: refused",
        "NL 800 (100.0 %)",
        "constant: nothing to learn from it",
        "constant in float32: nothing to learn from it",
        "id left out excluded by name",
    ):
        assert words in text, words
    assert "e+0" not in text


def test_a_measured_tolerance_is_said_plainly(evidence: ReportData) -> None:
    """A measured tolerance is not called a proof."""
    report = msgspec.structs.replace(evidence.report, tolerance="measured")
    measured = ReportData(evidence.manifest, report, evidence.run, None, None)
    text = " ".join(Page(render_report(measured)).text.split())
    assert "≈ measured, not derived" in text
    assert "✓ proven" not in text
    assert "No error bound is known for this kind of network" in text
    assert "No test rows are available" in text
    assert "none, as no training rows are available" in text


@pytest.mark.parametrize(
    ("features", "classes", "rows"),
    [(2, 2, 1), (2, 9, 300), (1, 3, 50), (3, 5, 80), (200, 100, 300), (2, 2, 0)],
    ids=["one row", "nine classes", "one column", "three columns", "wide", "no rows"],
)
def test_every_shape_of_model_has_a_page(
    features: int, classes: int, rows: int, evidence: ReportData
) -> None:
    """Two features have a picture of their regions; a few classes have curves."""
    page = render_report(drawn(evidence, features, classes, rows))
    text = " ".join(Page(page).text.split())
    assert ("Decision regions" in text) == (features == 2)
    assert ("Precision and recall" in text) == (classes <= 6 and rows > 1)
    assert ("Confusion matrix" in text) == (classes <= 12 and rows > 0)
    assert len(page) < 600_000


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.text(min_size=1, max_size=60), min_size=4, max_size=4, unique=True))
@pytest.mark.slow
def test_names_are_text_whatever_is_in_them(evidence: ReportData, names: list[str]) -> None:
    """Column and class names never become markup."""
    names[0] = f"<script>alert(1)</script>{names[0]}"
    names[2] = f"\"'><b onload=x>{names[2]}"
    schema = Schema(
        "ki<nd", (Feature(names[0], 0, 1), Feature(names[1], 0, 1)), (names[2], names[3])
    )
    manifest = with_schema(evidence.manifest, schema)
    page = render_report(
        ReportData(manifest, evidence.report, evidence.run, evidence.train, evidence.test)
    )
    read = Page(page)
    assert b"<script" not in page
    assert b"<b onload" not in page
    assert not [name for name, _ in read.attributes if name.startswith("on")]


# ---- The figures ----------------------------------------------------------------------------


def test_rows_without_an_answer_are_counted_apart(evidence: ReportData) -> None:
    """Rows with NaN outputs are not counted in the metrics."""
    given_rows = drawn(evidence, 2, 2, 10)

    def run(features: Float32Matrix) -> Outputs:
        outputs = given_rows.run(features)
        if len(features) == 10:
            outputs.probabilities[:3] = np.nan
        return outputs

    partly = ReportData(given_rows.manifest, given_rows.report, run, None, given_rows.test)
    tested = evaluate_test_rows(partly.manifest.schema.classes, run, partly.test)
    assert tested is not None
    assert (tested.metrics.rows, tested.without_output) == (7, 3)
    assert "3 rows have no finite output" in render_report(partly).decode()


def test_regions_are_where_the_model_answers_them(evidence: ReportData) -> None:
    """The areas of all classes cover the plane once, each where its class is predicted."""
    data = drawn(evidence, 2, 3, 40)
    plane = draw_regions(data.manifest.schema, data.run, data.train)
    assert plane is not None
    filled = 0.0
    for _, _, path in plane.areas:
        for corners in re.findall(r"M([\d.]+) ([\d.]+)H([\d.]+)V([\d.]+)", path):
            left, top, right, bottom = map(float, corners)
            filled += (right - left) * (bottom - top)
    whole = (460 - 10 - 52) * (460 - 44 - 10)
    assert filled == pytest.approx(whole, rel=0.02)
    assert plane.shown == plane.total == 40
    assert CELLS == 150


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_on_the_axis(low: float, width: float) -> None:
    """A few round values, inside the ends."""
    scale = Scale(low, low + width, 0.0, 100.0)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 7
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in ticks)


def test_numbers_as_text() -> None:
    """Four digits, a percentage of one, a dash for what has no value; a point gets a range."""
    texts = [format_number(value) for value in (0.123456, 1234567.0, -0.0, float("nan"))]
    assert texts == ["0.1235", "1,234,567", "0", "\N{EM DASH}"]
    assert (format_percent(0.12345), format_percent(float("nan"))) == ("12.3 %", "\N{EM DASH}")
    assert (format_percent(0.9996), format_percent(1.0)) == ("99.9 %", "100.0 %")
    assert [format_share(share) for share in (0.25, 0.9996, 1.0)] == ["0.250", "0.9996", "1.000"]
    low, high = widen(3.0, 3.0, 0.05)
    assert low < 3.0 < high


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_window(width: int, evidence: ReportData, tmp_path: Path) -> None:
    """Only tables scroll, in frames of their own; curves are drawn inside their axes."""
    if CHROMIUM is None:
        pytest.skip("needs chromium on the PATH")
    path = tmp_path / "report.html"
    path.write_bytes(render_report(drawn(evidence, 2, 4, 200)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = page.evaluate(
            "[...document.querySelectorAll('.diagram .curve')].map(curve => curve.getBBox())"
            ".map(box => [box.x, box.y, box.x + box.width, box.y + box.height])"
        )
        browser.close()
    assert len(boxes) == 8
    for left, top, right, bottom in boxes:
        assert LEFT <= left <= right <= SIZE - EDGE
        assert EDGE <= top <= bottom <= SIZE - BOTTOM
