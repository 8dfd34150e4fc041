"""What holds for the packages of every platform, and for the command."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, get_args

import pytest
from typer.testing import CliRunner

from exporter.cli import app
from exporter.packaging.kinds import Kind
from exporter.packaging.names import check_image, kubernetes_name
from exporter.packaging.options import PackageOptions
from exporter.packaging.package import MARKER, package_bundle
from exporter.packaging.resources import (
    BUFFERED_MIB,
    MAX_BODY_MIB,
    MAX_ROWS,
    Memory,
    measure_memory,
)
from exporter.packaging.yaml import to_yaml
from runtime.bundle.reading import read_bundle
from runtime.errors import ArtifactError, UsageError
from runtime.serving.settings import DEFAULT_LIMITS, MIB

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.packaging.yaml import Node

KINDS: tuple[Kind, ...] = get_args(Kind)
STORE = "s3://models/sales"


def options_for(kind: Kind) -> PackageOptions:
    """The options that a platform needs."""
    if kind == "trainjob":
        return PackageOptions(image="trainer:1", claim="team", data="sales.csv")
    return PackageOptions(storage_uri=STORE if kind == "kserve" else None)


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_package_is_the_same_each_time_and_replaces_its_own_kind_alone(
    kind: Kind, sales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes in two folders; refused over anything, replaced only with force."""
    for platform in ("kserve", "kubernetes"):  # measured anew it may round to another step
        measured = f"exporter.packaging.{platform}.measure_memory"
        monkeypatch.setattr(measured, lambda _: Memory(160, 416))
    made = package_bundle(sales, kind, tmp_path / "a", options_for(kind))
    package_bundle(str(sales), kind, str(tmp_path / "deep" / "b"), options_for(kind))
    first = contents(tmp_path / "a")
    assert first == contents(tmp_path / "deep" / "b")
    assert set(made.files) | {MARKER} == set(first)
    assert (made.model, len(made.version)) == ("simplenet", 12)
    with pytest.raises(UsageError, match="--force"):
        package_bundle(sales, kind, tmp_path / "a", options_for(kind))
    (tmp_path / "a" / made.files[0]).write_text("damaged")
    package_bundle(sales, kind, tmp_path / "a", options_for(kind), force=True)
    assert contents(tmp_path / "a") == first


def test_force_replaces_no_other_folder(products: Path, tmp_path: Path) -> None:
    """A folder that is no package stays, and so does a file."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "deployment.yaml").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("mine", "file"):
        with pytest.raises(UsageError):
            package_bundle(products, "triton", tmp_path / name, force=True)
    assert contents(tmp_path) == {"file": b"mine", "mine/deployment.yaml": b"mine"}


def test_a_package_is_written_outside_the_bundle(products: Path, tmp_path: Path) -> None:
    """Its files would become the bundle's, whose signature does not name them."""
    (tmp_path / "link").symlink_to(products)
    with pytest.raises(UsageError, match="within the bundle"):
        package_bundle(products, "triton", tmp_path / "link" / "triton")
    assert not (products / "triton").exists()


def test_a_damaged_bundle_is_not_packaged(products: Path, tmp_path: Path) -> None:
    """Every file is verified, and nothing is left behind."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for file in products.iterdir():
        (bundle / file.name).write_bytes(file.read_bytes())
    (bundle / "report.html").write_bytes(b"another")
    with pytest.raises(ArtifactError, match=r"report\.html is not the file"):
        package_bundle(bundle, "triton", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("triton", PackageOptions(image="a:1"), "--image is for --to kserve and kubernetes"),
        ("kubernetes", PackageOptions(storage_uri=STORE), "--storage-uri is for --to kserve;"),
        ("kubernetes", PackageOptions(image="A Name"), "no image"),
        ("trainjob", PackageOptions(image="a", claim="My Data", data="a"), "--claim 'My Data'"),
        ("kserve", PackageOptions(), "needs --storage-uri"),
        ("kserve", PackageOptions(storage_uri="ftp://host/x"), "s3://"),
        ("kserve", PackageOptions(storage_uri="s3://"), "none that KServe fetches"),
        ("kserve", PackageOptions(storage_uri="oci://registry.example/Churn"), "no image"),
    ],
)
def test_options_that_cannot_be_met_are_refused(
    kind: Kind, options: PackageOptions, message: str, products: Path, tmp_path: Path
) -> None:
    """One error that says what to give, and no output."""
    with pytest.raises(UsageError, match=re.escape(message)):
        package_bundle(products, kind, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("simplenet", "simplenet"),
        ("Churn_2026 (EU)", "churn-2026-eu"),
        ("2nd", "model-2nd"),
        ("Café", "cafe"),
        ("客户", "model-" + hashlib.sha256("客户".encode()).hexdigest()[:6]),
        ("x" * 50, "x" * 33 + "-" + hashlib.sha256(b"x" * 50).hexdigest()[:6]),
        ("--", "model"),
    ],
)
def test_names_are_made_valid(model: str, name: str) -> None:
    """RFC 1035: lower case, digits, hyphens; long ones are cut, with a digest."""
    found = kubernetes_name(model)
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", found)
    assert found == name


@pytest.mark.parametrize(
    "image",
    ["a", "host:5000/a/b:1.2", "a.example/x/y@sha256:" + "0" * 64, "a/b:T_ag", "[::1]:5000/a"],
)
def test_references_of_images_are_accepted(image: str) -> None:
    """Registry, path, tag and digest."""
    assert check_image(image) == image


def test_yaml_reads_back_as_written() -> None:
    """Texts that YAML would read as something else are quoted."""
    yaml = pytest.importorskip("yaml")
    texts = [
        "no",
        "on",
        "1",
        "1e3",
        "~",
        "",
        "a: b",
        "- a",
        "# a",
        "=",
        "x:",
        '"\\',
        "é😀\x00\x85\n\t",
    ]
    lines: Node = {
        "pem": "---BEGIN---\na b: #c\n",
        "blank": "a\n\n",
        "space": " a\n",
        "open": "a\nb",
    }
    node: Node = {
        "lines": lines,
        "texts": texts,
        "empty": {},
        "none": [],
        "deep": [{"a": [{"b": 1}, [2, True]]}],
    }
    assert yaml.safe_load(to_yaml({"on": node}, comment="two\nlines")) == {"on": node}


def test_memory_is_measured_for_the_limits_of_the_server(
    sales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures are the server's own defaults; a process with numpy and onnxruntime fits.

    Modules of the user's working directory take no part.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("numpy", "runtime"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('another')")
    assert (DEFAULT_LIMITS.rows, DEFAULT_LIMITS.body_bytes) == (MAX_ROWS, MAX_BODY_MIB * MIB)
    assert DEFAULT_LIMITS.buffered_bytes == BUFFERED_MIB * MIB
    memory = measure_memory(read_bundle(sales))
    assert 64 <= memory.request <= 1024
    assert memory.limit == memory.request + 256


def test_the_command_prints_the_folder_and_what_to_do_next(products: Path, tmp_path: Path) -> None:
    """The folder is the result; --json has the same for machines; errors have their exit code."""
    words = ["package", str(products), "--to", "triton", "--out", str(tmp_path / "a b")]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'a b'}\n")
    assert f"'{tmp_path / 'a b'}'" in done.stderr.splitlines()[-1]
    assert isinstance(CliRunner().invoke(app, words).exception, UsageError)
    done = CliRunner().invoke(app, [*words, "--force", "--json"])
    assert json.loads(done.stdout).keys() == {"package", "out", "model", "version", "files"}
    assert done.stderr == ""


@pytest.mark.slow
def test_packaging_needs_no_torch() -> None:
    """All of it is imported where only the runtime and its engine are installed."""
    program = (
        "import sys, exporter.cli, exporter.packaging.package as package;"
        "print(sorted({'torch', 'onnx', 'trainer', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
