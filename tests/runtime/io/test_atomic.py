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

from runtime.errors import DataError, ExistsError, UsageError
from runtime.io import folders
from runtime.io.atomic import atomic_file, atomic_files
from runtime.io.folders import atomic_folder, staged_files
from runtime.io.paths import is_special

if TYPE_CHECKING:
    from collections.abc import Callable

MARKER = "marker.json"


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_when_complete(tmp_path: Path) -> None:
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
    monkeypatch.setattr(folders, "exchange", lambda *_: False)
    path = tmp_path / "bundle"
    path.mkdir()
    (path / MARKER).write_text("old")
    with atomic_folder(path, marker=MARKER) as folder:
        (folder / MARKER).write_text("new")
    assert (path / MARKER).read_text() == "new"
    assert names(tmp_path) == ["bundle"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    """An empty folder, as ``mktemp -d`` makes it, is replaced."""
    path = tmp_path / "bundle"
    path.mkdir()
    with atomic_folder(path, marker=MARKER) as folder:
        (folder / MARKER).write_text("new")
    assert names(path) == [MARKER]


@pytest.mark.parametrize("name", ["", "new/..", "new/../../{name}"])
def test_a_foreign_folder_is_never_replaced(tmp_path: Path, name: str) -> None:
    """A folder that holds other files and no marker is rejected by any of its names."""
    (tmp_path / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(UsageError, match=r"no marker\.json: it is not replaced"),
        atomic_folder(tmp_path / name.format(name=tmp_path.name), marker=MARKER),
    ):
        pytest.fail("the block must not run")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_the_current_folder_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor by a name that leads through a folder which does not exist."""
    (tmp_path / MARKER).touch()
    monkeypatch.chdir(tmp_path)
    for name in (".", "new/.."):
        with (
            pytest.raises(UsageError, match="is or contains the current folder"),
            atomic_folder(Path(name), marker=MARKER),
        ):
            pytest.fail("the block must not run")


def test_files_are_kept_by_any_name_of_their_folder(tmp_path: Path) -> None:
    """Where nothing may be replaced, a folder that holds files is refused."""
    (tmp_path / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(ExistsError, match="holds files"),
        staged_files(tmp_path / "new" / "..", replaces=False),
    ):
        pytest.fail("the block must not run")


def test_a_file_is_no_folder_to_fill(tmp_path: Path) -> None:
    """A file at the folder's path is rejected and kept."""
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
    """A path below a regular file."""
    (folder / "file").write_text("")
    return folder / "file" / "out"


@pytest.mark.parametrize(
    "name_destination",
    [
        pytest.param(loop, id="link to itself"),
        pytest.param(below_a_file, id="below a file"),
        pytest.param(lambda folder: folder / ("x" * 300), id="name too long"),
        pytest.param(lambda _: Path("/proc/onnxferry-test"), id="not writable"),
    ],
)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_impossible_destination_is_rejected_at_once(
    tmp_path: Path,
    kind: str,
    name_destination: Callable[[Path], Path],
) -> None:
    """An impossible destination is a usage error, before any work is done."""
    path = name_destination(tmp_path)
    opened = atomic_file(path) if kind == "file" else atomic_folder(path, marker=MARKER)
    with pytest.raises(UsageError, match="cannot write"), opened:
        pytest.fail("the block must not run")


def test_the_folder_of_a_file_must_exist(tmp_path: Path) -> None:
    """A mistyped folder is not created: the message names it."""
    with (
        pytest.raises(UsageError, match=r"cannot write into .*missing: No such file"),
        atomic_file(tmp_path / "missing" / "out.csv"),
    ):
        pytest.fail("the block must not run")


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    """The temporary name stays within the system's limit for every destination."""
    path = tmp_path / ("ü" * 127)
    with atomic_file(path) as stream:
        stream.write(b"1")
    assert path.read_bytes() == b"1"


def test_a_leftover_of_a_killed_run_does_not_conflict(tmp_path: Path) -> None:
    """Temporary names differ even between runs with one process id, as in a container."""
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


def test_files_appear_together(tmp_path: Path) -> None:
    """Until the block ends none of them exists; then all do, complete."""
    first, second = tmp_path / "out.csv", tmp_path / "sub" / "bad.csv"
    second.parent.mkdir()
    second.write_bytes(b"old")
    with atomic_files() as open_output:
        open_output(first).write(b"rows")
        with open_output(second) as stream:
            stream.write(b"bad rows")
        assert not first.exists()
        assert second.read_bytes() == b"old", "closed, but not renamed yet"
    assert (first.read_bytes(), second.read_bytes()) == (b"rows", b"bad rows")
    assert names(tmp_path) == ["out.csv", "sub"]
    assert names(second.parent) == ["bad.csv"]


def write_pair(folder: Path, before_end: Callable[[], None] = lambda: None) -> None:
    """Write two files; ``before_end`` runs before they are renamed."""
    with atomic_files() as open_output:
        open_output(folder / "out.csv").write(b"new")
        open_output(folder / "bad.csv").write(b"new")
        before_end()


def fail() -> None:
    """Raise an error."""
    raise RuntimeError


@pytest.fixture(params=["links", "no links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """File systems with hard links, and without, as on a memory card."""

    def refuse(*_: object) -> None:
        raise PermissionError

    if request.param == "no links":
        monkeypatch.setattr(os, "link", refuse)
    return str(request.param)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Files and what is in them, hidden ones too; None for folders."""
    return {path.name: None if path.is_dir() else path.read_bytes() for path in folder.iterdir()}


def put_pair(folder: Path) -> None:
    """Write existing outputs with restricted permissions."""
    for name in ("out.csv", "bad.csv"):
        (folder / name).write_bytes(b"old")
        (folder / name).chmod(0o640)


@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_an_exception_changes_no_file(tmp_path: Path, links: str, *, exists: bool) -> None:
    """Nothing is replaced before the end of the block."""
    if exists:
        put_pair(tmp_path)
    with pytest.raises(RuntimeError):
        write_pair(tmp_path, fail)
    assert contents(tmp_path) == ({"out.csv": b"old", "bad.csv": b"old"} if exists else {}), links


@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize(("obstacle", "other"), [("out.csv", "bad.csv"), ("bad.csv", "out.csv")])
def test_when_one_file_cannot_appear_none_does(
    tmp_path: Path, links: str, obstacle: str, other: str, *, exists: bool
) -> None:
    """When one name has become a folder, the other file is restored."""
    if exists:
        put_pair(tmp_path)
        (tmp_path / obstacle).unlink()
    with pytest.raises(DataError, match=f"cannot write .*{obstacle}: Is a directory"):
        write_pair(tmp_path, (tmp_path / obstacle).mkdir)
    old = b"new" if links == "no links" and other == "bad.csv" else b"old"  # as documented
    assert contents(tmp_path) == {obstacle: None} | ({other: old} if exists else {})
    if exists:
        assert stat.S_IMODE((tmp_path / other).stat().st_mode) == 0o640


def test_files_are_replaced_together(tmp_path: Path, links: str) -> None:
    """Both files are new, with the old permissions, and nothing temporary is left."""
    put_pair(tmp_path)
    write_pair(tmp_path)
    assert contents(tmp_path) == {"out.csv": b"new", "bad.csv": b"new"}, links
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_last_rename_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C right after it undoes nothing."""
    put_pair(tmp_path)

    def interrupt(new: Path, target: Path) -> None:
        rename(new, target)
        if target.name == "out.csv":
            raise KeyboardInterrupt

    rename = Path.replace
    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_pair(tmp_path)
    assert contents(tmp_path) == {"out.csv": b"new", "bad.csv": b"new"}


@pytest.mark.parametrize("kind", ["files", "staged"])
def test_all_files_are_on_the_disk_before_one_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A power failure cannot leave one output renamed and the other incomplete."""
    synced: list[list[str]] = []

    def record(descriptor: int) -> None:
        sync(descriptor)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            synced.append([name for name in names(tmp_path) if not name.startswith(".")])

    sync = os.fsync
    monkeypatch.setattr(os, "fsync", record)
    if kind == "files":
        write_pair(tmp_path)
    else:
        with staged_files(tmp_path) as open_output:
            open_output("out.csv").write(b"new")
            open_output("bad.csv").write(b"new")
    assert synced == [[], []]
    assert names(tmp_path) == ["bad.csv", "out.csv"]


def test_a_file_of_a_group_is_written_once(tmp_path: Path) -> None:
    """Two outputs under one name would lose one of them."""
    (tmp_path / "link.csv").symlink_to("out.csv")
    with atomic_files() as open_output:
        open_output(tmp_path / "out.csv").write(b"new")
        with pytest.raises(UsageError, match="is written twice"):
            open_output(tmp_path / "link.csv")
    assert (tmp_path / "out.csv").read_bytes() == b"new"
    assert names(tmp_path) == ["link.csv", "out.csv"]


def test_a_full_disk_under_one_file_leaves_none(tmp_path: Path, full_device: Path) -> None:
    """An error that shows only on the final flush shows before any file appears."""

    def write() -> None:
        with atomic_files() as open_output:
            open_output(tmp_path / "out.csv").write(b"rows")
            open_output(full_device).write(b"little, and so still in memory")

    with pytest.raises(DataError, match=f"cannot write {full_device}: No space left"):
        write()
    assert names(tmp_path) == []


@pytest.mark.parametrize("closed", [False, True])
def test_a_stream_may_be_closed_by_the_block(tmp_path: Path, *, closed: bool) -> None:
    """Libraries close the stream they write to; the file still appears at the end of the block."""
    with atomic_file(tmp_path / "out.csv") as stream:
        stream.write(b"whole")
        if closed:
            stream.close()
        assert not (tmp_path / "out.csv").exists()
    assert (tmp_path / "out.csv").read_bytes() == b"whole"


OWN_STREAM = """
import sys
from pathlib import Path
from runtime.io.atomic import atomic_file
with atomic_file(Path(sys.argv[1])) as stream:
    stream.write(b"rows\\n")
"""


@pytest.mark.skipif(not Path("/dev/fd/1").exists(), reason="needs /dev/fd")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("redirection", [">", ">>", "| cat >"])
def test_an_open_file_is_written_at_its_position(
    tmp_path: Path, name: str, redirection: str
) -> None:
    """``--out /dev/stdout > file`` neither replaces nor truncates the file."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "file").write_bytes(b"old\n")
    inode = (tmp_path / "file").stat().st_ino
    command = f'(echo before; "$0" -c "$1" {name}; echo after) {redirection} file'
    subprocess.run(["bash", "-c", command, sys.executable, OWN_STREAM], cwd=tmp_path, check=True)
    kept = b"old\n" if redirection == ">>" else b""
    assert (tmp_path / "file").read_bytes() == kept + b"before\nrows\nafter\n"
    assert (tmp_path / "file").stat().st_ino == inode
    assert names(tmp_path) == ["file", "link"]


def test_a_descriptor_that_is_not_open_is_refused() -> None:
    """A wrong descriptor number is a usage error."""
    with pytest.raises(UsageError, match=r"cannot write"), atomic_file(Path("/dev/fd/987")):
        pytest.fail("the block must not run")


def test_devices_are_written_in_place(null_device: Path) -> None:
    """``/dev/null`` as output stays the device it is, also for root."""
    before = null_device.stat()
    with atomic_file(null_device) as stream:
        stream.write(b"gone")
    after = null_device.stat()
    assert stat.S_ISCHR(after.st_mode)
    assert (before.st_ino, before.st_rdev) == (after.st_ino, after.st_rdev)


def test_a_full_disk_is_a_data_error(full_device: Path) -> None:
    """A full disk gives a one-line message, and the device is not replaced."""
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
    """A private file stays private when it is replaced."""
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with atomic_file(path) as stream:
        stream.write(b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_permissions_of_a_new_file_follow_the_umask(tmp_path: Path) -> None:
    """A new file has the permissions of the user's umask."""
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
def test_special_files_are_recognised(path: str, *, special: bool) -> None:
    """Only what exists and is neither a regular file nor a folder is written in place."""
    assert is_special(Path(path)) is special


WRITER = """
import signal, sys
from pathlib import Path
from runtime.io.atomic import atomic_file, atomic_files
from runtime.io.folders import atomic_folder, staged_files

signal.signal(signal.SIGINT, signal.default_int_handler)  # also as a job in the background
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
kind, path = sys.argv[1], Path(sys.argv[2])
if kind == "file":
    with atomic_file(path) as stream:
        stream.write(b"half")
        stream.flush()
        print("writing", flush=True)
        sys.stdin.read()
elif kind in {"files", "staged"}:
    with atomic_files() if kind == "files" else staged_files(path.parent) as open_output:
        stream = open_output(path if kind == "files" else path.name)
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


@pytest.mark.parametrize("kind", ["file", "files", "folder", "staged"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_signal_while_writing_leaves_the_destination_as_it_was(
    tmp_path: Path, kind: str, name: str
) -> None:
    """Ctrl-C, SIGTERM and SIGKILL never change the destination; only SIGKILL leaves a leftover."""
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
    """The second replaces the first; neither fails, and one result is complete."""
    program = """
import sys
from pathlib import Path
from runtime.io.folders import atomic_folder
for turn in range(40):
    with atomic_folder(Path(sys.argv[1]) / str(turn), marker="mark") as folder:
        (folder / "mark").write_text(sys.argv[2])
"""
    racers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name], stderr=-1)
        for name in ("a", "b")
    ]
    for racer in racers:
        _, errors = racer.communicate(timeout=60)
        assert racer.returncode == 0, errors.decode()
    assert {file.name for file in tmp_path.iterdir()} == {str(turn) for turn in range(40)}
    assert {(tmp_path / str(turn) / "mark").read_text() for turn in range(40)} <= {"a", "b"}


def test_the_current_folder_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replacing it would leave the shell in a deleted folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for path in (Path(), Path("..") / "here"):
        with (
            pytest.raises(UsageError, match="contains the current folder"),
            atomic_folder(path, marker="m"),
        ):
            pass
