"""Files of one folder that appear together; whole folders are tested in test_atomic."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.errors import DataError, UsageError
from runtime.io.folders import staged_files

if TYPE_CHECKING:
    from collections.abc import Callable


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder, hidden files too; None for folders."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def existing(tmp_path: Path) -> Path:
    """A folder with files, some of which will be replaced."""
    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.csv", "other.txt", "sub/b.csv", "sub/other.txt"):
        (folder / name).write_bytes(b"old")
    return folder


def stage(folder: Path, before_end: Callable[[], None] = lambda: None) -> None:
    """Write three files; ``before_end`` runs before they are renamed."""
    with staged_files(folder) as open_output:
        open_output("a.csv").write(b"new")
        with open_output(Path("sub") / "b.csv") as stream:
            stream.write(b"new")
        open_output("very/deep/c.csv").write(b"new")
        before_end()


STAGED = {"a.csv": b"new", "sub": None, "sub/b.csv": b"new", "very": None, "very/deep": None}
STAGED |= {"very/deep/c.csv": b"new"}


def test_a_new_folder_appears_as_a_whole(tmp_path: Path) -> None:
    """Missing parents are made; the folder appears only when it is complete."""
    folder = tmp_path / "new" / "out"
    stage(folder, lambda: None if not folder.exists() else pytest.fail("too early"))
    assert tree(folder) == STAGED
    assert names(tmp_path / "new") == ["out"]


def test_files_of_an_existing_folder_are_replaced_and_others_stay(existing: Path) -> None:
    """Nothing visible changes before the end; then the new files exist next to the others."""
    before = tree(existing)

    def inspect() -> None:
        visible = {name: text for name, text in tree(existing).items() if name[0] != "."}
        assert visible == before

    (existing / "a.csv").chmod(0o640)
    inode = existing.stat().st_ino
    stage(existing, inspect)
    assert tree(existing) == before | STAGED
    assert stat.S_IMODE((existing / "a.csv").stat().st_mode) == 0o640
    assert existing.stat().st_ino == inode
    assert names(existing.parent) == ["out"]


def test_a_folder_created_meanwhile_is_filled(tmp_path: Path) -> None:
    """Files of another process stay."""
    folder = tmp_path / "out"

    def create_folder() -> None:
        folder.mkdir()
        (folder / "other.txt").write_bytes(b"other")

    stage(folder, create_folder)
    assert tree(folder) == STAGED | {"other.txt": b"other"}
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("fault", [RuntimeError("bug"), KeyboardInterrupt(), SystemExit(143)])
@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_an_interruption_leaves_everything_as_it_was(
    tmp_path: Path, request: pytest.FixtureRequest, fault: BaseException, *, exists: bool
) -> None:
    """Whatever ends the block early, nothing has changed and nothing is left over."""
    if exists:
        request.getfixturevalue("existing")
    before = tree(tmp_path)

    def fail() -> None:
        raise fault

    with pytest.raises(type(fault)):
        stage(tmp_path / "out", fail)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("obstacle", ["a.csv", "sub/b.csv", "very/deep/c.csv", "very"])
def test_when_one_file_cannot_appear_none_does(existing: Path, obstacle: str) -> None:
    """When a rename fails, files replaced before it are restored."""
    for name in ("a.csv", "sub/b.csv"):
        (existing / name).chmod(0o640)

    def obstruct() -> None:
        path = existing / obstacle
        if obstacle == "very":
            path.write_bytes(b"a file where a folder is needed")
        else:
            path.unlink(missing_ok=True)
            path.mkdir(parents=True)

    shown: list[dict[str, bytes | None]] = []

    def obstruct_and_record() -> None:
        obstruct()
        shown.append({name: text for name, text in tree(existing).items() if name[0] != "."})

    with pytest.raises(DataError, match="cannot write"):
        stage(existing, obstruct_and_record)
    assert tree(existing) == shown[0]


@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("name", ["/etc/passwd", "../a.csv", "sub/../../a.csv", "", "."])
def test_only_paths_within_the_folder_are_opened(
    tmp_path: Path, name: str, *, exists: bool
) -> None:
    """Absolute paths and ``..`` are rejected."""
    if exists:
        (tmp_path / "out").mkdir()
    with (
        pytest.raises(UsageError, match="not a path within"),
        staged_files(tmp_path / "out") as open_output,
    ):
        open_output(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sub", "is a folder; give the name of a file"),
        ("other.txt/c.csv", "cannot write"),
        ("pipe", "is a device or pipe"),
        ("x" * 300, "File name too long"),
        ("twice", "is written twice"),
        ("twice/c.csv", "cannot write|is written twice"),
        ("loop", "cannot write"),
    ],
)
def test_an_impossible_output_is_rejected_when_opened(
    existing: Path, name: str, message: str
) -> None:
    """An impossible output is a usage error before it is written."""
    os.mkfifo(existing / "pipe")
    (existing / "loop").symlink_to("loop")
    with staged_files(existing) as open_output:
        open_output("twice")
        with pytest.raises(UsageError, match=message):
            open_output(name)
    assert (existing / "twice").read_bytes() == b""
    assert stat.S_ISFIFO((existing / "pipe").stat().st_mode)


@pytest.mark.parametrize("name", ["file", "file/out", "pipe", "loop"])
def test_a_path_that_is_not_a_folder_is_rejected(tmp_path: Path, name: str) -> None:
    """A file, or a path below one, is rejected before any work is done."""
    (tmp_path / "file").write_bytes(b"text")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with (
        pytest.raises(UsageError, match=r"is a file; give the name of a folder|cannot write"),
        staged_files(tmp_path / name),
    ):
        pytest.fail("the block must not run")
    assert (tmp_path / "file").read_bytes() == b"text"


def test_links_stay_links(tmp_path: Path, existing: Path) -> None:
    """The target of a link is written, whether a folder or a file in it."""
    (tmp_path / "link").symlink_to("out")
    (existing / "a.csv").unlink()
    (existing / "a.csv").symlink_to("other.txt")
    stage(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (existing / "a.csv").is_symlink()
    assert (existing / "other.txt").read_bytes() == b"new"


def test_the_current_folder_may_be_filled(existing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are replaced, not the folder: the shell stays in it."""
    monkeypatch.chdir(existing)
    stage(Path())
    assert (existing / "a.csv").read_bytes() == b"new"


def test_no_output_is_no_error(tmp_path: Path) -> None:
    """A glob without matches gives an empty folder."""
    with staged_files(tmp_path / "out"):
        pass
    assert tree(tmp_path) == {"out": None}


def test_more_files_than_can_be_open(tmp_path: Path) -> None:
    """Closed as they are finished, any number of files is staged."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Whatever ran in this process before may have files open.
    opened = max(int(path.name) for path in Path("/dev/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 32, hard))
    try:
        with staged_files(tmp_path / "out") as open_output:
            for n in range(100):
                with open_output(f"{n}.csv") as stream:
                    stream.write(b"new")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(names(tmp_path / "out")) == 100
