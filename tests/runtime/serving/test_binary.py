"""The binary tensor data extension, both ways."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from serving_client import features

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving_client import Answer, Client, Served

    from runtime.predictor import Predictor

INFER = "/v2/models/simplenet/infer"
ROWS = np.array([[7.5, 3], [2, 1.5], [9.99, 4.25]], np.float32)


def _message(data: bytes, datatype: str = "FP32", **more: object) -> tuple[bytes, bytes]:
    tensor = {
        "name": "features",
        "shape": [3, 2],
        "datatype": datatype,
        "parameters": {"binary_data_size": len(data)},
    }
    return json.dumps({"inputs": [tensor], **more}).encode(), data


def _ask(client: Client, text: bytes, data: bytes, length: int | None = None) -> Answer:
    field = {"Inference-Header-Content-Length": str(len(text) if length is None else length)}
    return client.ask(INFER, text + data, field)


def _outputs(answer: Answer) -> dict[str, np.ndarray]:
    """Decode a response's tensors, JSON and binary."""
    assert answer.status == 200, answer.body
    length = int(answer.headers.get("inference-header-content-length", len(answer.body)))
    text, rest = answer.body[:length], answer.body[length:]
    found = {}
    for tensor in json.loads(text)["outputs"]:
        dtype = np.int64 if tensor["datatype"] == "INT64" else np.float32
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[tensor["name"]] = np.array(tensor["data"], dtype).reshape(tensor["shape"])
        else:
            found[tensor["name"]] = np.frombuffer(rest[:size], dtype).reshape(tensor["shape"])
            rest = rest[size:]
    assert rest == b""
    return found


def _same(answer: Answer, predictor: Predictor, rows: np.ndarray = ROWS) -> None:
    expected = predictor.run(rows)
    for name, values in _outputs(answer).items():
        assert values.tobytes() == getattr(expected, name).tobytes(), name


@pytest.mark.parametrize(
    "datatype", ["FP32", "FP64", "FP16", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT64"]
)
def test_every_datatype_is_decoded(client: Client, predictor: Predictor, datatype: str) -> None:
    """Binary data of every numeric datatype is decoded exactly."""
    kind = {"F": "f", "I": "i", "U": "u"}[datatype[0]]
    size = int(datatype.lstrip("UINTFP")) // 8
    values = ROWS.astype(f"<{kind}{size}")
    answer = _ask(client, *_message(values.tobytes(), datatype))
    _same(answer, predictor, values.astype(np.float32))


def test_bf16_is_the_upper_half_of_a_float32(client: Client, predictor: Predictor) -> None:
    """BF16, which numpy lacks, is decoded too."""
    upper = (ROWS.view(np.uint32) >> 16).astype("<u2")
    rows = (upper.astype(np.uint32) << 16).view(np.float32)
    _same(_ask(client, *_message(upper.tobytes(), "BF16")), predictor, rows)


@pytest.mark.parametrize(
    ("more", "binary"),
    [
        ({"parameters": {"binary_data_output": True}}, {"label", "probabilities", "logits"}),
        ({"outputs": [{"name": "logits", "parameters": {"binary_data": True}}]}, {"logits"}),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [
                    {"name": "label", "parameters": {"binary_data": False}},
                    {"name": "logits"},
                ],
            },
            {"logits"},
        ),
        ({}, set()),
    ],
    ids=["all", "one", "all but one", "none"],
)
def test_outputs_are_encoded_as_requested(
    client: Client, predictor: Predictor, more: dict[str, Any], binary: set[str]
) -> None:
    """Each output is binary or JSON, as the request says."""
    answer = client.ask(INFER, features(*ROWS.tolist(), **more))
    _same(answer, predictor)
    length = int(answer.headers.get("inference-header-content-length", len(answer.body)))
    sent = json.loads(answer.body[:length])["outputs"]
    assert {tensor["name"] for tensor in sent if "data" not in tensor} == binary


def test_binary_and_json_columns_can_be_mixed(client: Client, predictor: Predictor) -> None:
    """Binary data belongs to the tensors that declare it, in order."""
    inputs = [
        {
            "name": "rating",
            "shape": [3],
            "datatype": "FP32",
            "parameters": {"binary_data_size": 12},
        },
        {"name": "price", "shape": [3], "datatype": "FP32", "data": ROWS[:, 0].tolist()},
    ]
    text = json.dumps({"inputs": inputs}).encode()
    _same(_ask(client, text, ROWS[:, 1].tobytes()), predictor)


@pytest.mark.parametrize("padding", range(4))
def test_unaligned_binary_data(client: Client, predictor: Predictor, padding: int) -> None:
    """A JSON part of odd length leaves the numbers unaligned: they are still right."""
    text, data = _message(ROWS.tobytes())
    _same(_ask(client, text + b" " * padding, data), predictor)


def test_large_binary_tensor(client: Client, predictor: Predictor) -> None:
    """A megabyte of numbers in and out as binary data."""
    rows = np.random.default_rng(0).uniform(1, 5, size=(131_072, 2)).astype(np.float32)
    text, data = _message(rows.tobytes(), parameters={"binary_data_output": True})
    text = text.replace(b"[3, 2]", b"[131072, 2]")
    _same(_ask(client, text, data), predictor, rows)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda text, data: (text, data[:-4], None), "24 bytes of binary data were declared"),
        (
            lambda text, data: (text, data + b"1234", None),
            "4 bytes of the body belong to no",
        ),
        (lambda text, data: (text, data, 10**6), "Inference-Header-Content-Length is"),
        (lambda text, data: (text, data, -1), "Inference-Header-Content-Length is"),
        (lambda text, data: (text, data, len(text) - 1), "ends within the JSON"),
        (lambda text, data: (text.replace(b": 24", b": 20"), data, None), "make 24 bytes"),
        (lambda text, data: (text.replace(b": 24", b": true"), data, None), "is a number of"),
        (lambda text, data: (text.replace(b": 24", b': "24"'), data, None), "is a number of"),
        (lambda text, _: (text, np.full(6, np.nan, "f4").tobytes(), None), "row 0, column 'price'"),
        (lambda text, _: (text, b"\x00\x00\x80\x7f" * 6, None), "row 0, column 'price'"),
    ],
    ids=[
        "short",
        "long",
        "beyond",
        "negative",
        "within JSON",
        "size",
        "boolean",
        "text",
        "NaN",
        "infinity",
    ],
)
def test_binary_data_of_a_wrong_size(
    client: Client,
    change: Callable[[bytes, bytes], tuple[bytes, bytes, int | None]],
    error: str,
) -> None:
    """Too few bytes, too many, or other than declared: 400, and the connection stays open."""
    answer = _ask(client, *change(*_message(ROWS.tobytes())))
    assert answer.status == 400
    assert error in answer.error
    assert _ask(client, *_message(ROWS.tobytes())).status == 200


def test_raw_binary_request(client: Client, predictor: Predictor) -> None:
    """Rows of float32 and nothing else, as Triton's raw binary request; the response is binary."""
    zero = {"Inference-Header-Content-Length": "0"}
    answer = client.ask(INFER, ROWS.tobytes(), zero)
    assert "inference-header-content-length" in answer.headers
    _same(answer, predictor)
    for body in (b"", ROWS.tobytes()[:-1], ROWS.tobytes()[:-4]):
        answer = client.ask(INFER, body, zero)
        assert (answer.status, f"it has {len(body)} bytes" in answer.error) == (400, True)


def test_json_is_never_read_as_raw_binary(client: Client) -> None:
    """A body declared as JSON with a JSON length of 0 is rejected, whatever its length."""
    for kind in ("application/json", "Application/JSON; charset=utf-8"):
        fields = {"Inference-Header-Content-Length": "0", "Content-Type": kind}
        answer = client.ask(INFER, b'{"inputs":[]}   ', fields)
        assert (answer.status, "Content-Type is JSON" in answer.error) == (400, True)


def test_model_with_string_columns_needs_json(sales_server: Served) -> None:
    """Raw binary requests carry numbers only."""
    zero = {"Inference-Header-Content-Length": "0"}
    answer = sales_server.ask("/v2/models/sales/infer", bytes(36), zero)
    assert (answer.status, "string columns" in answer.error) == (400, True)


def test_tritonclient(server: Served, predictor: Predictor) -> None:
    """Tritonclient gets metadata, statistics and the right prediction."""
    client_library = pytest.importorskip("tritonclient.http")
    client = client_library.InferenceServerClient(f"127.0.0.1:{server.port}")
    try:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("simplenet")
        tensor = client_library.InferInput("features", [3, 2], "FP32")
        for binary in (True, False):
            tensor.set_data_from_numpy(ROWS, binary_data=binary)
            result = client.infer("simplenet", [tensor], request_id="a")
            expected = predictor.run(ROWS)
            for name in ("label", "probabilities", "logits"):
                assert result.as_numpy(name).tobytes() == getattr(expected, name).tobytes()
        assert client.get_model_metadata("simplenet")["inputs"][0]["shape"] == [-1, 2]
        (statistics,) = client.get_inference_statistics("simplenet")["model_stats"]
        assert statistics["inference_count"] >= 6
        client.load_model("simplenet")
        assert client.get_model_repository_index()[0]["state"] == "READY"
        with pytest.raises(client_library.InferenceServerException, match="no model 'other'"):
            client.load_model("other")
    finally:
        client.close()
