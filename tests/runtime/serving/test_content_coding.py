"""Compressed request bodies: gzip and deflate, up to the body limit after expansion."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_client import features

from runtime.errors import OversizeError, RequestError
from runtime.serving.http.content_coding import decode_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving_client import Client, Served

INFER = "/v2/models/simplenet/infer"
ROW = features([7.5, 3.0])


def _raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


WAYS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("GZip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
    ("deflate", zlib.compress),
    ("deflate", _raw_deflate),
]


@pytest.mark.parametrize(("coding", "compress"), WAYS, ids=range(len(WAYS)))
@pytest.mark.parametrize("padding", [0, 1_000_000], ids=["small", "large"])
def test_compressed_bodies_are_read(
    client: Client, coding: str, compress: Callable[[bytes], bytes], padding: int
) -> None:
    """Small and large, several members, and deflate without zlib's header."""
    body = compress(ROW + b" " * padding)
    answer = client.ask(INFER, body, {"Content-Encoding": coding})
    assert answer.json["outputs"] == client.ask(INFER, ROW).json["outputs"]
    csv = compress(b"price,rating\n7.5,3\n")
    answer = client.ask("/predict", csv, {"Content-Encoding": coding, "Content-Type": "text/csv"})
    assert answer.body.startswith(b"price,rating,label,probability\n7.5,3,yes,")


@given(st.binary(max_size=300), st.sampled_from(WAYS))
def test_what_is_decoded_is_what_was_encoded(
    body: bytes, way: tuple[str, Callable[[bytes], bytes]]
) -> None:
    """At the limit, too; one byte more is refused."""
    coding, compress = way[0].encode(), way[1]
    assert decode_body(compress(body), coding, len(body)) == body
    with pytest.raises(OversizeError, match="raise the server's option max-body"):
        decode_body(compress(body + b"x"), coding, len(body))


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (ROW, b"gzip"),
        (ROW, b"deflate"),
        (gzip.compress(ROW)[:-1], b"gzip"),
        (gzip.compress(ROW)[:20], b"gzip"),
        (gzip.compress(ROW) + b"x", b"gzip"),
        (gzip.compress(ROW)[:-8] + bytes(8), b"gzip"),
        (zlib.compress(ROW) + b"x", b"deflate"),
        (zlib.compress(ROW), b"gzip"),
        (gzip.compress(ROW), b"deflate"),
    ],
    ids=range(9),
)
def test_damaged_bodies_are_refused(body: bytes, coding: bytes) -> None:
    """Not compressed, cut, with a wrong checksum, followed by other bytes."""
    with pytest.raises(RequestError, match="as Content-Encoding says"):
        decode_body(body, coding, 1 << 20)


def test_a_bomb_is_refused(client: Client) -> None:
    """64 KiB that are 64 MiB: 413, and the connection stays."""
    bomb = gzip.compress(bytes(64 << 20))
    answer = client.ask(INFER, bomb, {"Content-Encoding": "gzip"})
    assert answer.status == 413
    assert "16777216 bytes" in answer.error
    lines = client.ask("/metrics").body.decode().splitlines()
    assert "onnxferry_buffered_bytes 0" in lines


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress", "aws-chunked"])
def test_other_codings_are_415(client: Client, coding: str) -> None:
    """With the codings that are accepted."""
    answer = client.ask(INFER, ROW, {"Content-Encoding": coding})
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip, deflate")
    assert "send gzip, deflate, or the body uncompressed" in answer.error
    assert client.ask(INFER, ROW, {"Content-Encoding": "Identity"}).status == 200


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritonclient_compresses(server: Served, algorithm: str) -> None:
    """JSON and binary tensors: the length of the JSON is that before compression."""
    library = pytest.importorskip("tritonclient.http")
    import numpy as np

    tensor = library.InferInput("features", [2, 2], "FP32")
    tensor.set_data_from_numpy(np.array([[7.5, 3], [2, 1.5]], np.float32), binary_data=True)
    with library.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        found = client.infer("simplenet", [tensor], request_compression_algorithm=algorithm)
        assert found.as_numpy("label").tolist() == [1, 0]
