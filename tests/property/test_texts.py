"""Texts of the binary tensor extension."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import RequestError
from runtime.serving.protocol.texts import as_bytes, texts_of_bytes


@given(st.lists(st.binary(max_size=9), max_size=9), st.binary(max_size=3))
def test_texts_come_back_as_they_were_written(texts: list[bytes], before: bytes) -> None:
    """Texts round-trip at any offset of a body."""
    content = before + as_bytes(texts)
    span = range(len(before), len(content))
    assert texts_of_bytes(content, span, len(texts), "here") == texts


@given(st.binary(max_size=30), st.integers(0, 5), st.integers(0, 9), st.integers(0, 9))
def test_any_bytes_are_read_whole_or_refused(data: bytes, rows: int, start: int, cut: int) -> None:
    """All bytes of the tensor belong to its texts."""
    span = range(min(start, len(data)), max(min(start, len(data)), len(data) - cut))
    try:
        texts = texts_of_bytes(data, span, rows, "here")
    except RequestError:
        return
    assert as_bytes(texts) == data[span.start : span.stop]
