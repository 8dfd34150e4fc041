"""What every test can rely on; it needs no more than the base of onnxferry and ``[test]``."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Make = Callable[..., subprocess.CompletedProcess[str]]

# A busy machine is slow, not wrong. CI draws the same examples every time.
settings.register_profile("onnxferry", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("onnxferry")

# A job that a script put in the background ignores Ctrl-C, and so would all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What an outer make and a developer's shell would tell the commands under test.
_OUTSIDE = ("GNUMAKEFLAGS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "ONNXFERRY_BUNDLE", "VENV")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of the repository."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Environment variables for a command, without what the caller's make or shell set."""
    return {name: value for name, value in os.environ.items() if name not in _OUTSIDE}


@pytest.fixture(scope="session")
def make(environment: Mapping[str, str]) -> Make:
    """``make(*arguments, folder=...)``: its recipes in ``stdout``, messages in ``stderr``."""

    def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def project(checkout: Path, tmp_path: Path) -> Path:
    """A folder with the files that make works from; its name has a blank."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(checkout / name, folder)
    return folder


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked ``cuda`` where onnxruntime could not run on a GPU."""
    if item.get_closest_marker("cuda") is None:
        return
    from runtime.session import available_providers

    if "cuda" not in available_providers():
        pytest.skip("needs a CUDA device and onnxruntime-gpu")
