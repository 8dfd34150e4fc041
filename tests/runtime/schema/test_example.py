"""The example of a row: values that occur."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from runtime.schema.distribution import describe_values
from runtime.schema.example import example_row
from runtime.schema.features import Date, Feature, OneHot, Schema


def _numbers(name: str, values: list[float], date: Date | None = None) -> Feature:
    seen = describe_values(np.array(values, np.float32))
    plain = Feature(name, min(seen.quantiles), max(seen.quantiles))
    described = replace(plain, quantiles=seen.quantiles, shares=seen.shares)
    return replace(described, date=date) if date else described


def test_values_occur_in_the_training_rows() -> None:
    """Counts are integers, numbers have the table's digits, a category is a frequent one."""
    schema = Schema(
        "y",
        (
            _numbers("orders", [1, 2, 2, 3, 900]),
            _numbers("price", [7.3, 7.3, 2.125]),
            _numbers("income", [1.0, 32564.04, 90000.0]),
            _numbers("measured", [1.0, 5.594383, 9.0]),
            _numbers("close", [5.5943832, 5.5943832, 5.5943832]),
            _numbers("day", [0, 1, 60, 61, 62], Date("2024-01-01", format="dmy")),
            Feature("plan", 0, 1, one_hot=OneHot(("", "basic", "free")), shares=(0.5, 0.1, 0.4)),
        ),
        ("no", "yes"),
    )
    row = example_row(schema)
    assert row == {
        "orders": 2,
        "price": 7.3,
        "income": 32564.04,
        "measured": 5.59,
        "close": 5.5943832,
        "day": "01.03.2024",
        "plan": "free",
    }
    assert isinstance(row["orders"], int)


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (Feature("x", 0, 9), 4),
        (Feature("x", 0.5, 1), 0.75),
        (Feature("x", 0.1, 0.2), 0.15),
        (Feature("x", 1e30, 3e30), 2e30),
        (Feature("x", 0, 9.5, date=Date("2024-01-01")), "2024-01-06"),
        (Feature("x", 0, 1, one_hot=OneHot(("", "a", "b"))), "a"),
        (Feature("x", 0, 1, one_hot=OneHot(("",))), ""),
    ],
    ids=["whole", "fraction", "digits", "large", "date", "category", "only missing"],
)
def test_without_a_distribution(feature: Feature, expected: float | str) -> None:
    """A model trained elsewhere has ranges: their middle, or the first category."""
    (value,) = example_row(Schema("y", (feature,), ("no", "yes"))).values()
    assert value == expected
