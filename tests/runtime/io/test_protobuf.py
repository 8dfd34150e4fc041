"""The reader of Protocol Buffers' wire format."""

from __future__ import annotations

import pytest

from runtime.io.protobuf import DELIMITED, VARINT, count_varints, read_fields, read_varint


def test_fields_are_read_with_the_bytes_of_their_values() -> None:
    """A field has its number, its wire type and the offsets of its value."""
    message = b"\x08\x96\x01" + b"\x12\x02ab" + b"\x1d\0\0\x80\x3f"
    assert list(read_fields(message, 0, len(message))) == [
        (1, VARINT, 1, 3),
        (2, DELIMITED, 5, 7),
        (3, 5, 8, 12),
    ]
    assert read_varint(message, 1) == (150, 3)
    assert count_varints(b"\x96\x01\x05", 0, 3) == 2


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"\x08", id="varint without a value"),
        pytest.param(b"\x08" + b"\x80" * 10 + b"\x01", id="varint of eleven bytes"),
        pytest.param(b"\x12\x03ab", id="text beyond the message"),
        pytest.param(b"\x12", id="text without a size"),
        pytest.param(b"\x0d\0\0", id="number beyond the message"),
        pytest.param(b"\x0e", id="unknown wire type"),
        pytest.param(b"\x80", id="half a key"),
    ],
)
def test_malformed_messages_are_refused(message: bytes) -> None:
    """A message that ends within a field, or has an unknown wire type, is a ``ValueError``."""
    with pytest.raises(ValueError, match=r"malformed|varint|after its message"):
        list(read_fields(message, 0, len(message)))
