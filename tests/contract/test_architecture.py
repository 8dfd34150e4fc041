"""The import contracts of pyproject.toml hold, and would notice when they don't."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

PACKAGES = ("runtime", "trainer", "exporter")


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [command, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_import_contracts_hold(checkout: Path) -> None:
    """The packages are stacks, inside and beside each other, and the runtime is torch-free."""
    done = _lint_imports(checkout)
    assert done.returncode == 0, done.stdout
    assert " kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("runtime/schema/features.py", "import trainer", "Values flow one way"),
        ("trainer/config.py", "import exporter", "Values flow one way"),
        ("runtime/schema/features.py", "import torch", "The runtime is torch-free"),
        (
            "runtime/session.py",
            "def _late() -> None:\n    import onnx",
            "The runtime is torch-free",
        ),
        (
            "runtime/tables/base.py",
            "def _late() -> None:\n    from runtime.scoring import pipeline",
            "The runtime is a stack",
        ),
        (
            "runtime/io/paths.py",
            "if TYPE_CHECKING:\n    from runtime.schema.features import Schema",
            "The runtime is a stack",
        ),
        ("trainer/run.py", "import runtime.cli.app", "Trainer and exporter use the library"),
        (
            "runtime/schema/features.py",
            "import onnxruntime",
            "One module alone imports onnxruntime",
        ),
        ("exporter/__init__.py", "import onnxruntime", "One module alone imports onnxruntime"),
        (
            "runtime/scoring/options.py",
            "from runtime.tables.jsonl import reader",
            "A table format is used through the registry",
        ),
        ("trainer/config.py", "from trainer import run", "The trainer is a stack"),
        ("exporter/parity/rows.py", "from exporter import export", "The exporter is a stack"),
    ],
    ids=[
        "runtime-trainer",
        "trainer-exporter",
        "runtime-torch",
        "runtime-onnx-in-function",
        "upwards-in-function",
        "upwards-for-types",
        "trainer-cli",
        "runtime-onnxruntime",
        "exporter-onnxruntime",
        "format-past-the-registry",
        "trainer-upwards",
        "exporter-upwards",
    ],
)
def test_broken_contract_is_named(
    checkout: Path, tmp_path: Path, module: str, line: str, contract: str
) -> None:
    """An import against the rules fails the check, and the output names the rule."""
    for package in PACKAGES:
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


@pytest.mark.parametrize("package", PACKAGES)
def test_no_imports_in_a_circle(package: str) -> None:
    """No module imports itself by way of others, types and lazy imports counted."""
    graph = grimp.build_graph(package, cache_dir=None)
    for module in graph.modules - {package}:
        for imported in graph.find_modules_directly_imported_by(module) - {package}:
            chain = graph.find_shortest_chain(imported, module)
            assert chain is None, (module, *chain)
