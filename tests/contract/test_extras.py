"""A command whose extra is missing or conflicting prints how to fix it.

An import hook in the child interpreter hides packages that are installed, with the error of
the import system. In the torch-free environment of ``make check``
the training packages are absent anyway.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TRAINING = (
    *("PIL", "crc32c", "jinja2", "onnx", "onnxscript", "safetensors", "tensorboard"),
    *("threadpoolctl", "torch"),
)
_HOOK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def _without(
    names: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Mapping[str, str]:
    """Environment variables in which an interpreter cannot import ``names``."""
    (folder / "sitecustomize.py").write_text(_HOOK.format(names=names))
    return _with_path(folder, environment)


def _with_path(folder: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    inherited = environment.get("PYTHONPATH")
    path = os.pathsep.join([str(folder), *([inherited] if inherited else [])])
    return {**environment, "PYTHONPATH": path}


def _run(
    command: str, *arguments: str | Path, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run an installed command in ``folder``."""
    program = Path(sys.executable).with_name(command)
    return subprocess.run(
        [program, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [("trainer", "fit"), ("exporter", "export"), ("exporter", "verify", "artifacts/bundle")],
    ids=" ".join,
)
def test_missing_train_extra_names_the_pip_line(
    command: tuple[str, ...], tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """Without torch the command exits with 6 and prints the pip line, no traceback."""
    bare = _without(_TRAINING, tmp_path, environment)
    done = _run(*command, folder=tmp_path, environment=bare)
    assert done.returncode == 6, done.stderr
    assert done.stderr.startswith(f"{command[0]}: error: ")
    build = "cpu" if _holds("onnxruntime") else "gpu"
    assert f'pip install "onnxferry[train,{build}]"' in done.stderr
    assert "Traceback" not in done.stderr


def _holds(distribution: str) -> bool:
    """Whether a distribution is installed: the other build is never recommended."""
    return distribution in {found.name for found in metadata.distributions()}


def test_sample_needs_no_extra(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """Synthetic products need only the base installation."""
    bare = _without((*_TRAINING, "onnxruntime"), tmp_path, environment)
    done = _run(
        "trainer", "sample", "--rows", "3", "--out", "p.csv", folder=tmp_path, environment=bare
    )
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 4


def test_missing_onnxruntime_names_both_builds(
    checkout: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """Without onnxruntime the runtime exits with 6 and names the extras that install it."""
    bare = _without(("onnxruntime",), tmp_path, environment)
    bundle = checkout / "tests" / "data" / "bundle"
    done = _run("runtime", "verify", bundle, folder=tmp_path, environment=bare)
    assert done.returncode == 6, done.stderr
    assert 'pip install "onnxferry[gpu]"' in done.stderr
    assert '"onnxferry[cpu]"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("missing", "words", "extra"),
    [
        (("httptools", "orjson", "uvloop"), (), "serve"),
        (("httptools",), ("--workers", "2"), "serve"),
        (("grpc",), ("--grpc-port", "0"), "grpc"),
        (("google",), ("--grpc-port", "0"), "grpc"),
        (("grpc_health",), ("--grpc-port", "0"), "grpc"),
        (("grpc_reflection",), ("--grpc-port", "0"), "grpc"),
        (("prometheus_client",), ("--workers", "2"), "serve"),
    ],
    ids=["serve", "workers", "grpc", "protobuf", "health", "reflection", "metrics"],
)
def test_missing_serving_extra_names_the_pip_line(
    checkout: Path,
    tmp_path: Path,
    environment: Mapping[str, str],
    missing: tuple[str, ...],
    words: tuple[str, ...],
    extra: str,
) -> None:
    """Without the server's dependencies the command exits with 6 and prints the pip line."""
    bare = _without(missing, tmp_path, environment)
    bundle = checkout / "tests" / "data" / "bundle"
    done = _run("runtime", "serve", "--bundle", bundle, *words, folder=tmp_path, environment=bare)
    assert done.returncode == 6, done.stderr
    assert f'pip install "onnxferry[{extra}]"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", [("serve",), ("predict", "--file", "p.csv")], ids=["serve", "predict"]
)
def test_missing_telemetry_extra_names_the_pip_line(
    checkout: Path, tmp_path: Path, environment: Mapping[str, str], words: tuple[str, ...]
) -> None:
    """A variable that asks for telemetry is never ignored, unless the SDK is disabled, too."""
    bare = _without(("opentelemetry",), tmp_path, environment)
    asking = {**bare, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    (tmp_path / "p.csv").write_text("price,rating\n8,4\n")
    words = (*words, "--bundle", str(checkout / "tests" / "data" / "bundle"))
    done = _run("runtime", *words, folder=tmp_path, environment=asking)
    assert done.returncode == 6, done.stderr
    assert 'pip install "onnxferry[otel]"' in done.stderr
    assert "Traceback" not in done.stderr
    if words[0] == "predict":
        disabled = {**asking, "OTEL_SDK_DISABLED": "true"}
        done = _run("runtime", *words, folder=tmp_path, environment=disabled)
        assert (done.returncode, done.stdout.count("\n")) == (0, 2), done.stderr


def test_both_builds_of_onnxruntime_are_refused(
    checkout: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """Two builds overwrite each other's files: the runtime prints how to uninstall both."""
    for name in ("onnxruntime", "onnxruntime-gpu"):
        folder = tmp_path / f"{name.replace('-', '_')}-9.9.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n")
    bundle = checkout / "tests" / "data" / "bundle"
    both = _with_path(tmp_path, environment)
    done = _run("runtime", "verify", bundle, folder=tmp_path, environment=both)
    assert done.returncode == 6, done.stderr
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in done.stderr
    assert "Traceback" not in done.stderr
