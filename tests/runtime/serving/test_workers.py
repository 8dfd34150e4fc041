"""Several worker processes: aggregated counts, loading, restarts and shutdown."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_client import PATIENCE_S, Served, features

from runtime.errors import UnavailableError
from runtime.serving.models.statistics import BATCH_ROWS
from runtime.serving.observability.metrics import FAMILIES, Histogram, render

pytest.importorskip("prometheus_client")
from runtime.serving.workers import supervisor
from runtime.serving.workers.aggregation import load_metrics, save_metrics

if TYPE_CHECKING:
    from collections.abc import Callable

INFER = "/v2/models/m/infer"
STATS = "/v2/models/m/stats"
ROW = features([7.5, 3.0])
_UCRED = struct.Struct("3i")  # a process, its user and its group


def _wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def _workers(served: Served) -> list[int]:
    """Process ids of the workers that serve: who listens on the control sockets."""
    if not hasattr(socket, "SO_PEERCRED"):
        pytest.skip("needs Linux to find the process behind a socket")
    found = []
    for path in sorted(_run_folder(served).glob("[0-9]")):
        with socket.socket(socket.AF_UNIX) as control, contextlib.suppress(OSError):
            control.connect(str(path))
            credentials = control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
            found.append(_UCRED.unpack(credentials)[0])
    return found


def _run_folder(served: Served) -> Path:
    """The folder of the workers' control sockets and metrics."""
    (folder,) = served.folder.glob("onnxferry-*")
    return folder


def _is_alive(number: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, 0)
        return True
    return False


@pytest.fixture
def start(start_server: Callable[..., Served], bundle: Path) -> Callable[..., Served]:
    """Start a server with two workers."""

    def start(*words: object, folder: Path = bundle) -> Served:
        return start_server("--bundle", f"m={folder}", "--workers", 2, *words)

    return start


@pytest.fixture
def served(start: Callable[..., Served]) -> Served:
    """A server with two workers."""
    return start()


def test_counts_are_those_of_all_workers(served: Served) -> None:
    """Statistics and metrics are sums, whichever worker responds."""
    for _ in range(40):  # each on a new connection: the kernel distributes them
        assert served.ask(INFER, ROW).status == 200
    for _ in range(5):
        (found,) = served.ask(STATS).json["model_stats"]
        assert found["inference_count"] == 40
        assert sum(one["compute_infer"]["count"] for one in found["batch_stats"]) == 40
        assert found == served.ask("/v2/models/stats").json["model_stats"][0]
        lines = served.ask("/metrics").body.decode().splitlines()
        (rows,) = (line for line in lines if line.startswith("onnxferry_rows_total{"))
        assert rows.endswith(" 40")
        assert any(
            line.startswith("onnxferry_model_ready{") and line.endswith(" 1") for line in lines
        )
        assert len(lines) == len(set(lines))
    assert len(_workers(served)) == 2
    assert served.end() == 0
    ended = [json.loads(line) for line in served.lines if '"stopped"' in line]
    assert len(ended) == 2
    assert all(one["answers"] > 0 for one in ended)


def test_a_load_is_done_by_all_workers_before_it_is_answered(
    start: Callable[..., Served], bundle_copy: Path, make_bundle: Callable[..., Path]
) -> None:
    """After the response no worker serves the old version; after unloading, none at all."""
    served = start(folder=bundle_copy)
    other = make_bundle(name="simplenet")
    version = json.loads((other / "manifest.json").read_text())["model"]["version"]
    shutil.rmtree(bundle_copy)
    shutil.copytree(other, bundle_copy)
    assert served.ask("/v2/repository/models/m/load", b"").status == 200
    versions = Counter(served.ask(INFER, ROW).json["model_version"] for _ in range(20))
    assert versions == {version: 20}
    assert served.ask("/v2/repository/models/m/unload", b"").status == 200
    assert {served.ask(INFER, ROW).status for _ in range(20)} == {404}
    assert served.ask("/v2/repository/models/none/load", b"").status == 404
    assert served.end() == 0


def test_a_worker_that_dies_is_replaced(served: Served) -> None:
    """Waiting connections are accepted by its successor; the log has both events."""
    first, second = _workers(served)
    os.kill(first, signal.SIGKILL)
    answers = [served.ask(INFER, ROW).status for _ in range(20)]
    assert answers == [200] * 20
    _wait_until(lambda: len(_workers(served)) == 2)
    assert second in _workers(served)
    assert first not in _workers(served)
    assert served.end() == 0
    events = [json.loads(line) for line in served.lines if line.startswith("{")]
    (died,) = (one for one in events if one["event"] == "worker died")
    assert died["code"] == -signal.SIGKILL
    assert any(one["event"] == "worker replaced" for one in events)


def _counts(served: Served) -> dict[str, float]:
    """Every counter and histogram, and the start time."""
    found, grows = {}, False
    for line in served.ask("/metrics").body.decode().splitlines():
        if line.startswith("# TYPE"):
            grows = line.endswith((" counter", " histogram", "start_time_seconds gauge"))
        elif grows and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def test_counters_are_monotonic(served: Served) -> None:
    """Whether a worker dies, is replaced, hangs, or reloads its bundle."""
    for _ in range(20):
        served.ask(INFER, ROW)
    readings = [_counts(served)]
    first = _workers(served)[0]
    os.kill(first, signal.SIGKILL)
    readings.append(_counts(served))
    _wait_until(lambda: len(set(_workers(served)) - {first}) == 2)
    for _ in range(20):
        served.ask(INFER, ROW)
    readings.append(_counts(served))
    served.ask("/v2/repository/models/m/load", b"")
    readings.append(_counts(served))
    hanging = _workers(served)[0]
    clients = [served.client() for _ in range(16)]  # some go to the other worker
    os.kill(hanging, signal.SIGSTOP)
    try:
        for client in clients:
            client.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        ready, _, _ = select.select([client.socket for client in clients], [], [], PATIENCE_S)
        assert ready
    finally:
        os.kill(hanging, signal.SIGCONT)
    readings.append(_counts(served))
    for before, after in pairwise(readings):
        assert {
            name: after.get(name, -1) for name in before if after.get(name, -1) < before[name]
        } == {}
    answered = next(value for name, value in readings[-1].items() if "inferences_total" in name)
    assert answered == 40
    for client in clients:
        client.close()
    assert served.end() == 0


def _versions(served: Served, requests: int = 24) -> set[str]:
    """The versions that respond to many requests, each on a connection of its own."""
    answers = [served.ask(INFER, ROW) for _ in range(requests)]
    return {one.json.get("model_version", str(one.status)) for one in answers}


def test_workers_serve_the_same_after_one_is_replaced(
    start: Callable[..., Served], bundle_copy: Path, make_bundle: Callable[..., Path]
) -> None:
    """A bundle was replaced but not loaded: the new worker loads it, and so do the others."""
    served = start(folder=bundle_copy)
    (before,) = _versions(served)
    bundle_copy.rename(bundle_copy.with_name("old"))
    make_bundle().rename(bundle_copy)
    os.kill(_workers(served)[0], signal.SIGKILL)
    _wait_until(lambda: before not in _versions(served))
    assert len(_versions(served)) == 1
    assert served.end() == 0


def test_an_unloaded_model_stays_so_when_a_worker_is_replaced(served: Served) -> None:
    """The new worker serves what the others serve; SIGHUP loads nothing that was unloaded."""
    first, second = _workers(served)
    assert served.ask("/v2/repository/models/m/unload", b"").status == 200
    os.kill(first, signal.SIGKILL)
    _wait_until(lambda: len(set(_workers(served)) - {first, second}) == 1)
    served.process.send_signal(signal.SIGHUP)
    assert _versions(served) == {"404"}
    assert served.ask("/v2/repository/models/m/load", b"").status == 200
    assert "404" not in _versions(served)
    assert served.end() == 0


def test_no_connection_waits_for_a_worker_that_cannot_start(
    start: Callable[..., Served], bundle_copy: Path
) -> None:
    """Its bundle was damaged meanwhile: the others accept all connections; the log is JSON."""
    served = start(folder=bundle_copy)
    before = _versions(served)
    model = bundle_copy / "model.onnx"
    good = model.read_bytes()
    model.write_bytes(b"damaged")
    os.kill(_workers(served)[0], signal.SIGKILL)
    _read_until(served, "worker not started")
    _read_until(served, "worker died")
    assert _versions(served, 40) == before
    model.write_bytes(good)
    _read_until(served, "worker replaced")
    assert _versions(served) == before
    assert served.end() == 0


def _read_until(served: Served, event: str) -> None:
    """Read the log up to an event; every line is JSON."""
    assert served.process.stderr
    while json.loads(served.process.stderr.readline())["event"] != event:
        pass


# Before, the signal terminates the command.
SAYS_WHEN_SIGHUP_WAITS = """
import signal, sys
from runtime.cli.app import main
set_mask = signal.pthread_sigmask
def pthread_sigmask(how, mask):
    previous = set_mask(how, mask)
    if (how, set(mask)) == (signal.SIG_BLOCK, {signal.SIGHUP}):
        print("SIGHUP waits", file=sys.stderr, flush=True)
    return previous
signal.pthread_sigmask = pthread_sigmask
main()
"""


@pytest.mark.parametrize("delay_s", [0.1, 0.2, 0.3, 0.4])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_to_reload_ends_no_server_that_starts(
    environment: dict[str, str], bundle: Path, tmp_path: Path, workers: int, delay_s: float
) -> None:
    """SIGHUP is handled once there is something to reload."""
    words = [sys.executable, "-c", SAYS_WHEN_SIGHUP_WAITS, "serve", "--bundle", bundle]
    process = subprocess.Popen(
        list(map(str, [*words, "--port", 0, "--workers", workers])),
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert process.stderr
    try:
        assert process.stderr.readline() == "SIGHUP waits\n"
        time.sleep(delay_s)
        process.send_signal(signal.SIGHUP)
        output = ""
        while " at http://" not in output or '"event":"load"' not in output:
            line = process.stderr.readline()
            assert line, output
            output += line
        process.send_signal(signal.SIGTERM)
        assert "died" not in output + process.stderr.read()
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_request_of_a_dead_worker_fails_at_once(served: Served) -> None:
    """The client sees the connection end, and its next request is answered."""
    clients = [served.client() for _ in range(8)]
    for client in clients:
        client.ask("/v2/health/live")
        client.send(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
    for number in _workers(served):
        os.kill(number, signal.SIGKILL)
    for client in clients:
        with client, pytest.raises(OSError, match=r"ended|reset"):
            client.read()
    assert served.ask(INFER, ROW).status == 200
    assert served.end() == 0


@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.2, 0.25, 0.3, 0.4])
def test_a_starting_worker_is_stopped_by_one_signal(served: Served, delay_s: float) -> None:
    """At any moment: a second signal would abort what it is responding to."""
    time.sleep(1.1)  # one that dies sooner is replaced after a pause
    os.kill(_workers(served)[0], signal.SIGKILL)
    assert served.process.stderr
    assert "worker died" in served.process.stderr.readline()
    time.sleep(delay_s)
    assert served.end() == 0


def test_nothing_is_lost_at_the_end(served: Served) -> None:
    """SIGTERM with 64 busy connections: every request is answered, every process exits."""
    workers, lost, answered = _workers(served), [], []

    def ask() -> None:
        with served.client() as client:
            while True:
                try:
                    answer = client.ask(INFER, ROW)
                except OSError as exc:
                    lost.append(exc)
                    return
                assert answer.status == 200
                answered.append(1)
                if answer.headers.get("connection") == "close":
                    return

    threads = [threading.Thread(target=ask) for _ in range(64)]
    for thread in threads:
        thread.start()
    _wait_until(lambda: len(answered) > 200)
    assert served.end() == 0
    for thread in threads:
        thread.join(PATIENCE_S)
    assert lost == []
    ended = [json.loads(line) for line in served.lines if '"stopped"' in line]
    assert sum(one["answers"] for one in ended) == len(answered)
    assert not any(map(_is_alive, workers))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_a_second_signal_ends_at_once(served: Served, number: signal.Signals) -> None:
    """No process waits for requests in flight any longer."""
    workers = _workers(served)
    clients = [served.client() for _ in range(8)]
    for client in clients:  # a body that never comes keeps both workers busy
        client.send(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
    served.process.send_signal(number)
    time.sleep(0.3)
    served.process.send_signal(number)
    assert served.wait() in {0, 128 + number}
    assert not any(map(_is_alive, workers))
    for client in clients:
        client.close()


def test_no_worker_outlives_its_supervisor(served: Served) -> None:
    """Even when it is killed; nor does the run folder."""
    workers = _workers(served)
    folder = _run_folder(served)
    served.process.kill()
    served.process.wait()
    _wait_until(lambda: not any(map(_is_alive, workers)))
    assert not folder.exists()


def test_read_only_container_has_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder for temporary files the sockets are in /dev/shm."""
    monkeypatch.setattr(tempfile, "tempdir", "/proc/none")
    with supervisor.create_run_folder() as folder:
        assert Path(folder).parent == Path("/dev/shm")  # noqa: S108


def test_what_to_mount_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without shared memory, either, the message says what workers need."""
    monkeypatch.setattr(tempfile, "tempdir", "/proc/none")
    monkeypatch.setattr(supervisor, "_SHARED_MEMORY", "/proc/none")
    with pytest.raises(UnavailableError, match="mount a writable /tmp or /proc/none, or set TMP"):
        supervisor.create_run_folder()


def test_a_folder_that_cannot_hold_sockets_is_reported(
    run_command: Callable[..., Any], bundle: Path, tmp_path: Path
) -> None:
    """TMPDIR is too long for a socket's path: one message with the remedy."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    words = ("serve", "--workers", 2, "--bundle", bundle, "--port", 0)
    done = run_command(*words, env={"TMPDIR": str(folder)})
    assert list(folder.iterdir()) == []
    assert done.returncode == 6
    assert b"set TMPDIR to a writable folder" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_failed_start_is_reported_once(
    bundle_copy: Path, run_command: Callable[..., Any], served: Served
) -> None:
    """A damaged bundle, or an address in use: one message and the exit code."""
    start = ("serve", "--workers", 2, "--bundle", f"m={bundle_copy}", "--port")
    done = run_command(*start, served.port)
    assert done.returncode == 6
    assert b"cannot listen" in done.stderr
    (bundle_copy / "model.onnx").write_bytes(b"")
    done = run_command(*start, 0)
    assert done.returncode == 4
    assert done.stderr.count(b"runtime: error:") == 1
    assert b"Traceback" not in done.stderr
    assert served.end() == 0


def test_keys_hold_for_what_concerns_all_workers(
    start: Callable[..., Served], tmp_path: Path
) -> None:
    """Metrics, statistics and loading need the key, and then concern all workers."""
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-some-length\n")
    served = start("--api-key-file", keys)
    right = {"X-API-Key": "a-key-of-some-length"}
    for target, body in (("/metrics", None), (STATS, None), ("/v2/repository/models/m/load", b"")):
        assert served.ask(target, body).status == 401
        assert served.ask(target, body, right).status == 200
    loads = 'onnxferry_model_loads_total{model="m",outcome="served"} 4'
    assert loads in served.ask("/metrics", None, right).body.decode()
    assert served.end() == 0


def test_grpc_is_served_by_all(start: Callable[..., Served]) -> None:
    """One port for gRPC, too; metrics are aggregated."""
    library = pytest.importorskip("tritonclient.grpc")
    import numpy as np

    served = start("--grpc-port", 0)
    tensor = library.InferInput("features", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.array([[7.5, 3]], np.float32))
    for _ in range(10):
        with library.InferenceServerClient(f"127.0.0.1:{served.grpc_port}") as client:
            assert client.infer("m", [tensor]).as_numpy("label").shape == (1,)
            client.load_model("m")
    with library.InferenceServerClient(f"127.0.0.1:{served.grpc_port}") as client:
        assert client.is_server_ready()
    loads = 'onnxferry_model_loads_total{model="m",outcome="served"} 22'
    assert loads in served.ask("/metrics").body.decode()
    assert served.end() == 0


LABELS = st.tuples(st.sampled_from('a"\\\n'), st.sampled_from(["1", "2"]))
COUNTS = st.integers(0, 10**9)
HISTOGRAMS = st.lists(COUNTS, min_size=len(BATCH_ROWS) + 1, max_size=len(BATCH_ROWS) + 1)


@given(
    st.lists(
        st.tuples(
            st.dictionaries(LABELS, COUNTS), st.dictionaries(LABELS, HISTOGRAMS), st.booleans()
        ),
        min_size=1,
        max_size=3,
    )
)
def test_metrics_add_up(
    tmp_path_factory: pytest.TempPathFactory,
    workers: list[tuple[dict[tuple[str, str], int], dict[tuple[str, str], list[int]], bool]],
) -> None:
    """Each sample is the sum, minimum or maximum over the workers that have it."""
    folder = tmp_path_factory.mktemp("metrics")
    empty: dict[str, Any] = {family.name: {} for family in FAMILIES}
    rows: Counter[tuple[str, str]] = Counter()
    batches: dict[tuple[str, str], Any] = {}
    for number, (counts, histograms, draining) in enumerate(workers):
        found = {labels: Histogram(one, sum(one)) for labels, one in histograms.items()}
        values: dict[str, Any] = {
            "rows_total": counts,
            "batch_rows": found,
            "draining": {(): draining},
        }
        save_metrics(folder, str(number), {**empty, "rows_total": {("x", "1"): 1}})  # is replaced
        save_metrics(folder, str(number), {**empty, **values})
        rows.update(counts)
        for labels, one in histograms.items():
            known = batches.get(labels, [0] * len(one))
            batches[labels] = [sum(pair) for pair in zip(known, one, strict=True)]
    metrics = load_metrics(folder)
    keys = {labels for counts, _, _ in workers for labels in counts}
    assert metrics.get("rows_total", {}) == {labels: rows[labels] for labels in keys}
    assert metrics.get("batch_rows", {}) == {
        labels: Histogram(one, sum(one)) for labels, one in batches.items()
    }
    assert metrics["draining"] == {(): max(draining for _, _, draining in workers)}
    lines = render(metrics).splitlines()
    assert len(lines) == len(set(lines))
    assert sum(line.startswith("# TYPE") for line in lines) == len(FAMILIES)
