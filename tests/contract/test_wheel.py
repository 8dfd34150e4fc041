"""The distribution contains what it must and nothing else, built as for a release."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
from importlib.metadata import Distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGES = ("exporter", "runtime", "trainer")


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel made from it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, checkout],
        capture_output=True,
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def version(checkout: Path) -> str:
    """The version in pyproject.toml."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    """The wheel."""
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.unpack_archive(wheel, folder, format="zip")
    return folder


@pytest.fixture(scope="module")
def distribution(unpacked: Path) -> Distribution:
    """The wheel's metadata."""
    (folder,) = unpacked.glob("*.dist-info")
    return Distribution.at(folder)


def test_wheel_holds_the_packages_and_nothing_else(
    checkout: Path, unpacked: Path, version: str
) -> None:
    """Modules, templates, type markers and metadata: no tests, data, caches or build files."""
    modules = {
        file.relative_to(checkout).as_posix()
        for package in _PACKAGES
        for pattern in ("*.py", "py.typed", "*.json", "templates/*", "ui/*.*", "open_inference.*")
        for file in (checkout / package).rglob(pattern)
    }
    metadata = {
        f"onnxferry-{version}.dist-info/{name}"
        for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    files = {
        file.relative_to(unpacked).as_posix() for file in unpacked.rglob("*") if file.is_file()
    }
    assert files == modules | metadata
    assert {f"{package}/py.typed" for package in _PACKAGES} <= files


def test_wheel_serves_every_platform(wheel: Path, version: str) -> None:
    """There is one wheel, of pure Python."""
    assert wheel.name == f"onnxferry-{version}-py3-none-any.whl"


def test_commands_are_declared(distribution: Distribution) -> None:
    """Installing makes the three commands."""
    commands = {entry.name: entry.value for entry in distribution.entry_points}
    assert commands == {
        "exporter": "exporter.cli:main",
        "runtime": "runtime.cli.app:main",
        "trainer": "trainer.cli:main",
    }


def test_metadata_says_who_may_use_it_and_where(distribution: Distribution) -> None:
    """Name, licence, Python and extras are those promised."""
    metadata = distribution.metadata
    assert metadata["Name"] == "onnxferry"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra") or []) == {
        "cloud",
        "cpu",
        "dev",
        "gpu",
        "grpc",
        "otel",
        "ray",
        "serve",
        "sign",
        "spark",
        "stores",
        "test",
        "train",
    }


def test_base_is_torch_free_and_leaves_the_engine_to_an_extra(distribution: Distribution) -> None:
    """The base requires neither torch nor a build of onnxruntime, each extra at most one."""
    wanted: dict[str, set[str]] = {}
    for line in distribution.requires or []:
        requirement, _, marker = line.partition(";")
        extra = marker.partition("extra == ")[2].strip("' \"")
        wanted.setdefault(extra, set()).add(requirement.partition(">")[0].strip())
    assert wanted[""] == {"msgspec", "numpy", "pyarrow", "rich", "typer"}
    assert wanted["gpu"] == {"onnxruntime-gpu"}
    assert wanted["cpu"] == {"onnxruntime"}
    assert wanted["grpc"] == {"grpcio", "grpcio-health-checking", "grpcio-reflection", "protobuf"}
    assert wanted["train"] == {
        "crc32c",
        "jinja2",
        "onnx",
        "onnxscript",
        "pillow",
        "safetensors",
        "tensorboard",
        "threadpoolctl",
        "torch",
    }
    assert not {"onnxruntime", "onnxruntime-gpu", "torch"} & (wanted["test"] | wanted["dev"])


def test_source_distribution_holds_what_is_needed_to_work_on_it(built: Path) -> None:
    """Packages, tests and the files that build and check them: no artefacts, no caches."""
    (found,) = built.glob("*.tar.gz")
    with tarfile.open(found) as archive:
        files = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    needed = {*_PACKAGES, "tests", "LICENSE", "Makefile", "README.md", "constraints.txt"}
    assert needed | {"pyproject.toml"} <= {file.parts[0] for file in files}
    assert not {"artifacts", "dist", "products.csv", "scored.csv"} & {f.parts[0] for f in files}
    assert not [file for file in files if "__pycache__" in file.parts or ".venv" in file.parts]


def test_installed_wheel_runs_away_from_its_source(
    wheel: Path, version: str, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """The commands of an installed wheel run, with the packages of that installation."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", tmp_path / "site", wheel], env=environment, check=True)
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, site / "bin" / "runtime", "--version"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"onnxferry {version}\n"
    where = subprocess.run(
        [sys.executable, "-c", "import runtime; print(runtime.__file__)"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(site)
