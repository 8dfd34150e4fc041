"""What is said about tables of many columns names the first and counts the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runtime.errors import SchemaError
from trainer.data.dataset import (
    ClassCounts,
    DataCheck,
    DateColumn,
    JoinedLabels,
    MissingCells,
    RareCategories,
)
from trainer.data.reading import read_dataset
from trainer.data.report import format_report
from trainer.data.source import TableSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = tuple(f"measurement {at}" for at in range(5000))
PAIRS = tuple(zip(NAMES[::2], NAMES[1::2], strict=True))
MAX_CHARACTERS = 12_000


def test_findings_are_cut(tmp_path: Path) -> None:
    """Eight names a finding, and eight findings of a kind; the run has all of them."""
    check = DataCheck(
        train_rows=80,
        test_rows=20,
        features=2 * len(NAMES),
        classes=tuple(ClassCounts(name, 4, 1) for name in NAMES[:1000]),
        empty=NAMES,
        missing=tuple(MissingCells(name, 7) for name in NAMES),
        dates=tuple(DateColumn(name, "2024-01-01", 1.0) for name in NAMES),
        constant=NAMES,
        identical=PAIRS,
        identifiers=NAMES,
        leaking=NAMES,
        rounded=NAMES,
        similar_classes=PAIRS,
        joined_labels=tuple(JoinedLabels(name, NAMES, 5) for name in NAMES),
        rare=tuple(RareCategories(name, 255, 9, 12) for name in NAMES),
    )
    report = format_report(check, TableSource(tmp_path / "t.csv", "y"))
    assert len(report) < MAX_CHARACTERS
    for more in (
        "'measurement 7' and 4,992 more: constant",
        "and 4,992 more columns of dates",
        "and 2,492 more groups of identical columns",
        "and 4,992 more columns with joined categories",
        "name the columns to use with --features",
    ):
        assert more in report


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "'n9' and 20 more have more than 2 distinct texts"),
        ({"features": ("z",)}, "'n9' and 20 more"),
        ({"categories": ("z",)}, "'n9' and 20 more"),
        ({"exclude": ("z",)}, "'n9' and 21 more"),
    ],
)
def test_errors_are_cut(
    table: Callable[[str], Path], options: dict[str, Any], message: str
) -> None:
    """Ten names; more than twenty columns to exclude are not listed as an option."""
    names = [f"n{at}" for at in range(30)]
    rows = [",".join([f"t{row % 5}"] * 30 + ["ab"[row % 2]]) for row in range(20)]
    path = table("\n".join([",".join([*names, "y"]), *rows]) + "\n")
    source = TableSource(path, "y", max_categories=2, **options)
    with pytest.raises(SchemaError) as refusal:
        read_dataset(source, seed=1)
    assert message in str(refusal.value)
    assert "--exclude n0" not in str(refusal.value)
