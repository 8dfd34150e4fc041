"""Categories and missing values as other clients send them, over HTTP and gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sales import COLOUR, PRICE, RATING, SIZE
from serving_client import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serving_client import Served


def test_metadata_lists_the_columns(sales_server: Served) -> None:
    """The metadata has one tensor a column, BYTES for categories."""
    inputs = sales_server.ask("/v2/models/sales").json["inputs"]
    assert [(one["name"], one["datatype"], one["shape"]) for one in inputs] == [
        ("price", "FP32", [-1]),
        ("colour", "BYTES", [-1]),
        ("rating", "FP32", [-1]),
        ("size", "BYTES", [-1]),
    ]


def _triton(library: Any, **options: object) -> list[Any]:  # noqa: ANN401 - without types
    """Encode the columns as tritonclient does: strings as object arrays."""
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
def test_tritonclient_http(sales_server: Served, expected: np.ndarray, binary: bool) -> None:  # noqa: FBT001
    """Tritonclient sends numpy's objects as BYTES, as the metadata says."""
    library = pytest.importorskip("tritonclient.http")
    client = library.InferenceServerClient(f"127.0.0.1:{sales_server.port}")
    try:
        result = client.infer("sales", _triton(library, binary_data=binary))
        assert result.as_numpy("probabilities").tobytes() == expected.tobytes()
    finally:
        client.close()


@pytest.fixture(scope="module")
def rpc_port(start_server: Callable[..., Served], sales_bundle: Path) -> int:
    """The gRPC port of a server of the bundle."""
    pytest.importorskip("grpc")
    return start_server("--bundle", f"sales={sales_bundle}", "--grpc-port", 0).grpc_port


def test_tritonclient_grpc(rpc_port: int, expected: np.ndarray) -> None:
    """Strings among the raw contents; the metadata equals HTTP's."""
    library = pytest.importorskip("tritonclient.grpc")
    with library.InferenceServerClient(f"127.0.0.1:{rpc_port}") as client:
        result = client.infer("sales", _triton(library))
        assert result.as_numpy("probabilities").tobytes() == expected.tobytes()
        inputs = client.get_model_metadata("sales").inputs
        assert [(one.name, one.datatype) for one in inputs][:2] == [
            ("price", "FP32"),
            ("colour", "BYTES"),
        ]
        tensors = _triton(library)
        tensors[0].set_data_from_numpy(np.array(["S", "?", "L", "S"], np.object_))
        with pytest.raises(library.InferenceServerException, match="row 1, column 'size': '\\?'"):
            client.infer("sales", tensors)


def test_grpc_contents(rpc_port: int, expected: np.ndarray) -> None:
    """bytes_contents and numeric contents, NaN for a missing value: the same predictions."""
    import grpc

    from runtime.serving.grpc.codec import message

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
