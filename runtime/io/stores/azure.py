"""Settings of Azure Blob Storage from the variables of Azure's SDKs and command.

obstore reads ``AZURE_STORAGE_ACCOUNT_NAME``, ``AZURE_STORAGE_ACCOUNT_KEY`` and the variables of
identities; connection strings, and the names that the command ``az`` has, are read here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore.store import AzureConfig

_CONNECTION_STRING: Final = "AZURE_STORAGE_CONNECTION_STRING"
_SUFFIX: Final = "core.windows.net"
# Those of ``az``, where obstore's own are not set.
_NAMES: Final = {
    "account_name": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
    "account_key": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY"),
    "sas_key": ("AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN"),
    "endpoint": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT", "AZURE_STORAGE_SERVICE_ENDPOINT"),
}
_PARTS: Final = {
    "AccountName": "account_name",
    "AccountKey": "account_key",
    "SharedAccessSignature": "sas_key",
    "BlobEndpoint": "endpoint",
}
_TRUE: Final = ("true", "1", "yes", "on")


def azure_settings() -> AzureConfig:
    """Collect account, key and endpoint; a connection string counts more than other variables.

    Raises ``UnavailableError`` for a connection string that is none, or without an account.
    """
    config: dict[str, Any] = {}
    for setting, names in _NAMES.items():
        if value := next((found for name in names if (found := os.environ.get(name))), None):
            config[setting] = value
    if text := os.environ.get(_CONNECTION_STRING):
        config |= _parse_connection_string(text)
    is_emulator = os.environ.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in _TRUE
    if "account_name" not in config and not is_emulator and "use_emulator" not in config:
        raise UnavailableError(
            "az:// needs the name of the storage account: set AZURE_STORAGE_ACCOUNT_NAME, or "
            + _CONNECTION_STRING
        )
    return config  # type: ignore[return-value] # a dict of its keys


def uses_http(config: Mapping[str, object]) -> bool:
    """Whether the endpoint is one without TLS, as of an emulator."""
    emulator = str(config.get("use_emulator") or os.environ.get("AZURE_STORAGE_USE_EMULATOR", ""))
    return str(config.get("endpoint", "")).startswith("http://") or emulator.lower() in _TRUE


def _parse_connection_string(text: str) -> dict[str, Any]:
    """Parse ``Name=value;…``, whose values may hold equals signs."""
    pairs = [part.strip().partition("=") for part in text.split(";") if part.strip()]
    given = {name.strip(): value.strip() for name, equals, value in pairs if equals}
    if len(given) < len(pairs):
        # Its text holds the key.
        raise UnavailableError(
            f"{_CONNECTION_STRING} is no connection string: copy it from the storage account again"
        )
    if given.get("UseDevelopmentStorage", "").lower() == "true":
        return {"use_emulator": True}
    config: dict[str, Any] = {ours: given[name] for name, ours in _PARTS.items() if name in given}
    account = config.get("account_name")
    if account and "endpoint" not in config:
        protocol, suffix = (
            given.get("DefaultEndpointsProtocol", "https"),
            given.get("EndpointSuffix", _SUFFIX),
        )
        config["endpoint"] = f"{protocol}://{account}.blob.{suffix}"
    elif not account and "endpoint" in config:  # of one with a shared access signature
        host = str(config["endpoint"]).partition("://")[2]
        config["account_name"] = host.partition(".")[0]
    return config
