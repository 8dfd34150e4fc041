"""Clients of object stores: credentials, endpoints and regions as the SDKs find them."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

from runtime.errors import UnavailableError, UsageError
from runtime.io.stores.errors import translate_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obstore.store import ClientConfig, ObjectStore, RetryConfig

    Work = Literal["ask", "upload", "copy"]

TIMEOUT_VARIABLE: Final = "ONNXFERRY_STORE_TIMEOUT"
_TIMEOUT_S: Final = 20.0  # without a byte, until a request is repeated
_CONNECT_S: Final = 5.0
_RETRIES: Final = 4
_RETRY_S: Final = 60.0  # no more attempts after that, or three silences
_REQUEST_S: Final = 300.0  # of at most 16 MiB
_UPLOAD_TIMEOUTS: Final = 4  # that a part may take
_PREFIXES: Final = ("AWS_", "AZURE_", "GOOGLE_", "HOME", TIMEOUT_VARIABLE)
_MAX_CLIENTS: Final = 32
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_MULTILINE: Final = "_SERVICE_ACCOUNT_KEY"  # is JSON
_ENDPOINTS: Final = {
    "s3": "AWS_ENDPOINT_URL, or endpoint_url in ~/.aws/config,",
    "gs": "GOOGLE_BASE_URL",
    "az": "AZURE_STORAGE_ENDPOINT",
}
_process: Final = [0]  # that has made the first client


def connect(scheme: str, bucket: str, work: Work = "ask") -> ObjectStore:
    """Get the client of a bucket, made anew when the environment has changed.

    A store is silent while it receives one of the parts that share the line, or copies an object:
    clients for such work wait longer.

    Raises ``UnavailableError`` without obstore, and in a child that was forked from a process with
    a client, where it would wait for ever.
    """
    try:
        import obstore  # noqa: F401 - is it there?
    except ImportError:
        raise UnavailableError(
            f'{scheme}:// needs obstore, which is not installed: pip install "onnxferry[cloud]"'
        ) from None
    _process[0] = _process[0] or os.getpid()
    if _process[0] != os.getpid():
        raise UnavailableError(
            f"{scheme}:// cannot be used in a process that was forked from one that uses it: start "
            'the workers with "spawn"'
        )
    settings = tuple(item for item in os.environ.items() if item[0].startswith(_PREFIXES))
    _check_variables(settings)
    return _connect(scheme, bucket, hash(settings), work)


@lru_cache(_MAX_CLIENTS)
def _connect(scheme: str, bucket: str, _environment: int, work: Work) -> ObjectStore:
    from obstore import store

    silence = _REQUEST_S
    if work != "copy":
        silence = min(_timeout() * (_UPLOAD_TIMEOUTS if work == "upload" else 1), silence)
    options, retries = _client_options(silence), _retry_config(silence)
    with translate_errors(f"{scheme}://{bucket}"):
        if scheme == "s3":
            from runtime.io.stores.aws import s3_headers, s3_settings

            config, provider = s3_settings()
            if _is_http(scheme, config.get("endpoint")):
                options["allow_http"] = True
            options["default_headers"] = s3_headers(config)
            more: dict[str, Any] = {"credential_provider": provider} if provider else {}
            return store.S3Store(
                bucket, config=config, client_options=options, retry_config=retries, **more
            )
        if scheme == "gs":
            from runtime.io.stores.google import google_settings

            google = google_settings()
            if _is_http(scheme, google.get("base_url")):
                options["allow_http"] = True
            return store.GCSStore(
                bucket, config=google, client_options=options, retry_config=retries
            )
        from runtime.io.stores.azure import azure_settings, uses_http

        azure = azure_settings()
        if _is_http(scheme, azure.get("endpoint")) or uses_http(azure):
            options["allow_http"] = True
        return store.AzureStore(bucket, config=azure, client_options=options, retry_config=retries)


def _is_http(scheme: str, endpoint: str | None) -> bool:
    """Whether an endpoint is one without TLS.

    Raises ``UnavailableError`` for what is no URL, with which the client would abort.
    """
    if endpoint and not _is_url(endpoint):
        raise UnavailableError(  # without its text, which may hold a password
            f"the endpoint of {scheme}:// is no URL: {_ENDPOINTS[scheme]} wants one such as "
            "http://127.0.0.1:9000 or https://store.example.com"
        )
    return bool(endpoint and endpoint.startswith("http://"))


def _is_url(text: str) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # a bracket alone, or a port that is none
        return False
    host = re.fullmatch(r"[\w.:%-]+", parts.hostname or "", re.ASCII)
    return parts.scheme in {"http", "https"} and bool(host) and port != 0


def _check_variables(settings: Sequence[tuple[str, str]]) -> None:
    """Refuse line breaks, as of a secret's file, with which the client would abort."""
    for name, value in settings:
        if _CONTROL.search(value) and not name.endswith(_MULTILINE):
            raise UnavailableError(
                f"{name} holds a line break or another control character: set it without"
            )


def _client_options(silence: float) -> ClientConfig:
    return {
        "connect_timeout": f"{_CONNECT_S * 1000:.0f}ms",
        "read_timeout": f"{silence * 1000:.0f}ms",
        "timeout": f"{_REQUEST_S:.0f}s",
    }


def _retry_config(silence: float) -> RetryConfig:
    from datetime import timedelta

    seconds = min(max(_RETRY_S, 3 * silence), _REQUEST_S)
    return {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=seconds)}


def _timeout() -> float:
    text = os.environ.get(TIMEOUT_VARIABLE) or str(_TIMEOUT_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= _REQUEST_S:  # noqa: PLR2004 - a tenth is for tests
        raise UsageError(f"{TIMEOUT_VARIABLE} is {text!r}: give seconds, up to {_REQUEST_S:.0f}")
    return seconds
