"""Authentication by API key, and protection against cross-site requests.

Keys are sent as ``Authorization: Bearer KEY``, ``X-API-Key: KEY`` or, for browsers, the password of
``Basic``. A POST that a browser sends for another site is rejected even without keys: it would
reach a server on the user's own machine (Fetch Metadata, w3.org/TR/fetch-metadata).
"""

from __future__ import annotations

import binascii
import hmac
import os
import time
from base64 import b64decode
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from runtime.errors import UsageError
from runtime.serving.cors import Cors
from runtime.serving.http.messages import error_response
from runtime.surfaces import option, server_option

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runtime.serving.http.messages import Request, Response

_PUBLIC: Final = ("/v2/health/live", "/v2/health/ready", "/ping")
_SITE: Final = b"sec-fetch-site"
_SAME_SITE: Final = (b"same-origin", b"none")
_CHALLENGE: Final = (
    (b"www-authenticate", b'Bearer realm="onnxferry"'),
    (b"www-authenticate", b'Basic realm="onnxferry: the key is the password", charset="UTF-8"'),
)
_NO_KEY: Final = (
    "an API key is required: send the header field Authorization: Bearer KEY, or X-API-Key: KEY"
)
_CROSS_SITE: Final = (
    "cross-site request: it was sent by a page of another site; to allow it, see "
    + server_option("cors_origin")
)
_CHECK_INTERVAL_S: Final = 0.5  # how often the key file is checked for changes
_MIN_CHARACTERS: Final = 16  # shorter keys can be guessed
_MAX_FILE_BYTES: Final = 1 << 20

FileState = tuple[int, int, int]


class Auth:
    """Authenticates requests; without keys it admits all but cross-site ones.

    Attributes:
        keys: None where none are required.
        cors: origins whose cross-site requests are admitted.
    """

    def __init__(self, keys: ApiKeys | None, cors: Cors | None = None) -> None:
        """Require one of the keys; None admits requests without a key."""
        self.keys, self.cors = keys, cors or Cors()

    def check(self, request: Request) -> Response | None:
        """Return the error response of a request that is not admitted, else None."""
        headers = request.headers
        if (
            _SITE in headers
            and request.method == "POST"
            and headers[_SITE] not in _SAME_SITE
            and not self.cors.allows(headers)
        ):
            return error_response(403, _CROSS_SITE, reason="cross-site")
        if self.keys is None or request.target.partition("?")[0] in _PUBLIC:
            return None
        key = _extract_key(headers)
        if not key:
            return error_response(401, _NO_KEY, _CHALLENGE, "no API key")
        if self.keys.is_valid(key):
            return None
        return error_response(401, "the API key is not valid", _CHALLENGE, "invalid API key")


def _extract_key(headers: dict[bytes, bytes]) -> bytes:
    """Return the key of a request; empty where there is none."""
    scheme, _, value = headers.get(b"authorization", b"").strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() == b"basic":
        try:
            return b64decode(value, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return headers.get(b"x-api-key", b"").strip()


class ApiKeys:
    """The keys of a file, reloaded when it changes, so keys rotate without a restart.

    One key a line; blank lines and lines that begin with ``#`` are ignored. An invalid change is
    reported once and the previous keys stay valid.
    """

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        """Read the file; raises ``UsageError``. ``report`` receives why a change was rejected."""
        self._path, self._report = path, report
        self._state = file_state(path)
        self._digests = _read_digests(path)
        self._next_check = time.monotonic() + _CHECK_INTERVAL_S

    def is_valid(self, key: bytes) -> bool:
        """Return whether a key is valid, in time independent of the keys."""
        if time.monotonic() >= self._next_check:
            self._reload_if_changed()
        digest = sha256(key).digest()
        valid = False
        for known in self._digests:  # no early exit: constant time
            valid |= hmac.compare_digest(known, digest)
        return valid

    def _reload_if_changed(self) -> None:
        self._next_check = time.monotonic() + _CHECK_INTERVAL_S
        state = file_state(self._path)
        if state == self._state:
            return
        self._state = state
        try:
            self._digests = _read_digests(self._path)
        except UsageError as exc:
            self._report(f"{exc}; the previous keys stay valid")


def file_state(path: Path) -> FileState | None:
    """Return what differs once a file, or the target of a link, has changed; None without one."""
    try:
        state = os.stat(path)  # noqa: PTH116 - half a microsecond less
    except OSError:
        return None
    return state.st_ctime_ns, state.st_size, state.st_ino


def _read_digests(path: Path) -> tuple[bytes, ...]:
    where = option("api_key_file", str(path))
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_FILE_BYTES)
    except OSError as exc:
        raise UsageError(f"{where} cannot be read: {exc.strerror}") from exc
    lines = [line.strip() for line in content.splitlines()]
    keys = [line for line in lines if line and not line.startswith(b"#")]
    if not keys:
        raise UsageError(
            f"{where} holds no key; write one a line, for example of: openssl rand -hex 32"
        )
    if any(len(key) < _MIN_CHARACTERS for key in keys):  # the message must not say which
        raise UsageError(
            f"{where} holds a key of fewer than {_MIN_CHARACTERS} characters; make it longer"
        )
    return tuple(sha256(key).digest() for key in keys)
