from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.monitoring.ranges import (
    OutOfRange,
    RangeMonitor,
    count_out_of_range,
    transposed_chunks,
)
from runtime.schema.features import Feature, OneHot, Schema
from runtime.schema.matrix import to_float32


@given(st.lists(st.tuples(*[st.floats(-3, 3, width=32)] * 3), max_size=40))
def test_counts_are_those_of_a_plain_count(rows: list[tuple[float, ...]]) -> None:
    """The limits of a range are inside."""
    low, high = np.array([-1, 0, -3], np.float32), np.array([1, 0, 3], np.float32)
    features = np.array(rows, dtype=np.float32).reshape(-1, 3)
    expected = [
        [sum(row[at] < low[at] for row in rows), sum(row[at] > high[at] for row in rows)]
        for at in range(3)
    ]
    assert count_out_of_range(features, low, high).tolist() == expected


def test_blocks_add_up_by_feature() -> None:
    """Every feature is counted, also columns that are not adjacent."""
    schema = Schema("k", (Feature("a", 0, 1), Feature("b", -1, 0)), ("x", "y"))
    ranges = RangeMonitor(schema)
    for _ in range(3):
        ranges.add(np.array([[2, 0], [-1, 0.5], [1, -1]], dtype=np.float32))
    assert ranges.report() == {"a": OutOfRange(3, 3), "b": OutOfRange(0, 3)}


def test_categories_that_training_did_not_have_are_counted_where_they_are_scored() -> None:
    """Unseen categories are counted where they are accepted; elsewhere they are bad cells."""
    one_hot = OneHot(("no", "yes"), "other")
    first, last = (Feature(name, 0, 1, one_hot=one_hot) for name in "cd")
    ranges = RangeMonitor(Schema("k", (first, Feature("a", 0, 1), last), ("x", "y")))
    ranges.add(np.array([[0, 1, 2, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], np.float32))
    assert ranges.report() == {
        "a": OutOfRange(0, 1),
        "c": OutOfRange(0, 0, 2),
        "d": OutOfRange(0, 0, 2),
    }
    joined = Feature("c", 0, 1, one_hot=OneHot(("no", "yes"), "other", rare=9))
    assert RangeMonitor(Schema("k", (joined,), ("x", "y"))).report() == {
        "c": OutOfRange(0, 0, has_rare=True)
    }
    closed = Feature("c", 0, 1, one_hot=OneHot(("no", "yes")))
    assert RangeMonitor(Schema("k", (closed, Feature("a", 0, 1)), ("x", "y"))).report().keys() == {
        "a"
    }


@pytest.mark.parametrize("end", [0.1, 4.3, 7.9, 16777217.0, -0.3, 1e-46, 3.4028235e38])
def test_the_end_of_a_range_is_inside_however_it_is_rounded(end: float) -> None:
    """A range in decimals contains its limits after rounding."""
    ranges = RangeMonitor(Schema("k", (Feature("a", end, end),), ("x", "y")))
    ranges.add(to_float32([np.array([end])]))
    assert ranges.report() == {"a": OutOfRange(0, 0)}


def test_a_range_beyond_float32_is_open() -> None:
    """Limits beyond float32 contain every value, without a warning."""
    ranges = RangeMonitor(Schema("k", (Feature("a", -1e300, 1e300),), ("x", "y")))
    ranges.add(np.array([[np.finfo(np.float32).max], [-1]], dtype=np.float32))
    assert ranges.report() == {"a": OutOfRange(0, 0)}


@pytest.mark.parametrize("shape", [(0, 2), (1, 1), (300_000, 2), (20_000, 300)])
def test_pieces_hold_every_row_in_order(shape: tuple[int, int]) -> None:
    """Column by column, contiguous."""
    features = np.random.default_rng(1).random(shape).astype(np.float32)
    pieces = list(transposed_chunks(features))
    assert all(piece.flags.c_contiguous for piece in pieces)
    together = np.concatenate([piece.T for piece in pieces]) if pieces else features[:0]
    np.testing.assert_array_equal(together, features)
