from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from msgspec.structs import replace

from runtime.monitoring.accuracy import AccuracyMonitor, AccuracyReport
from runtime.monitoring.drift import DriftMonitor
from runtime.monitoring.ranges import OutOfRange
from runtime.scoring.summary import Summary
from runtime.terminal.summary import format_summary
from runtime.terminal.tables import percent

if TYPE_CHECKING:
    from runtime.predictor import Predictor

PLAIN = Summary(
    rows=1200, scored=1200, rejected=0, reasons={}, provider="cpu", seconds=0.5, model="net 12ab"
)
OUT = Path("scored.csv")


@pytest.mark.parametrize(
    ("unseen", "every", "warns"), [(1200, True, True), (1199, False, False), (2, True, False)]
)
def test_a_column_of_unseen_categories_alone_is_a_warning(
    unseen: int, *, every: bool, warns: bool
) -> None:
    """Its cells may be written another way; few may well be new."""
    counts = {"kind": OutOfRange(0, 0, unseen, all_unseen=every), "price": OutOfRange(0, 0)}
    summary = replace(PLAIN, out_of_range=counts)
    found = [line for line in describe(summary) if line.startswith("warning")]
    assert len(found) == warns
    assert all("column 'kind': no cell has a category of training" in line for line in found)


@pytest.mark.parametrize(
    ("classes", "proba", "said"),
    [
        (("no", "yes"), (), "that of the label; proba=\"positive\" adds that of 'yes'"),
        (("a b", "c d"), (), "that of the label; proba=\"c d\" adds that of 'c d'"),
        (("no", "yes"), ("yes",), ""),
        (("a", "b", "c"), (), ""),
    ],
)
def test_two_classes_say_whose_probability_it_is(
    classes: tuple[str, ...], proba: tuple[str, ...], said: str
) -> None:
    """With the option for that of the positive class, where there is no such column yet."""
    summary = replace(PLAIN, classes=classes, proba=proba)
    assert summary.probability_note == said
    found = [line for line in describe(summary) if line.startswith("probability")]
    assert [line.split(maxsplit=1)[1] for line in found] == ([said] if said else [])


def judged(classes: int) -> AccuracyReport:
    """A hundred rows, all correct but one per class, which is predicted as the next."""
    names = [f"class {number}" for number in range(classes)]
    truth = AccuracyMonitor(names)
    cells = [names[number % classes] for number in range(100)]
    truth.add(pa.array(cells), np.arange(100) % classes)
    truth.add(pa.array(names[:-1]), np.arange(1, classes))
    return truth.report()


@pytest.fixture
def full(predictor: Predictor) -> Summary:
    """A summary of everything there is."""
    drift = DriftMonitor(predictor.schema)
    drift.add(np.full((1000, 2), 20, dtype=np.float32))
    return replace(
        PLAIN,
        scored=1197,
        rejected=3,
        reasons={"missing value": 1, "not a number": 2},
        rejects=Path("scored.csv.rejects.csv"),
        provider_reason="no CUDA device is present",
        out_of_range={"price": OutOfRange(0, 1000), "rating": OutOfRange(0, 0)},
        truth=judged(2),
        drift=drift.report(),
        stages={"read": 0.1, "model": 0.3},
    )


def describe(summary: Summary, width: int = 80) -> list[str]:
    """Format for a stream of a width that is not a terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        return format_summary(summary, OUT, io.StringIO()).splitlines()


def test_json_holds_all_that_is_known(full: Summary) -> None:
    """JSON has numbers, and of drift the index only."""
    values = json.loads(full.to_json())
    assert (values["rows"], values["scored"], values["rejected"]) == (1200, 1197, 3)
    assert values["reasons"] == {"missing value": 1, "not a number": 2}
    assert values["rejects"] == "scored.csv.rejects.csv"
    assert (values["provider"], values["provider_reason"]) == ("cpu", "no CUDA device is present")
    assert (values["seconds"], values["rows_per_second"]) == (0.5, 2400)
    assert values["out_of_range"]["price"] == {"below": 0, "above": 1000}
    assert values["truth"]["confusion"] == [[50, 1], [0, 50]]
    assert values["truth"]["accuracy"]["share"] == pytest.approx(100 / 101)
    assert values["drift"]["price"]["reading"] == "drifted"
    assert values["stages"] == {"read": 0.1, "model": 0.3}


def test_json_leaves_out_what_was_not_asked_for() -> None:
    """Without --truth, --drift and --profile their keys are not there; paths may be any bytes."""
    values = json.loads(replace(PLAIN, rejects=Path("a\udcff.csv"), seconds=0.0).to_json())
    assert not {"truth", "drift", "stages"} & set(values)
    assert values["rejects"] == "a\udcff.csv"
    assert values["rows_per_second"] == 0


def test_a_person_sees_what_there_is_to_say() -> None:
    """A run without bad rows prints rows, speed, output and provider only."""
    assert [line.split() for line in describe(PLAIN)] == [
        ["rows", "1,200", "0.50", "s,", "2,400", "rows/s"],
        ["scored", "1,200", "to", "scored.csv"],
        ["provider", "cpu"],
        ["model", "net", "12ab"],
    ]


def test_a_person_sees_everything_asked_for(full: Summary) -> None:
    """Rejects by reason, the most frequent first, features by their names, matrix and stages."""
    lines = describe(full)
    names = [line.split("  ")[0] for line in lines if line[:1].strip()]
    assert names[:9] == [
        "rows",
        "scored",
        "rejected",
        "out of range",
        "drift",
        "accuracy",
        "provider",
        "model",
        "true \\ predicted",
    ]
    text = "\n".join(lines)
    assert text.index("not a number") < text.index("missing value")
    assert "listed in scored.csv.rejects.csv" in text
    assert "1,000 above" in text
    assert "drifted" in text
    assert "of 101 rows; 95 % interval 94.6 % to 99.8 %" in text
    assert ["class", "0", "50", "1", "98.0", "%", "100.0", "%"] in [each.split() for each in lines]
    assert ["model", "0.300", "75.0", "%"] in [each.split() for each in lines]


def test_every_column_of_drift_is_named(full: Summary) -> None:
    """Those beyond the first few by what there is to say of them, the drifted ones too."""
    assert full.drift
    first = full.drift.features[0]
    found = [replace(first, name=f"c{at}", psi=1.0 - at / 20) for at in range(11)]
    found += [replace(first, name=f"s{at}", psi=0.0, reading="stable") for at in range(2)]
    drift = replace(full.drift, features=tuple(found))
    lines = [line.split() for line in describe(replace(full, drift=drift))]
    assert ["1", "more", "drifted:", "c10"] in lines
    assert ["2", "more", "stable:", "s0,", "s1"] in lines


def test_hints_are_shown_and_written() -> None:
    """What may be wrong with many bad cells alike, for people and as JSON."""
    summary = replace(PLAIN, hints=("column 'x' looks odd",))
    assert ["hint", "column", "'x'", "looks", "odd"] in [each.split() for each in describe(summary)]
    assert json.loads(summary.to_json())["hints"] == ["column 'x' looks odd"]
    assert "column &#x27;x&#x27; looks odd" in summary._repr_html_()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(full: Summary, width: int) -> None:
    """Long notes are wrapped; a wide matrix becomes a list of the most frequent errors."""
    for truth in (judged(2), judged(3), judged(30)):
        lines = describe(replace(full, truth=truth), width)
        assert max(map(len, lines)) <= width
    assert any(line.startswith("true \\ predicted") for line in describe(full, width)) == (
        width > 40
    )


def test_of_many_classes_the_worst_mistakes_are_shown(full: Summary) -> None:
    """Ten pairs, and how many more there are."""
    lines = describe(replace(full, truth=judged(30)))
    start = next(at for at, line in enumerate(lines) if line.startswith("true  "))
    assert lines[start + 2].split() == ["class", "0", "class", "1", "1"]
    assert "19 more pairs" in lines[start + 12]


def test_many_features_are_cut_to_ten() -> None:
    """The rest is counted; features without a value out of range are not named."""
    outside = {f"f{number}": OutOfRange(number % 2, 0) for number in range(40)}
    lines = describe(replace(PLAIN, out_of_range=outside))
    assert sum(line.startswith("  f") for line in lines) == 10
    assert any("and 10 more" in line for line in lines)


def test_categories_that_were_let_through_are_told_of() -> None:
    """Unseen categories are printed as text and in JSON."""
    told = replace(PLAIN, out_of_range={"city": OutOfRange(0, 0, 1200), "street": OutOfRange(0, 0)})
    lines = "\n".join(describe(told))
    assert "1,200 unseen categories" in lines
    assert "street" not in lines
    rare = replace(PLAIN, out_of_range={"city": OutOfRange(0, 0, 7, has_rare=True)})
    assert "7 unseen or rare categories" in "\n".join(describe(rare))
    assert told.values()["out_of_range"] == {
        "city": {"below": 0, "above": 0, "unseen": 1200},
        "street": {"below": 0, "above": 0},
    }


def test_a_column_that_is_no_truth_is_explained() -> None:
    """Without rows there is a hint and no matrix."""
    truth = AccuracyMonitor(("no", "yes"))
    truth.add(pa.array(["YES", "NO"]), np.array([1, 0]))
    lines = describe(replace(PLAIN, truth=truth.report()), 120)
    assert any("'NO' is spelled 'no'" in line for line in lines)
    assert not any(line.startswith(("true", "accuracy")) for line in lines)


@pytest.mark.parametrize(
    ("share", "text"),
    [(1, "100.0 %"), (0.99999, "99.9 %"), (0.5, "50.0 %"), (0, "0.0 %"), (None, "-")],
)
def test_only_all_is_a_hundred_percent(share: float | None, text: str) -> None:
    """A single error among millions is visible."""
    assert percent(share) == text
