"""Settings of S3 from the environment and the shared files of the AWS SDKs.

obstore reads the variables, web identities, and the credentials of containers and instances.
The profiles of ``~/.aws`` are read here; those that get their keys elsewhere (SSO, roles, a
command) are boto3's to resolve, where it is installed.
"""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore.store import S3Config, S3CredentialProvider

_KEYS: Final = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
# A profile with one of these gets its keys elsewhere.
_RESOLVED: Final = ("role_arn", "sso_session", "sso_start_url", "credential_process")
_OWN: Final = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE")


def s3_settings() -> tuple[S3Config, S3CredentialProvider | None]:
    """Collect what obstore does not find itself; a provider for keys that boto3 resolves."""
    profile = _read_profile()
    config: dict[str, Any] = {"copy_if_not_exists": "multipart"}  # S3's conditional copy
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    endpoint = endpoint or os.environ.get("AWS_ENDPOINT") or profile.get("endpoint_url")
    if endpoint:
        config["endpoint"] = endpoint
    if not str(endpoint).startswith("http://") and not os.environ.get("AWS_UNSIGNED_PAYLOAD"):
        config["unsigned_payload"] = True  # TLS guards it: no second hash, as in the SDKs
    if not os.environ.get("AWS_REGION") and not os.environ.get("AWS_DEFAULT_REGION"):
        config["region"] = profile.get("region", "us-east-1")
    if any(os.environ.get(name) for name in _OWN):
        return config, None  # type: ignore[return-value] # a dict of its keys
    if profile.keys() >= {"aws_access_key_id", "aws_secret_access_key"}:
        config |= {ours: profile[name] for name, ours in _KEYS.items() if name in profile}
    elif any(name in profile for name in _RESOLVED):
        return config, _boto3_provider()  # type: ignore[return-value] # as above
    return config, None  # type: ignore[return-value] # as above


def s3_headers(config: S3Config) -> dict[str, str]:
    """Choose headers for the requests to a store that only looks like S3.

    SeaweedFS compresses parts whose type it guesses to be text, and serves them at a fraction of
    its speed: they are declared to be bytes, S3's default. AWS needs no word, and the service that
    exchanges a web identity for keys would get the header, too.
    """
    if "endpoint" not in config or os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return {}
    return {"content-type": "binary/octet-stream"}


def _read_profile() -> Mapping[str, str]:
    """Read the profile that AWS_PROFILE names, or the default one; empty without it."""
    chosen = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    name = chosen or "default"
    found: dict[str, str] = {}
    section = name if name == "default" else f"profile {name}"
    for variable, default, heading in (
        ("AWS_CONFIG_FILE", "~/.aws/config", section),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", name),
    ):
        path = Path(os.environ.get(variable) or default).expanduser()
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            # Its text quotes lines of the file.
            raise UnavailableError(f"{path} is not a configuration of AWS: correct it") from None
        if parser.has_section(heading):
            found |= parser.items(heading)
    if chosen and not found and not os.environ.get("AWS_ACCESS_KEY_ID"):
        raise UnavailableError(
            f"there is no profile {name!r} in ~/.aws/config or ~/.aws/credentials, which "
            "AWS_PROFILE names"
        )
    return found


def _boto3_provider() -> S3CredentialProvider:
    try:
        from boto3 import Session
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        raise UnavailableError(
            "the profile of AWS gets its keys by SSO, a role or a command, which needs boto3: pip "
            "install boto3, or set the keys that 'aws configure export-credentials' prints"
        ) from None
    provider: S3CredentialProvider = Boto3CredentialProvider(Session())
    return provider
