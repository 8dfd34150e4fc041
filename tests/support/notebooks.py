"""Run a page of the docs as a notebook: each block of Python is a cell of one kernel.

The block that follows a block of Python, ``text``, is what the cell prints.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbclient import NotebookClient
from pages import NOTEBOOK_PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTEBOOK = NOTEBOOK_PAGE.with_suffix(".ipynb")
_FLAGS = re.MULTILINE | re.DOTALL
_BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n^```text\n(.*?)^```\n)?", _FLAGS)
_TIMEOUT_S = 600  # of a cell
_KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def notebook_of(page: str) -> Any:  # noqa: ANN401 - nbformat publishes no types
    """Make a notebook of a page: its text and blocks as cells."""
    cells, start = [], 0
    for found in _BLOCK.finditer(page):
        cells.append(nbformat.v4.new_markdown_cell(page[start : found.start()].strip()))
        cells.append(nbformat.v4.new_code_cell(found[1].rstrip()))
        start = found.end()
    if rest := page[start:].strip():
        cells.append(nbformat.v4.new_markdown_cell(rest))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": _KERNEL})


def run_notebook(notebook: Any, folder: Path) -> None:  # noqa: ANN401 - as above
    """Run the cells of a notebook in a folder; their outputs are added to it."""
    client = NotebookClient(
        notebook, timeout=_TIMEOUT_S, resources={"metadata": {"path": str(folder)}}
    )
    kernel = client.create_kernel_manager()
    kernel.transport, kernel.ip = "ipc", str(folder / "kernel")
    client.execute(env={**os.environ, "IPYTHONDIR": str(folder / "ipython")})


def printed(notebook: Any) -> Iterator[str]:  # noqa: ANN401 - as above
    """What each cell of code prints; without bars, tables and cards."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            streams = [each for each in cell.outputs if each.output_type == "stream"]
            assert all(each.name == "stdout" for each in streams), streams
            yield "".join(each.text for each in streams)


def shown(page: str) -> Iterator[str]:
    """What a page says that each of its blocks prints."""
    for found in _BLOCK.finditer(page):
        yield found[2] or ""


def renew() -> None:
    """Renew the outputs of the page, and the notebook beside it."""
    page = NOTEBOOK_PAGE.read_text(encoding="utf-8")
    notebook = notebook_of(page)
    with tempfile.TemporaryDirectory() as folder:
        run_notebook(notebook, Path(folder))
    texts = printed(notebook)

    def with_output(found: re.Match[str]) -> str:
        text = next(texts)
        output = f"\n```text\n{text.rstrip()}\n```\n" if text else ""
        return f"```python\n{found[1]}```\n{output}"

    NOTEBOOK_PAGE.write_text(_BLOCK.sub(with_output, page), encoding="utf-8")
    notebook.metadata = {"kernelspec": _KERNEL}
    for cell in notebook.cells:
        cell.metadata.clear()  # times of execution
    nbformat.write(notebook, NOTEBOOK)
