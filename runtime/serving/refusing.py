"""Which HTTP status each error of ours becomes.

In: an error. Out: an answer ``{"error": …}``. The one place where errors and statuses meet.
"""

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
from runtime.serving.http.message import Response, refusal

if TYPE_CHECKING:
    from runtime.errors import OnnxferryError

# The first that fits counts; what is none of them is a fault of the server's.
_STATUSES: Final[tuple[tuple[type[OnnxferryError], int], ...]] = (
    (UnknownNameError, 404),
    (OversizeError, 413),
    (MediaError, 415),
    (DataError, 400),
    (OverloadError, 503),
    (UnavailableError, 503),
)
_RETRY: Final = ((b"retry-after", b"1"),)
_UNAVAILABLE: Final = 503
_FAULT: Final = 500


def refuse(error: OnnxferryError) -> Response:
    """Answer with an error.

    Args:
        error: what went wrong; its message is the answer.

    Returns:
        4xx for what the client can mend, 5xx for the rest.
    """
    status = next((code for kind, code in _STATUSES if isinstance(error, kind)), _FAULT)
    return refusal(status, str(error), _RETRY if status == _UNAVAILABLE else ())
