"""Leftovers of killed runs are removed, files of running ones are not."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from runtime.io import temporary
from runtime.io.atomic import atomic_file, atomic_files
from runtime.io.folders import atomic_folder, staged_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def write_file(path: Path) -> None:
    """One file."""
    with atomic_file(path) as stream:
        stream.write(b"new")


def write_pair(path: Path) -> None:
    """The file and another."""
    with atomic_files() as open_output:
        open_output(path).write(b"new")
        open_output(path.with_name("other")).write(b"new")


def write_folder(path: Path) -> None:
    """A whole folder."""
    with atomic_folder(path, marker="mark") as folder:
        (folder / "mark").write_bytes(b"new")


def write_staged(path: Path) -> None:
    """A file in a folder."""
    with staged_files(path) as open_output:
        open_output("mark").write(b"new")


WRITERS = [write_file, write_pair, write_folder, write_staged]


@pytest.mark.parametrize("write", WRITERS)
def test_leftovers_of_killed_runs_are_swept(tmp_path: Path, write: Callable[[Path], None]) -> None:
    """After a run no temporary files or folders are left next to its output."""
    for ending in ("00000000.partial", "0123abcd.partial", "ffffffff.replaced"):
        (tmp_path / f".out.{ending}").write_bytes(b"leftover")
    for ending in ("11111111.partial", "22222222.replaced"):
        (tmp_path / f".out.{ending}" / "sub").mkdir(parents=True)
        (tmp_path / f".out.{ending}" / "sub" / "leftover").write_bytes(b"leftover")
    write(tmp_path / "out")
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_leftovers_inside_a_folder_are_swept(tmp_path: Path) -> None:
    """Files of an existing folder are staged in it, and their leftovers found there."""
    leftover = tmp_path / "out" / ".out.0123abcd.partial" / "sub"
    leftover.mkdir(parents=True)
    (leftover / "leftover.csv").write_bytes(b"leftover")
    (tmp_path / ".out.0123abcd.partial").mkdir()
    write_staged(tmp_path / "out")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["mark"]


@pytest.mark.parametrize("write", WRITERS)
def test_room_is_made_before_writing(tmp_path: Path, write: Callable[[Path], None]) -> None:
    """Leftovers are removed before anything is written."""
    leftover = tmp_path / ".out.0123abcd.partial"
    leftover.write_bytes(b"leftover")
    seen: list[list[str]] = []
    draw = os.urandom

    def record(size: int) -> bytes:
        seen.append(names(tmp_path))
        return draw(size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", record)  # for its temporary name: it has written nothing yet
        write(tmp_path / "out")
    assert seen[0] == []


@pytest.mark.parametrize(
    "name",
    [
        ".other.0123abcd.partial",
        ".out.csv.0123abcd.partial",
        ".outt.0123abcd.partial",
        "out.0123abcd.partial",
        ".out.0123abc.partial",
        ".out.0123abcg.partial",
        ".out.0123ABCD.partial",
        ".out.0123abcd.partial.csv",
        ".out.0123abcd.tmp",
    ],
)
def test_nothing_else_is_swept(tmp_path: Path, name: str) -> None:
    """Only temporary names of this very destination are removed."""
    (tmp_path / name).write_bytes(b"years of work")
    write_file(tmp_path / "out")
    assert (tmp_path / name).read_bytes() == b"years of work"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """What a link with a temporary name points at stays."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_bytes(b"years of work")
    (tmp_path / ".out.00000000.partial").symlink_to("work")
    (tmp_path / ".out.11111111.partial").symlink_to("work/thesis.tex")
    write_file(tmp_path / "out")
    assert (tmp_path / "work" / "thesis.tex").read_bytes() == b"years of work"


def test_a_folder_set_aside_outlives_failures(tmp_path: Path) -> None:
    """A run killed between two renames leaves the only copy: it stays until there is another."""
    aside = tmp_path / ".out.0123abcd.replaced"
    aside.mkdir()
    (aside / "mark").write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "out", marker="mark"):
        raise RuntimeError
    assert (aside / "mark").read_bytes() == b"old"
    write_folder(tmp_path / "out")
    assert names(tmp_path) == ["out"]


RUNNING = """
import sys
from pathlib import Path
from runtime.io.atomic import atomic_file
from runtime.io.folders import atomic_folder, staged_files
kind, path = sys.argv[1], Path(sys.argv[2])
opened = {"file": atomic_file, "staged": staged_files,
          "folder": lambda path: atomic_folder(path, marker="mark")}[kind](path)
with opened as target:
    if kind == "folder":
        target = (target / "mark").open("wb")
    elif kind == "staged":
        target = target("mark")
    target.write(b"running")
    target.flush()
    print("writing", flush=True)
    sys.stdin.read()
    target.close()
"""


@contextmanager
def running(kind: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process in the middle of writing; it continues when its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", RUNNING, kind, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        yield process


@pytest.mark.parametrize(
    ("kind", "write"), [("file", write_file), ("folder", write_folder), ("staged", write_staged)]
)
@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_running_writers_are_not_touched(
    tmp_path: Path, kind: str, write: Callable[[Path], None], *, exists: bool
) -> None:
    """A finished run removes nothing of one still writing; both succeed, the last one wins."""
    path = tmp_path / "out"
    if exists:
        write(path)
    with running(kind, path) as other:
        before = set(tmp_path.rglob(".*"))
        assert len(before) == 1
        write(path)
        assert before <= set(tmp_path.rglob(".*"))
        _, errors = other.communicate(timeout=60)
        assert (other.returncode, errors) == (0, b"")
    assert (path if kind == "file" else path / "mark").read_bytes() == b"running"
    assert not list(tmp_path.rglob(".*"))


def test_a_writer_killed_meanwhile_is_swept(tmp_path: Path) -> None:
    """The leftover of a writer killed during a run is removed at its end."""
    path = tmp_path / "out"
    with running("file", path) as other:
        with atomic_file(path) as stream:
            stream.write(b"new")
            other.kill()
            other.wait(timeout=60)
            assert len(names(tmp_path)) == 2
        assert names(tmp_path) == ["out"]
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("write", WRITERS)
def test_a_sweep_before_the_lock_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    """A temporary file swept before it is locked is created again."""
    swept: list[int] = []

    def late(descriptor: int) -> bool | None:
        if not swept:
            swept.append(descriptor)
            temporary.sweep(tmp_path / "out")
        return lock(descriptor)

    lock = temporary.try_lock
    monkeypatch.setattr(temporary, "try_lock", late)
    write(tmp_path / "out")
    assert swept
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_processes_race_for_one_file(tmp_path: Path) -> None:
    """Writers that sweep after each other all succeed, and one result is there whole."""
    program = """
import sys
from pathlib import Path
from runtime.io.atomic import atomic_file
for turn in range(150):
    with atomic_file(Path(sys.argv[1])) as stream:
        stream.write(sys.argv[2].encode() * 5000)
"""
    racers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "out"), name], stderr=-1)
        for name in ("a", "b", "c")
    ]
    for racer in racers:
        _, errors = racer.communicate(timeout=60)
        assert racer.returncode == 0, errors.decode()
    assert (tmp_path / "out").read_bytes() in {b"a" * 5000, b"b" * 5000, b"c" * 5000}
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("lack", ["module", "file system"])
def test_without_locks_nothing_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], lack: str
) -> None:
    """Without locks outputs are written anyway, and leftovers stay."""
    if lack == "module":
        monkeypatch.setitem(sys.modules, "fcntl", None)
    else:

        def refuse(_descriptor: int, _operation: int) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "flock", refuse)
    leftover = tmp_path / ".out.0123abcd.partial"
    leftover.write_bytes(b"perhaps locked")
    write(tmp_path / "out")
    assert leftover.read_bytes() == b"perhaps locked"
    assert [name for name in names(tmp_path) if name.startswith(".")] == [leftover.name]
