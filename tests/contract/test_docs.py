"""README and docs show what happens: their blocks run, and print what the pages show."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pages
import pytest
from pages import NOTEBOOK_PAGE, PAGES, ROOT, Session, run_page, shape

if TYPE_CHECKING:
    from pathlib import Path

README = ROOT / "README.md"
DOCS = [page for page in PAGES if page not in {README, NOTEBOOK_PAGE}]
# Lines of ``sh`` blocks, and what runs them.
RUN_ELSEWHERE = {
    "make train export predict": ".ci/run and tests/pipeline/test_make.py",
    "make test": ".ci/run",
}


def _assert_shows(page: Path, folder: Path) -> None:
    """Run a page and compare each line that it prints, figures aside."""
    text = page.read_text(encoding="utf-8")
    shown = shape(text).splitlines()
    printed = shape(run_page(text, Session(folder))).splitlines()
    # The order of the lines of two processes may differ.
    assert sorted(printed) == sorted(shown)


@pytest.fixture(scope="module")
def readme_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which README's blocks have run."""
    folder = tmp_path_factory.mktemp("readme")
    _assert_shows(README, folder)
    return folder


def test_readme_prints_what_it_shows(readme_folder: Path) -> None:
    """Fit, export, predict and serve as README shows them."""
    assert (readme_folder / "artifacts" / "bundle" / "manifest.json").exists()


@pytest.mark.parametrize("page", DOCS, ids=[page.stem for page in DOCS])
def test_page_prints_what_it_shows(page: Path, readme_folder: Path, tmp_path: Path) -> None:
    """Every block of a page runs and prints the lines shown."""
    folder = tmp_path / "page"
    shutil.copytree(readme_folder, folder)
    _assert_shows(page, folder)


def test_options_are_those_of_the_commands() -> None:
    """The option tables are what ``--help`` says; ``make docs`` renews them."""
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == pages.options_page()


def test_options_named_in_the_pages_exist() -> None:
    """Each option that a page names in its text is one of a command, or of a named tool."""
    known = set(re.findall(r"`(--[\w-]+)`", pages.options_page())) | {
        "--logdir",
        "--nproc-per-node",
    }
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        named = set(re.findall(r"`(--[\w-]+)", text))
        assert named <= known, (page.name, named - known)


def test_what_is_not_run_here_is_run_elsewhere() -> None:
    """The shell blocks that the pages do not run hold known lines only."""
    for page in PAGES:
        for block in pages.blocks(page.read_text(encoding="utf-8"), "sh"):
            assert set(block.strip().splitlines()) <= set(RUN_ELSEWHERE), page.name


def test_readme_is_short() -> None:
    """README is read in a few minutes."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 130


def test_make_goals_exist() -> None:
    """The goals that README's two commands name stand in the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (block,) = pages.blocks(README.read_text(encoding="utf-8"), "sh")
    goals = {goal for line in block.splitlines() for goal in line.split()[1:]}
    assert goals == {"train", "export", "predict", "test"}
    for goal in goals:
        assert re.search(rf"^{goal}:", makefile, re.MULTILINE), goal


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_linked_files_exist(page: Path) -> None:
    """Every relative link leads to a file."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
