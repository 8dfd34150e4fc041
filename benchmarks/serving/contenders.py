"""Start the servers that are compared, and measure their resources."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HERE = Path(__file__).parent
ASKED = b'{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[7.5,3]}]}'
_PATIENCE_S = 60


@dataclass(frozen=True)
class Contender:
    """A server that runs.

    Attributes:
        process: its first process.
        port: where it listens.
        started_s: seconds from its start to its first right answer.
    """

    process: subprocess.Popen[bytes]
    port: int
    started_s: float

    def cpu_s(self) -> float:
        """User and system time of all its processes, seconds."""
        tick = os.sysconf("SC_CLK_TCK")
        total = 0
        for pid in self._pids():
            fields = (
                Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            )
            total += int(fields[11]) + int(fields[12])
        return total / tick

    def resident_mib(self) -> float:
        """Memory of all its processes, pages that they share counted once each."""
        total = 0
        for pid in self._pids():
            text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
            total += int(found[1]) if found else 0
        return total / 1024

    def stop(self) -> None:
        """End it and all it started, where it has not ended by itself."""
        if self.process.poll() is not None:
            return
        for pid in reversed(self._pids()):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def _pids(self) -> list[int]:
        found = [self.process.pid]
        for pid in found:  # grows while it is read
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, children.read_text(encoding="ascii").split())
        return found


def start(command: Sequence[str], port: int, environment: Mapping[str, str]) -> Contender:
    """Start a server and wait for its first correct response.

    Args:
        command: the server.
        port: where it will listen.
        environment: variables besides our own.

    Returns:
        The server.

    Raises:
        SystemExit: when it ends, or doesn't answer within a minute.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/v2/models/simplenet/infer",
        ASKED,
        {"Content-Type": "application/json"},
    )
    while time.perf_counter() - begun < _PATIENCE_S and process.poll() is None:
        try:
            with urllib.request.urlopen(asked, timeout=_PATIENCE_S) as answer:  # noqa: S310 - as above
                if b'"data":[1]' in answer.read():
                    return Contender(process, port, time.perf_counter() - begun)
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.005)
    process.kill()
    raise SystemExit(f"{' '.join(command)} does not answer")


def free_port() -> int:
    """Find a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment_for(peers: Path, name: str) -> Path:
    """Make an environment with a peer's packages, once.

    Args:
        peers: the folder of environments.
        name: of the requirements file beside this module.

    Returns:
        The environment.
    """
    folder = peers / name
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "-r", HERE / f"{name}.txt"], check=True)
        (folder / ".ready").touch()
    return folder


def ours(bundle: Path) -> Callable[[], Contender]:
    """Return the command of our server."""

    def begin() -> Contender:
        port = free_port()
        words = [sys.executable, "-m", "runtime", "serve", "--bundle", f"simplenet={bundle}"]
        return start([*words, "--port", str(port), "--provider", "cpu"], port, {})

    return begin


def fastapi(bundle: Path, peers: Path) -> Callable[[], Contender]:
    """Return the command of FastAPI with uvicorn."""
    folder = environment_for(peers, "fastapi")

    def begin() -> Contender:
        port = free_port()
        words = [str(folder / "bin" / "uvicorn"), "--app-dir", str(HERE), "fastapi_app:app"]
        quiet = ["--log-level", "warning", "--no-access-log", "--port", str(port)]
        return start([*words, *quiet], port, {"MODEL_ONNX": str(bundle / "model.onnx")})

    return begin


def kserve(bundle: Path, peers: Path) -> Callable[[], Contender]:
    """Return the command of the model server of KServe's SDK."""
    python = environment_for(peers, "kserve") / "bin" / "python"

    def begin() -> Contender:
        port = free_port()
        words = [str(python), str(HERE / "kserve_app.py"), str(port)]
        return start(words, port, {"MODEL_ONNX": str(bundle / "model.onnx")})

    return begin


def mlserver(bundle: Path, peers: Path) -> Callable[[], Contender]:
    """Return the command of MLServer, without parallel workers: fastest for a small model."""
    program = environment_for(peers, "mlserver") / "bin" / "mlserver"

    def begin() -> Contender:
        port, *others = (free_port() for _ in range(3))
        variables = {
            "MODEL_ONNX": str(bundle / "model.onnx"),
            "MLSERVER_PARALLEL_WORKERS": "0",
            "MLSERVER_DEBUG": "false",
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": str(port),
            "MLSERVER_GRPC_PORT": str(others[0]),
            "MLSERVER_METRICS_PORT": str(others[1]),
        }
        return start([str(program), "start", str(HERE / "mlserver_model")], port, variables)

    return begin


def triton(bundle: Path, peers: Path) -> Callable[[], Contender]:
    """Return the command of Triton with its Python backend; no wheel has that of onnxruntime."""
    folder = environment_for(peers, "triton")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / f"python{version}" / "site-packages"
    server = packages / "pytriton" / "tritonserver"
    stub = server / "backends" / "python" / "triton_python_backend_stub"
    shutil.copy(server / "python_backend_stubs" / version / stub.name, stub)
    for program in (stub, server / "bin" / "tritonserver"):
        program.chmod(0o755)
    models = peers / "triton-models"
    shutil.rmtree(models, ignore_errors=True)
    (models / "simplenet" / "1").mkdir(parents=True)
    shutil.copy(HERE / "triton_model" / "config.pbtxt", models / "simplenet")
    shutil.copy(HERE / "triton_model" / "model.py", models / "simplenet" / "1")
    library = Path(sys.base_prefix) / "lib"
    variables = {
        "MODEL_ONNX": str(bundle / "model.onnx"),
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(packages),
        "LD_LIBRARY_PATH": f"{packages / 'nvidia_pytriton.libs'}{os.pathsep}{library}",
    }

    def begin() -> Contender:
        port = free_port()
        words = [str(server / "bin" / "tritonserver"), f"--model-repository={models}"]
        words += [f"--backend-directory={server / 'backends'}", f"--http-port={port}"]
        words += ["--allow-grpc=false", "--allow-metrics=false", "--http-thread-count=2"]
        return start(words, port, variables)

    return begin
