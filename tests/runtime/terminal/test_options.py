"""Options that all three commands have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from runtime.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Mapping

TRY = r"""
source ~/.bashrc
try() {
  COMP_WORDS=("$@") COMP_CWORD=$(($#-1)) COMPREPLY=()
  _runtime_completion runtime
  echo "${COMPREPLY[@]}"
}
try runtime pre
try runtime predict --bad
try runtime predict --bad-rows ""
"""


@pytest.mark.parametrize("words", [[], ["predict"], ["serve"], ["verify"], ["inspect"]], ids=str)
def test_h_is_help(words: list[str]) -> None:
    """Of the command and of each subcommand."""
    short, long = (CliRunner().invoke(app, [*words, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.stdout == long.stdout
    assert "-h, --help" in short.stdout


def test_bash_completes_commands_options_and_values(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    """After ``--install-completion``, in a new shell."""
    path = f"{Path(sys.executable).parent}:{environment['PATH']}"
    home = {**environment, "HOME": str(tmp_path), "PATH": path}
    (tmp_path / "try.sh").write_text(TRY)
    script = "runtime --install-completion && bash try.sh"
    done = subprocess.run(
        ["bash", "-c", script], env=home, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-3:] == ["predict", "--bad-rows", "fail reject null"]
