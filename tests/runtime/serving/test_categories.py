"""Categories, dates and missing values in requests are handled as in files."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sales import (
    COLOUR,
    INFER,
    MATRIX,
    NAN,
    PRICE,
    RATING,
    SIZE,
    TABLE,
    ask,
    binary,
    columns,
    nulls,
    probabilities,
    tensor,
)
from serving_client import request

from runtime.errors import DataError, RequestError
from runtime.predictor import Predictor
from runtime.schema.features import Date, Feature, OneHot, Schema
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file
from runtime.serving.v2.columns import InputColumns
from runtime.serving.v2.inputs import BinaryData, bind_inputs
from runtime.serving.v2.messages import parse_request
from runtime.serving.v2.tensors import encode_strings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serving_client import Served


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {
            "colour": {"data": [[text] for text in COLOUR], "shape": [4, 1]},
            "rating": {"data": [[value] for value in nulls(RATING)], "shape": [4, 1]},
        },
        {"colour": {"data": ["red", "blå, mørk", None, "green"]}},
        {"colour": {"data": ["red", "blå, mørk", " \t", "green"]}},
    ],
    ids=["flat", "nested", "null for a missing category", "blanks for one"],
)
def test_json_is_predicted_as_a_file_is(
    sales_server: Served, expected: np.ndarray, changed: dict[str, Any]
) -> None:
    """Strings for categories and null for missing values: ``predict``'s results, bit for bit."""
    answer = ask(sales_server, columns(**changed))
    assert probabilities(answer).tobytes() == expected.tobytes()


def test_binary_is_predicted_as_a_file_is(sales_server: Served, expected: np.ndarray) -> None:
    """Binary strings and NaN for missing values too; JSON and binary may be mixed."""
    colours = encode_strings([text.encode() for text in COLOUR])
    rating, ratings = binary("rating", "FP32", np.array(RATING, "<f4").tobytes())
    colour, texts = binary("colour", "BYTES", colours)
    price = tensor("price", "FP32", PRICE)
    answer = ask(
        sales_server, [rating, tensor("size", "BYTES", SIZE), colour, price], ratings + texts
    )
    assert probabilities(answer).tobytes() == expected.tobytes()


def test_matrix_is_predicted_as_a_file_is(sales_server: Served, expected: np.ndarray) -> None:
    """One tensor with a number for each category works too, in JSON and binary."""
    tensor = {"name": "features", "shape": [4, 9], "datatype": "FP32"}
    flat = nulls([value for row in MATRIX for value in row])
    nested = [nulls(row) for row in MATRIX]
    for data in (flat, nested):
        answer = ask(sales_server, [{**tensor, "data": data}])
        assert probabilities(answer).tobytes() == expected.tobytes()
    content = np.array(MATRIX, "<f4").tobytes()
    answer = ask(
        sales_server, [{**tensor, "parameters": {"binary_data_size": len(content)}}], content
    )
    assert probabilities(answer).tobytes() == expected.tobytes()


def test_predict_endpoint_equals_the_command(
    sales_server: Served, sales_bundle: Path, run_command: Callable[..., Any]
) -> None:
    """Empty CSV cells and JSON null: the bytes and numbers of ``runtime predict``."""
    words = ("predict", "--bundle", sales_bundle, "--file", "-", "--format")
    done = run_command(*words, "csv", stdin=TABLE)
    answer = sales_server.ask("/predict", TABLE, {"Content-Type": "text/csv"})
    assert answer.body.splitlines() == done.stdout.splitlines()
    rows = [
        dict(zip(("price", "colour", "rating", "size"), row, strict=True))
        for row in zip(PRICE, COLOUR, nulls(RATING), SIZE, strict=True)
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    done = run_command(*words, "jsonl", stdin="\n".join(lines).encode())
    answer = sales_server.ask("/predict", f"[{','.join(lines)}]".encode())
    assert answer.body == b"[" + b",".join(done.stdout.splitlines()) + b"]"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        (
            {"colour": {"data": ["red", "pink", "", "green"]}},
            "row 1, column 'colour': 'pink': a category that training did not have",
        ),
        ({"size": {"data": ["S", None, "L", "S"]}}, "row 1, column 'size': '': missing value"),
        ({"size": {"data": ["S", "M", " ", "S"]}}, "row 2, column 'size': ' ': missing value"),
        ({"size": {"data": ["S", "M", "L"]}}, "inputs[0].data has 3 strings, its shape needs 4"),
        ({"size": {"data": ["S", 5, "L", "S"]}}, "inputs[0].data[1]: expected str"),
        ({"size": {"data": [["S"], ["M", "L"], ["L"], ["S"]]}}, "inputs[0].data[1]: expected arr"),
        ({"size": {"data": "SMLS"}}, "inputs[0].data: expected array"),
        ({"size": {"datatype": "FP32"}}, "'size' holds strings: send BYTES"),
        ({"rating": {"datatype": "BYTES"}}, "inputs[1].datatype is 'BYTES'"),
        ({"price": {"data": [1, None, 2, 3]}}, "inputs[3].data[1]: expected float, got null"),
        ({"rating": {"data": [1, "", 2, 3]}}, "inputs[1].data[1]: expected float"),
        ({"rating": {"data": [1, 1e39, 2, 3]}}, "row 1, column 'rating'"),
        ({"price": {"data": [1, 1e39, 2, 3]}}, "row 1, column 'price'"),
        ({"size": {"shape": [4, 2]}}, "'size' has shape [rows, 1]"),
        ({"size": {"shape": [10**15]}}, "the tensors differ in rows"),
        ({"size": {"name": "sizes"}}, "'size' is missing"),
    ],
    ids=range(16),
)
def test_unseen_category_or_missing_value_is_rejected(
    sales_server: Served, changed: dict[str, Any], error: str
) -> None:
    """What the bundle's policies reject is 400 with column, row and value."""
    answer = ask(sales_server, columns(**changed))
    assert answer.status == 400
    assert error in answer.error


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (encode_strings([b"S", b"M", b"L"]), "its 15 bytes end within string 3 of 4"),
        (encode_strings([b"S", b"M", b"L", b"S", b""]), "4 bytes follow its 4 strings"),
        (b"\xff\xff\xff\xffS", "its 5 bytes end within string 0 of 4"),
        (
            encode_strings([b"S", b"M", b"\xff", b"S"]),
            "row 2, column 'size': '\ufffd': undecodable bytes",
        ),
        (encode_strings([b"S", b"M", b"m", b"S"]), "row 2, column 'size': 'm': a category that"),
    ],
    ids=["few", "many", "beyond", "no text", "unseen"],
)
def test_malformed_binary_strings(sales_server: Served, content: bytes, error: str) -> None:
    """Invalid lengths and strings are 400 with their location."""
    size, _ = binary("size", "BYTES", content)
    answer = ask(sales_server, [size, *columns()[1:]], content)
    assert answer.status == 400
    assert error in answer.error


@pytest.mark.parametrize("size", [-1, True, "20", 1.0, 10**9])
def test_invalid_binary_size(sales_server: Served, size: object) -> None:
    """A binary size that is no valid number of bytes is 400."""
    sizes = tensor("size", "BYTES", parameters={"binary_data_size": size})
    answer = ask(sales_server, [sizes, *columns()[1:]], encode_strings([b"S"] * 4))
    assert answer.status == 400
    assert "inputs[0]" in answer.error


def test_nan_is_missing_only_where_allowed(sales_server: Served) -> None:
    """Binary NaN is rejected in a column without missing values; infinity everywhere."""
    for name, values in (("price", [1, 2, NAN, 3]), ("rating", [1, 2, float("inf"), 3])):
        tensor, content = binary(name, "FP32", np.array(values, "<f4").tobytes())
        others = [one for one in columns() if one["name"] != name]
        answer = ask(sales_server, [tensor, *others], content)
        assert answer.status == 400
        assert f"row 2, column {name!r}" in answer.error
    flat = [value for row in MATRIX for value in row]
    data = nulls([*flat[:9], NAN, *flat[10:]])
    tensor = {"name": "features", "shape": [4, 9], "datatype": "FP32", "data": data}
    assert "inputs[0].data[9]: expected a number, got null" in ask(sales_server, [tensor]).error
    tensor["data"] = [data[at : at + 9] for at in range(0, 36, 9)]
    assert "inputs[0].data[1][0]: expected a number, got null" in ask(sales_server, [tensor]).error


def test_policy_other_accepts_unseen_categories(
    make_bundle: Callable[..., Path], start_server: Callable[..., Served]
) -> None:
    """With the policy ``other`` an unseen string is allowed; a missing one is not."""
    colour = Feature("colour", 0, 1, one_hot=OneHot(("red", "green"), "other"))
    folder = make_bundle([colour, "price"])
    predictor = Predictor(folder, provider="cpu")
    rows = np.array([[1, 0, 2.5], [0, 0, 2.5]], np.float32)
    served = start_server("--bundle", f"sales={folder}")
    tensors: list[dict[str, Any]] = [
        {"name": "colour", "shape": [2], "datatype": "BYTES", "data": ["red", 'pi"nk, \\]']},
        {"name": "price", "shape": [2], "datatype": "FP32", "data": [2.5, 2.5]},
    ]
    answer = ask(served, tensors)
    assert probabilities(answer).tobytes() == predictor.run(rows).probabilities.tobytes()
    tensors[0]["data"] = ["red", None]
    assert "row 1, column 'colour': '': missing value" in ask(served, tensors).error


def test_dates_are_predicted_as_a_file_is(
    start_server: Callable[..., Served], make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """ISO dates as BYTES give ``predict``'s results; an invalid date is located."""
    day = Feature("day", 0, 60, missing="imputed", date=Date("2024-02-29"))
    bundle = make_bundle(["price", day])
    days = ["2024-03-01", "2024-03-01T12:00:00+02:00", " 2024-04-02 ", "2024-02-29T00:00"]
    rows = "".join(f"{price},{one}\n" for price, one in zip(PRICE, days, strict=True))
    (tmp_path / "in.csv").write_text(f"price,day\n{rows}")
    predictor = Predictor(bundle, provider="cpu")
    score_file(predictor, tmp_path / "in.csv", tmp_path / "out.csv", Options(proba=True))
    lines = csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text()))
    expected = [[row["probability_no"], row["probability_yes"]] for row in lines]
    served = start_server("--bundle", f"sales={bundle}")
    price, sent = tensor("price", "FP64", PRICE), encode_strings([text.encode() for text in days])
    text, (encoded, content) = tensor("day", "BYTES", days), binary("day", "BYTES", sent)
    for answer in (ask(served, [text, price]), ask(served, [price, encoded], content)):
        assert probabilities(answer).tobytes() == np.array(expected, np.float32).tobytes()
    rejected = ask(served, [price, tensor("day", "BYTES", [*days[:2], "2024-02-30", days[3]])])
    assert rejected.status == 400
    assert rejected.json == {"error": "row 2, column 'day': '2024-02-30': not an ISO date"}


def test_numbers_that_mean_missing_are_missing_in_requests_and_matrices(
    start_server: Callable[..., Served], make_bundle: Callable[..., Path]
) -> None:
    """Where no value may be missing, such a number is refused, not scored."""
    bundle = make_bundle(["price", Feature("age", -999, 99, missing_texts=("-999", "NA"))])
    predictor = Predictor(bundle, provider="cpu")
    for table in (np.array([[2.5, -999]]), {"price": [2.5], "age": [-999]}):
        with pytest.raises(DataError, match="row 0, column 'age': nan cannot be scored"):
            predictor.predict(table)
    served = start_server("--bundle", f"sales={bundle}")
    ages = tensor("age", "FP32", [1, 2, -999, 4])
    matrix = {"name": "features", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, -999]}
    for inputs in ([tensor("price", "FP64", PRICE), ages], [matrix]):
        refused = ask(served, inputs)
        assert refused.status == 400
        assert "column 'age': NaN" in refused.json["error"]


def test_no_rows(sales_server: Served) -> None:
    """A request without rows gets a response without rows, strings or not."""
    empty = {name: {"shape": [0], "data": []} for name in ("size", "rating", "colour", "price")}
    assert probabilities(ask(sales_server, columns(**empty))).shape == (0, 2)


@pytest.mark.parametrize(
    ("datatype", "data"), [("FP32", [1, None, 3]), ("INT8", [[1], [None], [3]])]
)
def test_null_in_numeric_columns(datatype: str, data: list[Any]) -> None:
    """Without categories, null is NaN in nullable columns only."""
    features = (Feature("x", 0, 9, missing="imputed"), Feature("y", 0, 9))
    columns = InputColumns(Schema("z", features, ("a", "b")), 10**6)

    def bind(**sent: list[Any]) -> np.ndarray:
        tensors = [
            {"name": name, "shape": [3, 1], "datatype": datatype, "data": values}
            for name, values in sent.items()
        ]
        text = json.dumps({"inputs": tensors}).encode()
        message = parse_request(text, max_tensors=2)
        return bind_inputs(message, BinaryData(text, len(text)), columns, 100)

    np.testing.assert_array_equal(bind(y=[4, 5, 6], x=data), [[1, 4], [NAN, 5], [3, 6]])
    with pytest.raises(RequestError, match=r"inputs\[1\]\.data\[1\].* got null"):
        bind(x=data, y=data)


def test_many_strings_are_accepted_but_not_many_keys(sales_server: Served) -> None:
    """A request may have as many strings as rows, but not as many keys."""
    rows = 20_000
    long: list[dict[str, Any]] = [
        {"name": name, "shape": [rows], "datatype": kind, "data": [value] * rows}
        for name, kind, value in (
            ("price", "FP32", 2.5),
            ("colour", "BYTES", "red"),
            ("rating", "FP32", None),
            ("size", "BYTES", "S"),
        )
    ]
    found = probabilities(ask(sales_server, long))
    assert len({row.tobytes() for row in found}) == 1
    long[0]["parameters"] = {f"key{number}": "" for number in range(10_000)}
    assert ask(sales_server, long).status == 413


def test_rows_are_limited_by_their_encoded_size(
    make_bundle: Callable[..., Path], start_server: Callable[..., Served]
) -> None:
    """A string of two bytes that is encoded as a thousand numbers cannot exhaust memory."""
    colour = Feature("colour", 0, 1, one_hot=OneHot(tuple(f"c{n}" for n in range(1000))))
    served = start_server("--bundle", f"sales={make_bundle([colour])}")
    tensor = {"name": "colour", "shape": [5000], "datatype": "BYTES", "data": ["c7"] * 5000}
    answer = ask(served, [tensor])
    assert (answer.status, "5000 rows are more than the 4194" in answer.error) == (413, True)
    assert len(probabilities(ask(served, [{**tensor, "shape": [4], "data": ["c7"] * 4}]))) == 4


def test_invalid_request_does_not_affect_its_batch(
    sales_server: Served, expected: np.ndarray
) -> None:
    """Of one batch, only the request with an unseen category fails."""
    good = request(INFER, json.dumps({"inputs": columns()}).encode())
    bad = request(INFER, json.dumps({"inputs": columns(size={"data": ["?"] * 4})}).encode())
    with sales_server.client() as client:
        client.send(good + bad + good)
        answers = [client.read() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 400, 200]
    for answer in (answers[0], answers[2]):
        assert probabilities(answer).tobytes() == expected.tobytes()
