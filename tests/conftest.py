"""Fixtures and hooks for all tests; needs only the base of onnxferry and ``[test]``."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from s3_server import ObjectStore

    Make = Callable[..., subprocess.CompletedProcess[str]]

# No deadline: machines may be busy. CI draws the same examples every time.
settings.register_profile("onnxferry", deadline=None, derandomize="CI" in os.environ)
settings.register_profile("quick", settings.get_profile("onnxferry"), max_examples=10)
settings.register_profile("thorough", settings.get_profile("onnxferry"), max_examples=1000)
settings.load_profile("onnxferry")

# Threads of OpenMP that wait leave the core to the other worker; set before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A background job of a script ignores SIGINT, and so would its children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_ONLY_CUDA_SKIPS = "ONNXFERRY_ONLY_CUDA_SKIPS"
# Fixtures and folders of tests that start processes; others call this module.
_STARTS = {"environment", "browser", "contract", "object_store", "pipeline", "subprocess"}
# Variables of an outer make or a developer's shell that would reach the commands under test.
_OUTSIDE = (
    "GNUMAKEFLAGS",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "ONNXFERRY_BUNDLE",
    "ONNXFERRY_KEY",
    "VENV",
)
# What our own session sets in this process, and every command must set itself.
_OWN = ("ORT_DISABLE_TELEMETRY",)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of the repository."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Environment variables for a command, without what the caller's make or shell set."""
    return {name: value for name, value in os.environ.items() if name not in _OUTSIDE + _OWN}


@pytest.fixture(scope="session")
def make(environment: Mapping[str, str]) -> Make:
    """``make(*arguments, folder=...)``: its recipes in ``stdout``, messages in ``stderr``."""

    def run(
        *arguments: str, folder: Path, through: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*through, "make", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def project(checkout: Path, tmp_path: Path) -> Path:
    """A folder with the files that make needs; its name has a space."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(checkout / name, folder)
    return folder


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A server for ``s3://``, shared by the workers of the session."""
    import s3_server as support

    pytest.importorskip("obstore", reason=support.HINT)
    if support.find_server() is None:
        pytest.skip(support.HINT)
    base = tmp_path_factory.getbasetemp()
    with support.shared_server(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) as it:
        yield it


@pytest.fixture
def bucket(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a new bucket; the environment has a user's credentials for it."""
    for name, value in object_store.variables.items():
        monkeypatch.setenv(name, value)
    name = f"test-{os.urandom(6).hex()}"
    client = object_store.client(name)
    client.put("first", b"")
    client.delete("first")
    return f"s3://{name}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what starts processes: commands, servers or a browser."""
    for item in items:
        called = getattr(getattr(item, "function", None), "__code__", None)
        names = called.co_names if called else ()
        used = {*getattr(item, "fixturenames", ()), *item.path.parts, *names}
        if _STARTS & used:
            item.add_marker(pytest.mark.slow)
        if "object_store" in used:
            item.add_marker(pytest.mark.object_store)


def pytest_collection_finish() -> None:
    """Look for garbage less often: with torch's million objects that takes a tenth of an export."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked ``cuda`` where onnxruntime could not run on a GPU."""
    if item.get_closest_marker("cuda") is None:
        return
    from runtime.session import available_providers

    if "cuda" not in available_providers():
        pytest.skip("needs a CUDA device and onnxruntime-gpu")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name compressed data by its length: gzip's holds the time, and all workers need one id."""
    if isinstance(val, bytes) and not val.isascii():
        return f"{argname}-{len(val)}-bytes"
    return None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if, in CI, tests were skipped for another reason than CUDA."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not os.environ.get(_ONLY_CUDA_SKIPS):
        return
    skips = [report.longrepr for report in reporter.stats.get("skipped", [])]
    if others := [f"{path}:{line}: {why}" for path, line, why in skips if "CUDA" not in why]:
        reporter.section(f"skipped although {_ONLY_CUDA_SKIPS} is set", red=True)
        reporter.write_line("\n".join(others))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
