"""Decimals as float64."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file
from runtime.tables.arrow.features import decimal_numbers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runtime.predictor import Predictor

WIDTHS = {pa.decimal32: 9, pa.decimal64: 18, pa.decimal128: 38, pa.decimal256: 76}
EXACT = Context(prec=100)


@pytest.mark.parametrize("width", WIDTHS, ids=lambda width: width.__name__)
@settings(max_examples=30)
@given(data=st.data())
def test_decimals_are_rounded_as_their_text(
    width: Callable[..., pa.DataType], data: st.DataObject
) -> None:
    """Whatever precision and scale: the nearest float64, null for null, in a slice too."""
    precision = data.draw(st.integers(1, WIDTHS[width]))
    scale = data.draw(st.integers(0, precision))
    digits = st.integers(1, precision).flatmap(lambda n: st.integers(1 - 10**n, 10**n - 1))
    wholes = data.draw(st.lists(st.none() | digits, max_size=8))
    values = [None if n is None else EXACT.scaleb(Decimal(n), -scale) for n in wholes]
    column = pa.array(values, width(precision, scale))
    expected = [None if value is None else float(value) for value in values]
    assert decimal_numbers(column).to_pylist() == expected
    assert decimal_numbers(column.slice(1)).to_pylist() == expected[1:]


@pytest.mark.parametrize("scale", [-3, 22, 23])
def test_edges_of_the_exact_division(scale: int) -> None:
    """Larger whole numbers and powers of ten take the way through text."""
    wholes = [0, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**64 + 1, 10**37]
    values = [EXACT.scaleb(Decimal(n), -scale) for n in wholes]
    stored = b"".join(n.to_bytes(16, "little", signed=True) for n in wholes)
    buffers = [None, pa.py_buffer(stored)]
    column = pa.Array.from_buffers(pa.decimal128(38, scale), len(wholes), buffers)
    assert decimal_numbers(column).to_pylist() == [float(value) for value in values]


def test_scores_are_those_of_the_text(predictor: Predictor, tmp_path: Path) -> None:
    """Label and probabilities have the same bytes from Parquet and from CSV."""
    prices = [Decimal("7.000000238418579101562501"), Decimal("5.1"), Decimal("2.675")]
    column = pa.array(prices, pa.decimal128(38, 24))
    table = pa.table({"price": column, "rating": [3, 2, 1]})
    pq.write_table(table, tmp_path / "t.parquet")
    lines = [f"{price},{rating}\n" for price, rating in zip(prices, (3, 2, 1), strict=True)]
    (tmp_path / "t.csv").write_text("price,rating\n" + "".join(lines))
    added = []
    for name in ("t.parquet", "t.csv"):
        out = tmp_path / f"{name}.out.csv"
        score_file(predictor, tmp_path / name, out, Options(columns=("rating",), proba=True))
        added.append(out.read_bytes())
    assert added[0] == added[1]
