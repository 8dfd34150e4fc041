"""Azurite, Microsoft's emulator of Azure Blob Storage, from npm: ``npm install azurite``."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Known to everybody: of the emulator alone.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_STARTUP_S = 60


@contextmanager
def azurite(program: str, folder: Path) -> Iterator[str]:
    """Start ``azurite-blob``; yields the endpoint of its account."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--disableTelemetry"]
    command += ["--location", str(folder), "--silent", "--skipApiVersionCheck"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(port, process)
        yield f"http://127.0.0.1:{port}/{ACCOUNT}"
    finally:
        process.kill()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _STARTUP_S
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("Azurite does not start")


def create_container(endpoint: str, name: str) -> None:
    """Create a container, which obstore does not, with the shared key."""
    import base64
    import hashlib
    import hmac
    from email.utils import formatdate

    date, version = formatdate(usegmt=True), "2021-12-02"
    lines = ["PUT", *[""] * 11, f"x-ms-date:{date}", f"x-ms-version:{version}"]
    lines += [f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"]
    key, text = base64.b64decode(KEY), "\n".join(lines).encode()
    signature = base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode()
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{endpoint}/{name}?restype=container",
        b"",
        {
            "x-ms-date": date,
            "x-ms-version": version,
            "Authorization": f"SharedKey {ACCOUNT}:{signature}",
            "Content-Type": "",
        },
        method="PUT",
    )
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - loopback
