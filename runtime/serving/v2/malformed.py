"""What a body is that was to be JSON, and the remedy: most were sent by another tool's defaults."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runtime.serving.http.messages import Buffer

LOOKS_LIKE_CSV: Final = "looks like CSV, not JSON"
_HEAD: Final = 1024  # bytes that are looked at
_TRUNCATED: Final = "input data was truncated"
_SEVERAL: Final = "trailing characters"
_COMPRESSIONS: Final = ("gzip", "zstd", "bzip2")

# The first match counts, after blanks and a byte order mark.
_MISTAKES: Final = (
    (rb"--[^\s-]\S*\r?\n", "is a multipart form; send the rows themselves (curl: -d, not -F)"),
    (rb"%(7B|5B)", "is URL-encoded JSON; send it as it is (curl: -d, not --data-urlencode)"),
    (rb"@?[\w./~-]*\w\.\w{2,7}\s*$", "is the name of a file; curl sends a file with -d @FILE"),
    (rb"[\w.%+\[\]-]+=[^&\n]*(&[\w.%+\[\]-]+=[^&\n]*)*$", "is form data (name=value), not JSON"),
    (rb"'", 'begins with a single quote; in cmd of Windows: -d "{\\"a\\": 1}"'),
    (rb'[{\[]\s*(\{\s*)?\\+"', 'has \\" for "; its quotes were escaped twice'),
    (rb"[{\[]\s*(\{\s*)?'", "has single quotes; JSON has double ones (Python: json.dumps)"),
    (rb"[{\[]\s*(\{\s*)?[A-Za-z_]\w*\s*:", "has names without quotes; did a shell remove them?"),
    (rb"//|/\*|#", "begins with a comment, and JSON has none"),
    (rb"<", "is a markup document, not JSON"),
    (rb"[^\r\n{\[]*[,;\t|][^\r\n]*([\r\n]|$)", LOOKS_LIKE_CSV),
)  # fmt: skip
_PATTERNS: Final = tuple((re.compile(pattern), text) for pattern, text in _MISTAKES)


def explain_malformed(text: Buffer, reason: str) -> str:
    """Say what a body is that is not JSON, such as "is empty", or give the decoder's ``reason``."""
    if known := recognize(text):
        return known
    if _TRUNCATED in reason:
        return f"ends within the JSON, after {len(text):,} bytes"
    if _SEVERAL in reason:
        return "has several JSON values; send JSON Lines with Content-Type: application/x-ndjson"
    return f"is not JSON: {reason.removeprefix('JSON is malformed: ')}"


def recognize(text: Buffer) -> str:
    """Say what a body is that is neither JSON nor a table; empty if nothing known."""
    head = bytes(text[:_HEAD])
    plain = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not plain and len(text) <= _HEAD:
        return "is empty"
    return _foreign(head) or next((say for begin, say in _PATTERNS if begin.match(plain)), "")


def _foreign(head: bytes) -> str:
    """Recognise another format or encoding by its first bytes; else empty."""
    from runtime.tables.formats import detect_signature, detect_wide_without_bom

    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or detect_wide_without_bom(head):
        return "is UTF-16 or UTF-32, and JSON is UTF-8"
    found = detect_signature(head)
    if found is None or found == "a JSON array":
        return ""
    if found in _COMPRESSIONS:
        known = "add Content-Encoding: gzip" if found == "gzip" else "send it uncompressed"
        return f"is compressed with {found}; {known}"
    return f"is {found}, not JSON"
