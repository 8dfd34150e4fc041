from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest

import runtime
from runtime.bundle.manifest import ONNX_MODEL
from runtime.errors import ArtifactError, UnavailableError
from runtime.session import Outputs, Session, available_providers, onnxruntime_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.schema.features import Float32Matrix
    from runtime.session import OptimizationLevel

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

no_gpu = pytest.mark.skipif("cuda" in available_providers(), reason="a CUDA device is present")


@pytest.fixture(scope="module")
def model(bundle: Path) -> bytes:
    """The bundle's model."""
    return (bundle / ONNX_MODEL).read_bytes()


@pytest.fixture(scope="module")
def features() -> Float32Matrix:
    """Many rows, ordinary and extreme."""
    rows = np.random.default_rng(0).uniform(-20, 20, size=(4103, 2)).astype(np.float32)
    rows[:4] = np.array([[0, 0], [1e30, -1e30], [1e-40, 5], [3e38, 3e38]])
    return rows


def bits(outputs: Outputs) -> tuple[bytes, bytes, bytes]:
    """The three outputs as bytes."""
    return outputs.label.tobytes(), outputs.probabilities.tobytes(), outputs.logits.tobytes()


@pytest.mark.parametrize("rows", [0, 1, 2, 31, 4096])
def test_outputs_keep_the_model_contract(model: bytes, features: Float32Matrix, rows: int) -> None:
    """Batches of any size have int64 labels and float32 probabilities and logits."""
    outputs = Session(model, provider="cpu").run(features[4:][:rows])
    assert outputs.label.shape == (rows,)
    assert outputs.label.dtype.str == "<i8"
    for array in (outputs.probabilities, outputs.logits):
        assert array.shape == (rows, 2)
        assert array.dtype.str == "<f4"
    np.testing.assert_allclose(outputs.probabilities.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(outputs.label, outputs.logits.argmax(axis=1))


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("level", ["all", "extended", "basic", "disabled"])
def test_a_row_has_one_answer(
    model: bytes, features: Float32Matrix, level: OptimizationLevel, threads: int
) -> None:
    """Outputs have the same bits for any batch, threads and optimization level."""
    expected = bits(Session(model, provider="cpu").run(features))
    session = Session(model, provider="cpu", level=level, threads=threads)
    assert bits(session.run(features)) == expected
    for size in (1, 3, 16, 1000):
        parts = [session.run(features[at : at + size]) for at in range(0, 1003, size)]
        joined = Outputs(
            np.concatenate([part.label for part in parts])[:1000],
            np.concatenate([part.probabilities for part in parts])[:1000],
            np.concatenate([part.logits for part in parts])[:1000],
        )
        for part, whole in zip(bits(joined), expected, strict=True):
            assert whole.startswith(part)


def test_rows_without_a_finite_answer_are_told(make_bundle: Callable[..., Path]) -> None:
    """Rows whose outputs overflow are not finite."""
    session = Session((make_bundle(scale=1e6) / ONNX_MODEL).read_bytes(), provider="cpu")
    outputs = session.run(np.array([[1, 2], [3e38, 3e38], [0, 0]], dtype=np.float32))
    answered = outputs.finite_rows()
    assert answered.tolist() == [True, False, True]
    kept = outputs.take(answered)
    assert len(kept.label) == len(kept.logits) == len(kept.probabilities) == 2
    assert kept.finite_rows().all()


def test_several_threads_may_run_at_once(model: bytes, features: Float32Matrix) -> None:
    """Concurrent calls return the outputs of sequential ones."""
    session = Session(model, provider="cpu")
    batches = [features[at : at + 97] for at in range(0, 4000, 97)] * 3
    expected = [bits(session.run(batch)) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        assert [bits(outputs) for outputs in pool.map(session.run, batches)] == expected


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_a_large_batch_leaves_no_memory_behind_if_asked(
    model: bytes, features: Float32Matrix
) -> None:
    """It is kept for the next batch otherwise; the outputs are the same."""

    def used() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    session, rows = Session(model, provider="cpu"), np.tile(features, (256, 1))
    before = used()
    shrunk = bits(session.run(rows, shrink=True))
    freed = used() - before
    assert bits(session.run(rows)) == shrunk
    hidden_layer = 32 * 4 * len(rows)  # float32
    assert used() - before >= freed + hidden_layer // 2


def test_a_session_says_what_runs_and_why(model: bytes) -> None:
    """The requested provider runs, and ``auto`` has a reason."""
    asked = Session(model, provider="cpu")
    assert (asked.provider, asked.reason) == ("cpu", "requested")
    chosen = Session(model, provider="auto")
    assert chosen.provider == available_providers()[-1]
    assert "CUDA" in chosen.reason


@no_gpu
def test_cuda_without_a_gpu_is_unavailable(model: bytes) -> None:
    """CUDA that is not available is an error, never a fallback to the CPU."""
    with pytest.raises(UnavailableError, match=r"CUDA was requested, but .* or use provider=.cpu."):
        Session(model, provider="cuda")


@no_gpu
def test_cuda_without_a_gpu_ends_the_command(
    bundle: Path, products: bytes, run_command: Run, tmp_path: Path
) -> None:
    """The command ends with exit code 6 and writes nothing."""
    (tmp_path / "in.csv").write_bytes(products)
    done = run_command(
        "predict", "--file", "in.csv", "--out", "o.csv", "--bundle", bundle, "--provider", "cuda"
    )
    assert done.returncode == 6
    assert done.stderr.startswith(b"runtime: error: CUDA was requested")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv"]


@pytest.mark.cuda
def test_cuda_runs_where_a_gpu_is(model: bytes, features: Float32Matrix) -> None:
    """A GPU, if present, runs the model with outputs close to the CPU's."""
    session = Session(model, provider="cuda")
    assert session.provider == "cuda"
    expected = Session(model, provider="cpu").run(features[4:])
    np.testing.assert_allclose(session.run(features[4:]).logits, expected.logits, rtol=1e-4)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x00" * 1000, id="zeros"),
        pytest.param(b"not a model at all", id="text"),
        pytest.param(bytes(range(256)) * 8, id="bytes"),
        pytest.param(None, id="truncated"),
    ],
)
def test_garbage_is_no_model(
    model: bytes, content: bytes | None, capfd: pytest.CaptureFixture[str]
) -> None:
    """An invalid ONNX model is an ``ArtifactError``; onnxruntime prints nothing."""
    garbage = model[: len(model) // 2] if content is None else content
    with pytest.raises(ArtifactError, match=r"bundle/model\.onnx(:| is not an ONNX model)"):
        Session(garbage, provider="cpu", where="bundle/model.onnx")
    assert capfd.readouterr() == ("", "")


def test_rows_of_another_width_are_refused(model: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """An error of onnxruntime is an ``ArtifactError`` of one line."""
    with pytest.raises(ArtifactError, match=r"cannot run the model on \(4, 3\)") as caught:
        Session(model, provider="cpu").run(np.zeros((4, 3), np.float32))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_the_engine_is_the_installed_one() -> None:
    """The version is onnxruntime's own."""
    assert onnxruntime_version() == onnxruntime.__version__


def distribution(folder: Path, name: str) -> Path:
    """A folder in which a distribution of that name is installed."""
    information = folder / f"{name.replace('-', '_')}-1.31.1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.31.1\n")
    return folder


def ahead(folder: Path) -> dict[str, str]:
    """An environment in which packages of that folder are found first."""
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def test_both_builds_installed_is_said(bundle: Path, tmp_path: Path, run_command: Run) -> None:
    """Two installed builds of onnxruntime are reported with the remedy."""
    folder = tmp_path / "packages"
    for name in ("onnxruntime", "onnxruntime-gpu"):
        distribution(folder, name)
    done = run_command("verify", bundle, env=ahead(folder))
    assert done.returncode == 6
    assert b"onnxruntime and onnxruntime-gpu are both installed" in done.stderr
    assert b"pip uninstall -y onnxruntime onnxruntime-gpu" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_broken_engine_is_said(bundle: Path, tmp_path: Path, run_command: Run) -> None:
    """An onnxruntime that cannot be imported is reported with its own reason."""
    package = tmp_path / "packages" / "onnxruntime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('libfoo.so is missing')")
    done = run_command("verify", bundle, env=ahead(package.parent))
    assert done.returncode == 6
    assert b"onnxruntime cannot be imported (libfoo.so is missing): pip install" in done.stderr


def test_no_engine_installed_is_said(bundle: Path, tmp_path: Path) -> None:
    """Without onnxruntime the command names the two extras; ``inspect`` works without it."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for entry in {path for name in needed("onnxferry") for path in top_level(name)}:
        (folder / entry.name).symlink_to(entry)
    (folder / "runtime").symlink_to(Path(runtime.__file__).parent)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    results = [
        subprocess.run(
            [sys.executable, "-S", "-m", "runtime", command, str(bundle)],
            capture_output=True,
            cwd=tmp_path,
            env=environment,
            check=False,
        )
        for command in ("verify", "inspect")
    ]
    assert results[0].returncode == 6, results[0].stderr
    assert b"onnxruntime cannot be imported (No module named 'onnxruntime')" in results[0].stderr
    assert b'pip install "onnxferry[gpu]" (runs on CPU too)' in results[0].stderr
    assert results[1].returncode == 0, results[1].stderr


def needed(name: str, found: set[str] | None = None) -> set[str]:
    """A distribution and its dependencies without extras."""
    found = set() if found is None else found
    for requirement in metadata.requires(name) or []:
        text, _, marker = requirement.partition(";")
        other = text.strip().split("[")[0].rstrip("<>=!~,. 0123456789")
        if "extra" not in marker and other not in found and is_installed(other):
            found.add(other)
            needed(other, found)
    return found


def is_installed(name: str) -> bool:
    """Check whether a distribution is installed."""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def top_level(name: str) -> set[Path]:
    """Top-level entries of a distribution in site-packages."""
    files = metadata.distribution(name).files or []
    firsts = {file.parts[0] for file in files if file.parts[0] != ".."}
    root = Path(str(metadata.distribution(name).locate_file("")))
    return {root / first for first in firsts if first != "__pycache__"}
