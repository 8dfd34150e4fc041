from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from runtime.printable import format_number
from runtime.schema.features import Date, Feature, OneHot, Schema
from runtime.terminal.manifest import format_manifest

if TYPE_CHECKING:
    from runtime.predictor import Predictor

UNKNOWN = "no distribution for --drift"


def test_every_column_is_named_with_what_is_known_of_it(predictor: Predictor) -> None:
    """Kind, values, missing policy; why drift can't be computed; what training left out."""
    schema = Schema(
        "churn",
        (
            Feature("income", 1200, 288207.25, missing="imputed"),
            Feature("region", 0, 1, one_hot=OneHot(("north", "south")), shares=(0.25, 0.75)),
            Feature("autopay", 0, 1, one_hot=OneHot(("", "false", "true"))),
            Feature("signup", 0, 30, date=Date("2024-01-01")),
            Feature("country", 0, 1, one_hot=OneHot(("NL",)), shares=(1.0,)),
        ),
        ("no", "yes"),
    )
    provenance = msgspec.structs.replace(
        predictor.manifest.provenance, left_out_columns={"id": "excluded by name"}
    )
    manifest = msgspec.structs.replace(predictor.manifest, schema=schema, provenance=provenance)
    lines = format_manifest(manifest).splitlines()
    assert lines[2:9] == [
        "columns    5 read by the model, 1 left out in training",
        f"  income   number      1,200 to 288,207; missing cells are imputed; {UNKNOWN}",
        "  region   categories  north, south; others and missing are refused",
        f"  autopay  boolean     missing, false, true; others are refused; {UNKNOWN}",
        f"  signup   date        2024-01-01 to 2024-01-31; missing cells are refused; {UNKNOWN}",
        "  country  categories  NL; others and missing are refused; constant in training",
        "  id       left out    excluded by name",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (18.0, "18"),
        (7484.2, "7,484.2"),
        (288207.25, "288,207"),
        (-1234567.0, "-1,234,567"),
        (0.1 + 0.2, "0.3"),
        (0.000123456789, "0.000123457"),
        (1.5e-9, "1.5 × 10⁻⁹"),
        (-2e20, "-2 × 10²⁰"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_are_written_as_people_write_them(value: float, text: str) -> None:
    """Digits in groups, whole parts in full, six digits, powers where they are short."""
    assert format_number(value) == text
