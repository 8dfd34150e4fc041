from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime import files
from runtime.errors import DataError, UsageError
from runtime.files import atomic_file, atomic_folder, is_special

if TYPE_CHECKING:
    from collections.abc import Callable

MARKER = "marker.json"


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    """Until the block ends the destination does not exist; then it holds everything."""
    path = tmp_path / "out.csv"
    with atomic_file(path) as stream:
        stream.write(b"half")
        stream.flush()
        assert not path.exists()
        stream.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert names(tmp_path) == ["out.csv"]


def test_an_existing_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    """Readers see the old content until the new one is complete."""
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")
    with atomic_file(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def write_half_a_file(path: Path, fault: BaseException) -> None:
    """Begin a file and fail."""
    with atomic_file(path) as stream:
        stream.write(b"half")
        raise fault


def fill_half_a_folder(path: Path, fault: BaseException) -> None:
    """Begin a folder and fail."""
    with atomic_folder(path, marker=MARKER) as folder:
        (folder / MARKER).write_text("new")
        raise fault


@pytest.mark.parametrize(
    "fault", [RuntimeError("bug"), KeyboardInterrupt(), SystemExit(143), OSError(5, "I/O")]
)
@pytest.mark.parametrize("before", [None, b"old"], ids=["new", "existing"])
def test_an_interruption_leaves_a_file_as_it_was(
    tmp_path: Path, fault: BaseException, before: bytes | None
) -> None:
    """Whatever ends the block early, the destination is untouched and nothing is left over."""
    path = tmp_path / "out.csv"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises((type(fault), DataError)):
        write_half_a_file(path, fault)
    assert (path.read_bytes() if path.exists() else None) == before
    assert names(tmp_path) == ([] if before is None else ["out.csv"])


@pytest.mark.parametrize("fault", [RuntimeError("bug"), KeyboardInterrupt(), SystemExit(143)])
@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_an_interruption_leaves_a_folder_as_it_was(
    tmp_path: Path, fault: BaseException, *, exists: bool
) -> None:
    """Whatever ends the block early, the folder is untouched and nothing is left over."""
    path = tmp_path / "bundle"
    if exists:
        path.mkdir()
        (path / MARKER).write_text("old")
    with pytest.raises(type(fault)):
        fill_half_a_folder(path, fault)
    assert names(tmp_path) == (["bundle"] if exists else [])
    if exists:
        assert (path / MARKER).read_text() == "old"


def test_a_folder_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    """The folder takes its place in one step, missing parents are made."""
    path = tmp_path / "new" / "parents" / "bundle"
    with atomic_folder(path, marker=MARKER) as folder:
        (folder / MARKER).write_text("new")
        assert not path.exists()
    assert (path / MARKER).read_text() == "new"
    assert names(path.parent) == ["bundle"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Nothing of the old content is mixed into the new one."""
    path = tmp_path / "bundle"
    path.mkdir()
    (path / MARKER).write_text("old")
    (path / "old.bin").write_text("old")
    with atomic_folder(path, marker=MARKER) as folder:
        (folder / MARKER).write_text("new")
        (folder / "sub").mkdir()
        (folder / "sub" / "new.bin").write_text("new")
        assert names(path) == [MARKER, "old.bin"]
    assert names(path) == [MARKER, "sub"]
    assert names(tmp_path) == ["bundle"]


def test_a_folder_is_replaced_where_names_cannot_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Linux's renameat2 the outcome is the same, and nothing is left over."""
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    path = tmp_path / "bundle"
    path.mkdir()
    (path / MARKER).write_text("old")
    with atomic_folder(path, marker=MARKER) as folder:
        (folder / MARKER).write_text("new")
    assert (path / MARKER).read_text() == "new"
    assert names(tmp_path) == ["bundle"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    """An empty folder is nobody's: it is taken, as ``mktemp -d`` would make it."""
    path = tmp_path / "bundle"
    path.mkdir()
    with atomic_folder(path, marker=MARKER) as folder:
        (folder / MARKER).write_text("new")
    assert names(path) == [MARKER]


def test_a_foreign_folder_is_never_replaced(tmp_path: Path) -> None:
    """A folder that holds other files and no marker is refused before anything is written."""
    (tmp_path / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(UsageError, match=r"no marker\.json: it is not replaced"),
        atomic_folder(tmp_path, marker=MARKER),
    ):
        pytest.fail("the block must not run")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_file_is_no_folder_to_fill(tmp_path: Path) -> None:
    """A file where the folder should be is refused and kept."""
    path = tmp_path / "bundle"
    path.write_text("text")
    with (
        pytest.raises(UsageError, match="is a file; give the name of a folder"),
        atomic_folder(path, marker=MARKER),
    ):
        pytest.fail("the block must not run")
    assert path.read_text() == "text"


def test_a_folder_given_as_file_is_refused(tmp_path: Path) -> None:
    """A file cannot take a folder's place."""
    with pytest.raises(UsageError, match="is a folder"), atomic_file(tmp_path):
        pytest.fail("the block must not run")


def loop(folder: Path) -> Path:
    """A link to itself."""
    link = folder / "loop"
    link.symlink_to("loop")
    return link


def below_a_file(folder: Path) -> Path:
    """A name in a folder that is none."""
    (folder / "file").write_text("")
    return folder / "file" / "out"


@pytest.mark.parametrize(
    "name_destination",
    [
        pytest.param(loop, id="link to itself"),
        pytest.param(below_a_file, id="below a file"),
        pytest.param(lambda folder: folder / ("x" * 300), id="name too long"),
        pytest.param(lambda _: Path("/proc/onnxferry-test"), id="where nobody can write"),
    ],
)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_cannot_be_written_is_refused_at_once(
    tmp_path: Path,
    kind: str,
    name_destination: Callable[[Path], Path],
) -> None:
    """A destination that cannot be one is an error of usage, before any work is done."""
    path = name_destination(tmp_path)
    opened = atomic_file(path) if kind == "file" else atomic_folder(path, marker=MARKER)
    with pytest.raises(UsageError, match="cannot write"), opened:
        pytest.fail("the block must not run")


def test_the_folder_of_a_file_must_exist(tmp_path: Path) -> None:
    """A mistyped folder is not made: the message names it."""
    with (
        pytest.raises(UsageError, match=r"cannot write into .*missing: No such file"),
        atomic_file(tmp_path / "missing" / "out.csv"),
    ):
        pytest.fail("the block must not run")


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    """The temporary name is no longer than the system allows, whatever the destination's is."""
    path = tmp_path / ("ü" * 127)
    with atomic_file(path) as stream:
        stream.write(b"1")
    assert path.read_bytes() == b"1"


def test_what_a_killed_run_left_does_not_stand_in_the_way(tmp_path: Path) -> None:
    """In a container every run has the same process id: temporary names must differ anyway."""
    path = tmp_path / "out.csv"
    with atomic_file(path) as stream:
        stream.write(b"old")
        (left,) = set(names(tmp_path)) - {"out.csv"}
    (tmp_path / left).write_bytes(b"left by a run that was killed")
    with atomic_file(path) as stream:
        stream.write(b"new")
    assert path.read_bytes() == b"new"


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    """The last to finish wins, whole."""
    path = tmp_path / "out.csv"
    with atomic_file(path) as first:
        first.write(b"first")
        with atomic_file(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
        first.write(b" too")
    assert path.read_bytes() == b"first too"


def test_devices_are_written_in_place(null_device: Path) -> None:
    """``/dev/null`` as output stays the device it is, also for root."""
    before = null_device.stat()
    with atomic_file(null_device) as stream:
        stream.write(b"gone")
    after = null_device.stat()
    assert stat.S_ISCHR(after.st_mode)
    assert (before.st_ino, before.st_rdev) == (after.st_ino, after.st_rdev)


def test_a_full_disk_is_an_error_of_the_data(full_device: Path) -> None:
    """No room left is said in one sentence, and the device stays what it is."""
    with (
        pytest.raises(DataError, match=f"cannot write {full_device}: No space left on device"),
        atomic_file(full_device) as stream,
    ):
        stream.write(b"x" * 1_000_000)
    assert stat.S_ISCHR(full_device.stat().st_mode)


def test_a_pipe_is_written_in_place(tmp_path: Path) -> None:
    """A named pipe as output reaches its reader and stays a pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    with atomic_file(pipe) as stream:
        stream.write(b"through")
    reader.join()
    assert read == [b"through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("exists", [False, True], ids=["dangling", "existing"])
def test_a_link_stays_a_link(tmp_path: Path, *, exists: bool) -> None:
    """Through a link the file it names is written; the link itself stays."""
    real = tmp_path / "elsewhere" / "real.csv"
    real.parent.mkdir()
    if exists:
        real.write_bytes(b"old")
    link = tmp_path / "link.csv"
    link.symlink_to("elsewhere/real.csv")
    with atomic_file(link) as stream:
        stream.write(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert not real.is_symlink()
    assert names(tmp_path) == ["elsewhere", "link.csv"]


def test_permissions_of_a_replaced_file_are_kept(tmp_path: Path) -> None:
    """A file nobody else may read stays that way when it is replaced."""
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with atomic_file(path) as stream:
        stream.write(b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_permissions_of_a_new_file_follow_the_umask(tmp_path: Path) -> None:
    """A new file is as open as the user's umask says."""
    before = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "out.csv") as stream:
            stream.write(b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("path", "special"),
    [("/dev/null", True), ("/", False), ("/nowhere-at-all", False), (__file__, False)],
)
def test_special_files_are_told_from_others(path: str, *, special: bool) -> None:
    """Only what exists and is neither a regular file nor a folder is written in place."""
    assert is_special(Path(path)) is special


WRITER = """
import signal, sys
from pathlib import Path
from runtime.files import atomic_file, atomic_folder

signal.signal(signal.SIGINT, signal.default_int_handler)  # also as a job in the background
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
kind, path = sys.argv[1], Path(sys.argv[2])
if kind == "file":
    with atomic_file(path) as stream:
        stream.write(b"half")
        stream.flush()
        print("writing", flush=True)
        sys.stdin.read()
else:
    with atomic_folder(path, marker="marker.json") as folder:
        (folder / "marker.json").write_text("half")
        print("writing", flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_signal_while_writing_leaves_the_destination_as_it_was(
    tmp_path: Path, kind: str, name: str
) -> None:
    """Ctrl-C, a stop and a kill never change what was there; only a kill may leave a rest."""
    path = tmp_path / "out"
    if kind == "folder":
        path.mkdir()
    kept = path / MARKER if kind == "folder" else path
    kept.write_text("old")
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, kind, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        assert len(names(tmp_path)) == 2, "the temporary output is there"
        process.send_signal(signal.Signals[name])
        assert process.wait(timeout=60) != 0
    assert kept.read_text() == "old"
    if name != "SIGKILL":
        assert names(tmp_path) == ["out"]


def test_two_processes_make_the_same_new_folder(tmp_path: Path) -> None:
    """Whoever comes second replaces the first; neither fails, and one of them is there whole."""
    program = """
import sys
from pathlib import Path
from runtime.files import atomic_folder
for turn in range(40):
    with atomic_folder(Path(sys.argv[1]) / str(turn), marker="mark") as folder:
        (folder / "mark").write_text(sys.argv[2])
"""
    racers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name], stderr=-1)
        for name in ("a", "b")
    ]
    for racer in racers:
        _, spoken = racer.communicate(timeout=60)
        assert racer.returncode == 0, spoken.decode()
    assert {file.name for file in tmp_path.iterdir()} == {str(turn) for turn in range(40)}
    assert {(tmp_path / str(turn) / "mark").read_text() for turn in range(40)} <= {"a", "b"}


def test_the_folder_one_stands_in_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replacing it would leave the shell in a folder that is gone."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for path in (Path(), Path("..") / "here"):
        with pytest.raises(UsageError, match="folder you are in"), atomic_folder(path, marker="m"):
            pass
