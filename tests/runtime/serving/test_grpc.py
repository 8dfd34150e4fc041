"""The protocol over gRPC, with Triton's client and with messages of our own."""
# ruff: noqa: ANN401 - gRPC and the messages have no static types

from __future__ import annotations

import itertools
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import peak_memory
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_client import PATIENCE_S

from runtime.errors import RequestError
from runtime.serving.v2.columns import InputColumns
from runtime.serving.v2.inputs import bind_inputs
from runtime.serving.v2.outputs import parse_requested_outputs

grpc = pytest.importorskip("grpc")
from runtime.serving.grpc.codec import parse_message, to_request  # noqa: E402 - needs gRPC's extra
from runtime.serving.grpc.message_limits import MessageLimits  # noqa: E402 - likewise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from serving_client import Served

    from runtime.predictor import Predictor

ROWS = np.array([[7.5, 3], [2, 1.5], [9.99, 4.25]], np.float32)


@pytest.fixture(scope="module")
def served(start_server: Callable[..., Served], bundle: Path) -> Served:
    """A server with both transports."""
    return start_server("--bundle", bundle, "--grpc-port", 0, "--max-rows", 1000)


@pytest.fixture(scope="module")
def channel(served: Served) -> Iterator[Any]:
    """A connection to it."""
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        yield channel


@pytest.fixture
def call(channel: Any) -> Callable[..., Any]:
    """``call(method, message)``: the response; error statuses are ``grpc.RpcError``."""
    from runtime.serving.grpc.codec import message, service

    def send(method: str, sent: Any = b"", **options: object) -> Any:
        output = service().methods_by_name[method].output_type.name
        data = sent if isinstance(sent, bytes) else sent.SerializeToString()
        method_call = channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            response_deserializer=message(output).FromString,
        )
        return method_call(data, timeout=PATIENCE_S, **options)

    return send


def _request(rows: np.ndarray = ROWS, datatype: str = "FP32", **more: Any) -> Any:
    from runtime.serving.grpc.codec import message

    request = message("ModelInferRequest")(model_name="simplenet", **more)
    request.inputs.add(name="features", datatype=datatype, shape=rows.shape)
    return request


def _raw(rows: np.ndarray = ROWS, **more: Any) -> Any:
    return _request(rows, raw_input_contents=[rows.astype("<f4").tobytes()], **more)


def _same(answer: Any, expected: Any) -> None:
    for tensor, content in zip(answer.outputs, answer.raw_output_contents, strict=True):
        assert content == getattr(expected, tensor.name).tobytes(), tensor.name


def test_a_client_of_triton(served: Served, predictor: Predictor) -> None:
    """Tritonclient gets metadata, readiness, statistics, the index and the model's outputs."""
    library = pytest.importorskip("tritonclient.grpc")
    with library.InferenceServerClient(f"127.0.0.1:{served.grpc_port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("simplenet")
        assert not client.is_model_ready("other")
        assert client.get_server_metadata().name == "onnxferry"
        metadata = client.get_model_metadata("simplenet")
        assert list(metadata.inputs[0].shape) == [-1, 2]
        tensor = library.InferInput("features", [3, 2], "FP32")
        tensor.set_data_from_numpy(ROWS)
        result = client.infer("simplenet", [tensor], request_id="a")
        expected = predictor.run(ROWS)
        for name in ("label", "probabilities", "logits"):
            assert result.as_numpy(name).tobytes() == getattr(expected, name).tobytes()
        assert result.get_response().id == "a"
        assert client.get_inference_statistics("simplenet").model_stats[0].inference_count >= 3
        client.load_model("simplenet")
        assert client.get_model_repository_index().models[0].state == "READY"
        with pytest.raises(library.InferenceServerException, match="no model 'other'") as caught:
            client.load_model("other")
        assert caught.value.status() == "StatusCode.NOT_FOUND"


def test_a_stream_of_a_client_of_triton(served: Served, predictor: Predictor) -> None:
    """Requests of a stream get responses in order; an invalid one doesn't end it."""
    library = pytest.importorskip("tritonclient.grpc")
    answers: list[tuple[Any, Any]] = []
    done = threading.Semaphore(0)

    def on_result(result: Any, error: Any) -> None:
        answers.append((result, error))
        done.release()

    with library.InferenceServerClient(f"127.0.0.1:{served.grpc_port}") as client:
        client.start_stream(on_result)
        for name, rows in (("features", ROWS), ("wrong", ROWS), ("features", ROWS[:1])):
            tensor = library.InferInput(name, rows.shape, "FP32")
            tensor.set_data_from_numpy(rows)
            client.async_stream_infer("simplenet", [tensor])
            assert done.acquire(timeout=PATIENCE_S)
        client.stop_stream()
    (first, none), (_, error), (last, _) = answers
    assert none is None
    assert first.as_numpy("logits").tobytes() == predictor.run(ROWS).logits.tobytes()
    assert "'wrong' is not a column of the model" in str(error)
    assert last.as_numpy("label").shape == (1,)


def test_our_messages_are_the_protocols() -> None:
    """Every message and field has the number and type of Triton's."""
    theirs = pytest.importorskip("tritonclient.grpc.service_pb2").DESCRIPTOR
    from runtime.serving.grpc.codec import service

    def fields(one: Any) -> dict[str, tuple[object, ...]]:
        return {
            field.name: (
                field.number,
                field.type,
                field.is_repeated,
                field.message_type.full_name if field.message_type else None,
                field.containing_oneof.name if field.containing_oneof else None,
            )
            for field in one.fields
        }

    def check(ours: Any, other: Any) -> None:
        assert fields(ours).items() <= fields(other).items(), ours.full_name
        for name, nested in ours.nested_types_by_name.items():
            check(nested, other.nested_types_by_name[name])

    for name, ours in service().file.message_types_by_name.items():
        check(ours, theirs.message_types_by_name[name])
    methods = theirs.services_by_name["GRPCInferenceService"].methods_by_name
    for method in service().methods:
        for side in ("input_type", "output_type"):
            named = getattr(method, side).full_name
            assert named == getattr(methods[method.name], side).full_name
        assert method.client_streaming == methods[method.name].client_streaming


def test_the_descriptor_set_is_up_to_date(tmp_path: Path) -> None:
    """What ``make protos`` compiles is what is served: else it was not run after a change."""
    protoc = pytest.importorskip("grpc_tools.protoc")
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    from runtime.serving.grpc import codec as messages

    folder, fresh = Path(messages.__file__).parent, tmp_path / "fresh"
    words = ["protoc", f"-I{folder}", f"--descriptor_set_out={fresh}", "open_inference.proto"]
    assert protoc.main(words) == 0
    kept = (folder / messages.DESCRIPTORS).read_bytes()
    assert FileDescriptorSet.FromString(fresh.read_bytes()) == FileDescriptorSet.FromString(kept)


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        ("FP32", "fp32_contents"),
        ("FP64", "fp64_contents"),
        ("INT8", "int_contents"),
        ("INT32", "int_contents"),
        ("INT64", "int64_contents"),
        ("UINT8", "uint_contents"),
        ("UINT64", "uint64_contents"),
    ],
)
def test_typed_contents(
    call: Callable[..., Any], predictor: Predictor, datatype: str, field: str
) -> None:
    """Typed contents are read by their datatype, and the response has typed contents, too."""
    rows = ROWS if datatype.startswith("FP") else np.floor(ROWS)
    request = _request(rows, datatype)
    getattr(request.inputs[0].contents, field).extend(
        rows.reshape(-1).tolist() if rows is ROWS else rows.astype(int).reshape(-1).tolist()
    )
    answer = call("ModelInfer", request)
    expected = predictor.run(rows.astype(np.float32))
    assert not answer.raw_output_contents
    label, _, logits = answer.outputs
    assert list(label.contents.int64_contents) == expected.label.tolist()
    assert np.array(logits.contents.fp32_contents, "f4").tobytes() == expected.logits.tobytes()


@pytest.mark.parametrize("kind", ["FP16", "FP64", "INT16", "BF16"])
def test_raw_bytes_of_other_datatypes(
    call: Callable[..., Any], predictor: Predictor, kind: str
) -> None:
    """Raw contents take the datatypes of HTTP's binary tensors."""
    rows = np.floor(ROWS)
    dtype = {"FP16": "<f2", "FP64": "<f8", "INT16": "<i2"}.get(kind)
    data = (
        rows.astype(dtype).tobytes() if dtype else (rows.view("<u4") >> 16).astype("<u2").tobytes()
    )
    answer = call("ModelInfer", _request(rows, kind, raw_input_contents=[data]))
    _same(answer, predictor.run(rows))


def test_named_columns_and_chosen_outputs(call: Callable[..., Any], predictor: Predictor) -> None:
    """One tensor per column, in any order; the requested outputs, in their order."""
    from runtime.serving.grpc.codec import message

    request = message("ModelInferRequest")(model_name="simplenet", id="7")
    for name, at in (("rating", 1), ("price", 0)):
        request.inputs.add(name=name, datatype="FP32", shape=[3])
        request.raw_input_contents.append(ROWS[:, at].tobytes())
    request.outputs.add(name="logits")
    request.outputs.add(name="label")
    answer = call("ModelInfer", request)
    assert [one.name for one in answer.outputs] == ["logits", "label"]
    assert answer.id == "7"
    _same(answer, predictor.run(ROWS))


def test_no_rows_are_no_error(call: Callable[..., Any]) -> None:
    """An empty batch has empty outputs."""
    answer = call("ModelInfer", _raw(ROWS[:0]))
    assert list(answer.outputs[0].shape) == [0]


def _contents_of(rows: np.ndarray) -> Any:
    request = _request(rows)
    request.inputs[0].contents.fp32_contents.extend(rows.reshape(-1).tolist())
    return request


def _mixed() -> Any:
    request = _raw()
    request.inputs[0].contents.fp32_contents.extend([1.0])
    return request


def _contents(datatype: str, field: str, values: list[Any]) -> Any:
    request = _request(ROWS[:1], datatype)
    getattr(request.inputs[0].contents, field).extend(values)
    return request


def _shaped(shape: list[int]) -> Any:
    request = _raw()
    request.inputs[0].shape[:] = shape
    return request


@pytest.mark.parametrize(
    ("make", "code", "details"),
    [
        (lambda: _raw(model_version="9"), "NOT_FOUND", "is served in version"),
        (_request, "INVALID_ARGUMENT", "has 0 values, its shape [3, 2] needs 6"),
        (lambda: _request(raw_input_contents=[b"1234"]), "INVALID_ARGUMENT", "make 24 bytes"),
        (lambda: _request(raw_input_contents=[b"", b""]), "INVALID_ARGUMENT", "2 entries for 1"),
        (_mixed, "INVALID_ARGUMENT", "send one of them"),
        (lambda: _contents("FP32", "fp64_contents", [1, 2]), "INVALID_ARGUMENT", "fp32_contents"),
        (lambda: _contents("INT8", "int_contents", [300, 2]), "INVALID_ARGUMENT", "int_contents"),
        (lambda: _contents("FP16", "fp32_contents", [1, 2]), "INVALID_ARGUMENT", "raw_input"),
        (lambda: _contents("BYTES", "bytes_contents", [b"1"]), "INVALID_ARGUMENT", "BYTES"),
        (lambda: _raw(np.full((3, 2), np.nan, "f4")), "INVALID_ARGUMENT", "row 0, column 'price'"),
        (lambda: _raw(np.ones((1001, 2), "f4")), "RESOURCE_EXHAUSTED", "more than the 1000"),
        (
            lambda: _contents("BYTES", "bytes_contents", [b""] * 1001),
            "RESOURCE_EXHAUSTED",
            "1000 strings per request",
        ),
        (lambda: b"\x0a\xff", "INVALID_ARGUMENT", "is not a ModelInferRequest"),
        (lambda: b"\x2a\x00" * 1_000_000, "RESOURCE_EXHAUSTED", "tensors and other fields"),
        (lambda: b"", "NOT_FOUND", "no model ''"),
        (lambda: b"\xff" * 1_000_000, "INVALID_ARGUMENT", "is not a ModelInferRequest"),
        (
            lambda: b"\x7b\x7c" + b"\x2a\x00" * 1_000_000,  # after an unknown group
            "RESOURCE_EXHAUSTED",
            "tensors and other fields",
        ),
        (
            lambda: _contents("INT64", "int64_contents", [1] * 2_000_000),
            "RESOURCE_EXHAUSTED",
            "2000 numbers and 1000 strings",
        ),
        (
            lambda: _contents("BYTES", "bytes_contents", [b""] * 2_000_000),
            "RESOURCE_EXHAUSTED",
            "2000 numbers and 1000 strings",
        ),
        (lambda: _shaped([1] * 1_000_000), "RESOURCE_EXHAUSTED", "tensors and other fields"),
        (
            lambda: _contents("FP32", "fp32_contents", [1, 2, 3]),
            "INVALID_ARGUMENT",
            "fp32_contents has 3 values, its shape [1, 2] needs 2",
        ),
    ],
    ids=itertools.count(),
)
def test_invalid_requests_are_rejected(
    call: Callable[..., Any], predictor: Predictor, make: Callable[[], Any], code: str, details: str
) -> None:
    """A status code and a message, never a traceback; the next request succeeds."""
    with pytest.raises(grpc.RpcError) as caught:
        call("ModelInfer", make())
    assert caught.value.code().name == code
    assert details in caught.value.details()
    assert "Traceback" not in caught.value.details()
    _same(call("ModelInfer", _raw()), predictor.run(ROWS))


@given(st.data())
def test_damaged_messages_are_rejected_or_parsed(predictor: Predictor, data: st.DataObject) -> None:
    """Arbitrary bytes are parsed or rejected with ``RequestError``."""
    request = _raw(id="a")
    request.parameters["binary_data_output"].bool_param = True
    request.outputs.add(name="label")
    if data.draw(st.booleans()):
        request = _contents("FP32", "fp32_contents", [7.5, 3.0])
    content = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        kept = data.draw(st.integers(0, 2))
        content[at : at + kept] = data.draw(st.binary(max_size=3))
        if not content:
            return
    try:
        sent = parse_message(bytes(content), MessageLimits(70, 2000, 1000))
        message, binary = to_request(sent, 1000)
        parse_requested_outputs(message)
        rows = bind_inputs(message, binary, InputColumns(predictor.schema, 10**6), 1000)
    except RequestError:
        return
    assert rows.shape[1] == 2


def test_a_declared_shape_allocates_nothing(call: Callable[..., Any]) -> None:
    """A shape of 10^15 rows is rejected before allocating."""
    request = _raw()
    request.inputs[0].shape[:] = [10**15, 2]
    with pytest.raises(grpc.RpcError) as caught:
        call("ModelInfer", request)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("values", [[np.nan], [1.0, 2.0, 3.0], []], ids=["row", "shape", "read"])
def test_a_rejected_message_is_not_kept(
    start_server: Callable[..., Served], bundle: Path, values: list[float]
) -> None:
    """A hundred rejected messages of megabytes leave no more memory in use than a few."""
    size = 2_000_000
    limits = ("--max-rows", 1000) if not values else ("--max-rows", size)
    served = start_server("--bundle", bundle, "--grpc-port", 0, *limits)
    rows = np.full((size // 8, 2), values[0] if values else 1.0, np.float32)
    request = _contents_of(rows) if not values else _raw(rows)
    if len(values) == 3:
        request.inputs[0].shape[0] += 1
    data = request.SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

        def send_rejected(times: int) -> float:
            for _ in range(times):
                with pytest.raises(grpc.RpcError):
                    infer(data, timeout=PATIENCE_S)
            text = served.ask("/metrics").body.decode()
            return float(text.split("\nonnxferry_resident_memory_bytes ")[1].split()[0])

        few = send_rejected(10)
        assert send_rejected(100) < few + 50 * size


_PEAK = """
import sys
from contextlib import suppress
from pathlib import Path
sys.path.append(sys.argv[2])
from peak_memory import peak_bytes
from runtime.errors import OversizeError
from runtime.serving.grpc.codec import parse_message
from runtime.serving.grpc.message_limits import MessageLimits

data = Path(sys.argv[1]).read_bytes()  # into memory of its size
parse_message(data[:0], MessageLimits(96, 524288, 262144))
before = peak_bytes()
with suppress(OversizeError):
    parse_message(data, MessageLimits(96, 524288, 262144))
print(peak_bytes() - before)
"""


def _delimited(number: int, content: bytes) -> bytes:
    size, length = len(content), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


@pytest.mark.parametrize(
    "make",
    [
        lambda: _delimited(5, _delimited(5, b"\x42\x00" * 8_000_000)),
        lambda: _delimited(5, _delimited(5, b"\x42\x01a" * 5_000_000)),
        lambda: _delimited(5, _delimited(5, b"\x42\x01a" * 262_144)),
        lambda: _delimited(5, _delimited(5, _delimited(3, b"\x01" * 16_000_000))),
        lambda: _delimited(5, _delimited(3, b"\x01" * 16_000_000)),
        lambda: _delimited(5, b"\x22\x00" * 8_000_000),
        lambda: b"\x22\x00" * 8_000_000,
        lambda: b"\x2a\x00" * 8_000_000,
        lambda: b"\x32\x00" * 8_000_000,
        lambda: b"\x3a\x00" * 8_000_000,
    ],
    ids=[
        *("empty strings", "strings", "a valid request", "integers", "shape", "tensor parameters"),
        *("parameters", "inputs", "outputs", "raw contents"),
    ],
)
def test_a_message_takes_ten_times_its_size_at_most(
    make: Callable[[], bytes], tmp_path: Path
) -> None:
    """Parsed or rejected, however many small strings, numbers or messages it is made of."""
    (tmp_path / "message").write_bytes(data := make())
    arguments = (tmp_path / "message", Path(peak_memory.__file__).parent)
    command = [*peak_memory.UNRELATED, sys.executable, "-c", _PEAK, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert int(done.stdout) < 10 * len(data) + 4_000_000


def test_inference_is_counted_with_http(served: Served, call: Callable[..., Any]) -> None:
    """Requests over gRPC are counted with those over HTTP."""
    before = served.ask("/v2/models/simplenet/stats").json["model_stats"][0]["inference_count"]
    call("ModelInfer", _raw())
    after = served.ask("/v2/models/simplenet/stats").json["model_stats"][0]["inference_count"]
    assert after == before + 3


def test_an_unloaded_model_is_not_ready(start_server: Callable[..., Served], bundle: Path) -> None:
    """Unload, and model and server are not ready; load, and they are."""
    library = pytest.importorskip("tritonclient.grpc")
    served = start_server("--bundle", f"a={bundle}", "--grpc-port", 0)
    with library.InferenceServerClient(f"127.0.0.1:{served.grpc_port}") as client:
        client.unload_model("a")
        assert not client.is_model_ready("a")
        assert not client.is_server_ready()
        with pytest.raises(library.InferenceServerException, match="leave out parameters"):
            client.load_model("a", config="{}")
        client.load_model("a")
        assert client.is_server_ready()
    assert served.end() == 0


def test_health_checking_protocol(start_server: Callable[..., Served], bundle: Path) -> None:
    """Kubernetes' health check: of the server, the protocol or a model; in its very bytes."""
    served = start_server("--bundle", bundle, "--grpc-port", 0)
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")

        def check_health(name: bytes) -> bytes:
            sent = b"\x0a%c%b" % (len(name), name) if name else b""
            return bytes(check(sent, timeout=PATIENCE_S))

        names = (b"", b"inference.GRPCInferenceService", b"simplenet")
        assert [check_health(name) for name in names] == [b"\x08\x01"] * 3
        with pytest.raises(grpc.RpcError) as caught:
            check_health(b"other")
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert served.ask("/v2/repository/models/simplenet/unload", b"").status == 200
        assert check_health(b"") == b"\x08\x02"


def test_idle_connections_are_closed(start_server: Callable[..., Served], bundle: Path) -> None:
    """Connections without a handshake, or without a call after it, are closed."""
    limits = ("--idle-timeout", 0.3, "--header-timeout", 0.3)
    served = start_server("--bundle", bundle, "--grpc-port", 0, *limits)
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    for sent in (b"", hello):
        with socket.create_connection(("127.0.0.1", served.grpc_port), PATIENCE_S) as client:
            client.sendall(sent)
            while client.recv(1000):  # settings and GOAWAY
                pass


def test_no_call_is_lost_at_shutdown(
    start_server: Callable[..., Served], bundle: Path, predictor: Predictor
) -> None:
    """At SIGTERM no call is lost: each gets a response, or is rejected before it is accepted."""
    from runtime.serving.grpc.codec import message

    served = start_server("--bundle", bundle, "--grpc-port", 0)
    expected = predictor.run(ROWS).logits.tobytes()
    started, statuses = threading.Event(), []

    def send_requests() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
            infer = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                response_deserializer=message("ModelInferResponse").FromString,
            )
            try:
                while True:
                    answer = infer(_raw().SerializeToString(), timeout=PATIENCE_S)
                    assert answer.raw_output_contents[2] == expected
                    started.set()
            except grpc.RpcError as exc:
                statuses.append(exc.code())

    threads = [threading.Thread(target=send_requests) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert started.wait(PATIENCE_S)
    assert served.end() == 0
    for thread in threads:
        thread.join(PATIENCE_S)
    assert statuses == [grpc.StatusCode.UNAVAILABLE] * 4


def test_a_port_in_use_is_reported(
    served: Served, bundle: Path, run_command: Callable[..., Any]
) -> None:
    """Exit code 6 and one line."""
    done = run_command("serve", "--bundle", bundle, "--port", 0, "--grpc-port", served.grpc_port)
    assert done.returncode == 6
    assert b"choose another with --host, --grpc-port" in done.stderr
    assert b"Traceback" not in done.stderr


def test_watching_clients_see_each_change(
    start_server: Callable[..., Served], bundle: Path
) -> None:
    """Of the server and of a model; the end of the server ends their streams, and reflection's."""
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub
    from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
    from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

    served = start_server("--bundle", f"a={bundle}", "--grpc-port", 0)
    finished = threading.Event()

    def queries() -> Iterator[Any]:
        yield ServerReflectionRequest(list_services="")
        finished.wait(PATIENCE_S)  # an idle client

    repository = "/v2/repository/models/a/"
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        watch = HealthStub(channel).Watch
        server, model, unknown = (
            watch(HealthCheckRequest(service=name), timeout=PATIENCE_S) for name in ("", "a", "b")
        )
        assert next(server).status == next(model).status == HealthCheckResponse.SERVING
        assert next(unknown).status == HealthCheckResponse.SERVICE_UNKNOWN
        assert served.ask(f"{repository}unload", b"").status == 200
        assert next(server).status == HealthCheckResponse.NOT_SERVING
        assert next(model).status == HealthCheckResponse.SERVICE_UNKNOWN
        assert served.ask(f"{repository}load", b"").status == 200
        assert next(server).status == next(model).status == HealthCheckResponse.SERVING
        reflected = ServerReflectionStub(channel).ServerReflectionInfo(
            queries(), timeout=PATIENCE_S
        )
        assert next(reflected).list_services_response.service
        served.process.send_signal(signal.SIGTERM)
        for stream in (server, model, unknown):
            assert [one.status for one in stream] == [HealthCheckResponse.NOT_SERVING]
        assert list(reflected) == []
        finished.set()
    assert served.wait() == 0


def test_reflection_describes_the_services(channel: Any) -> None:
    """As grpcurl asks: the services, and the messages of a method."""
    library = pytest.importorskip("grpc_reflection.v1alpha.proto_reflection_descriptor_database")
    from google.protobuf.descriptor_pool import DescriptorPool

    database = library.ProtoReflectionDescriptorDatabase(channel)
    services = {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    }
    assert set(database.get_services()) == services
    pool = DescriptorPool(database)
    found = {name: pool.FindServiceByName(name) for name in services}
    infer = found["inference.GRPCInferenceService"].methods_by_name["ModelInfer"]
    assert infer.input_type.fields_by_name["raw_input_contents"].number == 7


def test_clients_that_leave_reflection_are_no_errors(
    start_server: Callable[..., Served], bundle: Path
) -> None:
    """Having read all, or amid a response: nothing of it is in the log."""
    from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
    from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

    served = start_server("--bundle", bundle, "--grpc-port", 0)
    queries = [ServerReflectionRequest(list_services="")]
    for _ in range(20):
        with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
            reflected = ServerReflectionStub(channel).ServerReflectionInfo
            assert len(list(reflected(iter(queries), timeout=PATIENCE_S))) == 1
            left = reflected(iter(queries), timeout=PATIENCE_S)
            next(left)
            left.cancel()
    assert served.end() == 0
    assert [line for line in served.lines if '"level":"error"' in line] == []


def test_a_ping_every_ten_seconds_is_accepted() -> None:
    """Also without calls: keep-alive behind load balancers."""
    from runtime.serving.grpc.server import _options
    from runtime.serving.settings import DEFAULT_LIMITS

    options = dict(_options(DEFAULT_LIMITS, shared=False))
    assert options["grpc.http2.min_ping_interval_without_data_ms"] <= 5000
    assert options["grpc.keepalive_permit_without_calls"] == 1
