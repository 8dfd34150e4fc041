"""The Open Inference Protocol: responses, and errors with their location."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from serving_client import features, request, tensors

if TYPE_CHECKING:
    from serving_client import Answer, Client

    from runtime.predictor import Predictor

INFER = "/v2/models/simplenet/infer"
ROWS = [[7.5, 3.0], [2.0, 1.5], [9.99, 4.25]]


def _ask(client: Client, message: object) -> Answer:
    return client.ask(INFER, json.dumps(message).encode())


def _data(answer: Answer) -> dict[str, list[float]]:
    assert answer.status == 200, answer.body
    return {tensor["name"]: tensor["data"] for tensor in answer.json["outputs"]}


def _tensor(**changes: object) -> dict[str, object]:
    tensor: dict[str, object] = {
        "name": "features",
        "shape": [2, 2],
        "datatype": "FP32",
        "data": [7.5, 3, 2, 1.5],
    }
    return {key: value for key, value in (tensor | changes).items() if value is not ...}


def test_response_equals_the_predictor(client: Client, predictor: Predictor) -> None:
    """Label, probabilities and logits equal the predictor's, bit for bit."""
    outputs = predictor.run(np.array(ROWS, np.float32))
    answer = client.ask(INFER, features(*ROWS, id="seven"))
    assert answer.json["id"] == "seven"
    assert answer.json["model_version"] == predictor.manifest.model.version
    assert [tensor["shape"] for tensor in answer.json["outputs"]] == [[3], [3, 2], [3, 2]]
    for name, data in _data(answer).items():
        expected = getattr(outputs, name)
        assert np.array(data, expected.dtype).reshape(expected.shape).tobytes() == (
            expected.tobytes()
        )


def test_large_request_runs_beside_others(client: Client, predictor: Predictor) -> None:
    """Small requests around one that runs in a thread: each gets its own result."""
    rows = np.random.default_rng(0).uniform(1, 20, (3000, 2)).astype(np.float32)
    expected = predictor.run(rows)
    large = features(*rows.astype(np.float64).tolist())
    for body in (features(*ROWS), large, features(*ROWS), large):
        client.send(request(INFER, body))
    answers = [_data(client.read()) for _ in range(4)]
    assert [len(each["label"]) for each in answers] == [3, 3000, 3, 3000]
    for each in answers[1::2]:
        assert each["label"] == expected.label.tolist()
        found = np.array(each["probabilities"], np.float32)
        assert found.tobytes() == expected.probabilities.tobytes()


def test_large_request_is_validated_and_counted(client: Client) -> None:
    """An invalid row is located; values out of range are counted in the metrics."""
    rows = [[7.5, 3.0]] * 3000
    before = _outside(client)
    assert client.ask(INFER, features(*rows[:-1], [1000, 3])).status == 200
    assert _outside(client) == before + 1
    rejected = client.ask(INFER, features(*rows[:-1], [1e39, 3]))
    assert rejected.status == 400
    assert "row 2999, column 'price'" in rejected.error
    assert _outside(client) == before + 1


def _outside(client: Client) -> int:
    text = client.ask("/metrics").body.decode()
    labels = 'feature="price",side="above"'
    (line,) = (each for each in text.splitlines() if "out_of_range" in each and labels in each)
    return int(line.split()[-1])


@pytest.mark.parametrize(
    "inputs",
    [
        [_tensor(data=[[7.5, 3], [2, 1.5]])],
        [_tensor(datatype="FP64")],
        [_tensor(data=[15, 6, 4, 3], datatype="INT8"), "half"],
        tensors(price=[7.5, 2], rating=[3, 1.5]),
        tensors(rating=[3, 1.5], price=[7.5, 2]),
        [
            {"name": "rating", "shape": [2, 1], "datatype": "FP32", "data": [[3], [1.5]]},
            {"name": "price", "shape": [2, 1], "datatype": "FP64", "data": [7.5, 2]},
        ],
    ],
    ids=["nested", "FP64", "INT8", "columns", "other order", "columns of one"],
)
def test_equivalent_requests(client: Client, predictor: Predictor, inputs: list[Any]) -> None:
    """Nested or flat, one tensor or one a column, any numeric datatype: the same response."""
    factor = 2 if inputs[-1] == "half" else 1
    rows = np.array([[7.5, 3], [2, 1.5]], np.float32) * factor
    answer = _ask(client, {"inputs": [one for one in inputs if one != "half"]})
    assert _data(answer)["label"] == predictor.run(rows).label.tolist()
    logits = np.array(_data(answer)["logits"], np.float32)
    assert logits.tobytes() == predictor.run(rows).logits.tobytes()


def test_no_rows(client: Client) -> None:
    """A request without rows gets a response without rows."""
    assert _data(_ask(client, {"inputs": [_tensor(shape=[0, 2], data=[])]})) == {
        "label": [],
        "probabilities": [],
        "logits": [],
    }


def test_outputs_are_selected(client: Client) -> None:
    """Only the requested outputs are sent, in the requested order."""
    requested = [{"name": "probabilities"}, {"name": "label"}]
    answer = _ask(client, {"inputs": [_tensor()], "outputs": requested})
    assert list(_data(answer)) == ["probabilities", "label"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "the request is empty; send JSON such as"),
        (b"[1]", "the request: expected object"),
        (b"\xff\xfe", "the request is UTF-16"),
        (b"{}", "the request: object missing required field inputs"),
        (b'{"inputs": {}}', "inputs: expected array"),
        (b'{"inputs": []}', "'price' is missing, 'rating' is missing"),
        (b'{"inputs": [{"name": 5}]}', "inputs[0].name: expected str"),
        (b'{"inputs": [], "a": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"inputs": [], "id": ["a"]}', "id: expected str"),
    ],
    ids=range(9),
)
def test_malformed_body(client: Client, body: bytes, error: str) -> None:
    """What cannot be parsed is 400 with the location."""
    answer = client.ask(INFER, body)
    assert answer.status == 400
    assert error.lower() in answer.error.lower()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"data": [7.5, None, 2, 1.5]}, "inputs[0].data[1]: expected float, got null"),
        ({"data": [[7.5, 3], [2, "1"]]}, "inputs[0].data[1][1]: expected float, got str"),
        ({"data": [7.5, True, 2, 1.5]}, "inputs[0].data[1]: expected float, got bool"),
        ({"data": [[7.5, 3, 2], [1.5]]}, "inputs[0].data[0]: expected array of length 2"),
        ({"data": [[[7.5], [3]], [[2], [1.5]]]}, "inputs[0].data[0][0]: expected float"),
        ({"data": [1e39, 3, 2, 1.5]}, "row 0, column 'price'"),
        ({"data": [7.5, 3, 2]}, "inputs[0].data has 3 numbers, its shape [2, 2] needs 4"),
        ({"data": []}, "inputs[0].data has 0 numbers"),
        ({"data": "7.5,3,2,1"}, "inputs[0].data: expected array, got str"),
        ({"data": {"a": 1, "b": 2, "c": 3, "d": 4}}, "inputs[0].data: expected array, got object"),
        ({"data": ...}, "inputs[0] needs either data or"),
        ({"data": [7, 3, 2, 300], "datatype": "INT8"}, "inputs[0].data: "),
        ({"data": [7, 3, 2, -1], "datatype": "UINT64"}, "inputs[0].data: "),
        ({"data": [7.5, 3, 2, 1], "datatype": "INT64"}, "inputs[0].data[0]: expected int"),
        ({"data": [7, 3, 2, 1e6], "datatype": "FP16"}, "row 1, column 'rating'"),
        ({"datatype": "BOOL"}, "inputs[0].datatype is 'BOOL'"),
        ({"datatype": "BYTES"}, "inputs[0].datatype is 'BYTES'"),
        ({"datatype": "BF16"}, "JSON cannot carry BF16"),
        ({"shape": [4]}, "inputs[0].shape is [4]; 'features' has shape [rows, 2]"),
        ({"shape": [2, 2, 1]}, "inputs[0].shape is [2, 2, 1]"),
        ({"shape": [-1, 2]}, "sizes are 0 or more"),
        ({"shape": [2.5, 2]}, "inputs[0].shape[0]: expected int"),
        ({"shape": []}, "inputs[0].shape is []"),
        ({"shape": list(range(1000))}, "inputs[0].shape is not valid"),
        ({"name": "prices"}, "'prices' is not a column of the model"),
        ({"parameters": {"shared_memory_region": "a"}}, "shared memory is not supported"),
        ({"parameters": {"binary_data_size": 16}}, "and not both"),
        ({"parameters": {"a": {}}}, "inputs[0].parameters"),
    ],
    ids=range(28),
)
def test_inconsistent_tensor(client: Client, changes: dict[str, Any], error: str) -> None:
    """A tensor that contradicts its declaration is 400 with the location."""
    answer = _ask(client, {"inputs": [_tensor(**changes)]})
    assert answer.status == 400, answer.body
    assert error in answer.error


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1" * 400, "0x1", "01", "1_0"])
def test_invalid_json_numbers(client: Client, number: str) -> None:
    """NaN, infinities, overlong integers and other spellings are rejected."""
    body = json.dumps({"inputs": [_tensor(data="?")]}).replace('"?"', f"[1, 2, 3, {number}]")
    answer = client.ask(INFER, body.encode())
    assert answer.status == 400
    assert answer.error


@pytest.mark.parametrize(
    ("number", "error"),
    [
        ("NaN", "NaN is no JSON, send null (byte "),
        ("None", "None is no JSON, send null (byte "),
        ("Infinity", "Infinity is no JSON, send a finite number, or null (byte "),
        ("-Infinity", "-Infinity is no JSON, send a finite number, or null (byte "),
        ("NA", " is not JSON: invalid character"),
    ],
)
@pytest.mark.parametrize("target", [INFER, "/predict"])
def test_words_for_numbers_are_explained(
    client: Client, target: str, number: str, error: str
) -> None:
    """What json.dumps writes for NaN: the message says what to send."""
    body = json.dumps({"inputs": [_tensor(data="?")]}).replace('"?"', f"[1, 2, 3, {number}]")
    if target == "/predict":
        body = f'[{{"price": 7.5, "rating": {number}}}]'
    answer = client.ask(target, body.encode())
    assert answer.status == 400
    assert error in answer.error
    if number != "NA":
        at = int(answer.error.rpartition("(byte ")[2][:-1])
        assert body[at:].startswith(number)


@pytest.mark.parametrize("name", ["", "a\\u0062"], ids=["plain", "escaped"])
def test_a_byte_order_mark_is_skipped(client: Client, name: str) -> None:
    """As editors on Windows write it; twice is no JSON."""
    bom, body = b"\xef\xbb\xbf", json.dumps({"inputs": [_tensor()]})
    sent = body.replace("{", f'{{"id": "{name}", ', 1).encode()
    assert client.ask(INFER, bom + sent).json == client.ask(INFER, sent).json
    assert client.ask("/v2/repository/index", bom + b"{}").status == 200
    assert client.ask(INFER, bom + b"{" + sent).status == 400


@pytest.mark.parametrize(
    ("shape", "status"),
    [([10**15, 2], 413), ([10**19, 2], 413), ([262_145, 2], 413), ([262_144, 2], 400)],
    ids=str,
)
def test_declared_shape_allocates_nothing(client: Client, shape: list[int], status: int) -> None:
    """A shape of 10^15 rows is rejected before allocating."""
    assert _ask(client, {"inputs": [_tensor(shape=shape)]}).status == status
    assert client.ask("/v2/health/ready").status == 200


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        (tensors(price=[1.0]), "'rating' is missing"),
        (tensors(price=[1.0], rating=[2.0], colour=[3.0]), "'colour' is not a column of the model"),
        (tensors(price=[1.0], rating=[2.0]) + tensors(price=[1.0]), "'price' appears 2 times"),
        (tensors(price=[1.0, 2.0], rating=[2.0]), "the tensors differ in rows: 1, 2"),
        ([_tensor(), _tensor()], "'features' appears 2 times"),
    ],
    ids=["missing", "extra", "doubled", "rows", "two matrices"],
)
def test_wrong_columns(client: Client, inputs: object, error: str) -> None:
    """A column that is missing, unknown or duplicated is 400 and named."""
    answer = _ask(client, {"inputs": inputs})
    assert answer.status == 400
    assert error in answer.error


@pytest.mark.parametrize(
    ("outputs", "error"),
    [
        ([{"name": "colour"}], "outputs[0]: no output 'colour'"),
        ([{"name": "label"}, {"name": "label"}], "outputs[1]: 'label' is requested twice"),
        (
            [{"name": "label", "parameters": {"classification": 2}}],
            "classification is not supported",
        ),
        ([{"name": "label", "parameters": {"binary_data": 1}}], "binary_data is 1"),
    ],
    ids=["unknown", "doubled", "classification", "flag"],
)
def test_unknown_outputs(client: Client, outputs: object, error: str) -> None:
    """An output that is not available is 400 and named."""
    answer = _ask(client, {"inputs": [_tensor()], "outputs": outputs})
    assert answer.status == 400
    assert error in answer.error


@pytest.mark.parametrize(
    "body",
    [
        features(*ROWS).replace(b'"shape"', b'"shape": [9, 9], "shape"'),
        features(*ROWS).replace(b'{"inputs"', b'{"inputs": [], "inputs"'),
        features(*ROWS).replace(b'"shape"', b'"shap\\u0065": [9, 9], "shape"'),
        features(*ROWS, parameters={"a": 1}).replace(b'"a": 1', b'"a": 1, "a": 2'),
        features(*ROWS, unknown={"a": 1}).replace(b'"a": 1', b'"a": 1, "a": 2'),
    ],
    ids=["shape", "inputs", "escaped", "parameter", "unknown"],
)
def test_duplicate_key_is_rejected(client: Client, body: bytes) -> None:
    """Two values under one key are ambiguous."""
    answer = client.ask(INFER, body)
    assert answer.status == 400
    assert "appears twice" in answer.error


@pytest.mark.parametrize(
    "more",
    [
        {"unknown": {"a": [1, "b"]}},
        {"id": None, "parameters": None, "outputs": None},
        {"id": 'a"\\'},
    ],
    ids=["unknown", "null", "quotes"],
)
def test_harmless_variations_are_accepted(client: Client, more: dict[str, Any]) -> None:
    """Unknown keys, null for optional fields, and quotes in an id are accepted."""
    answer = client.ask(INFER, features(*ROWS, **more))
    assert answer.status == 200
    assert answer.json.get("id") == more.get("id")


def test_too_many_keys_are_rejected(client: Client) -> None:
    """A body of a million keys is rejected before it is decoded."""
    many = b", ".join(b'"key%d": 0' % number for number in range(200_000))
    body = features(*ROWS, parameters={"a": 1}).replace(b'"a": 1', many)
    assert client.ask(INFER, body).status == 413


@pytest.mark.parametrize("text", [b"[],", b"0,", b"{},"], ids=["lists", "numbers", "objects"])
def test_ignored_data_takes_little_memory(client: Client, text: bytes) -> None:
    """Megabytes under an unknown key are rejected before they are decoded."""
    before = _resident(client)
    much = b"[" + text * (12_000_000 // len(text)) + text[:-1] + b"]"
    answer = client.ask(INFER, features(*ROWS, unknown="?").replace(b'"?"', much))
    assert answer.status == 413
    assert "besides its data" in answer.error
    assert client.ask("/v2/repository/index", much).status == 413
    assert _resident(client) < before + 64 * 2**20


def test_escaped_id_in_a_large_request(client: Client) -> None:
    """A large request whose id has escapes is parsed like any other."""
    rows = ROWS * 20_000
    answer = client.ask(INFER, features(*rows, id="a\nb", outputs=[{"name": "label"}]))
    assert answer.json["id"] == "a\nb"
    assert len(_data(answer)["label"]) == len(rows)


def _resident(client: Client) -> float:
    lines = client.ask("/metrics").body.decode().splitlines()
    (line,) = (one for one in lines if one.startswith("onnxferry_resident_memory_bytes "))
    return float(line.split()[1])


def test_invalid_request_does_not_affect_its_batch(client: Client) -> None:
    """An invalid request between valid ones of one batch fails alone."""
    good, bad = features(*ROWS), features([1e39, 1.0])
    client.send(request(INFER, good) + request(INFER, bad) + request(INFER, good))
    first, second, third = (client.read() for _ in range(3))
    assert (first.status, second.status, third.status) == (200, 400, 200)
    assert first.json == third.json
