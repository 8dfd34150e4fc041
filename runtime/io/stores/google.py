"""Settings of Google Cloud Storage.

obstore reads ``GOOGLE_APPLICATION_CREDENTIALS`` of a service account or of gcloud's login, that
login itself, and the service account of the machine. Other kinds are refused here by name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from runtime.errors import UnavailableError
from runtime.value import Value

if TYPE_CHECKING:
    from obstore.store import GCSConfig

_VARIABLE: Final = "GOOGLE_APPLICATION_CREDENTIALS"
_KINDS: Final = ("authorized_user", "service_account")
_OTHERS: Final = (
    *("GOOGLE_BEARER_TOKEN", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH"),
    "GOOGLE_SERVICE_ACCOUNT_KEY",
)


class _Credentials(Value, frozen=True):
    type: str = "service_account"


def google_settings() -> GCSConfig:
    """Collect the endpoint, and check the file of credentials.

    Raises ``UnavailableError`` for a file that cannot be read, or of a kind that obstore lacks.
    """
    path = os.environ.get(_VARIABLE)
    if path and not any(os.environ.get(name) for name in _OTHERS):
        _check(Path(path))
    endpoint = os.environ.get("GOOGLE_BASE_URL")
    return {"base_url": endpoint} if endpoint else {}


def _check(path: Path) -> None:
    """Check the kind of credentials; messages quote nothing else of the file."""
    named = f"{path}, which {_VARIABLE} names,"
    try:
        kind = msgspec.json.decode(path.read_bytes(), type=_Credentials).type
    except OSError as exc:
        raise UnavailableError(f"{named} cannot be read: {exc.strerror}") from None
    except msgspec.DecodeError:
        raise UnavailableError(
            f"{named} holds no credentials of Google: download the key of the service account again"
        ) from None
    if kind not in _KINDS:
        raise UnavailableError(
            f"{named} has credentials of the type {kind!r}, which are not read: give the key of a "
            "service account, or set GOOGLE_BEARER_TOKEN to what 'gcloud auth print-access-token' "
            "prints"
        )
