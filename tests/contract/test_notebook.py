"""The page about Python is a notebook that runs from its first cell to its last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nbformat
from notebooks import NOTEBOOK, notebook_of, printed, run_notebook, shown
from pages import NOTEBOOK_PAGE, shape

if TYPE_CHECKING:
    from pathlib import Path

PAGE = NOTEBOOK_PAGE.read_text(encoding="utf-8")


def test_the_notebook_has_the_cells_of_the_page() -> None:
    """``make docs`` makes one of the other."""
    stored = nbformat.read(NOTEBOOK, as_version=4)
    cells = [(cell.cell_type, cell.source) for cell in stored.cells]
    assert cells == [(cell.cell_type, cell.source) for cell in notebook_of(PAGE).cells]


def test_every_cell_prints_what_the_page_shows(tmp_path: Path) -> None:
    """From a data frame to predictions in a kernel, with bars that are updated in place."""
    notebook = notebook_of(PAGE)
    run_notebook(notebook, tmp_path)
    assert [shape(text).strip() for text in printed(notebook)] == [
        shape(text).strip() for text in shown(PAGE)
    ]
    outputs = [each for cell in notebook.cells for each in cell.get("outputs", ())]
    shapes = [each.data for each in outputs if "data" in each]
    bars = [data["text/plain"] for data in shapes if "<progress" in data.get("text/html", "")]
    assert [text.split()[0] for text in bars] == ["fitting,", "exporting", "scoring"]
    assert any("<caption" in data.get("text/html", "") for data in shapes), "a card"
    scored = next(data for data in shapes if "probability_yes" in data["text/plain"])
    assert "<table" in scored["text/html"]
