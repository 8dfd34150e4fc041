"""Writers stopped before each single call to the system."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    Tree = dict[str, str]

pytestmark = pytest.mark.slow

# Python tells an audit hook of each call that opens, locks, renames or removes before it is made.
# The hook stops a child at the n-th, for all n; then another child writes undisturbed.
DRIVER = """
import itertools, json, os, signal, sys
from pathlib import Path
from runtime.io import folders
from runtime.io.atomic import atomic_file, atomic_files
from runtime.io.folders import atomic_folder, staged_files

root, kind, portable, exists, stop = (*map(json.loads, sys.argv[1:]),)
if portable:  # as on a system that cannot exchange two names
    folders.exchange = lambda *_: False
os.fsync = lambda _: None  # slow, and only a loss of power shows it
signal.signal(signal.SIGINT, signal.default_int_handler)

def prepare(path):
    path.mkdir(parents=True)
    if exists:
        (path / "sub").mkdir()
        for name in ("a", "sub/b", "c", *(["other"] if kind == "staged" else [])):
            (path / name).write_text("old")

def write(path):
    if kind == "file":
        with atomic_file(path / "a") as stream:
            stream.write(b"new")
    elif kind == "files":
        with atomic_files() as open_output:
            for name in ("c", "a", "sub/b"):
                (path / "sub").mkdir(exist_ok=True)
                open_output(path / name).write(b"new")
    elif kind == "staged":
        with staged_files(path) as open_output:
            for name in ("a", "sub/b", "c"):
                open_output(name).write(b"new")
    else:
        with atomic_folder(path, marker="a") as folder:
            (folder / "sub").mkdir()
            for name in ("a", "sub/b", "c"):
                (folder / name).write_text("new")

def child(path, number):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    calls = itertools.count(1)
    def stop_at(event, _arguments):
        module = event.partition(".")[0]
        if module in {"os", "fcntl", "shutil", "ctypes", "open"} and next(calls) == number:
            os.kill(os.getpid(), stop)
    sys.addaudithook(stop_at)
    try:
        write(path)
    except KeyboardInterrupt:
        os._exit(130)
    os._exit(0)

def tree(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_text() for path in files}

def hidden(folder):
    return [str(path.relative_to(folder)) for path in folder.rglob(".*")]

for number in itertools.count(1):
    home = Path(root) / str(number)
    path = home / "out"
    home.mkdir(parents=True)
    if exists or kind in {"file", "files"}:
        prepare(path)
    status = child(path, number)
    after, left = tree(home), hidden(home)
    assert child(path, -1) == 0
    print(json.dumps([status, after, left, tree(home), hidden(home)]), flush=True)
    if status == 0:
        break
"""
OLD = {"out/a": "old", "out/sub/b": "old", "out/c": "old"}
NEW = dict.fromkeys(OLD, "new")
NAMES = {"file": ["out/a"], "files": list(OLD), "folder": list(OLD), "staged": list(OLD)}


@dataclass(frozen=True, slots=True)
class Stop:
    """What one stop left: its exit code, files, rests, and both after another run."""

    status: int
    after: Tree
    left: list[str]
    final: Tree
    final_left: list[str]

    @property
    def visible(self) -> Tree:
        """Files that a reader finds."""
        return {name: text for name, text in self.after.items() if "/." not in f"/{name}"}


def stop_everywhere(folder: Path, kind: str, stop: signal.Signals, **how: bool) -> list[Stop]:
    """Stop a writer before its first call, its second, and so on."""
    arguments = [str(folder), kind, how["portable"], how["exists"], stop]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *map(json.dumps, arguments)],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    stops = [Stop(*json.loads(line)) for line in done.stdout.splitlines()]
    assert len(stops) > 8, "the hook saw the calls"
    assert {stop.status for stop in stops[:-1]} == {stops[0].status}
    return stops


def states(kind: str, *, exists: bool) -> tuple[Tree, Tree]:
    """The files before and after a whole run."""
    other = {"out/other": "old"} if exists and kind == "staged" else {}
    before = (OLD if exists else {}) | other
    return before, before | dict.fromkeys(NAMES[kind], "new")


KINDS = pytest.mark.parametrize(
    ("kind", "portable"),
    [
        ("file", False),
        ("files", False),
        ("staged", False),
        ("folder", False),
        pytest.param("folder", True, id="folder without exchange"),
    ],
)
EXISTS = pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])


@KINDS
@EXISTS
def test_a_kill_before_any_call_leaves_no_half_output(
    tmp_path: Path, kind: str, *, exists: bool, portable: bool
) -> None:
    """Every file is old or new, the first of a group new only when all are; one run cleans up."""
    before, complete = states(kind, exists=exists)
    stops = stop_everywhere(tmp_path, kind, signal.SIGKILL, exists=exists, portable=portable)
    one_step = kind == "folder" or (kind == "staged" and not exists)
    for stop in stops:
        assert stop.visible.keys() <= complete.keys()
        if one_step:
            gone = {} if portable else before  # two renames: the folder may be missing between
            assert stop.visible in (before, complete, gone)
        for name in complete.keys() & before.keys() - (before.keys() if one_step else set()):
            assert stop.visible[name] in {before[name], complete[name]}
        if kind == "files" and stop.visible.get("out/c") == "new":
            assert stop.visible == complete
        assert (stop.final, stop.final_left) == (complete, [])
    assert any(stop.left for stop in stops), "some were stopped while writing"


@KINDS
@EXISTS
def test_an_interruption_before_any_call_undoes_everything_or_nothing(
    tmp_path: Path, kind: str, *, exists: bool, portable: bool
) -> None:
    """Ctrl-C between two renames takes the first one back: all files are old, or all are new."""
    before, complete = states(kind, exists=exists)
    for stop in stop_everywhere(tmp_path, kind, signal.SIGINT, exists=exists, portable=portable):
        assert stop.visible in (before, complete)
        assert (stop.final, stop.final_left) == (complete, [])
