"""Let requests in, or refuse them.

With keys, everything but health needs one: ``Authorization: Bearer KEY``, ``X-API-Key: KEY``, or,
for a browser, ``Basic`` with the key as password. With or without keys, what changes or costs
something is refused when a browser sends it for the page of another site: such a page could else
use a server on the reader's own machine, or the key that the browser remembers (Fetch Metadata,
w3.org/TR/fetch-metadata). In: a request. Out: None, or the refusal.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import TYPE_CHECKING, Final

from runtime.serving.http.message import refusal

if TYPE_CHECKING:
    from runtime.serving.access.keys import Keys
    from runtime.serving.http.message import Request, Response

_OPEN: Final = ("/v2/health/live", "/v2/health/ready")
_SITE: Final = b"sec-fetch-site"
_OWN: Final = (b"same-origin", b"none")
_CHALLENGE: Final = (
    (b"www-authenticate", b'Bearer realm="onnxferry"'),
    (b"www-authenticate", b'Basic realm="onnxferry: the key is the password", charset="UTF-8"'),
)
_NO_KEY: Final = (
    "a key is needed: send the header field Authorization: Bearer KEY, or X-API-Key: KEY"
)
_FOREIGN: Final = "this was sent by the page of another site; ask the server directly"


class Gate:
    """Decides who is let in."""

    def __init__(self, keys: Keys | None) -> None:
        """Take the keys.

        Args:
            keys: that open it; None lets everybody in.
        """
        self.keys = keys

    def refuse(self, request: Request) -> Response | None:
        """Refuse a request, or don't.

        Args:
            request: as it came.

        Returns:
            None where it may be answered.
        """
        headers = request.headers
        if _SITE in headers and request.method == "POST" and headers[_SITE] not in _OWN:
            return refusal(403, _FOREIGN)
        if self.keys is None or request.target.partition("?")[0] in _OPEN:
            return None
        key = _key_of(headers)
        if not key:
            return refusal(401, _NO_KEY, _CHALLENGE)
        return None if self.keys.accept(key) else refusal(401, "the key is not right", _CHALLENGE)


def _key_of(headers: dict[bytes, bytes]) -> bytes:
    """Find the key in a request's header; empty where there is none."""
    kind, _, value = headers.get(b"authorization", b"").strip().partition(b" ")
    if kind.lower() == b"bearer":
        return value.strip()
    if kind.lower() == b"basic":
        try:
            return b64decode(value, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return headers.get(b"x-api-key", b"").strip()
