from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def blocks(language: str) -> list[str]:
    """Find the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def shape(text: str) -> str:
    """Blank out what differs between machines: figures, digests, and why there is no GPU."""
    text = re.sub(r"\((no CUDA device|a CUDA device|asked for)[^)]*\)", "(why)", text)
    text = re.sub(r"simplenet [0-9a-f]{12}", "simplenet DIGEST", text)
    return re.sub(r"\d[\d,.]*(e-\d+)?", "#", text)


def run(command: str | list[str], folder: Path) -> str:
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def session(session_folder: Path) -> list[tuple[str, str, str]]:
    """Run the terminal session: each command with what the README shows and what came."""
    (block,) = blocks("console")
    steps = re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    return [(command, shown, run(command, session_folder)) for command, shown in steps]


def test_session_prints_what_the_readme_shows(session: list[tuple[str, str, str]]) -> None:
    """Every command of the README's session runs and prints the lines shown, figures aside."""
    assert len(session) == 5
    for command, shown, came in session:
        assert sorted(shape(came).splitlines()) == sorted(shape(shown).splitlines()), command


def test_python_block_runs(session: list[tuple[str, str, str]], session_folder: Path) -> None:
    """The README's Python block runs after its session, on the bundle made there."""
    assert session
    (block,) = blocks("python")
    assert len(block.strip().splitlines()) <= 12
    printed = run([sys.executable, "-W", "error", "-c", block], session_folder)
    assert "('price', 'rating') ('no', 'yes')" in printed
    assert "['yes' 'no']" in printed
    assert printed.endswith("5 5 0\n")


def test_a_model_of_ones_own_is_exported(tmp_path: Path) -> None:
    """The README's command exports a model that fits the README's schema."""
    (command,), (schema,) = blocks("bash"), blocks("json")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "network.py").write_text(
        "from torch import nn\n"
        "class Classifier(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))\n"
    )
    (tmp_path / "schema.json").write_text(schema)
    save = (
        "from mine.network import Classifier; from safetensors.torch import save_file; "
        "save_file(Classifier().state_dict(), 'mine.safetensors')"
    )
    run([sys.executable, "-c", save], tmp_path)
    assert "proven: " in run(command, tmp_path)
    assert run("runtime verify artifacts/bundle", tmp_path).startswith("artifacts/bundle: classif")


def test_every_command_and_option_exists() -> None:
    """Each command of the table answers --help and has the options that the table names."""
    rows = re.findall(
        r"^\| `((?:trainer|exporter|runtime) \w+)[^|]*\| ([^|]*) \|$", README, re.MULTILINE
    )
    assert len(rows) == 8
    for command, text in rows:
        options = run(f"{command} --help", Path.cwd())
        for option in re.findall(r"`(--[\w-]+)", text):
            assert option in options, (command, option)


def test_make_goals_exist() -> None:
    """The goals that the README's commands name stand in the Makefile's help."""
    makefile = (Path(__file__).parent.parent.parent / "Makefile").read_text(encoding="utf-8")
    (block,) = blocks("sh")
    goals = {goal for line in block.splitlines() for goal in line.split()[1:]}
    assert goals == {"train", "export", "predict", "test"}
    for goal in goals:
        assert re.search(rf"^{goal}:", makefile, re.MULTILINE), goal


def test_linked_files_exist() -> None:
    """Every relative link of the README leads to a file."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (Path(__file__).parent.parent.parent / target).exists(), target
