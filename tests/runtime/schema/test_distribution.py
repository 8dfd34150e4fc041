from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.schema.distribution import bin_edges, deciles, describe_values, distribution_error

Values = list[float]
VALUES = st.lists(
    st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(0, 3).map(float),
    min_size=1,
    max_size=60,
)


@given(VALUES)
def test_shares_are_those_of_a_plain_count(values: Values) -> None:
    """Bins are half-open between edges and cover all values."""
    seen = describe_values(np.array(values, dtype=np.float32))
    cuts = bin_edges(seen.quantiles)
    ends = [-math.inf, *cuts, math.inf]
    counts = [sum(low < value <= high for value in values) for low, high in pairwise(ends)]
    assert seen.shares == pytest.approx([count / len(values) for count in counts])
    assert len(cuts) < 11


@given(VALUES)
def test_a_description_passes_the_schemas_check(values: Values) -> None:
    """The schema accepts the trainer's distributions."""
    seen = describe_values(np.array(values, dtype=np.float32))
    wrong = distribution_error(
        seen.quantiles, seen.shares, minimum=min(values), maximum=max(values)
    )
    assert wrong is None


@given(VALUES)
def test_a_decile_is_the_smallest_value_with_its_share(values: Values) -> None:
    """Deciles follow the definition of the inverted CDF."""
    for tenth, value in enumerate(deciles(np.sort(np.array(values, dtype=np.float32)))):
        assert value in values
        assert 10 * sum(each <= value for each in values) >= tenth * len(values)
        assert tenth == 0 or 10 * sum(each < value for each in values) < tenth * len(values)


@pytest.mark.parametrize(
    ("values", "shares"),
    [
        pytest.param([5], (1,), id="constant"),
        pytest.param([0] * 19 + [1], (0.95, 0.05), id="mostly nothing"),
        pytest.param([0] + [1] * 19, (0.05, 0.95), id="mostly something"),
        pytest.param([0] + [1] * 18 + [2], (0.05, 0.9, 0.05), id="mostly the middle"),
        pytest.param([1, 2, 3, 4] * 5, (0.25, 0, 0.25, 0, 0.25, 0, 0.25), id="four values"),
        pytest.param([*range(20)], (0.1,) * 10, id="all different"),
    ],
)
def test_frequent_values_are_bins_of_their_own(values: Values, shares: tuple[float, ...]) -> None:
    """A shift in a column of few values moves rows from one bin to another."""
    assert describe_values(np.array(values, dtype=np.float32)).shares == pytest.approx(shares)


def test_zero_has_no_sign() -> None:
    """Negative zero does not change the figures."""
    for zeros in ([0.0, -0.0], [-0.0, 0.0]):
        seen = describe_values(np.array(zeros, dtype=np.float32))
        assert not np.signbit(seen.quantiles).any()
