"""Run the blocks of README and docs, and write or compare their output.

``python tests/support/pages.py`` renews the outputs and option tables after a change. Fenced blocks
are run in the order of a page, in a copy of the folder that README's blocks leave behind:

- ``console``: lines after ``$ `` are run in a shell, the others are their output. A server that is
  started with a trailing ``&`` gets a free port and is stopped at the end of the page.
- ``python`` is run with warnings as errors.
- a block with a file name after its language is written to that file.
- ``sh`` is not run here: ``tests/contract/test_docs.py`` names the test that runs each line.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
NOTEBOOK_PAGE = ROOT / "docs" / "python.md"  # run by notebooks.py
BIN = Path(sys.executable).parent
_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_STEP = re.compile(r"^\$ (.+(?:\\\n.+)*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_HEAD = """# Commands

Generated from `--help` by `make docs`. Results go to stdout, messages to stderr. `-` names the
standard streams where a table is read or written. `--json` prints one JSON object.

Exit codes: 0 done · 1 a bug in onnxferry · 2 usage · 3 data or schema · 4 run or bundle damaged or
of an unknown format · 5 parity failed · 6 device, provider, address or extra not available ·
130 interrupted.

`-h` is `--help`. `trainer --install-completion`, and likewise of `exporter` and `runtime`, installs
completion of commands, options and values for the shell it is called from: bash, zsh, fish or
PowerShell. `--show-completion` prints the script. It works in terminals that are opened afterwards.

An output replaces a file of its own kind, by the file's content: a table one in the same format, a
report the same report. Another file stays; the command ends with code 2, before any work. `--force`
replaces it.
"""
_PORT = ":8000"
_GRPC = ":8001"


def shape(text: str) -> str:
    """Mask what differs between machines: numbers, digests, the reason for the device."""
    text = re.sub(r"\((no CUDA device|a CUDA device|requested)[^)]*\)", "(why)", text)
    text = re.sub(r"\b[0-9a-f]{16}…|\b[0-9a-f]{12}\b", "DIGEST", text)
    return re.sub(r"\d[\d,.]*(e-\d+)?", "#", text)


@dataclass
class Session:
    """A shell in a folder, and the servers started from it."""

    folder: Path
    ports: dict[str, str] = field(default_factory=dict)
    servers: list[subprocess.Popen[str]] = field(default_factory=list)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}

    def _replace_ports(self, text: str) -> str:
        for port in (_PORT, _GRPC):
            if port in text or f"--grpc-port {port[1:]}" in text or f"--port {port[1:]}" in text:
                self.ports.setdefault(port, f":{_free_port()}")
        for port, free in self.ports.items():
            text = text.replace(port, free).replace(f"port {port[1:]}", f"port {free[1:]}")
        return text

    def _restore_ports(self, text: str) -> str:
        for port, free in self.ports.items():
            text = text.replace(free, port).replace(f"port {free[1:]}", f"port {port[1:]}")
        return text

    def run(self, command: str) -> str:
        """Run a command; return its output, or the first line of a server."""
        if command.endswith("&"):
            return self._serve(command.removesuffix("&").strip())
        done = subprocess.run(  # noqa: S602 - our own pages
            self._replace_ports(command),
            shell=True,
            executable="/bin/bash",
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return self._restore_ports(done.stdout)

    def _serve(self, command: str) -> str:
        if " --port" not in command:
            command += " --port 8000"
        server = subprocess.Popen(
            self._replace_ports(command).split(),
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.servers.append(server)
        assert server.stdout is not None
        line = server.stdout.readline()
        said = json.loads(line)["text"] if line.startswith("{") else line  # as on a terminal
        return self._restore_ports(f"{said}\n")

    def python(self, code: str) -> str:
        """Run a block of Python."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", self._replace_ports(code)],
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{code}\n{done.stdout}")
        return done.stdout

    def close(self) -> None:
        """Stop the servers."""
        for server in self.servers:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=60)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def run_page(text: str, session: Session) -> str:
    """Run a page's blocks in order; return the page with their output."""

    def run_block(match: re.Match[str]) -> str:
        language, name, content = match.groups()
        if name:
            path = session.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        elif language == "console":
            steps = _STEP.findall(content)
            printed = (f"$ {command}\n{session.run(command)}".rstrip() for command, _ in steps)
            return "```console\n" + "".join(f"{step}\n" for step in printed) + "```"
        elif language == "python":
            session.python(content)
        return match.group(0)

    try:
        return _BLOCK.sub(run_block, text)
    finally:
        session.close()


def blocks(text: str, language: str) -> list[str]:
    """Find the blocks of a language, except those with a file name."""
    return [block for kind, name, block in _BLOCK.findall(text) if kind == language and not name]


def options_page() -> str:
    """Write ``docs/commands.md`` from the commands' own help."""
    import typer

    from exporter.cli import app as exporter
    from runtime.cli.app import app as runtime
    from trainer.cli import app as trainer

    parts = [_HEAD]
    for name, app in (("trainer", trainer), ("exporter", exporter), ("runtime", runtime)):
        for command, entry in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
            parts.append(f"\n## {name} {command}\n\n{_unwrap(entry.help)}\n\n| | |\n|---|---|\n")
            parts += [_option_row(parameter) for parameter in entry.params]
    return "".join(parts)


def _unwrap(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def _option_row(parameter: object) -> str:
    names = [*getattr(parameter, "opts", ()), *getattr(parameter, "secondary_opts", ())]
    if getattr(parameter, "param_type_name", "") == "argument":
        names = [str(getattr(parameter, "name", "")).upper()]
    text = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
    default = getattr(parameter, "default", None)
    given = (
        default if isinstance(default, (str, int, float, Path)) and default is not True else None
    )
    if given not in (None, False, "") and "default" not in text:
        text += f" (default: `{given}`)"
    return f"| {', '.join(f'`{name}`' for name in names)} | {text} |\n"


def renew() -> None:
    """Renew the outputs of all pages."""
    (ROOT / "docs" / "commands.md").write_text(options_page(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as first:
        base = Path(first) / "base"
        base.mkdir()
        for page in PAGES:
            if page == NOTEBOOK_PAGE:
                continue
            folder = base
            if page.name != "README.md":
                folder = Path(first) / page.stem
                shutil.copytree(base, folder)
            text = page.read_text(encoding="utf-8")
            page.write_text(run_page(text, Session(folder)), encoding="utf-8")
    notebooks.renew()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    import notebooks

    renew()
