"""One run of a small trained network, and what is made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.export import export_run
from exporter.layers import layers_of
from exporter.model_files import convert_run
from exporter.oracle import ask_oracle
from exporter.rows import draw_rows
from trainer.config import configure
from trainer.pipeline import make_run
from trainer.run import load_run

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.bounds import Layer
    from exporter.model_files import ModelFiles
    from exporter.oracle import Oracle
    from exporter.rows import ProofRows
    from trainer.run import Run


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
    return convert_run(run)


@pytest.fixture(scope="session")
def bundle(run_folder: Path, files: ModelFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle; not to be written to."""
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    return export_run(run_folder, folder, convert=lambda _: files).path


@pytest.fixture(scope="session")
def layers(run: Run) -> tuple[Layer, ...]:
    """The layers of its model."""
    return layers_of(run.model)


@pytest.fixture(scope="session")
def rows(run: Run, layers: tuple[Layer, ...]) -> ProofRows:
    """The rows it is proven on."""
    return draw_rows(run.record.schema, layers, run.rows.test_features.numpy())


@pytest.fixture(scope="session")
def oracle(layers: tuple[Layer, ...], rows: ProofRows) -> Oracle:
    """The oracle's answers for these rows."""
    return ask_oracle(layers, rows.features)
