from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trainer.data.cell_options import DateFormats
from trainer.data.reading import read_dataset
from trainer.data.report import format_report
from trainer.data.source import TableSource
from trainer.data.validation import DuplicateIndex, determines_label, hash_rows, is_identifier

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from runtime.schema.features import Float32Matrix

    Columns = dict[str, list[Any]]
    Save = Callable[[str, Columns], Path]
    Trainer = Callable[..., subprocess.CompletedProcess[str]]

GENERATOR = np.random.default_rng(5)
LABELS = np.arange(100) % 2
NOISE = GENERATOR.normal(size=100)


def faulty_table() -> Columns:
    """100 rows with every problem that the check detects."""
    columns = {
        "x": NOISE.round(2).tolist(),
        "id": GENERATOR.permutation(np.arange(500, 600)).tolist(),
        "twin": NOISE.round(2).tolist(),
        "nothing": [None] * 100,
        "one": [7] * 100,
        "outcome": (LABELS * 3 + 1).tolist(),
        "serial": (2_000_000_000 + 1000 * GENERATOR.permutation(100)).tolist(),
        "y": np.where(LABELS, "yes", "Yes ").tolist(),
    }
    repeated = {name: [*column, column[0], column[1]] for name, column in columns.items()}
    repeated["y"][-1] = repeated["y"][0]
    return repeated


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_check_detects_every_problem(save: Save, ending: str) -> None:
    """Every finding names its columns or counts its rows."""
    path = save(f"t.{ending}", faulty_table())
    check = read_dataset(TableSource(path, "y", test=path), seed=1).check
    assert check is not None
    assert (check.train_rows, check.test_rows, check.features) == (102, 102, 6)
    assert [(each.name, each.train, each.test) for each in check.classes] == [
        ("Yes ", 52, 52),
        ("yes", 50, 50),
    ]
    assert check.empty == ("nothing",)
    assert check.constant == ("one",)
    assert check.identical == (("x", "twin"),)
    assert check.duplicate_rows == 2
    assert check.conflicting_rows == 1
    assert check.leaked_rows == 102
    assert check.rounded == ("serial",)
    assert check.similar_classes == (("Yes ", "yes"),)


def test_a_check_is_printed_before_training_and_stored(
    trainer: Trainer, save: Save, tmp_path: Path
) -> None:
    """Rows, classes with their shares, and a line for each finding, on stderr; JSON has it too."""
    save("t.csv", faulty_table())
    done = trainer("fit", "--data", "t.csv", "--label", "y", "--epochs", "1", "--json")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("epoch 1/1"))
    assert lines[0] == "102 rows, 6 features; 82 for training, 20 for test"
    assert lines[1] == "'y': Yes  52 (51.0%), yes 50 (49.0%)"
    assert "  'nothing': left out, all cells are missing" in lines[:first]
    assert "  'x', 'twin': identical columns, one is enough" in lines[:first]
    assert '"empty": [\n      "nothing"\n    ]' in (
        tmp_path / "artifacts" / "run" / "run.json"
    ).read_text(encoding="utf-8")
    assert '"check":{"train_rows":82' in done.stdout


def test_a_plain_table_has_no_findings(save: Save, columns: Columns) -> None:
    """A clean table has no warnings, only what its columns were taken for."""
    path = save("t.csv", columns)
    check = read_dataset(TableSource(path, "what kind"), seed=1).check
    assert check is not None
    lines = [f"  {name!r}: number" for name in columns if name != "what kind"]
    assert format_report(check, TableSource(path, "what kind")).splitlines()[2:] == lines


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.arange(100), True),
        (np.arange(100)[::-1] * 1000, True),
        (GENERATOR.permutation(500)[:100], True),
        (GENERATOR.permutation(500_000)[:100], False),
        (np.arange(100) / 2, False),
        (np.arange(100) // 2, False),
        (np.arange(10), False),
    ],
    ids=["counted", "in order", "dense", "money", "fractions", "twice", "too few rows"],
)
def test_identifiers_are_detected(values: np.ndarray, *, expected: bool) -> None:
    """Unique whole numbers, dense or in order."""
    assert is_identifier(values.astype(np.float32)) is expected


@pytest.mark.parametrize(
    ("values", "finding"),
    [
        ([f"{1e6 + at * 1e-5:.5f}" for at in range(100)], "constant in float32"),
        ([7] * 100, "constant in float32"),
        (
            ["2024-05-01T12:00:00.000", "2024-05-01T12:00:00.001"] * 50,
            "constant in float32",
        ),
        (["2024-05-01T12:00:00", "2024-05-01T12:00:01"] * 50, ""),
        (["red"] * 100, "constant"),
    ],
    ids=["decimals", "numbers", "milliseconds", "seconds", "texts"],
)
def test_numbers_are_called_constant_as_float32(
    save: Save, values: list[Any], finding: str
) -> None:
    """What differs in the table is not said to be constant there."""
    path = save("t.csv", {"v": values, "x": NOISE.tolist(), "y": LABELS.tolist()})
    source = TableSource(path, "y")
    check = read_dataset(source, seed=1).check
    assert check is not None
    lines = format_report(check, source).splitlines()
    expected = [f"  'v': {finding}, nothing to learn"] if finding else []
    assert [line for line in lines if "constant" in line] == expected


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (1.0, ()),
        (2.0**30, ("v",)),
        (2.0**64 / 100, ("v",)),
        (2.0**64, ()),
        (1.234e30, ()),
        (-1.234e30, ()),
    ],
)
def test_only_what_may_be_an_integer_is_said_to_be_rounded(
    save: Save, scale: float, expected: tuple[str, ...]
) -> None:
    """Ids and counts end with the integers of 64 bits; larger numbers are measured quantities."""
    values = [float(at % 50 + 1) * scale for at in range(100)]
    path = save("t.parquet", {"v": values, "y": LABELS.tolist()})
    check = read_dataset(TableSource(path, "y"), seed=1).check
    assert check is not None
    assert check.rounded == expected


def test_unique_texts_are_an_identifier(save: Save) -> None:
    """Unique texts identify rows and nothing else; few rows allow them as categories."""
    at = range(120)
    names = [f"n{number * 7 % 120}" for number in at]
    table: Columns = {
        "name": names,
        "twice": [*names[:60], *names[:60]],
        "x": [float(number % 9) for number in at],
        "y": ["no" if number % 2 else "yes" for number in at],
    }
    path = save("t.csv", table)
    check = read_dataset(TableSource(path, "y"), seed=1).check
    assert check is not None
    assert check.identifiers == ("name",)
    assert "'name': unique in every row" in format_report(check, TableSource(path, "y"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (LABELS, True),
        (LABELS + NOISE / 100, True),
        (LABELS + 2 * (np.arange(100) % 4), True),
        (np.arange(100), False),
        (NOISE, False),
        (np.ones(100), False),
        (np.where(np.arange(100) == 99, 0, LABELS), False),
    ],
    ids=["itself", "by a threshold", "few values", "rows", "noise", "constant", "one exception"],
)
def test_target_leakage_is_detected(values: np.ndarray, *, expected: bool) -> None:
    """One label per value, and few values or as many runs as classes."""
    assert determines_label(values.astype(np.float32), LABELS) is expected


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 30), st.integers(1, 3)),
        elements=st.sampled_from([0.0, -0.0, 1.0, 2.5]),
    )
)
def test_duplicates_are_equal_rows(rows: Float32Matrix) -> None:
    """Each row is assigned the first row equal to it, whatever the sign of zero."""
    duplicates = DuplicateIndex(hash_rows(rows))
    seen: dict[tuple[float, ...], int] = {}
    expected = [seen.setdefault(tuple(row), at) for at, row in enumerate(rows.tolist())]
    assert duplicates.first.tolist() == expected

    zeros = rows[rows.sum(axis=1) == 0]
    others = np.concatenate([np.full((1, rows.shape[1]), 7, np.float32), rows, -zeros])
    assert duplicates.count_among(hash_rows(others)) == len(rows) + len(zeros)


@pytest.mark.parametrize(
    ("name", "first", "step", "found"),
    [
        ("v", 1_700_000_000, 3600, "epoch-s"),
        ("v", 1_700_000_000_000, 86_400_000, "epoch-ms"),
        ("createdAt", 200_000_000, 3600, "epoch-s"),
        ("v", 200_000_000, 3600, ""),
        ("rate", 200_000_000, 3600, ""),
        ("time", 5, 3, ""),
        ("time", 1_700_000_000_000_000, 10**9, ""),
    ],
)
def test_numbers_like_times_get_a_hint_that_works(
    save: Save, name: str, first: int, step: int, found: str
) -> None:
    """They stay numbers; the option that is advised reads them as dates."""
    rows: list[Any] = [first + step * (at * 37 % 101) for at in range(60)]
    path = save("t.csv", {name: [*rows[:-1], None], "y": ["a", "b"] * 30})
    source = TableSource(path, "y")
    dataset = read_dataset(source, seed=1)
    assert dataset.check is not None
    assert [each.format for each in dataset.check.epochs or ()] == [found] * bool(found)
    assert not dataset.schema.features[0].origin
    advice = f"to read them as dates, give --date-format {name}={found}"
    assert (advice in format_report(dataset.check, source)) == bool(found)
    if found:
        dated = TableSource(path, "y", date_formats=DateFormats("", {name: found}))
        assert read_dataset(dated, seed=1).schema.features[0].origin
