"""Full, protected and special destinations of the command."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.errors import UsageError
from runtime.io.folders import staged_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

ROWS = 60_000
TABLE = b"price,rating\n" + b"1.5,2.5\nx,2.5\n" * (ROWS // 2)
OUTPUTS = ("out.csv", "out.csv.rejects.csv")


@pytest.fixture
def predict(bundle: Path, environment: dict[str, str], tmp_path: Path) -> Run:
    """Score ``in.csv`` from a shell, which does something before and may redirect."""
    (tmp_path / "in.csv").write_bytes(TABLE)

    def run(
        out: object, *options: str, prefix: Sequence[str] = (), script: str = '"$@"'
    ) -> subprocess.CompletedProcess[bytes]:
        command = [*prefix, sys.executable, "-m", "runtime", "predict", "--file", "in.csv"]
        command += [
            "--out",
            str(out),
            "--bundle",
            str(bundle),
            "--bad-rows",
            "null",
            "--force",
            *options,
        ]
        return subprocess.run(
            ["bash", "-c", script, "bash", *command],
            capture_output=True,
            cwd=tmp_path,
            env=environment,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root mounts a small file system")
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def unprivileged() -> list[str]:
    """The prefix of a command that makes permissions apply to root."""
    if os.geteuid() != 0:
        return []
    prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner"]
    if shutil.which("setpriv") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("root writes everywhere, and needs setpriv to give that up")
    return prefix


def put_outputs(folder: Path) -> None:
    """Existing results."""
    for name in OUTPUTS:
        (folder / name).write_bytes(b"from yesterday")


def assert_as_before(folder: Path, *, exists: bool) -> None:
    """The folder is unchanged."""
    left = sorted(path.name for path in folder.iterdir() if path.name != "in.csv")
    assert left == (sorted(OUTPUTS) if exists else [])
    assert all((folder / name).read_bytes() == b"from yesterday" for name in left)


@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("options", [[], ["--bad-rows", "reject"]], ids=["null", "reject"])
def test_a_file_size_limit_leaves_nothing(
    predict: Run, tmp_path: Path, options: list[str], *, exists: bool
) -> None:
    """A limit on file size acts like a full disk: exit 3, one message, nothing changed."""
    if exists:
        put_outputs(tmp_path)
    done = predict("out.csv", *options, script='ulimit -f 400; "$@"')  # KiB
    assert done.returncode == 3
    assert done.stderr.decode().startswith("runtime: error: cannot write out.csv")
    assert done.stderr.decode().endswith(": File too large; make room and run again\n")
    assert_as_before(tmp_path, exists=exists)


@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("options", [[], ["--bad-rows", "reject"]], ids=["null", "reject"])
def test_a_full_disk_leaves_nothing(
    predict: Run, small_disk: Path, options: list[str], *, exists: bool
) -> None:
    """No room for the output, or the last of two: exit 3, one message, nothing changed."""
    if exists:
        put_outputs(small_disk)
    done = predict(small_disk / "out.csv", *options)
    assert done.returncode == 3
    assert f"runtime: error: cannot write {small_disk}/out.csv" in done.stderr.decode()
    assert done.stderr.endswith(b": No space left on device; make room and run again\n")
    assert_as_before(small_disk, exists=exists)


def test_leftovers_do_not_fill_a_small_disk(predict: Run, small_disk: Path, tmp_path: Path) -> None:
    """A killed run's leftover is removed before the next run to the same destination writes."""
    (small_disk / ".out.csv.0123abcd.partial").write_bytes(b"x" * 1_000_000)
    (tmp_path / "in.csv").write_bytes(TABLE[:200_000])
    done = predict(small_disk / "out.csv")
    assert done.returncode == 0, done.stderr.decode()
    assert [path.name for path in small_disk.iterdir()] == ["out.csv"]


def test_a_folder_may_be_a_disk_of_its_own(small_disk: Path) -> None:
    """A mount point, as in a container: files are staged inside it."""
    with staged_files(small_disk) as open_output:
        open_output("sub/a.csv").write(b"new")
    assert (small_disk / "sub" / "a.csv").read_bytes() == b"new"
    assert [path.name for path in small_disk.iterdir()] == ["sub"]


def test_a_disk_within_a_folder_is_refused(small_disk: Path) -> None:
    """A rename cannot cross file systems: rejected when the file is opened, not at the end."""
    with staged_files(small_disk.parent) as open_output:
        open_output("a.csv").write(b"new")
        with pytest.raises(UsageError, match="is on another file system"):
            open_output(f"{small_disk.name}/a.csv")
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_a_protected_folder_is_refused(
    predict: Run, tmp_path: Path, unprivileged: list[str], *, exists: bool
) -> None:
    """Exit 2 with one message before anything is scored."""
    folder = tmp_path / "protected"
    folder.mkdir()
    if exists:
        put_outputs(folder)
    folder.chmod(0o555)
    done = predict("protected/out.csv", prefix=unprivileged)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"runtime: error: cannot write into {folder}: Permission denied\n"
    )
    assert_as_before(folder, exists=exists)


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_protected_file_is_refused(
    predict: Run, tmp_path: Path, unprivileged: list[str], name: str
) -> None:
    """A rename would replace it nevertheless; the protection is respected."""
    put_outputs(tmp_path)
    (tmp_path / name).chmod(0o444)
    done = predict("out.csv", "--bad-rows", "reject", prefix=unprivileged)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"runtime: error: cannot write {tmp_path / name}: it is write-protected\n"
    )
    assert_as_before(tmp_path, exists=True)


def test_a_read_only_disk_is_refused(predict: Run, small_disk: Path) -> None:
    """For root too, with one message before anything is scored."""
    put_outputs(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = predict(small_disk / "out.csv")
    assert done.returncode == 2
    assert b"cannot write" in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert_as_before(small_disk, exists=True)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("redirection", [">", ">>", "| cat >"])
def test_standard_output_by_another_name(
    predict: Run, tmp_path: Path, name: str, redirection: str
) -> None:
    """``--out /dev/stdout`` is standard output, into a file, at a file's end or into a pipe."""
    if not Path(name).exists():
        pytest.skip(f"there is no {name} here")
    (tmp_path / "o").write_bytes(b"old\n")
    done = predict(name, script=f'(echo before; "$@"; echo after) {redirection} o')
    assert done.returncode == 0
    lines = (tmp_path / "o").read_bytes().splitlines()
    kept = [b"old"] if redirection == ">>" else []
    assert [*kept, b"before"] == lines[: len(kept) + 1]
    assert lines[len(kept) + 1] == b"price,rating,label,probability,reason"
    assert lines[-1] == b"after"
    assert len(lines) == len(kept) + ROWS + 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "o"]


def test_standard_output_that_is_the_input_is_refused(predict: Run, tmp_path: Path) -> None:
    """``--out /dev/stdout >> in.csv`` would never end."""
    done = predict("/dev/stdout", script='"$@" >> in.csv')
    assert done.returncode == 2
    assert b"/dev/stdout is the input" in done.stderr
    assert (tmp_path / "in.csv").read_bytes() == TABLE


def test_a_named_pipe_is_written_in_place(predict: Run, tmp_path: Path) -> None:
    """The reader gets every row, and the pipe stays one."""
    os.mkfifo(tmp_path / "pipe")
    done = predict("pipe", script='cat pipe > o & "$@"; code=$?; wait; exit $code')
    assert done.returncode == 0
    assert (tmp_path / "o").read_bytes().count(b"\n") == ROWS + 1
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "o", "pipe"]


def test_a_reader_of_a_named_pipe_may_leave(predict: Run, tmp_path: Path) -> None:
    """As with ``| head``: the command ends silently."""
    os.mkfifo(tmp_path / "pipe")
    done = predict("pipe", script='head -1 pipe > o & "$@"; code=$?; wait; exit $code')
    assert (done.returncode, done.stderr) == (128 + 13, b"")
    assert (tmp_path / "o").read_bytes() == b"price,rating,label,probability,reason\n"


def test_devices_are_written_in_place(predict: Run, null_device: Path, full_device: Path) -> None:
    """Rows go to ``/dev/null`` and not to ``/dev/full``; both stay what they are."""
    assert predict(null_device).returncode == 0
    done = predict(full_device)
    assert done.returncode == 3
    assert f"cannot write {full_device}: No space left on device".encode() in done.stderr
    for device in (null_device, full_device):
        assert stat.S_ISCHR(device.stat().st_mode)
        assert not list(device.parent.glob(f".{device.name}.*"))
