"""One run of a small trained network, and what is made from it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec
import pytest
import torch._export.utils
import torch.onnx._internal.exporter._registration

from exporter.bundling import convert_candidate, export
from exporter.diagnosis import tracing
from exporter.formats.onnx import convert
from exporter.parity.report import Report
from exporter.parity.rows import Plan, draw_rows
from exporter.reference.layers import layers_of
from exporter.reference.oracle import derive_reference, predict_with
from exporter.source.candidate import candidate_from_run
from runtime.bundle.manifest import PARITY
from trainer.config import configure
from trainer.pipeline import make_run
from trainer.run import load_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exporter.formats.model_files import ModelFiles
    from exporter.parity.rows import ParityRows
    from exporter.reference.layers import Layer
    from exporter.reference.oracle import Evaluate, Reference
    from trainer.run import Run


@pytest.fixture(scope="session", autouse=True)
def _once() -> Iterator[None]:
    """Do once what takes a second and has one result.

    Torch reads its tables of operators for every export, and a diagnosis converts the program with
    which it compares.
    """
    home = torch.onnx._internal.exporter._registration.ONNXRegistry  # noqa: SLF001 - no public name
    read = functools.lru_cache(home.from_torchlib)
    operators = torch._export.utils  # noqa: SLF001 - no public name
    register = functools.lru_cache(operators._materialize_cpp_cia_ops)  # noqa: SLF001 - likewise
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home, "from_torchlib", staticmethod(read))
        patch.setattr(operators, "_materialize_cpp_cia_ops", register)
        patch.setattr(tracing, "convert", functools.lru_cache(convert))
        yield


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Weights that a test draws don't depend on the tests before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs; not to be written to."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    make_run(folder, configure(epochs=2, seed=11), device="cpu")
    return folder


@pytest.fixture(scope="session")
def run(run_folder: Path) -> Run:
    """The same, read."""
    return load_run(run_folder)


@pytest.fixture(scope="session")
def files(run: Run) -> ModelFiles:
    """Its model files."""
    return convert_candidate(candidate_from_run(run))


@pytest.fixture(scope="session")
def quick() -> Plan:
    """A proof at all batch sizes, of fewer rows than a user's."""
    return Plan(uniform=4096, boundary=512, small=128, medium=2048)


@pytest.fixture(scope="session")
def bundle(
    run_folder: Path, files: ModelFiles, quick: Plan, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Its bundle; not to be written to."""
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    return export(run_folder, folder, convert=lambda _: files, plan=quick).path


@pytest.fixture(scope="session")
def layers(run: Run) -> tuple[Layer, ...]:
    """The layers of its model."""
    return layers_of(run.model)


@pytest.fixture(scope="session")
def rows(run: Run, layers: tuple[Layer, ...], quick: Plan) -> ParityRows:
    """The rows it is proven on."""
    known = run.rows.test_features.numpy()
    return draw_rows(run.record.schema, predict_with(layers), known, quick)


@pytest.fixture(scope="session")
def reference(layers: tuple[Layer, ...]) -> Reference:
    """What the model must compute."""
    return derive_reference(layers)


@pytest.fixture(scope="session")
def evaluate(reference: Reference) -> Evaluate:
    """Evaluates the reference for rows."""
    return reference.evaluate


@pytest.fixture(scope="session")
def report(bundle: Path) -> Report:
    """The proof that is stored in its bundle."""
    return msgspec.json.decode((bundle / PARITY).read_bytes(), type=Report)
