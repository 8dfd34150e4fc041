from __future__ import annotations

import csv
import io
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import UsageError
from trainer.data.products import write_sample

GOLDEN_SEED_0 = b"price,rating,popular\n9.49,3.71,yes\n3.85,1.97,no\n7.50,3.45,yes\n"


def sample(rows: int, **options: int) -> bytes:
    stream = io.BytesIO()
    write_sample(stream, rows, **options)
    return stream.getvalue()


def test_a_sample_is_stable_across_releases() -> None:
    """The bytes of a seed are part of the contract: users compare digests."""
    assert sample(3, seed=0) == GOLDEN_SEED_0


@given(rows=st.integers(1, 300), chunk_rows=st.integers(1, 120), seed=st.integers(0, 2**63 - 1))
def test_bytes_do_not_depend_on_the_chunks(rows: int, chunk_rows: int, seed: int) -> None:
    """The chunk size changes nothing."""
    assert sample(rows, seed=seed, chunk_rows=chunk_rows) == sample(rows, seed=seed)


def test_fewer_rows_are_a_prefix_of_more() -> None:
    """The first rows are the same however many follow."""
    assert sample(5000, seed=7).startswith(sample(1000, seed=7))


def test_another_seed_gives_other_products() -> None:
    """Also seeds equal in their low 32 bits."""
    assert len({sample(20, seed=seed) for seed in (0, 1, 2**32, 2**62)}) == 4


def test_popular_is_exact_on_the_written_values() -> None:
    """The label follows from the decimal text of price and rating, also at a sum of 10.00."""
    rows = list(csv.DictReader(io.StringIO(sample(50_000, seed=3).decode())))
    products = [(Fraction(row["price"]) + Fraction(row["rating"]), row) for row in rows]
    assert any(total == 10 for total, _ in products)
    wrong = [row for total, row in products if (row["popular"] == "yes") != (total > 10)]
    assert wrong[:3] == []


def test_columns_are_uniform_over_their_ranges() -> None:
    """Prices fill 1 to 10 and ratings 1 to 5, with two decimals each."""
    rows = list(csv.DictReader(io.StringIO(sample(100_000, seed=4).decode())))
    for name, low, high in (("price", 1, 10), ("rating", 1, 5)):
        assert all(len(row[name].partition(".")[2]) == 2 for row in rows)
        values = [float(row[name]) for row in rows]
        assert (min(values), max(values)) == (low, high)
        assert sum(values) / len(values) == pytest.approx((low + high) / 2, abs=0.03)
        middle = sum(value < (low + high) / 2 for value in values) / len(values)
        assert middle == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rows": 0}, "rows"),
        ({"rows": 1, "seed": -1}, "seed"),
        ({"rows": 1, "seed": 2**63}, "seed"),
    ],
    ids=["no rows", "negative seed", "seed too large"],
)
def test_a_number_out_of_range_is_refused(options: dict[str, int], named: str) -> None:
    """Rows and seed are checked before anything is written."""
    stream = io.BytesIO()
    with pytest.raises(UsageError, match=named):
        write_sample(stream, **options)
    assert stream.getvalue() == b""
