from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bundle.manifest import to_json
from runtime.errors import UsageError
from runtime.monitoring.accuracy import AccuracyMonitor, AccuracyReport, wilson_interval

CLASSES = ("no", "yes", "größer")
CELLS = st.sampled_from([*CLASSES, *CLASSES, "", "No", "maybe", "yes ", "1", None])
KINDS = st.sampled_from(
    [pa.binary(), pa.string(), pa.large_string(), pa.large_binary(), pa.string_view()]
)


@given(
    rows=st.lists(st.tuples(CELLS, st.integers(0, 2)), max_size=60),
    cut=st.integers(0, 60),
    kind=KINDS,
    encoded=st.booleans(),
)
def test_counts_are_those_of_a_plain_count(
    rows: list[tuple[str | None, int]], cut: int, kind: pa.DataType, *, encoded: bool
) -> None:
    """For any blocks and types, the matrix equals that of a loop over the rows."""
    truth = AccuracyMonitor(CLASSES)
    for part in (rows[:cut], rows[cut:]):
        cells = pa.array([cell for cell, _ in part], pa.string()).cast(kind)
        if encoded and kind in (pa.binary(), pa.string()):
            cells = cells.dictionary_encode()
        truth.add(cells, np.array([label for _, label in part], dtype=np.int64))
    result, pairs = truth.report(), Counter(rows)
    expected = tuple(tuple(pairs[name, label] for label in range(3)) for name in CLASSES)
    assert result.confusion == expected
    known = [(cell, label) for cell, label in rows if cell in CLASSES]
    assert (result.rows, result.other) == (len(known), len(rows) - len(known))
    hits = sum(cell == CLASSES[label] for cell, label in known)
    assert result.accuracy == (wilson_interval(hits, len(known)) if known else None)
    others = dict.fromkeys(cell or "" for cell, _ in rows if cell not in CLASSES)
    assert set(result.other_values) <= set(others)
    assert len(result.other_values) == len(others) <= 5
    assert msgspec.json.decode(to_json(result), type=AccuracyReport) == result


def test_precision_and_recall_are_of_their_class() -> None:
    """Calculated by hand: recall 3/4 and precision 3/5 of yes; no row of no."""
    truth = AccuracyMonitor(("no", "yes", "never"))
    cells = ["yes"] * 4 + ["no"] * 3
    truth.add(pa.array(cells, pa.binary()), np.array([1, 1, 1, 0, 1, 1, 0]))
    _, yes, never = truth.report().classes
    assert (yes.rows, yes.precision, yes.recall) == (4, 3 / 5, 3 / 4)
    assert yes.f1 == pytest.approx(2 * (3 / 5) * (3 / 4) / (3 / 5 + 3 / 4))
    assert (never.rows, never.precision, never.recall, never.f1) == (0, None, None, None)


def test_a_slice_of_a_longer_column_is_counted_alone() -> None:
    """Rows outside of an Arrow slice are not counted."""
    cells = pa.array(["no", "yes", "other", "yes"], pa.binary())
    truth = AccuracyMonitor(("no", "yes"))
    truth.add(cells[1:3], np.array([1, 1]))
    assert truth.report().confusion == ((0, 0), (0, 1))
    assert truth.report().other_values == ("other",)


@pytest.mark.parametrize(
    ("column", "classes"),
    [
        ([b"1.0", b"0", b"01", b"2"], ("0", "1")),
        ([1.0, 0.0, 1.0, None], ("0", "1")),
        ([b"True", b"FALSE", b" true", b"1"], ("false", "true")),
    ],
)
def test_another_spelling_of_a_value_is_its_class(
    column: list[object], classes: tuple[str, ...]
) -> None:
    """As in training: equal numbers and equal booleans are one class."""
    truth = AccuracyMonitor(classes)
    truth.add(pa.array(column), np.array([1, 0, 0, 0]))
    report = truth.report()
    assert report.confusion == ((1, 0), (1, 1))
    assert report.other == 1


@pytest.mark.parametrize(
    ("column", "classes", "said"),
    [
        pytest.param([b"1.0", b"0.0"], ("1", "x"), "'1.0' is spelled '1'", id="floats"),
        pytest.param([1.5, 7.0], ("1", "2"), "'1.5', '7', the classes", id="other numbers"),
        pytest.param([b"YES", b"NO"], ("no", "yes"), "'NO' is spelled 'no'", id="case"),
        pytest.param([b" yes"], ("no", "yes"), "' yes' is spelled 'yes'", id="blanks"),
        pytest.param([b"7", b"8"], ("no", "yes"), "is it the right column?", id="another column"),
        pytest.param([b"", None], ("no", "yes"), "has '', the classes are", id="empty"),
        pytest.param([b"\xff"], ("no", "yes"), r"\xff", id="undecodable"),
    ],
)
def test_a_column_without_any_class_is_explained(
    column: list[object], classes: tuple[str, ...], said: str
) -> None:
    """Class names are compared as text, and the hint says how they differ."""
    truth = AccuracyMonitor(classes)
    truth.add(pa.array(column), np.zeros(len(column), dtype=np.int64))
    result = truth.report()
    assert (result.rows, result.accuracy) == (0, None)
    assert result.hint is not None
    assert said in result.hint


@pytest.mark.parametrize(
    ("column", "classes"),
    [
        pytest.param([0, 1], ("0", "1"), id="integers"),
        pytest.param([0.0, 1.0], ("0", "1"), id="whole floats"),
        pytest.param([False, True], ("false", "true"), id="booleans"),
    ],
)
def test_typed_columns_are_compared_by_their_text(
    column: list[object], classes: tuple[str, ...]
) -> None:
    """A column of Parquet need not be text."""
    truth = AccuracyMonitor(classes)
    truth.add(pa.array(column), np.array([0, 1]))
    assert truth.report().confusion == ((1, 0), (0, 1))
    assert truth.report().hint is None


def test_long_and_many_other_values_are_cut() -> None:
    """The first five distinct values by their text are listed, truncated to 40 characters."""
    truth = AccuracyMonitor(("no", "yes"))
    column = ["yes", "e", "b" * 9999, "a", "b", "c", "d", None]
    truth.add(pa.array(column), np.ones(8, dtype=np.int64))
    assert truth.report().other_values == ("", "a", "b", "b" * 40 + "…", "c")
    assert truth.report().other == 7


def test_nothing_added_is_judged_as_nothing() -> None:
    """Without rows there is no accuracy and no hint."""
    result = AccuracyMonitor(("no", "yes")).report()
    assert (result.rows, result.other, result.accuracy, result.hint) == (0, 0, None, None)


def test_cells_and_labels_have_to_be_of_the_same_rows() -> None:
    """Another number of labels than cells is an error."""
    with pytest.raises(ValueError, match="2 true classes for 1 labels"):
        AccuracyMonitor(("no", "yes")).add(pa.array(["no", "yes"]), np.array([0]))


def test_a_matrix_of_very_many_classes_is_refused() -> None:
    """Too many classes are refused before the matrix is allocated."""
    AccuracyMonitor([str(number) for number in range(1024)])
    with pytest.raises(UsageError, match="the model has 1,025"):
        AccuracyMonitor([str(number) for number in range(1025)])
