"""Detect a table's format and decode its bytes: decompress, transcode to UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.errors import DataError
from runtime.io.charsets import UTF_8, Encoding, detect_encoding
from runtime.io.sources import PeekedSource
from runtime.tables import signatures
from runtime.tables.formats import Format, check_content, check_text, detect_kind, to_compression
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.io.streams import ByteSource, CountedSource


class DecodedSource(Value, frozen=True):
    """A source of decoded bytes.

    Attributes:
        source: of text in UTF-8 or another encoding with ASCII, or of Parquet or Arrow. Its
            ``bytes_read`` counts bytes of the file.
        format: of the file.
        encoding: of the text in the file.
    """

    source: CountedSource
    format: Format
    encoding: Encoding


def decode_source(
    source: ByteSource, stored: Format | None, *, where: str, encoding: Encoding | None = None
) -> DecodedSource:
    """Detect or check the format of a table, and decode it."""
    peeked = PeekedSource(source, where=where)
    head = peeked.peek()
    compression = (
        stored.compression if stored else to_compression(signatures.detect_signature(head))
    )
    if stored:
        check_content(head, stored, where=where)
    if compression:
        from runtime.io.compression import decompressed_source

        peeked = PeekedSource(decompressed_source(peeked, compression, where=where), where=where)
        head = peeked.peek()
    if not stored:
        kind = detect_kind(head)
        # Compressed binary formats are refused below.
        stored = Format(
            "csv" if compression and kind in {"parquet", "arrow"} else kind, compression
        )
    if not stored.is_text:
        if not head:
            raise DataError(f"{where} is empty: it has no column names")
        return DecodedSource(peeked, stored, UTF_8)
    check_text(head, stored, where=where, encoding=encoding)
    detected = detect_encoding(head, encoding, where=where)
    if detected.is_wide:
        from runtime.io.charsets import TranscodedSource

        return DecodedSource(TranscodedSource(peeked, detected, where=where), stored, detected)
    return DecodedSource(peeked, stored, detected)
