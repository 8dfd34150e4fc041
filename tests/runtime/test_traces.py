"""What the commands leave behind and whom they contact: nothing and nobody."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from lookups import WITHOUT_LOOKUPS

from runtime.session import onnxruntime_version

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OPENING = "import sys, runtime; runtime.Predictor(sys.argv[1], provider='cpu')"


@pytest.fixture
def fresh(environment: Mapping[str, str], tmp_path: Path) -> dict[str, str]:
    """Environment variables with a new home folder."""
    (tmp_path / "home").mkdir()
    names = environment.keys() - {"ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}
    return {**{name: environment[name] for name in names}, "HOME": str(tmp_path / "home")}


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "runtime", "predict", "--file", "in.csv", "--out", "out.csv", "--bundle"],
        ["-m", "runtime", "verify"],
        ["-m", "runtime", "inspect"],
        ["-c", OPENING],
    ],
    ids=["predict", "verify", "inspect", "library"],
)
def test_a_command_leaves_the_home_folder_empty_and_looks_up_no_name(
    bundle: Path, fresh: Mapping[str, str], tmp_path: Path, words: list[str]
) -> None:
    """The telemetry of onnxruntime is off: no device id, no database, no host."""
    (tmp_path / "in.csv").write_text("price,rating\n7.5,3\n")
    done = subprocess.run(
        [*WITHOUT_LOOKUPS, sys.executable, *words, str(bundle)],
        env=fresh,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "home").iterdir())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_leaves_the_home_folder_empty_and_looks_up_no_name(
    bundle: Path, fresh: Mapping[str, str], tmp_path: Path, workers: str
) -> None:
    """Neither do a server and its workers."""
    words = [sys.executable, "-m", "runtime", "serve", "--port", "0", "--bundle", str(bundle)]
    with subprocess.Popen(
        [*WITHOUT_LOOKUPS, *words, "--workers", workers],
        env=fresh,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        assert re.search(r" at http://", process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    assert process.returncode == 0
    assert not list((tmp_path / "home").iterdir())


def test_a_users_own_setting_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants telemetry sets onnxruntime's variable."""
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    onnxruntime_version()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
