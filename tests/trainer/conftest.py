"""The command under test, and a shared run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from forked import PATIENCE_S, Forked

from trainer.config import configure
from trainer.pipeline import make_run

Trainer = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def trainer(tmp_path: Path, environment: Mapping[str, str]) -> Trainer:
    """``trainer(*arguments)``: the command, run in ``tmp_path`` or in ``folder``."""

    def run(*arguments: str, folder: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        with Forked("trainer", *arguments, folder=folder, environment=environment) as command:
            return command.wait(PATIENCE_S)

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
