"""Settings of Azure's and Google's stores from the environment, without a server."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from runtime.errors import UnavailableError
from runtime.io.stores.azure import azure_settings, uses_http
from runtime.io.stores.google import google_settings

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "dG9wc2VjcmV0=="  # noqa: S105 - of nobody
STRING = f"DefaultEndpointsProtocol=https;AccountName=me;AccountKey={SECRET};"
AZURE = {
    "string": (
        {"AZURE_STORAGE_CONNECTION_STRING": STRING + "EndpointSuffix=core.chinacloudapi.cn"},
        {
            "account_name": "me",
            "account_key": SECRET,
            "endpoint": "https://me.blob.core.chinacloudapi.cn",
        },
    ),
    "string of a signature, before another key": (
        {
            "AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=https://me.blob.core.windows.net/;"
            "SharedAccessSignature=sv=1&sig=a%3D",
            "AZURE_STORAGE_ACCOUNT": "other",
        },
        {
            "account_name": "me",
            "sas_key": "sv=1&sig=a%3D",
            "endpoint": "https://me.blob.core.windows.net/",
        },
    ),
    "names of az": (
        {"AZURE_STORAGE_ACCOUNT": "me", "AZURE_STORAGE_KEY": SECRET},
        {"account_name": "me", "account_key": SECRET},
    ),
    "emulator": (
        {"AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true"},
        {"use_emulator": True},
    ),
}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's own."""
    for name in list(os.environ):
        if name.startswith(("AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(("variables", "config"), AZURE.values(), ids=AZURE)
def test_azure_is_found_as_its_tools_find_it(
    variables: dict[str, str], config: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connection strings count first; HTTP without TLS is for endpoints that say so."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = azure_settings()
    assert found == config
    assert uses_http(found) == ("use_emulator" in config)
    assert uses_http({"endpoint": "http://127.0.0.1/me"})


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "set AZURE_STORAGE_ACCOUNT_NAME, or AZURE_STORAGE_CONNECTION_STRING"),
        ({"AZURE_STORAGE_CONNECTION_STRING": SECRET.rstrip("=")}, "is no connection string"),
        ({"AZURE_STORAGE_CONNECTION_STRING": f"AccountKey={SECRET}"}, "name of the storage"),
    ],
)
def test_what_azure_lacks_is_named(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a secret in the message."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UnavailableError, match=words) as caught:
        azure_settings()
    assert SECRET[:8] not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        ("topsecret", "holds no credentials of Google"),
        (json.dumps({"type": "external_account"}), "the type 'external_account', which are not"),
        (json.dumps({"type": "service_account", "private_key": "topsecret"}), None),
        (json.dumps({"type": "authorized_user"}), None),
    ],
)
def test_the_file_of_google_s_credentials_is_checked(
    content: str | None, words: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its kind is named, nothing else of it."""
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    if words is None:
        assert google_settings() == {}
        return
    with pytest.raises(UnavailableError, match=words) as caught:
        google_settings()
    assert "topsecret" not in str(caught.value)
