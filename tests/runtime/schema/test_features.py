from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import numpy as np
import pytest

from runtime.errors import SchemaError
from runtime.schema.features import Feature, Schema
from runtime.schema.matrix import to_float32

SCHEMA = Schema(
    "popular",
    (Feature("price", 1, 10), Feature("rating", 1, 5), Feature("Größe", 0, 1)),
    ("a", "b"),
)


@pytest.mark.parametrize("columns", list(itertools.permutations(["price", "x", "rating", "Größe"])))
def test_features_are_bound_by_name(columns: tuple[str, ...]) -> None:
    """Features are found in any order of columns."""
    positions = SCHEMA.bind(columns)
    assert [columns[position] for position in positions] == ["price", "rating", "Größe"]


def test_a_missing_column_is_named_with_the_nearest_names() -> None:
    """The message names the missing column and similar names."""
    with pytest.raises(SchemaError) as caught:
        SCHEMA.bind(["id", "pricee", "rating", "Größe", "prices"])
    assert str(caught.value) == "column 'price' is missing; did you mean 'prices' or 'pricee'?"


def test_a_missing_column_with_nothing_near_shows_what_is_there() -> None:
    """Without similar names the message lists up to ten columns."""
    with pytest.raises(SchemaError) as caught:
        SCHEMA.bind([f"q{n}" for n in range(12)])
    lines = str(caught.value).splitlines()
    assert len(lines) == 1, "all missing columns are in one line"
    assert lines[0].startswith(
        "columns 'price', 'rating', 'Größe' are missing; the table has 'q0', 'q1'"
    )
    assert lines[0].endswith("'q9' and 2 more")


@pytest.mark.parametrize("name", ["Price", "PRICE", " price", "price ", "\tPrice "])
def test_a_name_that_differs_in_case_or_blanks_is_offered_and_not_taken(name: str) -> None:
    """A similar name is suggested, never bound."""
    with pytest.raises(SchemaError, match="the table has") as caught:
        SCHEMA.bind([name, "rating", "Größe"])
    assert repr(name) in str(caught.value)


def test_a_near_name_is_offered_with_the_option_that_takes_it() -> None:
    """The message says what to rename, and the option to ignore it."""
    with pytest.raises(SchemaError) as caught:
        SCHEMA.bind([" PRICE", "rating", "Größe"])
    assert str(caught.value) == (
        "column 'price' is missing; the table has ' PRICE': rename it, or ignore case "
        "and blanks with loose_header=True"
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["Price", " RATING ", "GRÖSSE"], (0, 1, 2)),
        (["x", "größe\t", "rating", "pRICE"], (3, 2, 1)),
        (["Price", "price", "rating", "Größe"], (1, 2, 3)),
        (["PRICE", "price", "Price", "rating", "Größe", ""], (1, 3, 4)),
    ],
)
def test_a_loose_header_takes_near_names(columns: list[str], expected: tuple[int, ...]) -> None:
    """A loose match ignores case and blanks; exact names come first."""
    assert SCHEMA.bind(columns, loose=True) == expected


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["Price", "PRICE", "rating", "Größe"], "the table has 'Price' and 'PRICE': rename the"),
        (["Price", "Price", "rating", "Größe"], "the table has 'Price' and 'Price': rename the"),
        (["prices", "rating", "Größe"], "did you mean 'prices'"),
        (["price", "price", "rating", "Größe"], "column 'price' appears 2 times"),
        (["p rice", "rating", "Größe"], "column 'price' is missing"),
    ],
)
@pytest.mark.parametrize("loose", [False, True])
def test_a_loose_header_is_no_guess(columns: list[str], said: str, *, loose: bool) -> None:
    """Ambiguous and repeated names are refused, loose or not."""
    with pytest.raises(SchemaError, match=said):
        SCHEMA.bind(columns, loose=loose)


def test_a_column_is_never_two_features() -> None:
    """Features that differ in case only do not share a column."""
    schema = Schema("t", (Feature("x", 0, 1), Feature("X", 0, 1)), ("a", "b"))
    assert schema.bind(["X", "x"], loose=True) == (1, 0)
    with pytest.raises(SchemaError, match="' x' matches more than one feature"):
        schema.bind(["y", " x"], loose=True)
    with pytest.raises(SchemaError, match="'X' is missing"):
        schema.bind(["x"], loose=True)


def test_another_unicode_form_of_a_name_is_another_name() -> None:
    """Names match exactly: a decomposed letter is not the composed one."""
    with pytest.raises(SchemaError, match="'Größe' is missing"):
        SCHEMA.bind(["price", "rating", "Gro\u0308ße"])


def test_a_feature_that_stands_there_twice_is_refused() -> None:
    """Two columns with a feature's name are ambiguous."""
    with pytest.raises(SchemaError, match="column 'rating' appears 3 times"):
        SCHEMA.bind(["rating", "price", "rating", "Größe", "rating"])


def test_other_columns_may_be_doubled() -> None:
    """Other columns may have any names."""
    assert SCHEMA.bind(["", "price", "", "rating", "x", "x", "Größe"]) == (1, 3, 6)


FEATURE = {"name": "price", "minimum": 1, "maximum": 2}
SEEN: dict[str, Any] = {
    "name": "price",
    "minimum": 1,
    "maximum": 11,
    "quantiles": [*range(1, 12)],
    "shares": [0.1] * 10,
}
GOOD = {"target": "t", "features": [FEATURE], "classes": ["a", "b"]}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"features": []}, "at least one feature", id="no feature"),
        pytest.param({"features": [FEATURE, FEATURE]}, "appear twice: price", id="doubled feature"),
        pytest.param({"features": [{**FEATURE, "name": ""}]}, "needs a name", id="no name"),
        pytest.param({"features": [{**FEATURE, "minimum": 3}]}, "minimum", id="range upside down"),
        pytest.param({"features": [{**FEATURE, "minimum": "1"}]}, "float", id="range as text"),
        pytest.param({"features": [{**FEATURE, "minimum": None}]}, "float", id="no range"),
        pytest.param({"features": [{**FEATURE, "dtype": "int8"}]}, "dtype", id="other dtype"),
        pytest.param({"features": [{**FEATURE, "missing": "mean"}]}, "missing", id="other policy"),
        pytest.param({"features": [{**FEATURE, "scale": 2}]}, "scale", id="unknown key"),
        pytest.param(
            {"features": [{**SEEN, "shares": []}]}, "0 shares for 10", id="quantiles alone"
        ),
        pytest.param({"features": [{**SEEN, "quantiles": []}]}, "0 quant", id="shares alone"),
        pytest.param(
            {"features": [{**SEEN, "quantiles": [1, 2]}]}, "2 quantiles instead", id="too few"
        ),
        pytest.param(
            {"features": [{**SEEN, "quantiles": [1, 3, 2, *SEEN["quantiles"][3:]]}]},
            "ascending",
            id="quantiles in disorder",
        ),
        pytest.param({"features": [{**SEEN, "maximum": 12}]}, "maximum 12", id="other range"),
        pytest.param(
            {"features": [{**SEEN, "shares": [0.1] * 9}]}, "9 shares for 10", id="shares lack"
        ),
        pytest.param(
            {"features": [{**SEEN, "shares": [0.2] * 10}]}, "do not sum to 1", id="shares sum to 2"
        ),
        pytest.param(
            {"features": [{**SEEN, "shares": [0.2, -0.2, *[0.125] * 8]}]},
            "within 0 to 1",
            id="negative share",
        ),
        pytest.param({"features": ["price"]}, "object", id="feature as text"),
        pytest.param({"features": {"price": 1}}, "array", id="features as object"),
        pytest.param({"classes": ["a"]}, "at least two classes", id="one class"),
        pytest.param({"classes": ["a", "b", "a"]}, "appear twice: a", id="doubled class"),
        pytest.param({"classes": "ab"}, "array", id="classes as text"),
        pytest.param({"classes": [0, 1]}, "str", id="classes as numbers"),
        pytest.param({"target": 1}, "str", id="target as number"),
        pytest.param({"extra": 1}, "extra", id="unknown key of the schema"),
    ],
)
def test_a_schema_that_cannot_be_one_is_refused(change: dict[str, object], complaint: str) -> None:
    """Every field of a stored schema is checked when it is read."""
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.json.decode(json.dumps({**GOOD, **change}), type=Schema)


def test_a_schema_survives_being_stored() -> None:
    """A schema round-trips through JSON, to the same text."""
    again = msgspec.json.decode(SCHEMA.to_json(), type=Schema)
    assert again == SCHEMA
    assert again.to_json() == SCHEMA.to_json()


def test_a_feature_may_say_how_training_was_distributed() -> None:
    """Whole numbers in it are stored as they are read back; without it a feature is one too."""
    feature = msgspec.json.decode(json.dumps(SEEN), type=Feature)
    assert feature == Feature(**SEEN)
    assert feature.quantiles == tuple(map(float, range(1, 12)))
    assert msgspec.json.decode(msgspec.json.encode(Feature(**SEEN)), type=Feature) == feature
    assert Feature("price", 1, 11).quantiles == Feature("price", 1, 11).shares == ()


def test_a_value_is_rounded_once_from_float64() -> None:
    """Values are rounded once from float64, half to even."""
    # The text lies just above the middle of 1 and its successor. As float64 it is the middle,
    # which rounds to even, 1; read as float32 at once it would round up.
    text = "1.00000005960464477539062500000000000000000000000001"
    assert to_float32([np.array([float(text)])])[0, 0] == np.float32(1)


def test_values_beyond_float32_become_infinite_without_a_warning() -> None:
    """Values beyond float32 become infinities of the same sign."""
    largest, middle = 3.4028234663852886e38, 3.4028235677973366e38
    column = np.array([largest, np.nextafter(middle, 0), middle, -1e39, 1e308, np.nan])
    with np.errstate(all="raise"):
        rounded = to_float32([column])[:, 0]
    expected = np.array([largest, largest, np.inf, -np.inf, np.inf, np.nan], dtype=np.float32)
    np.testing.assert_array_equal(rounded, expected)


def test_small_values_keep_their_sign_and_underflow_quietly() -> None:
    """Denormals are kept, smaller values become a zero of their sign."""
    with np.errstate(all="raise", under="ignore"):
        rounded = to_float32([np.array([-0.0, 1e-45, 1e-46, -1e-300])])[:, 0]
    assert rounded.tolist() == [0.0, float(np.float32(1e-45)), 0.0, 0.0]
    assert np.signbit(rounded).tolist() == [True, False, False, True]


def test_the_matrix_is_laid_out_for_the_engine() -> None:
    """Columns become the columns of a C-contiguous float32 matrix, in their order."""
    matrix = to_float32([np.array([1.0, 2.0]), np.array([3.0, 4.0])])
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    assert matrix.tolist() == [[1, 3], [2, 4]]
    assert to_float32([np.array([])] * 3).shape == (0, 3)
