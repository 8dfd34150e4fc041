"""Translate obstore's errors: what failed, where and what to do, without what may be secret.

obstore's own texts quote requests with their URLs, and endpoints may hold a password. Nothing of
them is shown but the status, the store's error code and the name of the host.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from runtime.errors import (
    DataError,
    ExistsError,
    MissingError,
    OnnxferryError,
    StoreError,
    UsageError,
)
from runtime.printable import truncate

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>(\w{1,60})</Code>|x-ms-error-code: (\w{1,60})")
_HOST: Final = re.compile(r"\b(?:GET|PUT|HEAD|POST|DELETE) \w+://(?:[^/\s]*@)?([^/\s?]{1,200})")
_RETRIES: Final = re.compile(r"after (\d+) retries")
_NO_BUCKET: Final = re.compile(
    r"NoSuchBucket|InvalidBucketName|ContainerNotFound|specified bucket does not exist"
)
# Where an instance, a container or a function of the cloud gets its credentials.
_CREDENTIALS: Final = re.compile(
    r"169\.254\.169\.254|169\.254\.170\.2|metadata\.google\.internal|latest/api/token|/metadata/"
    r"identity|InstanceCredential|token request|Missing credential|Missing (?:Secret)?AccessKey"
)
_BAD_NAME: Final = re.compile(
    r'invalid path: (?:Error parsing )?Path "(.*?)(?:"(?:: | contained)|\Z)', re.DOTALL
)
_BAD_KEY: Final = re.compile(r"Invalid Access Key")
_REGION: Final = re.compile(
    r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint|status code: 301"
    r"|without LOCATION|BareRedirect"
)
_TIMEOUT: Final = re.compile(r"timed out|TimedOut|deadline has elapsed", re.IGNORECASE)
_CONNECTION: Final = re.compile(r"HTTP error|error sending request|decoding response|connection")
_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429
_DENIED: Final = (401, 403)
# Names of the variables that hold credentials, for advice.
_VARIABLES: Final = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_PUBLIC: Final = {
    "s3": "AWS_SKIP_SIGNATURE=true",
    "gs": "GOOGLE_SKIP_SIGNATURE=true",
    "az": "AZURE_SKIP_SIGNATURE=true",
}


@contextmanager
def translate_errors(where: str, *, writing: bool = False) -> Iterator[None]:
    """Raise our errors for those of obstore, with ``where``, the URI, in the message."""
    from obstore.exceptions import BaseError

    try:
        yield
    except OnnxferryError:
        raise
    except (BaseError, OSError, ValueError) as exc:
        # Its text, which a traceback would show, quotes requests.
        raise _translate(exc, where, writing=writing) from None


def _translate(exc: Exception, where: str, *, writing: bool) -> OnnxferryError:
    from obstore import exceptions

    text, cannot = str(exc), f"cannot {'write' if writing else 'read'} {where}"
    if name := _BAD_NAME.search(text):
        return DataError(
            f"{cannot}: an object there is named {truncate(repr(name[1]), 100)}, with an empty "
            "part, . or .., or a control character, which is not supported: rename it, or give a "
            "prefix without it"
        )
    if _NO_BUCKET.search(text):
        bucket = "/".join(where.split("/")[:3])
        what = "container" if bucket.startswith("az://") else "bucket"
        kind = UsageError if writing else MissingError
        return kind(f"{cannot}: there is no {what} {bucket}; create it, or give another")
    if isinstance(exc, FileNotFoundError):
        return MissingError(f"{cannot}: there is no such object")
    if isinstance(exc, exceptions.AlreadyExistsError):
        return ExistsError(f"{where} exists: it is not replaced; give another name")
    if isinstance(exc, exceptions.PreconditionError):
        return DataError(f"{where} changed while it was read; try again")
    is_denied = isinstance(exc, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError)
    return StoreError(f"{cannot}: {_describe(text, where, is_denied=is_denied)}")


def _describe(text: str, where: str, *, is_denied: bool) -> str:
    """Describe a request that failed for its credentials, its region or the connection."""
    scheme = where.partition("://")[0]
    if _REGION.search(text):
        return "the bucket is in another region; set AWS_REGION to its own"
    status = _STATUS.search(text)
    is_denied = is_denied or bool(status and int(status[1]) in _DENIED)  # uploads have no class
    if is_denied and not _CREDENTIALS.search(text):
        return (
            f"{_host(text)} denied access{_status(text)}; check the credentials "
            f"({_VARIABLES[scheme]}) and what they permit"
        )
    if _BAD_KEY.search(text):
        return f"the key of the account is none: copy it again ({_VARIABLES[scheme]})"
    if _CREDENTIALS.search(text):
        return (
            f"no credentials were found; set {_VARIABLES[scheme]}, or, for public data, "
            f"{_PUBLIC[scheme]}"
        )
    return _describe_failure(text)


def _describe_failure(text: str) -> str:
    """Describe a failed request; the last resort is the text without its URLs."""
    status = _STATUS.search(text)
    tried = f" after {int(found[1]) + 1} attempts" if (found := _RETRIES.search(text)) else ""
    if status and (int(status[1]) >= _SERVER_ERROR or int(status[1]) == _TOO_MANY):
        return f"{_host(text)} failed{_status(text)}{tried}; try again later"
    if status:
        return f"{_host(text)} refused the request{_status(text)}"
    if _TIMEOUT.search(text):
        return f"{_host(text)} does not answer{tried}; check the network, or try again"
    if _CONNECTION.search(text):
        return f"no connection to {_host(text)}{tried}; check the endpoint and the network"
    first = next(iter(text.strip().splitlines()), "it is not known why")
    return re.sub(r"\S+://\S+|[\w+/=-]{33,}", "…", first)[:200]


def _host(text: str) -> str:
    found = _HOST.search(text)
    return found[1] if found else "the store"


def _status(text: str) -> str:
    """Give the HTTP status and the store's code, in brackets; empty without them."""
    found = [match[1] for match in (_STATUS.search(text),) if match]
    found += [match[1] or match[2] for match in (_CODE.search(text),) if match]
    return f" ({', '.join(found)})" if found else ""
