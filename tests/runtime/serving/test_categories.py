"""Columns of categories, and numbers that are missing: what files mean by them, requests mean."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_client import PATIENCE_S, request

from runtime.errors import RequestError
from runtime.predictor import Predictor
from runtime.schema import Feature, OneHot, Schema
from runtime.scoring.options import Options
from runtime.scoring.score import score_file
from runtime.serving.protocol.columns import Columns
from runtime.serving.protocol.inputs import Binary, bind_inputs
from runtime.serving.protocol.messages import parse_request
from runtime.serving.protocol.texts import as_bytes, texts_of_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serving_client import Answer, Served

INFER = "/v2/models/sales/infer"
NAN = float("nan")
TABLE = """price,colour,rating,size
2.5,red,3.5,S
9.75,"blå, mørk",,M
5,,4.25,L
1.25,green,,S
""".encode()
PRICE, RATING = [2.5, 9.75, 5.0, 1.25], [3.5, NAN, 4.25, NAN]
COLOUR, SIZE = ["red", "blå, mørk", "", "green"], ["S", "M", "L", "S"]
# The same as the model's matrix: price, colour=..., rating, size=...
MATRIX = [
    [2.5, 0, 0, 0, 1, 3.5, 0, 0, 1],
    [9.75, 0, 1, 0, 0, NAN, 0, 1, 0],
    [5.0, 1, 0, 0, 0, 4.25, 1, 0, 0],
    [1.25, 0, 0, 1, 0, NAN, 0, 0, 1],
]


@pytest.fixture(scope="module")
def served(start_server: Callable[..., Served], sales_bundle: Path) -> Served:
    """A server of the bundle that was trained with categories and gaps."""
    return start_server("--bundle", f"sales={sales_bundle}")


@pytest.fixture(scope="module")
def expected(sales_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The probabilities that ``runtime predict`` writes for the table, (4, 2) float32."""
    folder = tmp_path_factory.mktemp("scored")
    (folder / "in.csv").write_bytes(TABLE)
    predictor = Predictor.open(sales_bundle, provider="cpu")
    score_file(predictor, folder / "in.csv", folder / "out.csv", Options(proba=True))
    rows = list(csv.DictReader(io.StringIO((folder / "out.csv").read_text(encoding="utf-8"))))
    return np.array([[row["probability_no"], row["probability_yes"]] for row in rows], np.float32)


def _nulls(values: list[float]) -> list[float | None]:
    return [None if value != value else value for value in values]  # noqa: PLR0124 - NaN


def _tensor(name: str, datatype: str, data: object = None, **more: object) -> dict[str, Any]:
    sent = {} if data is None else {"data": data}
    return {"name": name, "shape": [4], "datatype": datatype, **sent, **more}


def _columns(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    """One tensor a column, in an order of their own."""
    tensors = {
        "size": _tensor("size", "BYTES", SIZE),
        "rating": _tensor("rating", "FP32", _nulls(RATING)),
        "colour": _tensor("colour", "BYTES", COLOUR),
        "price": _tensor("price", "FP64", PRICE),
    }
    return [tensors[name] | changed.get(name, {}) for name in tensors]


def _ask(served: Served, inputs: list[dict[str, Any]], tail: bytes = b"") -> Answer:
    text = json.dumps({"inputs": inputs}, ensure_ascii=False).encode()
    fields = {"Inference-Header-Content-Length": str(len(text))} if tail else {}
    return served.ask(INFER, text + tail, fields)


def _probabilities(answer: Answer) -> np.ndarray:
    assert answer.status == 200, answer.body
    (values,) = (one for one in answer.json["outputs"] if one["name"] == "probabilities")
    return np.array(values["data"], np.float32).reshape(values["shape"])


def _binary(name: str, datatype: str, content: bytes) -> tuple[dict[str, Any], bytes]:
    size = {"binary_data_size": len(content)}
    return _tensor(name, datatype, parameters=size), content


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {
            "colour": {"data": [[text] for text in COLOUR], "shape": [4, 1]},
            "rating": {"data": [[value] for value in _nulls(RATING)], "shape": [4, 1]},
        },
        {"colour": {"data": ["red", "blå, mørk", None, "green"]}},
        {"colour": {"data": ["red", "blå, mørk", " \t", "green"]}},
    ],
    ids=["flat", "nested", "null for a missing category", "blanks for one"],
)
def test_json_is_answered_as_a_file_is(
    served: Served, expected: np.ndarray, changed: dict[str, Any]
) -> None:
    """Strings for categories and null for gaps have the answers of ``predict``, bit for bit."""
    answer = _ask(served, _columns(**changed))
    assert _probabilities(answer).tobytes() == expected.tobytes()


def test_bytes_are_answered_as_a_file_is(served: Served, expected: np.ndarray) -> None:
    """So have texts with their lengths and NaN for gaps; JSON and bytes may be mixed."""
    colours = as_bytes([text.encode() for text in COLOUR])
    rating, ratings = _binary("rating", "FP32", np.array(RATING, "<f4").tobytes())
    colour, texts = _binary("colour", "BYTES", colours)
    price = _tensor("price", "FP32", PRICE)
    answer = _ask(served, [rating, _tensor("size", "BYTES", SIZE), colour, price], ratings + texts)
    assert _probabilities(answer).tobytes() == expected.tobytes()


def test_the_matrix_is_answered_as_a_file_is(served: Served, expected: np.ndarray) -> None:
    """One tensor with a number for each category works too, in JSON and as bytes."""
    tensor = {"name": "features", "shape": [4, 9], "datatype": "FP32"}
    flat = _nulls([value for row in MATRIX for value in row])
    nested = [_nulls(row) for row in MATRIX]
    for data in (flat, nested):
        answer = _ask(served, [{**tensor, "data": data}])
        assert _probabilities(answer).tobytes() == expected.tobytes()
    content = np.array(MATRIX, "<f4").tobytes()
    answer = _ask(served, [{**tensor, "parameters": {"binary_data_size": len(content)}}], content)
    assert _probabilities(answer).tobytes() == expected.tobytes()


def test_predict_is_the_command(
    served: Served, sales_bundle: Path, run_command: Callable[..., Any]
) -> None:
    """Empty cells of CSV and null of JSON: the bytes of ``runtime predict``, its very numbers."""
    words = ("predict", "--bundle", sales_bundle, "--file", "-", "--format")
    done = run_command(*words, "csv", stdin=TABLE)
    answer = served.ask("/predict", TABLE, {"Content-Type": "text/csv"})
    assert answer.body.splitlines() == done.stdout.splitlines()
    rows = [
        dict(zip(("price", "colour", "rating", "size"), row, strict=True))
        for row in zip(PRICE, COLOUR, _nulls(RATING), SIZE, strict=True)
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    done = run_command(*words, "jsonl", stdin="\n".join(lines).encode())
    answer = served.ask("/predict", f"[{','.join(lines)}]".encode())
    assert answer.body == b"[" + b",".join(done.stdout.splitlines()) + b"]"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"colour": {"data": ["red", "pink", "", "green"]}},
            "row 1, column 'colour': 'pink': a category that training did not have",
        ),
        ({"size": {"data": ["S", None, "L", "S"]}}, "row 1, column 'size': '': missing value"),
        ({"size": {"data": ["S", "M", " ", "S"]}}, "row 2, column 'size': ' ': missing value"),
        ({"size": {"data": ["S", "M", "L"]}}, "inputs[0].data has 3 texts, its shape says 4"),
        ({"size": {"data": ["S", 5, "L", "S"]}}, "inputs[0].data[1]: expected str"),
        ({"size": {"data": [["S"], ["M", "L"], ["L"], ["S"]]}}, "inputs[0].data[1]: expected arr"),
        ({"size": {"data": "SMLS"}}, "inputs[0].data: expected array"),
        ({"size": {"datatype": "FP32"}}, "'size' holds categories: send BYTES"),
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
def test_what_is_no_category_or_no_gap(served: Served, changed: dict[str, Any], told: str) -> None:
    """What the bundle's policies do not take is 400 with column, row and value."""
    answer = _ask(served, _columns(**changed))
    assert answer.status == 400
    assert told in answer.error


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (as_bytes([b"S", b"M", b"L"]), "its 15 bytes end within text 3 of 4"),
        (as_bytes([b"S", b"M", b"L", b"S", b""]), "4 bytes follow its 4 texts"),
        (b"\xff\xff\xff\xffS", "its 5 bytes end within text 0 of 4"),
        (
            as_bytes([b"S", b"M", b"\xff", b"S"]),
            "row 2, column 'size': '\ufffd': undecodable bytes",
        ),
        (as_bytes([b"S", b"M", b"m", b"S"]), "row 2, column 'size': 'm': a category that"),
    ],
    ids=["few", "many", "beyond", "no text", "unseen"],
)
def test_bytes_that_are_no_texts(served: Served, content: bytes, told: str) -> None:
    """Lengths that lead astray and bytes that are no known text are 400 with their place."""
    size, _ = _binary("size", "BYTES", content)
    answer = _ask(served, [size, *_columns()[1:]], content)
    assert answer.status == 400
    assert told in answer.error


@pytest.mark.parametrize("size", [-1, True, "20", 1.0, 10**9])
def test_a_size_that_is_none(served: Served, size: object) -> None:
    """A size that is no number of the body's bytes is 400."""
    tensor = _tensor("size", "BYTES", parameters={"binary_data_size": size})
    answer = _ask(served, [tensor, *_columns()[1:]], as_bytes([b"S"] * 4))
    assert answer.status == 400
    assert "inputs[0]" in answer.error


def test_nan_is_a_gap_only_where_there_may_be_one(served: Served) -> None:
    """NaN in bytes is refused in a column that had no gaps; infinity is refused everywhere."""
    for name, values in (("price", [1, 2, NAN, 3]), ("rating", [1, 2, float("inf"), 3])):
        tensor, content = _binary(name, "FP32", np.array(values, "<f4").tobytes())
        others = [one for one in _columns() if one["name"] != name]
        answer = _ask(served, [tensor, *others], content)
        assert answer.status == 400
        assert f"row 2, column {name!r}" in answer.error
    flat = [value for row in MATRIX for value in row]
    data = _nulls([*flat[:9], NAN, *flat[10:]])
    tensor = {"name": "features", "shape": [4, 9], "datatype": "FP32", "data": data}
    assert "inputs[0].data[9]: expected a number, got null" in _ask(served, [tensor]).error
    tensor["data"] = [data[at : at + 9] for at in range(0, 36, 9)]
    assert "inputs[0].data[1][0]: expected a number, got null" in _ask(served, [tensor]).error


def test_other_takes_what_training_did_not_have(
    make_bundle: Callable[..., Path], start_server: Callable[..., Served]
) -> None:
    """With the policy ``other`` an unseen text is none of the categories; a missing one is not."""
    colour = Feature("colour", 0, 1, one_hot=OneHot(("red", "green"), "other"))
    folder = make_bundle([colour, "price"])
    predictor = Predictor.open(folder, provider="cpu")
    rows = np.array([[1, 0, 2.5], [0, 0, 2.5]], np.float32)
    served = start_server("--bundle", f"sales={folder}")
    tensors: list[dict[str, Any]] = [
        {"name": "colour", "shape": [2], "datatype": "BYTES", "data": ["red", 'pi"nk, \\]']},
        {"name": "price", "shape": [2], "datatype": "FP32", "data": [2.5, 2.5]},
    ]
    answer = _ask(served, tensors)
    assert _probabilities(answer).tobytes() == predictor.run(rows).probabilities.tobytes()
    tensors[0]["data"] = ["red", None]
    assert "row 1, column 'colour': '': missing value" in _ask(served, tensors).error


def test_no_rows(served: Served) -> None:
    """A request without rows has an answer without rows, texts or not."""
    empty = {name: {"shape": [0], "data": []} for name in ("size", "rating", "colour", "price")}
    assert _probabilities(_ask(served, _columns(**empty))).shape == (0, 2)


@pytest.mark.parametrize(
    ("datatype", "data"), [("FP32", [1, None, 3]), ("INT8", [[1], [None], [3]])]
)
def test_gaps_among_numbers_alone(datatype: str, data: list[Any]) -> None:
    """Where no column holds categories, null is NaN in the matrix of those that have gaps alone."""
    features = (Feature("x", 0, 9, missing="imputed"), Feature("y", 0, 9))
    columns = Columns(Schema("z", features, ("a", "b")), 10**6)

    def bind(**sent: list[Any]) -> np.ndarray:
        tensors = [
            {"name": name, "shape": [3, 1], "datatype": datatype, "data": values}
            for name, values in sent.items()
        ]
        text = json.dumps({"inputs": tensors}).encode()
        message = parse_request(text, most_tensors=2)
        return bind_inputs(message, Binary(text, len(text)), columns, 100)

    np.testing.assert_array_equal(bind(y=[4, 5, 6], x=data), [[1, 4], [NAN, 5], [3, 6]])
    with pytest.raises(RequestError, match=r"inputs\[1\]\.data\[1\].* got null"):
        bind(x=data, y=data)


def test_metadata_names_the_columns(served: Served) -> None:
    """A client that asks what to send is told a tensor a column, BYTES for categories."""
    told = served.ask("/v2/models/sales").json["inputs"]
    assert [(one["name"], one["datatype"], one["shape"]) for one in told] == [
        ("price", "FP32", [-1]),
        ("colour", "BYTES", [-1]),
        ("rating", "FP32", [-1]),
        ("size", "BYTES", [-1]),
    ]


def test_many_texts_are_read_and_a_flood_of_names_is_not(served: Served) -> None:
    """A request may have as many texts as rows, but not as many keys."""
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
    found = _probabilities(_ask(served, long))
    assert len({row.tobytes() for row in found}) == 1
    long[0]["parameters"] = {f"key{number}": "" for number in range(10_000)}
    assert _ask(served, long).status == 413


def test_a_row_is_bounded_as_it_is_encoded(
    make_bundle: Callable[..., Path], start_server: Callable[..., Served]
) -> None:
    """A text of two bytes that becomes a thousand numbers does not take the server's memory."""
    colour = Feature("colour", 0, 1, one_hot=OneHot(tuple(f"c{n}" for n in range(1000))))
    served = start_server("--bundle", f"sales={make_bundle([colour])}")
    tensor = {"name": "colour", "shape": [5000], "datatype": "BYTES", "data": ["c7"] * 5000}
    answer = _ask(served, [tensor])
    assert (answer.status, "5000 rows are more than the 4194" in answer.error) == (413, True)
    assert len(_probabilities(_ask(served, [{**tensor, "shape": [4], "data": ["c7"] * 4}]))) == 4


def test_the_fault_of_one_is_not_the_others(served: Served, expected: np.ndarray) -> None:
    """A request with an unseen category between good ones of the same tick costs them nothing."""
    good = request(INFER, json.dumps({"inputs": _columns()}).encode())
    bad = request(INFER, json.dumps({"inputs": _columns(size={"data": ["?"] * 4})}).encode())
    with served.client() as client:
        client.send(good + bad + good)
        answers = [client.read() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 400, 200]
    for answer in (answers[0], answers[2]):
        assert _probabilities(answer).tobytes() == expected.tobytes()


def _triton(library: Any, **options: object) -> list[Any]:  # noqa: ANN401 - without types
    """The columns as a client of Triton's sends them: texts as arrays of objects."""
    columns: dict[str, Any] = {
        "size": np.array(SIZE, np.object_),
        "price": np.array(PRICE, np.float32),
        "colour": np.array(COLOUR, np.object_),
        "rating": np.array(RATING, np.float32),
    }
    tensors = []
    for name, values in columns.items():
        kind = "BYTES" if values.dtype == np.object_ else "FP32"
        tensor = library.InferInput(name, [4], kind)
        tensor.set_data_from_numpy(values, **(options if kind == "BYTES" else {}))
        tensors.append(tensor)
    return tensors


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
def test_a_client_of_triton(served: Served, expected: np.ndarray, binary: bool) -> None:  # noqa: FBT001
    """Tritonclient sends numpy's objects as BYTES, as it is told by the metadata."""
    library = pytest.importorskip("tritonclient.http")
    client = library.InferenceServerClient(f"127.0.0.1:{served.port}")
    try:
        result = client.infer("sales", _triton(library, binary_data=binary))
        assert result.as_numpy("probabilities").tobytes() == expected.tobytes()
    finally:
        client.close()


@pytest.fixture(scope="module")
def rpc_port(start_server: Callable[..., Served], sales_bundle: Path) -> int:
    """Where a server of the bundle speaks gRPC."""
    pytest.importorskip("grpc")
    return start_server("--bundle", f"sales={sales_bundle}", "--grpc-port", 0).grpc_port


def test_a_client_of_triton_over_grpc(rpc_port: int, expected: np.ndarray) -> None:
    """Over gRPC, texts among the raw contents; the metadata is that of HTTP."""
    library = pytest.importorskip("tritonclient.grpc")
    with library.InferenceServerClient(f"127.0.0.1:{rpc_port}") as client:
        result = client.infer("sales", _triton(library))
        assert result.as_numpy("probabilities").tobytes() == expected.tobytes()
        told = client.get_model_metadata("sales").inputs
        assert [(one.name, one.datatype) for one in told][:2] == [
            ("price", "FP32"),
            ("colour", "BYTES"),
        ]
        tensors = _triton(library)
        tensors[0].set_data_from_numpy(np.array(["S", "?", "L", "S"], np.object_))
        with pytest.raises(library.InferenceServerException, match="row 1, column 'size': '\\?'"):
            client.infer("sales", tensors)


def test_contents_of_grpc(rpc_port: int, expected: np.ndarray) -> None:
    """Texts as bytes_contents beside numbers as theirs, NaN for a gap: the same answers."""
    import grpc

    from runtime.serving.rpc.messages import message

    sent = message("ModelInferRequest")(model_name="sales")
    for name, kind, field, values in (
        ("colour", "BYTES", "bytes_contents", [text.encode() for text in COLOUR]),
        ("price", "FP64", "fp64_contents", PRICE),
        ("size", "BYTES", "bytes_contents", [text.encode() for text in SIZE]),
        ("rating", "FP32", "fp32_contents", RATING),
    ):
        tensor = sent.inputs.add(name=name, datatype=kind, shape=[4])
        getattr(tensor.contents, field).extend(values)
    with grpc.insecure_channel(f"127.0.0.1:{rpc_port}") as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            response_deserializer=message("ModelInferResponse").FromString,
        )
        answer = infer(sent.SerializeToString(), timeout=PATIENCE_S)
        found = np.array(answer.outputs[1].contents.fp32_contents, np.float32)
        assert found.tobytes() == expected.tobytes()
        sent.inputs[0].contents.int_contents.append(1)
        with pytest.raises(grpc.RpcError, match="BYTES"):
            infer(sent.SerializeToString(), timeout=PATIENCE_S)


@given(st.lists(st.binary(max_size=9), max_size=9), st.binary(max_size=3))
def test_texts_come_back_as_they_were_written(texts: list[bytes], before: bytes) -> None:
    """Texts written as bytes are read again wherever they lie in a body."""
    content = before + as_bytes(texts)
    span = range(len(before), len(content))
    assert texts_of_bytes(content, span, len(texts), "here") == texts


@given(st.binary(max_size=30), st.integers(0, 5), st.integers(0, 9), st.integers(0, 9))
def test_any_bytes_are_read_whole_or_refused(data: bytes, rows: int, start: int, cut: int) -> None:
    """What is read is what was written: all bytes of the tensor belong to its texts."""
    span = range(min(start, len(data)), max(min(start, len(data)), len(data) - cut))
    try:
        texts = texts_of_bytes(data, span, rows, "here")
    except RequestError:
        return
    assert as_bytes(texts) == data[span.start : span.stop]
