from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from faults import CATALOGUE
from faults.custom_model import make_custom_model
from faults.fault import Fault, Good, good_export
from faults.gate import QUICK, stop

from exporter.bundling import export
from runtime.errors import OnnxferryError
from trainer.config import configure
from trainer.pipeline import make_run
from trainer.run import load_run

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.run import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def good(
    run: Run, run_folder: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Good:
    """A correct export and that of another run, to exchange files between them."""
    folder = tmp_path_factory.mktemp("other")
    make_run(folder / "run", configure(epochs=2, seed=12), device="cpu")
    other = export(folder / "run", folder / "bundle", plan=QUICK).path
    assert run_folder.is_dir()
    return good_export(run, load_run(folder / "run"), bundle, other, make_custom_model())


def test_the_catalogue_holds_different_faults() -> None:
    """At least sixty, each with a name of its own, in every file."""
    assert len({fault.name for fault in CATALOGUE}) == len(CATALOGUE) >= 60
    places = Counter(fault.place for fault in CATALOGUE)
    assert set(places) == {"all files", "ONNX", "TorchScript", "program", "bundle", "custom model"}


# Each converts a model anew: benchmarks/gate.py runs all of them, every second one is run here.
CUSTOM = [fault for fault in CATALOGUE if fault.place == "custom model"][::2]
RUN = [fault for fault in CATALOGUE if fault.place != "custom model"] + CUSTOM


@pytest.mark.parametrize("fault", RUN, ids=lambda fault: fault.name)
def test_nothing_wrong_gets_through(fault: Fault, good: Good, tmp_path: Path) -> None:
    """Exit 5 or 4, and nothing is published or opened."""
    stopped = stop(fault, good, tmp_path)
    assert isinstance(stopped, OnnxferryError)
    assert stopped.exit_code in {4, 5}
    if fault.place == "custom model":
        assert "; first diverging node: " in str(stopped)
    if fault.files:
        assert list(tmp_path.iterdir()) == []


def test_the_right_files_pass(good: Good, tmp_path: Path) -> None:
    """The same exports pass when no fault is injected."""
    assert stop(Fault("none", "ONNX", files=lambda good: good.files), good, tmp_path / "a") is None
    custom = Fault("none", "custom model", files=lambda good: good.custom.files)
    assert stop(custom, good, tmp_path / "b") is None
