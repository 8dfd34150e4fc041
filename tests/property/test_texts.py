"""Texts as the binary tensor extension writes them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import RequestError
from runtime.serving.v2.tensors import decode_binary_strings, encode_strings


@given(st.lists(st.binary(max_size=9), max_size=9), st.binary(max_size=3))
def test_texts_come_back_as_they_were_written(texts: list[bytes], before: bytes) -> None:
    """Texts written as bytes are read again wherever they lie in a body."""
    content = before + encode_strings(texts)
    span = range(len(before), len(content))
    assert decode_binary_strings(content, span, len(texts), "here") == texts


@given(st.binary(max_size=30), st.integers(0, 5), st.integers(0, 9), st.integers(0, 9))
def test_any_bytes_are_read_whole_or_refused(data: bytes, rows: int, start: int, cut: int) -> None:
    """What is read is what was written: all bytes of the tensor belong to its texts."""
    span = range(min(start, len(data)), max(min(start, len(data)), len(data) - cut))
    try:
        texts = decode_binary_strings(data, span, rows, "here")
    except RequestError:
        return
    assert encode_strings(texts) == data[span.start : span.stop]
