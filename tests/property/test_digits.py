"""Lookup tables format every supported float32 like the formatter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.tables.arrays import binary_array, number_array
from runtime.tables.csv.quoting import LabelledDigits, append_few, format_floats, join_fields

LABELS = [b",no,", b",yes,", b',"a, b",']
DIGITS = LabelledDigits(LABELS)
HALF, ONE = (int(np.float32(end).view(np.int32)) for end in (0.5, 1))


def check(bits: np.ndarray, label: np.ndarray) -> None:
    """Compare with the formatter."""
    probability = bits.astype(np.int32).view(np.float32)
    records = binary_array([b"\nrow"] * len(bits))
    expected = [records, binary_array(LABELS).take(number_array(label))]
    expected.append(format_floats(number_array(probability)))
    assert DIGITS.append(records, label, probability) == join_fields(expected)
    assert append_few(LABELS, records, label, probability) == join_fields(expected)


@given(st.lists(st.tuples(st.integers(HALF, ONE), st.integers(0, 2)), max_size=40))
def test_any_row_is_written_as_the_formatter_writes_it(rows: list[tuple[int, int]]) -> None:
    """The text is the shortest that parses back, for any label."""
    bits = np.array([bits for bits, _ in rows], dtype=np.int32)
    check(bits, np.array([label for _, label in rows], dtype=np.int32))


@pytest.mark.parametrize(
    "start", [HALF, ONE - 300_000, (HALF + ONE) // 2], ids=["half", "one", "middle"]
)
def test_long_runs_of_neighbours_are_written_right(start: int) -> None:
    """Adjacent float32 have different texts."""
    bits = np.arange(start, start + 300_001, dtype=np.int32)
    check(bits, (bits % 3).astype(np.int32))
