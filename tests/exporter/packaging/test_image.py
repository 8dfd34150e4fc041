"""The build context: its steps run, as far as they can without a container engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from signers import Signer

from exporter.packaging.package import package_bundle
from exporter.packaging.wheel import build_wheel, pinned_requirements
from runtime.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def context(sales: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build context."""
    return package_bundle(sales, "image", tmp_path_factory.mktemp("packages") / "image").path


def test_hadolint_finds_nothing(context: Path, tool: Callable[[str], Path]) -> None:
    """No warning of the linter of Dockerfiles."""
    command = [tool("hadolint"), context / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_context_has_what_the_dockerfile_copies_and_no_more(context: Path) -> None:
    """.dockerignore lets in the files of COPY; nothing of torch is pinned."""
    text = (context / "Dockerfile").read_text()
    copied = {
        name
        for line in text.splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    }
    allowed = (context / ".dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in copied} | {"*"} == set(allowed)
    assert all((context / name).exists() for name in copied)
    pins = (context / "requirements.txt").read_text().split()
    assert all("==" in pin and "torch" not in pin for pin in pins)
    assert {"onnxruntime", "uvloop", "pyarrow", "numpy"} <= {pin.split("==")[0] for pin in pins}


def test_the_image_of_a_signed_bundle_demands_the_key(
    sales: Path, tmp_path: Path, tool: Callable[[str], Path]
) -> None:
    """By the default of a variable, from a file of the context that every user may read."""
    signer, bundle = Signer(tmp_path / "keys"), Path(shutil.copytree(sales, tmp_path / "bundle"))
    signer.sign(bundle)
    made = package_bundle(bundle, "image", tmp_path / "image", key=signer.public).path
    test_the_context_has_what_the_dockerfile_copies_and_no_more(made)
    test_hadolint_finds_nothing(made, tool)
    text = (made / "Dockerfile").read_text()
    folder = text.partition("COPY public.pem ")[2].split()[0]
    assert f"ONNXFERRY_KEY={folder}public.pem\nUSER" in text
    assert f"a+rX /bundle {folder.rstrip('/')}\n" in text
    assert (made / "public.pem").read_bytes() == signer.public.read_bytes()


def test_the_steps_run_and_the_bundle_is_verified_where_nothing_can_be_written(
    context: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """Our wheel alone, in a new environment, on read-only files; dependencies are those here."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (wheel,) = context.glob("*.whl")
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-index",
        "--no-deps",
    ]
    subprocess.run([*pip, "--quiet", "--no-compile", wheel], check=True, env=environment)
    here = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    (there,) = folder.glob("lib/python*/site-packages")
    (there / "dependencies.pth").write_text(f"{here}\n")
    subprocess.run(["chmod", "-R", "a-w", context / "bundle", folder], check=True)
    root = ["setpriv", "--bounding-set", "-dac_override,-fowner", "--"]  # gives up its privileges
    done = subprocess.run(
        [*(root if os.getuid() == 0 else []), folder / "bin" / "runtime", "verify"],
        env={"ONNXFERRY_BUNDLE": str(context / "bundle"), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    subprocess.run(["chmod", "-R", "u+w", context / "bundle", folder], check=True)
    assert done.returncode == 0, done.stderr
    assert "golden rows (stored with exact outputs) within their error bounds" in done.stdout


def test_the_wheel_is_that_of_the_build_backend(checkout: Path, tmp_path: Path) -> None:
    """Every file that hatchling would put into it, with the same content."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--outdir",
        tmp_path,
    ]
    subprocess.run([*command, checkout], check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    name, content = build_wheel()
    assert built.name == name
    ours, theirs = (_members(content), _members(built.read_bytes()))
    # An editable installation keeps the METADATA of the day when it was made.
    written = {one for one in theirs if one.endswith(("/METADATA", "/RECORD", "/WHEEL"))}
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if key not in written and ours[key] != theirs[key]] == []


def _members(wheel: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(wheel)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_what_is_not_installed_cannot_be_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what to install."""
    requires = {"onnxferry": ["absent>=1", 'other; extra == "cpu"', 'no; extra == "gpu"']}
    monkeypatch.setattr("importlib.metadata.requires", requires.get)
    with pytest.raises(UnavailableError, match=r"is not installed.*onnxferry\[cpu\]"):
        pinned_requirements(("cpu",))
