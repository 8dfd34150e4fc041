"""Progress in a notebook."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runtime.predictor import Predictor


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """A shell as a kernel has it."""
    shell = InteractiveShell.instance()
    monkeypatch.setattr(shell, "kernel", SimpleNamespace(), raising=False)
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: shell)
    yield shell
    InteractiveShell.clear_instance()


@pytest.mark.usefixtures("notebook")
def test_scoring_a_file_ends_with_a_full_bar(
    predictor: Predictor, products: bytes, tmp_path: Path
) -> None:
    """It moves at first and says how many rows there were."""
    (tmp_path / "in.csv").write_bytes(products)
    with capture_output() as captured:
        predictor.score_file(tmp_path / "in.csv", tmp_path / "out.csv")
    first, *_, last = captured.outputs
    assert "<progress></progress>" in first.data["text/html"]
    assert 'value="100" max="100"' in last.data["text/html"]
    assert last.data["text/plain"].startswith("scoring 100 %  200 rows, ")


def test_scoring_a_file_is_silent_elsewhere(
    predictor: Predictor, products: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A script prints nothing that it did not ask for."""
    (tmp_path / "in.csv").write_bytes(products)
    predictor.score_file(tmp_path / "in.csv", tmp_path / "out.csv")
    assert capfd.readouterr() == ("", "")
