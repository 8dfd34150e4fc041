"""Why a request's header is refused (RFC 9112), before anything of its body is read.

In: the fields as they came. Out: a status and a message, or None. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.serving.http.message import Header
    from runtime.serving.limits import Limits

# A second one of these would let two readers of one request understand two different things.
_SINGLE: Final = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"inference-header-content-length",
        b"transfer-encoding",
        b"x-api-key",
    }
)
_VERSIONS: Final = frozenset({"1.0", "1.1"})


class Fault(Value, frozen=True):
    """Why nothing more is read: what the client is told."""

    status: int
    message: str


def too_large(limits: Limits) -> Fault:
    """Refuse a header that is too large or has too many fields."""
    return Fault(
        431,
        f"the header is larger than {limits.header_bytes} bytes or has more than "
        f"{limits.header_fields} fields; send fewer",
    )


def is_too_large(target: bytes, fields: Sequence[Header], received: int, limits: Limits) -> bool:
    """Tell whether a header is beyond the limits.

    Args:
        target: of the request.
        fields: as they came.
        received: bytes that have come since the request began, or more.
        limits: of the server.

    Returns:
        Whether it is.
    """
    if len(fields) > limits.header_fields:
        return True
    if received <= limits.header_bytes:
        return False
    size = len(target) + sum(len(name) + len(value) for name, value in fields)
    return size > limits.header_bytes


def find_fault(
    method: str, version: str, fields: Sequence[Header], headers: Mapping[bytes, bytes]
) -> Fault | None:
    """Look for what makes a request ambiguous, or none for this server.

    Args:
        method: in capitals.
        version: ``1.0`` or ``1.1``.
        fields: as they came.
        headers: the same, values by name in lower case.

    Returns:
        The first fault.
    """
    if version not in _VERSIONS:
        return Fault(400, f"HTTP/{version} is not spoken here; send HTTP/1.1")
    if method == "CONNECT":
        return Fault(501, "this server is no proxy")
    if len(headers) < len(fields) and (doubled := _find_doubled(fields)):
        return Fault(400, f"the header field {doubled} stands there twice")
    return _find_old_fault(headers) if version == "1.0" else _find_new_fault(headers)


def _find_doubled(fields: Sequence[Header]) -> str:
    names = [name.lower() for name, _ in fields]
    return next((name.decode() for name in _SINGLE if names.count(name) > 1), "")


def _find_new_fault(headers: Mapping[bytes, bytes]) -> Fault | None:
    """Look for what HTTP/1.1 has and HTTP/1.0 has not."""
    if b"host" not in headers:
        return Fault(400, "the header field Host is missing")
    # The parser takes off chunks and nothing else: what was compressed, too, would be passed on.
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        return Fault(501, "the only Transfer-Encoding that is read is chunked")
    if headers.get(b"expect", b"100-continue").lower() != b"100-continue":
        return Fault(417, "the only expectation that is met is 100-continue")
    return None


def _find_old_fault(headers: Mapping[bytes, bytes]) -> Fault | None:
    """Whoever passed chunks of HTTP/1.0 on may have read another end: RFC 9112, 6.1."""
    if b"transfer-encoding" in headers:
        return Fault(400, "HTTP/1.0 has no Transfer-Encoding; send Content-Length")
    return None
