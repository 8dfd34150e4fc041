"""The import contracts of pyproject.toml hold, and would notice when they don't."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [command, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_import_contracts_hold(checkout: Path) -> None:
    """Values flow exporter -> trainer -> runtime, and the runtime is torch-free."""
    done = _lint_imports(checkout)
    assert done.returncode == 0, done.stdout
    assert "3 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("runtime/schema.py", "import trainer", "Values flow one way"),
        ("trainer/sample.py", "import exporter", "Values flow one way"),
        ("runtime/schema.py", "import torch", "The runtime is torch-free"),
        (
            "runtime/session.py",
            "def _late() -> None:\n    import onnx",
            "The runtime is torch-free",
        ),
        ("runtime/schema.py", "import onnxruntime", "One module alone speaks to onnxruntime"),
        ("exporter/__init__.py", "import onnxruntime", "One module alone speaks to onnxruntime"),
    ],
    ids=[
        "runtime-trainer",
        "trainer-exporter",
        "runtime-torch",
        "runtime-onnx-in-function",
        "runtime-onnxruntime",
        "exporter-onnxruntime",
    ],
)
def test_broken_contract_is_named(
    checkout: Path, tmp_path: Path, module: str, line: str, contract: str
) -> None:
    """An import against the rules fails the check, which says which rule."""
    for package in ("runtime", "trainer", "exporter"):
        shutil.copytree(
            checkout / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(checkout / "pyproject.toml", tmp_path)
    changed = tmp_path / module
    changed.write_text(f"{changed.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    done = _lint_imports(tmp_path)
    assert done.returncode == 1
    assert any(row.startswith(contract) and " BROKEN" in row for row in done.stdout.splitlines()), (
        done.stdout
    )
