"""Map errors to HTTP responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.errors import (
    DataError,
    MediaError,
    OverloadError,
    OversizeError,
    UnavailableError,
    UnknownNameError,
)
from runtime.serving.http.messages import RETRY_AFTER, Response, error_response

if TYPE_CHECKING:
    from runtime.errors import OnnxferryError

# The first match counts; 500 for any other error.
_STATUSES: Final[tuple[tuple[type[OnnxferryError], int], ...]] = (
    (UnknownNameError, 404),
    (OversizeError, 413),
    (MediaError, 415),
    (DataError, 400),
    (OverloadError, 503),
    (UnavailableError, 503),
)
_UNAVAILABLE: Final = 503
_SERVER_ERROR: Final = 500
INTERNAL_ERROR: Final = "internal server error; see the server's log"


def exception_response(error: OnnxferryError) -> Response:
    """Return the response to an error: 4xx where the client can fix it, else 5xx."""
    status = next((code for kind, code in _STATUSES if isinstance(error, kind)), _SERVER_ERROR)
    return error_response(status, str(error), RETRY_AFTER if status == _UNAVAILABLE else ())


def internal_error_response() -> Response:
    """Return the response to a bug."""
    return error_response(_SERVER_ERROR, INTERNAL_ERROR)
