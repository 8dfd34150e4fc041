"""Data frames of pyarrow, numpy, polars and pandas, and dicts of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from runtime.errors import BadRowsError, DataError, OnnxferryError, SchemaError, UsageError
from runtime.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runtime.scoring.prediction import Prediction

COLUMNS: dict[str, list[Any]] = {
    "id": ["a", "b", "c"],
    "rating": [2.5, 4.0, 1.0],
    "price": [8.0, 1.5, 3.0],
}


def as_polars(columns: dict[str, list[Any]]) -> Any:  # noqa: ANN401 - polars may not be installed
    return pytest.importorskip("polars").DataFrame(columns)


def as_pandas(columns: dict[str, list[Any]]) -> Any:  # noqa: ANN401 - as above
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(columns, index=range(7, 7 + len(columns["id"])))


def as_structured(columns: dict[str, list[Any]]) -> np.ndarray[Any, Any]:
    kinds = [("id", "U3"), ("rating", "f4"), ("price", "f8")]
    rows = zip(*columns.values(), strict=True)
    return np.array([tuple(np.nan if x is None else x for x in row) for row in rows], dtype=kinds)


def column(table: Any, name: str) -> list[Any]:  # noqa: ANN401 - tables of many libraries
    """Values of a column; None for what is missing, whatever the library says for it."""
    values = table.column(name) if hasattr(table, "column_names") else table[name]
    values = values.to_pylist() if hasattr(values, "to_pylist") else list(values)
    return [None if value is None or value != value else value for value in values]  # noqa: PLR0124 - NaN


ROWS = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
MAKERS: dict[str, Callable[[dict[str, list[Any]]], Any]] = {
    "pyarrow table": pa.table,
    "pyarrow batch": pa.record_batch,
    "dict": dict,
    "numpy": as_structured,
    "polars": as_polars,
    "pandas": as_pandas,
}
libraries = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@pytest.fixture(scope="module")
def expected(predictor: Predictor) -> Prediction:
    """The predictions of the three rows."""
    return predictor.predict(list(zip(COLUMNS["price"], COLUMNS["rating"], strict=True)))


@libraries
def test_a_table_comes_back_with_its_answers(
    predictor: Predictor, expected: Prediction, make: Callable[..., Any]
) -> None:
    """The same kind of table, its columns untouched, then label and probability."""
    table = make(COLUMNS)
    scored = predictor.predict_table(table)
    assert type(scored) is type(table)
    for name, values in COLUMNS.items():
        assert column(scored, name) == values
    assert column(scored, "label") == expected.label.tolist()
    found = np.array(column(scored, "probability"), dtype=np.float32)
    assert found.tobytes() == expected.probability.tobytes()


@libraries
def test_bad_rows_are_refused_or_kept(predictor: Predictor, make: Callable[..., Any]) -> None:
    """Bad rows are refused with record, column and reason, or kept without a prediction."""
    table = make({**COLUMNS, "price": [8.0, None, 3.0]})
    with pytest.raises(BadRowsError, match=r'record 2, column .price.*\n.*bad_rows="null"'):
        predictor.predict_table(table)
    scored = predictor.predict_table(table, bad_rows="null")
    assert [label or None for label in column(scored, "label")] == ["no", None, "no"] or (
        [bool(label) for label in column(scored, "label")] == [True, False, True]
    )
    assert [value is None for value in column(scored, "probability")] == [False, True, False]
    reasons = [reason or "" for reason in column(scored, "reason")]
    assert reasons[0] == reasons[2] == ""
    assert reasons[1] == "price: missing value"


@libraries
def test_probabilities_and_names_are_as_for_files(
    predictor: Predictor, expected: Prediction, make: Callable[..., Any]
) -> None:
    """``proba`` adds a column a class, ``prefix`` goes before every new name."""
    scored = predictor.predict_table(make(COLUMNS), proba=True, prefix="m_")
    for at, name in enumerate(("m_probability_no", "m_probability_yes")):
        found = np.array(column(scored, name), dtype=np.float32)
        assert found.tobytes() == expected.probabilities[:, at].tobytes()


@libraries
def test_no_rows_give_no_answers(predictor: Predictor, make: Callable[..., Any]) -> None:
    """A table without rows comes back without rows, with the new columns."""
    table = make(COLUMNS)
    if isinstance(table, dict):
        table = {name: [] for name in COLUMNS}
    elif isinstance(table, pa.Table | pa.RecordBatch):
        table = table.slice(0, 0)
    else:
        table = table[:0]
    scored = predictor.predict_table(table, bad_rows="null")
    for name in ("label", "probability", "reason"):
        assert column(scored, name) == []


@libraries
def test_a_name_that_is_taken_is_refused(predictor: Predictor, make: Callable[..., Any]) -> None:
    """No column of the table is replaced."""
    scored = predictor.predict_table(make(COLUMNS))
    with pytest.raises(SchemaError, match=r"already has a column 'label'.*with prefix="):
        predictor.predict_table(scored)


@libraries
def test_every_way_to_predict_takes_every_table(
    predictor: Predictor, expected: Prediction, make: Callable[..., Any]
) -> None:
    """``predict`` and ``predict_proba`` bind the same tables by the same names."""
    assert predictor.predict(make(COLUMNS)).probability.tobytes() == expected.probability.tobytes()
    found = predictor.predict_proba(make(COLUMNS))
    assert found.tobytes() == expected.probabilities.tobytes()


@libraries
def test_a_missing_column_is_said(predictor: Predictor, make: Callable[..., Any]) -> None:
    """Names match exactly, in every kind of table; a loose match is taken on request."""
    table = make(COLUMNS)
    if isinstance(table, dict):
        table = {"id": table["id"], "Rating ": table["rating"], "price": table["price"]}
    elif isinstance(table, pa.Table | pa.RecordBatch):
        table = table.rename_columns(["id", "Rating ", "price"])
    elif isinstance(table, np.ndarray):
        table.dtype.names = ("id", "Rating ", "price")
    else:
        table.columns = ["id", "Rating ", "price"]
    with pytest.raises(SchemaError, match=r"'rating' is missing; the table has 'Rating '"):
        predictor.predict_table(table)
    scored = predictor.predict_table(table, loose_header=True)
    assert column(scored, "label") == list(predictor.predict_table(COLUMNS)["label"])


def test_rows_as_dicts_come_back_as_dicts(predictor: Predictor, expected: Prediction) -> None:
    """A list of dicts, and one dict as one row; a key that a row lacks is a missing value."""
    scored = predictor.predict_table(ROWS, proba="positive")
    assert [row["label"] for row in scored] == expected.label.tolist()
    assert [row["probability_yes"] for row in scored] == expected.probability_of("yes").tolist()
    assert [row["id"] for row in scored] == COLUMNS["id"]
    assert predictor.predict_table(ROWS[0]) == {**ROWS[0], "label": "yes"} | {
        "probability": expected.probability[0].item()
    }
    assert predictor.predict(ROWS).probabilities.tobytes() == expected.probabilities.tobytes()
    assert predictor.predict_proba(ROWS[1]).tolist() == [expected.probabilities[1].tolist()]
    kept = predictor.predict_table([ROWS[0], {"price": 1.0}], bad_rows="null")
    assert kept[1] == {"price": 1.0, "label": None, "probability": None} | {
        "reason": "rating: missing value"
    }
    with pytest.raises(DataError, match="row 1, column 'rating': '' cannot be scored: missing"):
        predictor.predict([ROWS[0], {"price": 1.0}])


def test_rows_as_dicts_may_have_categories(sales_bundle: Path) -> None:
    """As columns do: the same predictions, of texts, numbers and None."""
    predictor = Predictor(sales_bundle, provider="cpu")
    columns = {
        "price": [1.0, 2.0],
        "colour": ["red", None],
        "rating": [None, 3],
        "size": ["S", "L"],
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    expected = predictor.predict_proba(pa.table(columns))
    assert predictor.predict_proba(rows).tobytes() == expected.tobytes()
    assert predictor.predict_proba(rows[1]).tobytes() == expected[1:].tobytes()


def test_chunks_are_one_table(predictor: Predictor) -> None:
    """Records are counted over the chunks of a table, sliced ones among them."""
    one = pa.table(COLUMNS)
    table = pa.concat_tables([one, one.slice(1), one.slice(0, 0), one.slice(2)])
    scored = predictor.predict_table(table)
    whole = predictor.predict_table(table.combine_chunks())
    assert scored.equals(whole)
    damaged = pa.concat_tables([one, one.set_column(2, "price", [[1.0, None, 2.0]])])
    with pytest.raises(BadRowsError, match="record 5, column 'price'"):
        predictor.predict_table(damaged)


COLUMN_KINDS: dict[str, object] = {
    "numbers and nothing": [1, None],
    "Arrow": pa.array([1, None]),
    "Arrow in chunks": pa.chunked_array([[1], [None]]),
    "masked": np.ma.masked_array([1.0, 2.0], mask=[False, True]),
    "text": ["1", ""],
    "mixed": np.array([1, None], dtype=object),
}


@pytest.mark.parametrize("prices", COLUMN_KINDS.values(), ids=COLUMN_KINDS)
def test_what_is_missing_stays_missing(predictor: Predictor, prices: object) -> None:
    """Masked values are missing in every type of column."""
    scored: dict[str, Any] = predictor.predict_table(
        {"price": prices, "rating": [2.0, 2.0]}, bad_rows="null"
    )
    assert list(scored["reason"]) == [None, "price: missing value"]


def test_a_mask_is_not_looked_below(predictor: Predictor) -> None:
    """Predicting a matrix or columns refuses masked values as well."""
    masked = np.ma.masked_array([[1.0, 2.0]], mask=[[False, True]])
    with pytest.raises(DataError, match="column 'rating': nan"):
        predictor.predict(masked)
    with pytest.raises(DataError, match="column 'rating': nan"):
        predictor.predict({"price": masked[:, 0], "rating": masked[:, 1]})


@pytest.mark.parametrize("kind", [">f8", "<f4", "f2", ">i4", "u1", "S3"])
def test_numpy_numbers_of_any_layout(predictor: Predictor, kind: str) -> None:
    """Byte order and width of a field do not matter."""
    table = np.array([(1, 2.5)], dtype=[("price", kind), ("rating", ">f8")])
    if kind.startswith("S"):
        table["price"] = b"1"
    expected = predictor.predict([[1, 2.5]])
    assert predictor.predict_table(table)["probability"] == expected.probability


def test_a_structured_array_has_no_word_for_nothing(predictor: Predictor) -> None:
    """An empty text stands where there is no label or reason, not the word None."""
    table = as_structured({**COLUMNS, "price": [8.0, None, 3.0]})
    scored = predictor.predict_table(table, bad_rows="null")
    assert scored["label"].tolist()[1] == ""
    assert scored["reason"].tolist() == ["", "price: missing value", ""]


BOOLEAN = "column 'price' has type bool, which is not a number; convert it to 1 and 0"
REFUSED = [
    pytest.param({"price": np.array([True]), "rating": [1]}, {}, SchemaError, BOOLEAN, id="bool"),
    pytest.param(np.zeros((2, 2)), {}, UsageError, "no named columns", id="a matrix"),
    pytest.param([1, 2], {}, UsageError, "a list has no named columns", id="a list"),
    pytest.param(None, {}, UsageError, "a NoneType has no named columns", id="nothing"),
    pytest.param({"price": [1], "rating": [1, 2]}, {}, DataError, "equally long", id="unequal"),
    pytest.param({"price": [1], "rating": 2}, {}, DataError, "cannot be read", id="a scalar"),
    pytest.param([{"price": 1}, [1, 2]], {}, UsageError, "row 1 is a list", id="no dict"),
    pytest.param({"price": [[1]], "rating": [[1]]}, {}, DataError, "cannot", id="matrices"),
    pytest.param({"price": [[1], [1, 2]], "rating": [1, 2]}, {}, DataError, "cannot", id="ragged"),
    pytest.param({"price": [1j], "rating": [1]}, {}, BadRowsError, "'1j': not a num", id="complex"),
    pytest.param(
        {"price": np.array(["2020-01-01"], "M8[D]"), "rating": [1]},
        {},
        SchemaError,
        "'price' has type date32",
        id="dates",
    ),
    pytest.param(
        COLUMNS, {"bad_rows": "reject"}, UsageError, '"reject" applies to files', id="reject"
    ),
]


@pytest.mark.parametrize(("table", "options", "error", "said"), REFUSED)
def test_what_is_no_such_table_is_refused(
    predictor: Predictor,
    table: object,
    options: dict[str, Any],
    error: type[OnnxferryError],
    said: str,
) -> None:
    """Invalid tables and options for files are errors."""
    with pytest.raises(error, match=said):
        predictor.predict_table(table, **options)


def test_pandas_keeps_its_index(predictor: Predictor) -> None:
    """Rows keep their labels, even labels that are named as a feature."""
    frame = as_pandas(COLUMNS)
    assert predictor.predict_table(frame).index.tolist() == [7, 8, 9]
    indexed = frame.set_index("price", drop=False)
    assert predictor.predict_table(indexed).index.equals(indexed.index)
    indexed = frame.set_index(["id", "price"], drop=False)
    assert predictor.predict_table(indexed).index.equals(indexed.index)


def test_pandas_columns_of_any_kind(predictor: Predictor) -> None:
    """Objects, nullable integers and categories are read; dates are refused."""
    pandas = pytest.importorskip("pandas")
    kinds = {
        "objects": pandas.Series([1, None], dtype=object),
        "nullable": pandas.array([1, None], dtype="Int64"),
        "categories": pandas.Categorical([1, None]),
        "words": pandas.Categorical(["1", None]),
    }
    for name, prices in kinds.items():
        scored = predictor.predict_table(
            pandas.DataFrame({"price": prices, "rating": 1}), bad_rows="null"
        )
        assert column(scored, "reason") == [None, "price: missing value"], name
    dates = pandas.to_datetime(["2020-01-01"])
    with pytest.raises(SchemaError, match="'price' has type timestamp"):
        predictor.predict_table(pandas.DataFrame({"price": dates, "rating": 1}))


def test_pandas_names_need_not_be_text(
    make_bundle: Callable[..., Path], predictor: Predictor
) -> None:
    """Columns called 0 and 1 are the features 0 and 1; others may have any name, or share one."""
    pandas = pytest.importorskip("pandas")
    numbered = type(predictor)(make_bundle(features=("0", "1")), provider="cpu")
    frame = pandas.DataFrame([[1.0, 2.0]])
    assert list(numbered.predict_table(frame).columns) == [0, 1, "label", "probability"]
    frame = pandas.DataFrame([[1, 2, 3, 4, 5]], columns=["x", "price", 5, "rating", "x"])
    scored = predictor.predict_table(frame)
    assert list(scored.columns) == ["x", "price", 5, "rating", "x", "label", "probability"]
    with pytest.raises(SchemaError, match="'price' appears 2 times"):
        predictor.predict_table(pandas.DataFrame([[1, 2, 3]], columns=["price", "price", "rating"]))


def test_polars_categories_are_read(predictor: Predictor) -> None:
    """Categories are texts, which may be numbers."""
    polars = pytest.importorskip("polars")
    prices = polars.Series(["1", "x", None], dtype=polars.Categorical)
    scored = predictor.predict_table(
        polars.DataFrame({"price": prices, "rating": [1, 2, 3]}), bad_rows="null"
    )
    assert scored["reason"].to_list() == [None, "price: not a number", "price: missing value"]
    assert scored["price"].dtype == polars.Categorical


def test_a_lazy_frame_is_to_be_collected(predictor: Predictor) -> None:
    """Lazy frames are refused."""
    frame = as_polars(COLUMNS).lazy()
    for predict in (predictor.predict_table, predictor.predict, predictor.predict_proba):
        with pytest.raises(UsageError, match=r"call collect\(\) first"):
            predict(frame)


def as_objects(columns: dict[str, list[Any]]) -> np.ndarray[Any, Any]:
    rows = list(zip(*columns.values(), strict=True))
    return np.array(rows, dtype=[(name, "O") for name in columns])


@pytest.mark.parametrize("make", [dict, as_pandas, as_objects])
def test_numbers_among_texts_are_read_by_the_rules_of_a_cell(
    predictor: Predictor, make: Callable[[dict[str, list[Any]]], Any]
) -> None:
    """A column as spreadsheets give it: numbers, texts, nothing, integers of any length."""
    price = ["8", 8, 8.0, None, "x", 10**30, " +8e0 ", True]
    table = make({"id": list("abcdefgh"), "rating": [2.5] * 8, "price": price})
    scored = predictor.predict_table(table, bad_rows="null")
    labels = [label or None for label in column(scored, "label")]  # "" in an array of numpy
    assert labels == ["yes"] * 3 + [None] * 2 + ["yes"] * 2 + [None]
    assert [column(scored, "reason")[at] for at in (3, 4, 7)] == [
        "price: missing value",
        "price: not a number",
        "price: not a number",
    ]


@pytest.mark.parametrize("make", [dict, as_pandas, as_polars, pa.table])
def test_decimal_commas_are_read_where_they_are_given(
    predictor: Predictor, make: Callable[[dict[str, list[Any]]], Any]
) -> None:
    """The message about a column of decimal commas names the option, and the option does it."""
    table = make({"id": ["a", "b"], "rating": [4.0, 1.0], "price": ["8,25", "1,5"]})
    with pytest.raises(BadRowsError, match='give decimal=","'):
        predictor.predict_table(table)
    scored = predictor.predict_table(table, decimal=",")
    expected = predictor.predict([[8.25, 4.0], [1.5, 1.0]])
    assert column(scored, "label") == expected.label.tolist()
    assert column(scored, "probability") == expected.probability.tolist()


@pytest.mark.parametrize("other", [[1], "abcd", np.zeros((2, 2))])
def test_columns_of_a_dict_are_equally_long(predictor: Predictor, other: object) -> None:
    """Columns of different lengths are refused, also unused ones."""
    with pytest.raises(DataError, match="columns must be equally long, got"):
        predictor.predict_table({**COLUMNS, "x": other})


NAN = float("nan")


def pandas_floats(dtype: str) -> Callable[[], Any]:
    """Make a column of pandas that holds NaN and a missing value, which its types tell apart."""

    def make() -> Any:  # noqa: ANN401 - as above
        pandas = pytest.importorskip("pandas")
        arrays = pandas.arrays
        found = {
            "float64": np.array([2.0, NAN, NAN]),
            "Float64": arrays.FloatingArray(np.array([2.0, NAN, 0.0]), np.arange(3) == 2),
            "double[pyarrow]": arrays.ArrowExtensionArray(pa.array([2.0, NAN, None])),
            "object": np.array([2.0, NAN, None], dtype=object),
        }
        return pandas.Series(found[dtype])

    return make


def polars_floats(dtype: str) -> Callable[[], Any]:
    def make() -> Any:  # noqa: ANN401 - as above
        polars = pytest.importorskip("polars")
        return polars.Series([2.0, NAN, None], dtype=getattr(polars, dtype))

    return make


@pytest.mark.parametrize(
    "make",
    [*map(polars_floats, ["Float64", "Float32"]),
     *map(pandas_floats, ["float64", "Float64", "double[pyarrow]", "object"]),
     lambda: np.array([2.0, NAN, NAN]), lambda: [2.0, NAN, None]],
    ids=["polars", "polars float32", "pandas", "pandas nullable", "pandas with pyarrow",
         "pandas objects", "numpy", "list"],
)  # fmt: skip
def test_nan_of_a_data_frame_is_a_missing_value(
    sales_bundle: Path, make: Callable[[], Any]
) -> None:
    """As null is, where a missing value may be; pyarrow's own tables tell them apart."""
    predictor = Predictor(sales_bundle, provider="cpu")
    columns = {"price": [1.0] * 3, "colour": ["red"] * 3, "size": ["S"] * 3}
    expected = predictor.predict_table(pa.table({**columns, "rating": [2.0, None, None]}))
    found = predictor.predict_table({**columns, "rating": make()})
    assert column(found, "probability") == column(expected, "probability")
    strict = pa.table({**columns, "rating": [2.0, NAN, None]})
    with pytest.raises(BadRowsError, match="column 'rating': 'nan': NaN or infinity"):
        predictor.predict_table(strict)
