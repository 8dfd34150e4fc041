"""The environment that make builds: checked first, pinned, built once, repaired when broken.

Python is replaced by a script that forwards queries to the real one and creates an environment
whose pip logs its arguments: nothing is downloaded.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Make = Callable[..., subprocess.CompletedProcess[str]]


_READY = ".venv/.ready"
_PYTHON = """#!/bin/sh
if [ "$1" != -m ]; then exec {python} "$@"; fi
echo venv >> {log}
mkdir -p "$4/bin"
printf '%s\\n' '#!/bin/sh' 'echo "pip $PIP_CONSTRAINT $PIP_BUILD_CONSTRAINT $*" >> {log}' \
    '[ ! -e {log}.offline ]' > "$4/bin/python"
chmod +x "$4/bin/python"
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Log of the fake Python."""
    return tmp_path / "log"


@pytest.fixture
def python(tmp_path: Path, log: Path) -> str:
    """The make variable that selects the fake Python."""
    return f"PYTHON={_script(tmp_path / 'python3', _PYTHON.format(python=sys.executable, log=log))}"


def _script(path: Path, content: str) -> Path:
    path.write_text(content)
    path.chmod(0o755)
    return path


def _logged(log: Path) -> list[str]:
    """First words of the commands logged since the last call."""
    words = [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []
    log.unlink(missing_ok=True)
    return words


def test_first_goal_installs_the_pinned_versions(
    make: Make, project: Path, python: str, log: Path
) -> None:
    """One pip call brings everything, its build tools too, under constraints.txt."""
    done = make(python, _READY, folder=project)
    assert done.returncode == 0, done.stderr
    venv, pip = log.read_text().splitlines()
    assert venv == "venv"
    assert pip.startswith("pip constraints.txt constraints.txt -m pip install ")
    assert re.search(r" -e \.\[(gpu|cpu),serve,grpc,train,dev\]$", pip)


def test_second_run_installs_nothing(make: Make, project: Path, python: str, log: Path) -> None:
    """With a complete environment neither pip nor venv runs, nor is shown by ``-n``."""
    make(python, _READY, folder=project)
    _logged(log)
    assert make(python, _READY, folder=project).returncode == 0
    assert "pip" not in make(python, "-n", "train", folder=project).stdout
    assert _logged(log) == []


def test_failed_installation_is_repeated(make: Make, project: Path, python: str, log: Path) -> None:
    """A failure leaves no stamp, so that the next goal installs again."""
    offline = Path(f"{log}.offline")
    offline.touch()
    done = make(python, "train", folder=project)
    assert done.returncode == 2
    assert "could not be installed" in done.stderr
    assert not (project / _READY).exists()
    offline.unlink()
    _logged(log)
    assert make(python, _READY, folder=project).returncode == 0
    assert _logged(log) == ["venv", "pip"]


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml"])
def test_changed_requirements_are_installed(
    make: Make, project: Path, python: str, log: Path, name: str
) -> None:
    """After a change of the requirements pip runs again in the existing environment."""
    make(python, _READY, folder=project)
    _logged(log)
    for file in (project / "constraints.txt", project / "pyproject.toml", project / _READY):
        os.utime(file, (1, 1))
    os.utime(project / name, (2, 2))
    assert make(python, _READY, folder=project).returncode == 0
    assert _logged(log) == ["pip"]


def test_environment_of_a_copied_folder_is_rebuilt(
    make: Make, project: Path, python: str, log: Path
) -> None:
    """An environment holds absolute paths: one copied with its clone would run the old code."""
    make(python, _READY, folder=project)
    _logged(log)
    moved = project.rename(project.with_name("another place"))
    assert make(python, _READY, folder=moved).returncode == 0
    assert _logged(log) == ["venv", "pip"]
    assert make(python, _READY, folder=moved).returncode == 0
    assert _logged(log) == []


def test_environment_without_its_python_is_rebuilt(
    make: Make, project: Path, python: str, log: Path
) -> None:
    """An upgrade that takes the interpreter away leaves a dangling link."""
    make(python, _READY, folder=project)
    _logged(log)
    interpreter = project / ".venv" / "bin" / "python"
    interpreter.unlink()
    interpreter.symlink_to(project / "gone")
    assert make(python, _READY, folder=project).returncode == 0
    assert _logged(log) == ["venv", "pip"]


def test_old_python_is_refused_by_version(make: Make, project: Path, tmp_path: Path) -> None:
    """The message says which Python was found, which is needed and how to name another."""
    aged = "import sys; sys.version_info = (3, 9, 18); exec(sys.argv[1])"
    script = f"""#!/bin/sh
if [ "$1" = --version ]; then echo Python 3.9.18; else exec {sys.executable} -c '{aged}' "$2"; fi
"""
    old = _script(tmp_path / "old", script)
    done = make(f"PYTHON={old}", "train", folder=project)
    assert done.returncode == 2
    assert f"{old} is Python 3.9.18; onnxferry needs 3.11 or newer" in done.stderr
    assert "make PYTHON=" in done.stderr
    assert not (project / ".venv").exists()


def test_missing_python_is_reported(make: Make, project: Path) -> None:
    """A Python that does not exist is named, with what to do."""
    done = make("PYTHON=python-that-is-not-there", "train", folder=project)
    assert done.returncode == 2
    assert "python-that-is-not-there was not found" in done.stderr
    assert "make PYTHON=" in done.stderr


def test_python_without_venv_is_reported(make: Make, project: Path, tmp_path: Path) -> None:
    """Debian ships Python without ensurepip: the message names the package to install."""
    bare = "import sys; sys.modules['ensurepip'] = None; exec(sys.argv[1])"
    script = f'#!/bin/sh\nexec {sys.executable} -c "{bare}" "$2"\n'
    done = make(f"PYTHON={_script(tmp_path / 'bare', script)}", "train", folder=project)
    assert done.returncode == 2
    assert "apt install python3-venv" in done.stderr
    assert not (project / ".venv").exists()


def test_own_environment_is_never_installed_into(
    make: Make, project: Path, python: str, log: Path
) -> None:
    """VENV uses the given environment as it is."""
    commands = project / "own" / "bin"
    commands.mkdir(parents=True)
    _script(commands / "trainer", "#!/bin/sh\nexit 0\n")
    assert make(python, "VENV=own", "train", folder=project).returncode == 0
    assert _logged(log) == []
    assert not (project / ".venv").exists()


def test_own_environment_without_onnxferry_is_refused(
    make: Make, project: Path, python: str, log: Path
) -> None:
    """An environment without the commands is named, with the pip line that installs them."""
    done = make(python, "VENV=elsewhere", "train", folder=project)
    assert done.returncode == 2
    assert "onnxferry is not installed in VENV=elsewhere" in done.stderr
    assert "pip install -c constraints.txt" in done.stderr
    assert _logged(log) == []
