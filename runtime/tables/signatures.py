"""Detect file formats by their first bytes."""

from __future__ import annotations

import re
from typing import Final

# Formats that are read, under their names in formats.py.
_SUPPORTED: Final = (
    ("gzip", re.compile(rb"\x1f\x8b\x08")),
    ("zstd", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")),
    ("bzip2", re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)")),
    # A CSV header may begin with the same letters; here a thrift struct follows them.
    ("parquet", re.compile(rb"PAR[1E][\x00-\x08\x0e-\x1f]")),
    ("arrow", re.compile(rb"ARROW1\0\0|\xff\xff\xff\xff(?!\0\0)[^\xff]..\0", re.DOTALL)),
)
_UNSUPPORTED: Final = (
    (
        "an Excel workbook",
        re.compile(rb"PK\x03\x04.{0,400}(\[Content_Types\]|xl/|_rels/)", re.DOTALL),
    ),
    (
        "an OpenDocument sheet",
        re.compile(rb"PK\x03\x04.{26}mimetypeapplication/vnd\.oasis", re.DOTALL),
    ),
    ("a zip archive", re.compile(rb"PK(\x03\x04|\x05\x06)")),
    ("an old Excel workbook", re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")),
    ("xz-compressed", re.compile(rb"\xfd7zXZ\0")),
    ("lz4-compressed", re.compile(rb"\x04\x22\x4d\x18")),
    ("a 7z archive", re.compile(rb"7z\xbc\xaf\x27\x1c")),
    ("a tar archive", re.compile(rb".{257}ustar", re.DOTALL)),
    ("a PDF document", re.compile(rb"%PDF-")),
    ("a program (ELF)", re.compile(rb"\x7fELF")),
    ("a PNG picture", re.compile(rb"\x89PNG\r\n")),
    ("a JPEG picture", re.compile(rb"\xff\xd8\xff[\xdb-\xee]")),
    ("a SQLite database", re.compile(rb"SQLite format 3\0")),
    ("an HDF5 file", re.compile(rb"\x89HDF\r\n")),
    ("an ORC file", re.compile(rb"ORC[\x00-\x08\x0e-\x1f]")),
    ("an Avro file", re.compile(rb"Obj\x01")),
    ("a Feather file of version 1", re.compile(rb"FEA1[\0-\x1f]")),
    ("a numpy array", re.compile(rb"\x93NUMPY|PK\x03\x04.{26}[^/]{1,99}\.npy", re.DOTALL)),
    ("a pickle", re.compile(rb"\x80[\x02-\x05][\x00-\x08\x0e-\x1f\x28\x58\x5d\x63\x7d-\x95]")),
    (
        "an HTML page",
        re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head)\b", re.IGNORECASE),
    ),
    ("an XML document", re.compile(rb"(\xef\xbb\xbf)?\s*<\?xml\b")),
    ("a JSON array", re.compile(rb"(\xef\xbb\xbf)?\s*\[\s*(\{|\[)")),
)
ADVICE: Final = {
    "an Excel workbook": "save the sheet as CSV",
    "an OpenDocument sheet": "save the sheet as CSV",
    "an old Excel workbook": "save the sheet as CSV",
    "a zip archive": "unpack it first: unzip",
    "xz-compressed": "unpack it first: xz -d",
    "lz4-compressed": "unpack it first: lz4 -d",
    "a 7z archive": "unpack it first",
    "a tar archive": "unpack it first: tar -x",
    "an HTML page": "the download may have returned an error page",
    "a JSON array": "convert it to JSON Lines, one object per line: jq -c '.[]'",
    "an ORC file": "write it as Parquet",
    "an Avro file": "write it as Parquet",
    "a Feather file of version 1": "write it again with a newer version",
    "a numpy array": "write it as Parquet or CSV, with column names",
    "a pickle": "a pickle can run code; write it as Parquet or CSV",
}


def detect_signature(head: bytes) -> str | None:
    """Detect the format that begins with these bytes; None if there is none."""
    return next((name for name, begin in (*_SUPPORTED, *_UNSUPPORTED) if begin.match(head)), None)


def looks_like_json(head: bytes) -> bool:
    """Check whether the first non-blank character opens a JSON object, in any encoding."""
    for mark, is_wide in ((b"\xff\xfe", True), (b"\xfe\xff", True), (b"\xef\xbb\xbf", False)):
        if head.startswith(mark):
            head = head.removeprefix(mark)
            head = head.replace(b"\0", b"") if is_wide else head
    return head.lstrip(b" \t\r\n").startswith(b"{")


def detect_wide_without_bom(head: bytes) -> str | None:
    """Detect UTF-16 or UTF-32 without a byte order mark by the zeros in its first characters."""
    patterns = (
        ("utf-32-le", rb"([\t\r\n -~]\0\0\0){2}"),
        ("utf-32-be", rb"(\0\0\0[\t\r\n -~]){2}"),
        ("utf-16-le", rb"([\t\r\n -~]\0){2}"),
        ("utf-16-be", rb"(\0[\t\r\n -~]){2}"),
    )
    return next((name for name, begin in patterns if re.match(begin, head)), None)
