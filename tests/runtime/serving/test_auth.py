"""Keys and certificates: authentication, TLS, and their reload."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_client import PATIENCE_S, Client, features, make_certificate, request

from runtime.errors import UsageError
from runtime.serving.auth import ApiKeys, Auth, file_state
from runtime.serving.http.messages import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from serving_client import Served

FIRST, SECOND = "first-key-0123456789", "second-key-0123456789"
INFER = "/v2/models/simplenet/infer"
ROW = features([7.5, 3.0])
EVERYTHING = ("/", "/cards", "/metrics", "/openapi.json", "/v2", "/v2/models/simplenet", "/none")


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A file with two keys."""
    path = tmp_path / "keys"
    path.write_text(f"# a comment that is long enough\n\n{FIRST}\n  {SECOND}  \n")
    return path


@pytest.fixture
def guarded(start_server: Callable[..., Served], bundle: Path, key_file: Path) -> Iterator[Served]:
    """A server that requires a key."""
    served = start_server("--bundle", bundle, "--api-key-file", key_file)
    yield served
    if served.process.poll() is None:
        assert served.end() == 0


def test_only_health_is_public(guarded: Served) -> None:
    """Probes need no key; every other path, existing or not, is 401."""
    assert guarded.ask("/v2/health/live").status == 200
    assert guarded.ask("/v2/health/ready?a").status == 200
    for target in EVERYTHING:
        answer = guarded.ask(target)
        assert answer.status == 401, target
        assert "an API key is required" in answer.error
    for target in (INFER, "/predict", "/v2/repository/models/simplenet/unload"):
        assert guarded.ask(target, b"{}").status == 401
        assert guarded.ask(target, b"{}", _bearer("wrong-key-0123456789")).status == 401


@pytest.mark.parametrize("key", [FIRST, SECOND])
def test_each_key_is_accepted_in_each_scheme(guarded: Served, key: str) -> None:
    """As a bearer token, as X-API-Key, and as the password of Basic."""
    basic = base64.b64encode(f"anybody:{key}".encode()).decode()
    for headers in (_bearer(key), {"X-API-Key": key}, {"Authorization": f"Basic {basic}"}):
        assert guarded.ask(INFER, ROW, headers).status == 200
        assert guarded.ask("/", None, headers).status == 200


def test_no_key_is_ever_logged(
    start_server: Callable[..., Served], bundle: Path, key_file: Path
) -> None:
    """Not even at debug, where each request is logged."""
    words = ("--bundle", bundle, "--api-key-file", key_file, "--log-level", "debug")
    served = start_server(*words)
    served.ask(INFER, ROW, _bearer(FIRST))
    served.ask(INFER, ROW, {"X-API-Key": "wrong-key-0123456789"})
    assert served.end() == 0
    text = "".join(served.lines)
    assert '"status":401' in text
    assert "0123456789" not in text


def test_keys_are_reloaded_without_a_restart(guarded: Served, key_file: Path) -> None:
    """New keys are accepted and old ones rejected; an invalid file is reported and ignored."""
    key_file.write_text("third-key-0123456789\n")
    _until(lambda: guarded.ask("/v2", None, _bearer("third-key-0123456789")).status == 200)
    assert guarded.ask("/v2", None, _bearer(FIRST)).status == 401
    key_file.write_text("\n")
    time.sleep(0.6)
    assert guarded.ask("/v2", None, _bearer("third-key-0123456789")).status == 200
    key_file.unlink()
    time.sleep(0.6)
    assert guarded.ask("/v2", None, _bearer("third-key-0123456789")).status == 200
    assert guarded.ask("/v2", None, _bearer("")).status == 401
    assert guarded.end() == 0
    failures = [json.loads(line) for line in guarded.lines if "key reload failed" in line]
    assert "holds no key" in failures[0]["reason"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "holds no key"),
        ("# only\n\n", "holds no key"),
        ("short\n", "fewer than 16"),
        (None, "cannot be read"),
    ],
    ids=["empty", "comments", "short", "missing"],
)
def test_invalid_key_file_fails_at_startup(
    tmp_path: Path, bundle: Path, run_command: Callable[..., Any], content: str | None, error: str
) -> None:
    """A server that requires keys does not start without any."""
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content)
    done = run_command("serve", "--bundle", bundle, "--port", 0, "--api-key-file", path)
    assert done.returncode == 2
    assert error in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


@given(st.binary(max_size=40))
def test_no_other_bytes_are_accepted(key: bytes) -> None:
    """Only the keys of the file are valid, whole and exact."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys"
        path.write_text(f"{FIRST}\n{SECOND}\n")
        keys = ApiKeys(path, lambda _: None)
        assert keys.is_valid(key) == (key in {FIRST.encode(), SECOND.encode()})
        auth = Auth(keys)
        for name in (b"authorization", b"x-api-key"):
            rejected = auth.check(Request("GET", "/v2", {name: key}, b"", 0))
            is_valid = key.strip() in {FIRST.encode(), SECOND.encode()} and name == b"x-api-key"
            assert (rejected is None) == is_valid
        path.unlink()
        with pytest.raises(UsageError):
            ApiKeys(path, lambda _: None)


def test_cross_site_requests_are_rejected(server: Served) -> None:
    """A POST sent for another site's page changes nothing; the server's own page works."""
    unload = "/v2/repository/models/simplenet/unload"
    for site in ("cross-site", "same-site"):
        answer = server.ask(unload, b"", {"Sec-Fetch-Site": site})
        assert answer.status == 403
        assert "another site" in answer.error
    assert server.ask("/v2/health/ready").status == 200
    assert server.ask(INFER, ROW, {"Sec-Fetch-Site": "same-origin"}).status == 200


def test_grpc_requires_a_key(
    start_server: Callable[..., Served], bundle: Path, key_file: Path
) -> None:
    """Health is public; inference, streams and the repository are UNAUTHENTICATED without one."""
    library = pytest.importorskip("tritonclient.grpc")
    import numpy as np

    served = start_server("--bundle", bundle, "--grpc-port", 0, "--api-key-file", key_file)
    tensor = library.InferInput("features", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.array([[7.5, 3]], np.float32))
    with library.InferenceServerClient(f"127.0.0.1:{served.grpc_port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        calls: tuple[Callable[[], object], ...] = (
            lambda: client.infer("simplenet", [tensor]),
            lambda: client.unload_model("simplenet"),
            lambda: client.is_model_ready("simplenet"),
            lambda: client.infer("simplenet", [tensor], headers={"x-api-key": "wrong"}),
        )
        for call in calls:
            with pytest.raises(library.InferenceServerException) as caught:
                call()
            assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
        _check_reflection_needs_a_key(served)
        for name, value in (("authorization", f"Bearer {FIRST}"), ("x-api-key", SECOND)):
            result = client.infer("simplenet", [tensor], headers={name: value})
            assert result.as_numpy("label").shape == (1,)
    assert served.end() == 0


def _check_reflection_needs_a_key(served: Served) -> None:
    """The services are described to clients with a key."""
    import grpc
    from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
    from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

    sent = ServerReflectionRequest(list_services="")
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        describe = ServerReflectionStub(channel).ServerReflectionInfo
        with pytest.raises(grpc.RpcError, match="an API key is required"):
            next(describe(iter([sent]), timeout=PATIENCE_S))
        (found,) = describe(iter([sent]), metadata=[("x-api-key", FIRST)], timeout=PATIENCE_S)
        assert found.HasField("list_services_response")


# ---- TLS -----------------------------------------------------------------------------------------


class SecureClient(Client):
    """A client that trusts one certificate."""

    def __init__(self, port: int, chain: Path) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        context = ssl.create_default_context(cafile=str(chain))
        self.socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self._ahead = b""


def test_https(start_server: Callable[..., Served], bundle: Path, tmp_path: Path) -> None:
    """Small and large bodies, keep-alive and pipelining over TLS; plain HTTP fails."""
    chain, key = make_certificate(tmp_path, "one")
    served = start_server("--bundle", bundle, "--tls-cert", chain, "--tls-key", key)
    assert f"try: curl -k https://127.0.0.1:{served.port}/predict" in served.lines[0]
    many = features(*([[7.5, 3.0]] * 20_000))
    with SecureClient(served.port, chain) as client:
        for body in (ROW, many, ROW):
            assert client.ask(INFER, body).status == 200
        client.send(request(INFER, ROW) * 20)
        assert [client.read().status for _ in range(20)] == [200] * 20
    with served.client() as plain:
        plain.send(request("/v2"))
        with pytest.raises(OSError, match=r"ended|reset"):
            plain.read()
    assert served.end() == 0


@pytest.fixture
def renewable(
    start_server: Callable[..., Served], bundle: Path, tmp_path: Path
) -> tuple[Served, Path, Path]:
    """A server with TLS, also for gRPC, and copies of a certificate and its key that it reads."""
    pytest.importorskip("grpc")
    chain, key = tmp_path / "served.pem", tmp_path / "served.key"
    for source, target in zip(make_certificate(tmp_path, "first"), (chain, key), strict=True):
        shutil.copy(source, target)
    tls = ("--tls-cert", chain, "--tls-key", key)
    return start_server("--bundle", bundle, *tls, "--grpc-port", 0), chain, key


def _serves(served: Served, certificate: Path) -> bool:
    """Whether both transports offer a certificate; they never differ for long."""
    import grpc

    try:
        with SecureClient(served.port, certificate) as client:
            client.ask("/v2/health/live")
    except ssl.SSLCertVerificationError:
        return False
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{served.grpc_port}", credentials) as channel:
        health = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            return bytes(health(b"", timeout=PATIENCE_S)) == b"\x08\x01"
        except grpc.RpcError:
            return False


@pytest.mark.parametrize("hangup", [True, False], ids=["SIGHUP", "alone"])
def test_certificate_is_reloaded(
    renewable: tuple[Served, Path, Path], tmp_path: Path, *, hangup: bool
) -> None:
    """Renewed files are used without a restart, in HTTP and gRPC; invalid ones are reported."""
    served, chain, key = renewable
    second = make_certificate(tmp_path, "second")
    assert _serves(served, tmp_path / "first.pem")
    chain.write_bytes(second[0].read_bytes())  # it does not belong to the key
    if hangup:
        served.process.send_signal(signal.SIGHUP)
    assert served.process.stderr
    _read_event(served, "certificate reload failed")
    assert _serves(served, tmp_path / "first.pem")
    key.write_bytes(second[1].read_bytes())
    if hangup:
        served.process.send_signal(signal.SIGHUP)
    _read_event(served, "certificate reloaded")
    _until(lambda: _serves(served, second[0]))
    assert served.end() == 0


def _read_event(served: Served, event: str) -> None:
    """Read the log up to an event."""
    assert served.process.stderr
    while f'"event":"{event}"' not in served.process.stderr.readline():
        pass


@pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
def test_a_linked_certificate_that_is_switched_is_noticed(tmp_path: Path, name: str) -> None:
    """As Kubernetes replaces a Secret: the link to its folder."""
    for version in ("first", "second"):
        (tmp_path / version).mkdir()
        (tmp_path / version / name).write_text("same length")
    (tmp_path / "data").symlink_to("first")
    (tmp_path / name).symlink_to(f"data/{name}")
    before = file_state(tmp_path / name)
    (tmp_path / "data").unlink()
    assert file_state(tmp_path / name) is None
    (tmp_path / "data").symlink_to("second")
    assert file_state(tmp_path / name) not in {before, None}


def test_incomplete_certificate_is_a_usage_error(
    bundle: Path, tmp_path: Path, run_command: Callable[..., Any]
) -> None:
    """Usage errors, before anything is opened."""
    chain, key = make_certificate(tmp_path, "one")
    other, _ = make_certificate(tmp_path, "two")
    start = ("serve", "--bundle", bundle, "--port", 0)
    for words, error in (
        (("--tls-cert", chain), "give both"),
        (("--tls-cert", chain, "--tls-key", tmp_path / "none"), "No such file"),
        (("--tls-cert", other, "--tls-key", key), "cannot be used"),
        (("--tls-cert", key, "--tls-key", key), "cannot be used"),
    ):
        done = run_command(*start, *words)
        assert done.returncode == 2, done.stderr
        assert error in done.stderr.decode()


def test_grpc_over_tls(start_server: Callable[..., Served], bundle: Path, tmp_path: Path) -> None:
    """The same certificate, for gRPC."""
    library = pytest.importorskip("tritonclient.grpc")
    chain, key = make_certificate(tmp_path, "one")
    words = ("--bundle", bundle, "--grpc-port", 0, "--tls-cert", chain, "--tls-key", key)
    served = start_server(*words)
    where = f"127.0.0.1:{served.grpc_port}"
    with library.InferenceServerClient(where, ssl=True, root_certificates=str(chain)) as client:
        assert client.is_server_live()
    assert served.end() == 0
