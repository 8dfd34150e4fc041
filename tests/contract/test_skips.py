"""In CI only tests that need CUDA may be skipped."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CUDA = """
import pytest

def test_on_a_gpu():
    pytest.skip("needs a CUDA device")
"""
OTHER = """
def test_in_a_browser():
    pytest.skip("needs chromium")
"""
MODULE = "import pytest\npytest.importorskip('a_library_that_is_not_there')\n"


@pytest.mark.parametrize(
    ("strict", "modules", "complaints"),
    [
        ("1", [CUDA], []),
        ("1", [CUDA + OTHER, MODULE], ["needs chromium", "a_library_that_is_not_there"]),
        ("", [CUDA + OTHER, MODULE], []),
    ],
    ids=["CUDA", "others", "others on a user's machine"],
)
def test_skips_for_another_reason_fail(
    checkout: Path,
    environment: Mapping[str, str],
    tmp_path: Path,
    strict: str,
    modules: list[str],
    complaints: list[str],
) -> None:
    """With the variable that CI sets, the run fails and names each test and its reason."""
    shutil.copy(checkout / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # else that of a folder above
    for at, text in enumerate(modules):
        (tmp_path / f"test_{at}.py").write_text(text)
    variables = {"ONNXFERRY_ONLY_CUDA_SKIPS": strict, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "xdist", "--numprocesses=2", "."],
        cwd=tmp_path,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (1 if complaints else 0), done.stdout
    section = done.stdout.partition("ONLY_CUDA_SKIPS is set")[2].splitlines()
    named = [line for line in section if line.startswith(str(tmp_path))]
    assert len(named) == len(complaints), done.stdout
    for complaint in complaints:
        assert any(complaint in line for line in named), named
