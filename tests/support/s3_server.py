"""A real S3-compatible server on loopback: SeaweedFS, one for all workers of a test session."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from http.client import HTTPResponse

HINT = 'needs a store to talk to: pip install -c constraints.txt -e ".[stores]"'
_STARTUP_S = 60
_ADMIN = ("admin", "admin-secret")
USER = ("user", "user-secret")
_SERVICES = ("master", "volume", "filer", "s3")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def find_server() -> str | None:
    """Find SeaweedFS: beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


class ObjectStore:
    """A running server.

    Attributes:
        endpoint: its URL.
        filer: URL of the files behind the buckets, uploads in progress among them.
        variables: the environment of a user who may read and write, but create no bucket.
        pid: of its process.
    """

    def __init__(self, ports: dict[str, int], pid: int) -> None:
        self.pid = pid
        self.endpoint = f"http://127.0.0.1:{ports['s3']}"
        self.filer = f"http://127.0.0.1:{ports['filer']}"
        self.variables = self.environment(*USER)

    def environment(self, key: str, secret: str) -> dict[str, str]:
        """Variables for a client with these keys."""
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
        }

    def client(self, bucket: str) -> Any:  # noqa: ANN401 - obstore's S3Store
        """A client of our own that may do everything; the bucket is made by its first object."""
        from obstore.store import S3Store

        return S3Store(
            bucket,
            endpoint=self.endpoint,
            access_key_id=_ADMIN[0],
            secret_access_key=_ADMIN[1],
            region="us-east-1",
            client_options={"allow_http": True},
        )

    def is_compressed(self, bucket: str, key: str) -> bool:
        """Whether it has compressed an object, or a part of it."""
        url = f"{self.filer}/buckets/{bucket}/{key}?metadata=true"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - loopback
            return any(chunk.get("is_compressed") for chunk in json.load(answer)["chunks"])

    def put_raw(self, bucket: str, key: str, content: bytes) -> None:
        """Put an object with a key that obstore would change or refuse."""
        self.request("PUT", f"/{bucket}/{key}", "", {}, content).close()

    def request(
        self, method: str, path: str, query: str, headers: Mapping[str, str], content: bytes
    ) -> HTTPResponse:
        """Send a request that may do everything, by Signature Version 4; ``path`` as it is."""
        host, path = self.endpoint.removeprefix("http://"), quote(path)
        pairs = parse_qsl(query, keep_blank_values=True)
        query = "&".join(sorted(f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in pairs))
        now, digest = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), _sha256(content)
        signing = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": now}
        signing |= {name: headers[name] for name in headers if name.startswith("x-amz-")}
        signed = ";".join(sorted(signing))
        lines = [f"{name}:{signing[name]}" for name in sorted(signing)]
        canonical = "\n".join([method, path, query, *lines, "", signed, digest]).encode()
        scope = [now[:8], "us-east-1", "s3", "aws4_request"]
        text = "\n".join(["AWS4-HMAC-SHA256", now, "/".join(scope), _sha256(canonical)])
        secret = f"AWS4{_ADMIN[1]}".encode()
        for part in (*scope, text):
            secret = hmac.digest(secret, part.encode(), "sha256")
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={_ADMIN[0]}/{'/'.join(scope)}, SignedHeaders={signed}, "
            f"Signature={secret.hex()}"
        )
        url = f"{self.endpoint}{path}" + (f"?{query}" if query else "")
        sent = {**headers, **signing, "Authorization": authorization}
        request = urllib.request.Request(url, content, sent, method=method)  # noqa: S310 - loopback
        answer: HTTPResponse = urllib.request.urlopen(request, timeout=60)  # noqa: S310 - loopback
        return answer

    def uploads(self, bucket: str) -> list[str]:
        """Uploads of a bucket that are neither completed nor aborted."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.filer}/buckets/{bucket}/.uploads/", headers={"Accept": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
                return [entry["FullPath"] for entry in json.load(answer)["Entries"] or []]
        except urllib.error.HTTPError:
            return []


@contextmanager
def shared_server(folder: Path) -> Iterator[ObjectStore]:
    """Start the server, or use the one that another worker has started; the last one ends it."""
    state = folder / "object-store.json"
    with (folder / "object-store.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = json.loads(state.read_text()) if state.exists() else _start(folder)
        state.write_text(json.dumps({**known, "users": known["users"] + 1}))
        fcntl.flock(lock, fcntl.LOCK_UN)
        try:
            yield ObjectStore(known["ports"], known["pid"])
        finally:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = json.loads(state.read_text())
            state.write_text(json.dumps({**known, "users": known["users"] - 1}))
            if known["users"] == 1:
                os.killpg(known["pid"], signal.SIGKILL)  # it ignores SIGTERM for a while
                state.unlink()
                shutil.rmtree(folder / "object-store", ignore_errors=True)
                _remove_sockets(known["ports"].values())


def _remove_sockets(ports: Iterable[int]) -> None:
    """Remove what a killed SeaweedFS leaves: sockets of its services and their gRPC."""
    for port in ports:
        for number in (port, port + 10_000):
            for path in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):  # noqa: S108 - its choice
                path.unlink()


def _start(folder: Path) -> dict[str, Any]:
    server = find_server()
    assert server
    data = folder / "object-store"
    data.mkdir()
    (data / "s3.json").write_text(json.dumps({"identities": list(map(_identity, (_ADMIN, USER)))}))
    ports = dict(zip(_SERVICES, _free_ports(len(_SERVICES)), strict=True))
    options = [f"-{name}.port={port}" for name, port in ports.items()]
    command = [server, "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [f"-s3.config={data / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += ["-volume.max=5000", "-master.volumeSizeLimitMB=1024", *options]
    with (data / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    _wait(ObjectStore(ports, process.pid), process, data / "log")
    process.returncode = 0  # it outlives this worker, where others use it: no warning
    return {"ports": ports, "pid": process.pid, "users": 0}


def _identity(keys: tuple[str, str]) -> dict[str, Any]:
    actions = ["Admin", "Read", "Write", "List"] if keys == _ADMIN else ["Read", "Write", "List"]
    credentials = [{"accessKey": keys[0], "secretKey": keys[1]}]
    return {"name": keys[0], "credentials": credentials, "actions": actions}


def _free_ports(count: int) -> list[int]:
    """Find free ports; SeaweedFS opens each service's gRPC 10,000 above."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as http, socket.socket() as grpc:
            http.bind(("127.0.0.1", 0))
            port = http.getsockname()[1] % 20_000 + 20_000
            try:
                with socket.socket() as other:
                    other.bind(("127.0.0.1", port))
                grpc.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def _wait(store: ObjectStore, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a first object can be written."""
    from obstore.exceptions import BaseError

    end = time.monotonic() + _STARTUP_S
    while time.monotonic() < end and process.poll() is None:
        try:
            store.client("first").put("object", b"content")
        except BaseError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"no object store: {log.read_text(errors='replace')[-2000:]}")
