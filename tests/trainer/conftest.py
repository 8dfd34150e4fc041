"""The command under test, and a shared run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from trainer.config import configure
from trainer.pipeline import make_run

Trainer = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def trainer(tmp_path: Path, environment: Mapping[str, str]) -> Trainer:
    """``trainer(*arguments)``: the command, run in ``tmp_path`` or in ``folder``."""

    def run(*arguments: str, folder: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "trainer", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch; read-only."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    make_run(folder, configure(epochs=1), device="cpu")
    return folder


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))
