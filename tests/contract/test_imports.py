"""What each package and command imports, measured in fresh interpreters."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TRAINING = frozenset({"onnx", "onnxscript", "safetensors", "tensorboard", "torch"})
_IMPORTED = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)


def _loaded(arguments: Sequence[str], environment: Mapping[str, str]) -> set[str]:
    """Top-level names of all modules that an interpreter imported to its end."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in _IMPORTED.findall(done.stderr)}


def _installed(command: str) -> str:
    """Path of a command as it was installed beside the interpreter."""
    return str(Path(sys.executable).with_name(command))


def _modules(checkout: Path, package: str) -> list[str]:
    """Names of a package's modules, but the one that runs the command."""
    files = sorted((checkout / package).rglob("*.py"))
    names = [".".join(file.relative_to(checkout).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def test_every_module_of_the_runtime_is_torch_free(
    checkout: Path, environment: Mapping[str, str]
) -> None:
    """Importing all of the runtime loads neither torch nor trainer and exporter."""
    modules = _modules(checkout, "runtime")
    assert "runtime.cli.app" in modules
    if find_spec("ray") is None:
        modules.remove(
            "runtime.engines.ray.datasink"
        )  # a class of Ray's, imported by its user alone
    loaded = _loaded(["-c", f"import {', '.join(modules)}"], environment)
    assert "runtime" in loaded
    assert loaded.isdisjoint(_TRAINING | {"trainer", "exporter"})


@pytest.mark.parametrize("package", ["runtime", "trainer", "exporter"])
def test_importing_a_package_loads_none_of_the_heavy_ones(
    package: str, environment: Mapping[str, str]
) -> None:
    """``import`` of a package alone is cheap: its public names are loaded lazily."""
    loaded = _loaded(["-c", f"import {package}"], environment)
    assert package in loaded
    assert loaded.isdisjoint(_TRAINING | {"numpy", "onnxruntime", "pyarrow", "typer"})


@pytest.mark.parametrize(
    "command",
    [
        "runtime --help",
        "runtime predict --help",
        "runtime --version",
        "trainer --help",
        "trainer fit --help",
        "trainer --version",
        "exporter --help",
        "exporter export --help",
        "exporter --version",
    ],
)
def test_help_loads_none_of_the_heavy_ones(command: str, environment: Mapping[str, str]) -> None:
    """Help and version start fast, with or without the extra."""
    name, *arguments = command.split()
    loaded = _loaded([_installed(name), *arguments], environment)
    assert "typer" in loaded
    assert loaded.isdisjoint(_TRAINING | {"onnxruntime", "pyarrow"})


def test_predicting_is_torch_free(
    checkout: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """Scoring a file loads onnxruntime and no part of torch, also where torch is installed."""
    table = tmp_path / "products.csv"
    table.write_text("price,rating\n7.5,3.0\n2.0,1.5\n")
    out = tmp_path / "scored.csv"
    bundle = checkout / "tests" / "data" / "bundle"
    arguments = ["predict", "--file", str(table), "--bundle", str(bundle), "--out", str(out)]
    loaded = _loaded([_installed("runtime"), *arguments], environment)
    assert "onnxruntime" in loaded
    assert loaded.isdisjoint(_TRAINING | {"trainer", "exporter"})
    assert out.read_text().startswith("price,rating,label,probability\n")
