from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from terminals import read_all

from runtime.terminal.process import compact_json

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def table(tmp_path: Path, products: bytes) -> Path:
    """A file of products in the folder where the commands run."""
    path = tmp_path / "products.csv"
    path.write_bytes(products)
    return path


def test_rows_go_to_stdout_and_talk_to_stderr(
    run_command: Run, bundle: Path, table: Path, products: bytes
) -> None:
    """Nothing but the table is on standard output; the summary is beside it."""
    done = run_command("predict", "--file", table.name, "--bundle", bundle, "--provider", "cpu")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == b"id,price,rating,name,label,probability"
    assert len(lines) == len(products.splitlines())
    assert done.stderr.startswith(b"200 of 200 rows scored to standard output in ")
    first, second = done.stderr.splitlines()
    assert first.endswith(b"on cpu (requested)")
    assert second == b"probability is that of the label; --proba positive adds that of 'yes'"
    assert done.stderr.count(b"\n") == 2


def test_a_stream_is_scored_like_a_file(
    run_command: Run, bundle: Path, table: Path, products: bytes
) -> None:
    """Streams and files have the same bytes."""
    command = ("predict", "--bundle", bundle, "--file")
    from_file = run_command(*command, table.name)
    from_stream = run_command(*command, "-", stdin=products)
    into_file = run_command(*command, "-", "--out", "out.csv", stdin=products)
    assert (from_file.returncode, from_stream.returncode, into_file.returncode) == (0, 0, 0)
    assert from_stream.stdout == from_file.stdout
    assert (table.parent / "out.csv").read_bytes() == from_file.stdout
    assert into_file.stdout == b""


def test_a_summary_for_machines_is_on_stdout_when_the_table_is_not(
    run_command: Run, bundle: Path, tmp_path: Path
) -> None:
    """``--json`` prints one object; where stdout carries the rows it goes to stderr."""
    command = ("predict", "--file", "-", "--bundle", bundle, "--json", "--bad-rows", "reject")
    data = b"price,rating\n1,2\nx,2\n3\n"
    done = run_command(*command, "--out", "out.csv", stdin=data)
    values = json.loads(done.stdout)
    assert values.pop("seconds") > 0
    assert values.pop("rows_per_second") > 0
    assert values.pop("provider") in {"cpu", "cuda"}
    assert values.pop("provider_reason")
    assert values.pop("model").startswith("simplenet ")
    assert values == {
        "rows": 3,
        "scored": 1,
        "rejected": 2,
        "reasons": {"not a number": 1, "too few fields": 1},
        "rejects": "out.csv.rejects.csv",
        "files": {"out": "out.csv", "rejects": "out.csv.rejects.csv"},
        "out_of_range": {"price": {"below": 1, "above": 0}, "rating": {"below": 0, "above": 0}},
    }
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (0, b"", 1)
    done = run_command(*command, "--rejects", "bad.csv", stdin=data)
    assert done.stdout.startswith(b"price,rating,label,probability\n")
    assert json.loads(done.stderr)["scored"] == 1
    assert (tmp_path / "bad.csv").read_bytes().count(b"\n") == 3


@pytest.mark.parametrize("bad_rows", ["reject", "null"])
def test_bad_rows_are_counted_by_reason(run_command: Run, bundle: Path, bad_rows: str) -> None:
    """The summary says how many rows were bad, why, and where they are."""
    done = run_command(
        *("predict", "--file", "-", "--out", "o.csv", "--bundle", bundle, "--bad-rows", bad_rows),
        stdin=b"price,rating\n1,2\nx,2\n3\ny,1\n",
    )
    where = "listed in o.csv.rejects.csv" if bad_rows == "reject" else "kept with empty predictions"
    assert done.returncode == 0
    assert done.stderr.startswith(b"1 of 4 rows scored to o.csv in ")
    assert done.stderr.decode().splitlines()[1] == (
        f"3 bad rows {where}: 2 not a number, 1 too few fields"
    )


ENDINGS = [
    pytest.param("predict --file -", "price,rating\n", 0, "0 of 0 rows scored", id="no rows"),
    pytest.param("predict", "", 2, "Missing option '--file'", id="no file"),
    pytest.param("predict --file - --bad-rows skip", "", 2, "'skip'", id="no such policy"),
    pytest.param("predict --file - --threads 0", "", 2, "threads", id="no threads"),
    pytest.param("predict --fiel -", "", 2, "--fiel", id="mistyped option"),
    pytest.param("predikt", "", 2, "predikt", id="mistyped command"),
    pytest.param(
        "predict --file - --out no/o.csv", "price,rating\n", 2, "cannot write into", id="no folder"
    ),
    pytest.param("predict --file - --bad-rows reject", "", 2, "--rejects FILE", id="no list"),
    pytest.param(
        "predict --file - --out . --bad-rows reject",
        "price,rating\n",
        2,
        "a folder",
        id="folder out",
    ),
    pytest.param("predict --file gone.csv", "", 3, "cannot read gone.csv", id="no such file"),
    pytest.param("predict --file .", "", 3, "holds no tables", id="empty folder"),
    pytest.param("predict --file -", "", 3, "standard input is empty", id="empty"),
    pytest.param("predict --file -", "price\n1\n", 3, "'rating' is missing", id="no column"),
    pytest.param("predict --file -", "price,rating\nx,1\n", 3, "1 of 1 rows", id="bad row"),
    pytest.param("predict --file - --bundle gone", "", 4, "no bundle at gone", id="no bundle"),
    pytest.param("verify /dev/null", "", 4, "no bundle at /dev/null", id="no bundle but a device"),
]


@pytest.mark.parametrize(("command", "stdin", "code", "said"), ENDINGS)
def test_every_ending_has_its_exit_code(  # noqa: PLR0913, PLR0917 - a table of what goes in and out
    run_command: Run, bundle: Path, tmp_path: Path, command: str, stdin: str, code: int, said: str
) -> None:
    """The documented exit code, one message on stderr, no traceback and no files."""
    environment = {"ONNXFERRY_BUNDLE": str(bundle)}
    done = run_command(*command.split(), stdin=stdin.encode(), env=environment)
    assert done.returncode == code, done.stderr
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert done.stdout.count(b"\n") == (1 if code == 0 else 0)
    if code > 2:
        assert done.stderr.startswith(b"runtime: error: ")
    assert list(tmp_path.iterdir()) == []


def test_the_bundle_may_come_from_the_environment(
    run_command: Run, bundle: Path, tmp_path: Path
) -> None:
    """``ONNXFERRY_BUNDLE`` applies to every command; options override it."""
    environment = {"ONNXFERRY_BUNDLE": str(bundle)}
    for command in (["inspect"], ["predict", "--file", "-"]):
        done = run_command(*command, stdin=b"price,rating\n", env=environment)
        assert done.returncode == 0, done.stderr
    assert run_command("verify", tmp_path / "other", env=environment).returncode == 4


def test_without_a_name_the_bundle_is_the_exporters(
    run_command: Run, bundle: Path, tmp_path: Path
) -> None:
    """The default is ``artifacts/bundle``, where ``exporter export`` writes."""
    assert b"no bundle at artifacts/bundle" in run_command("verify").stderr
    shutil.copytree(bundle, tmp_path / "artifacts" / "bundle")
    assert run_command("verify").stdout.startswith(b"artifacts/bundle: ")


def test_verify_says_what_was_checked(run_command: Run, bundle: Path) -> None:
    """``verify`` prints digests, golden rows and provider, as text and JSON."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    done = run_command("verify", bundle, "--provider", "cpu")
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"{manifest['model']['version']} verified".encode() in done.stdout
    assert f"{len(manifest['files'])} files intact".encode() in done.stdout
    done = run_command("verify", bundle, "--provider", "cpu", "--json")
    answer = json.loads(done.stdout)
    assert 0 < answer.pop("worst_error_over_bound") < 1
    assert answer == {
        "passed": True,
        "bundle": str(bundle),
        "version": manifest["model"]["version"],
        "provider": "cpu",
        "files": len(manifest["files"]),
        "undecidable": 0,
        "signature": "none",
    }


def test_inspect_shows_the_manifest(run_command: Run, bundle: Path) -> None:
    """``inspect`` prints features, classes and files; the manifest as JSON."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    done = run_command("inspect", bundle)
    assert (done.returncode, done.stderr) == (0, b"")
    for word in (
        "  price   number",
        "  rating  number",
        "no, yes",
        "features FP32 [batch, 2]",
        *manifest["files"],
    ):
        assert word.encode() in done.stdout
    assert json.loads(run_command("inspect", bundle, "--json").stdout) == manifest


def test_the_check_of_golden_rows_may_be_left_out(
    run_command: Run, make_bundle: Callable[..., Path]
) -> None:
    """A bundle whose outputs differ exits with 5, unless the check is disabled."""
    folder = make_bundle(bias=1.0)
    command = ("predict", "--file", "-", "--bundle", folder)
    done = run_command(*command, stdin=b"price,rating\n1,2\n")
    assert (done.returncode, done.stdout) == (5, b"")
    assert b"do not serve this bundle here" in done.stderr
    assert run_command(*command, "--no-check", stdin=b"price,rating\n1,2\n").returncode == 0


CODES = "\x1b]0;mine\x07\x1b[2J\x9b31m\x7f\n\rok"


@pytest.mark.parametrize(
    "command", [["inspect"], ["inspect", "--json"], ["verify", "--provider", "cpu"]], ids=" ".join
)
def test_a_bundle_cannot_write_to_the_terminal(
    run_command: Run, make_bundle: Callable[..., Path], command: list[str]
) -> None:
    """Control characters in names are escaped."""
    folder = make_bundle((f"a{CODES}", "b"), (f"no{CODES}", "yes"), name=f"model{CODES}")
    done = run_command(*command, folder)
    assert done.returncode == 0
    text = done.stdout.decode() + done.stderr.decode()
    assert all(sign.isprintable() or sign == "\n" for sign in text)
    assert r"\u001b[2J" in text if "--json" in command else r"model\x1b]0;mine\x07\x1b[2J" in text
    if "--json" in command:
        assert json.loads(text) == json.loads((folder / "manifest.json").read_bytes())


@pytest.mark.parametrize("place", ["key", "file", "folder"])
def test_a_message_cannot_write_to_the_terminal(
    run_command: Run, bundle_copy: Path, place: str
) -> None:
    """Errors about a bundle have control characters escaped."""
    values = json.loads((bundle_copy / "manifest.json").read_bytes())
    if place == "key":
        values[CODES] = 1
    else:
        values["files"][CODES if place == "file" else f"../{CODES}"] = {"sha256": "", "size": 1}
    (bundle_copy / "manifest.json").write_text(json.dumps(values))
    done = run_command("verify", bundle_copy)
    assert done.returncode == 4
    assert all(sign.isprintable() or sign == "\n" for sign in done.stderr.decode())
    assert rb"\x1b[2J" in done.stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], ["predict", "verify", "inspect", "--version"]),
        (
            ["predict"],
            ["--file", "--bundle", "--out", "--provider", "--bad-rows", "--rejects", "--proba",
             "--prefix", "--threads", "--no-check", "--json", "ONNXFERRY_BUNDLE"],
        ),
        (["verify"], ["--provider", "--json", "ONNXFERRY_BUNDLE"]),
        (["inspect"], ["--json", "ONNXFERRY_BUNDLE"]),
    ],
    ids=["runtime", "predict", "verify", "inspect"],
)  # fmt: skip
def test_every_command_explains_itself(
    run_command: Run, command: list[str], words: list[str]
) -> None:
    """``--help`` names every option, in a terminal of eighty columns too."""
    done = run_command(*command, "--help", env={"COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (0, b"")
    for word in words:
        assert word in done.stdout.decode()
    assert max(map(len, done.stdout.decode().splitlines())) <= 80


def test_without_arguments_the_commands_are_shown(run_command: Run) -> None:
    """``runtime`` without arguments prints the help."""
    done = run_command()
    assert b"predict" in done.stdout + done.stderr
    assert done.returncode in {0, 2}


def test_the_version_is_the_distributions(run_command: Run) -> None:
    """``--version`` prints the installed version."""
    assert (
        run_command("--version").stdout == f"onnxferry {metadata.version('onnxferry')}\n".encode()
    )


def test_the_installed_command_is_the_module(bundle: Path) -> None:
    """The console script does what ``python -m runtime`` does."""
    script = Path(sys.executable).with_name("runtime")
    done = subprocess.run([script, "verify", bundle], capture_output=True, check=True)
    assert b"verified" in done.stdout


def test_a_reader_that_leaves_ends_the_command_quietly(
    bundle: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """With ``| head`` the command stops silently, as other filters do."""
    (tmp_path / "in.csv").write_bytes(b"price,rating\n" + b"1.5,2.5\n" * 300_000)
    with subprocess.Popen(
        [sys.executable, "-m", "runtime", "predict", "--file", "in.csv", "--bundle", bundle],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"price,rating,label,probability\n"
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=60) == 128 + 13
    assert said == b""


@pytest.mark.parametrize("arguments", [["inspect"], ["predict", "--file", "-"]])
def test_a_reader_that_was_never_there_is_no_error(
    bundle: Path, environment: dict[str, str], arguments: list[str]
) -> None:
    """A closed pipe causes neither a traceback nor a warning at exit."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "runtime", *arguments],
        input=b"price,rating\n1,2\n",
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**environment, "ONNXFERRY_BUNDLE": str(bundle)},
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + 13, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full of Linux")
@pytest.mark.parametrize("arguments", [["inspect"], ["predict", "--file", "-"]])
def test_a_full_disk_behind_stdout_is_said(
    bundle: Path, environment: dict[str, str], arguments: list[str]
) -> None:
    """``> file`` on a full disk is one message and exit code 3, not success."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "runtime", *arguments],
            input=b"price,rating\n" + b"1,2\n" * 10_000,
            stdout=full,
            stderr=subprocess.PIPE,
            env={**environment, "ONNXFERRY_BUNDLE": str(bundle)},
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr == (
        b"runtime: error: cannot write standard output: No space left on device; "
        b"make room and run again\n"
    )


@pytest.mark.parametrize(
    ("redirection", "code"), [("<&-", 3), (">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 3)]
)
def test_closed_streams_do_no_harm(
    bundle: Path, environment: dict[str, str], table: Path, redirection: str, code: int
) -> None:
    """With a closed stream no message gets into an output file."""
    source = "-" if "<" in redirection else table.name
    done = subprocess.run(  # noqa: S602 - it is the shell that closes streams
        f"{sys.executable} -m runtime predict --file {source} --out out.csv {redirection}",
        shell=True,
        capture_output=True,
        cwd=table.parent,
        env={**environment, "ONNXFERRY_BUNDLE": str(bundle)},
        check=False,
    )
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    out = table.parent / "out.csv"
    assert not out.exists() if code else out.read_bytes().count(b"\n") == 201


def test_an_output_appended_to_its_input_is_refused(
    bundle: Path, environment: dict[str, str], table: Path, products: bytes
) -> None:
    """``--file a.csv >> a.csv`` is refused."""
    with table.open("ab") as appending:
        done = subprocess.run(
            [sys.executable, "-m", "runtime", "predict", "--file", table, "--bundle", bundle],
            stdout=appending,
            stderr=subprocess.PIPE,
            env=environment,
            check=False,
        )
    assert done.returncode == 2
    assert b"is the input" in done.stderr
    assert table.read_bytes() == products


def on_a_terminal(
    command: list[str], folder: Path, environment: dict[str, str], *, stdout_too: bool
) -> tuple[int, bytes, bytes]:
    """Run on a pseudo-terminal; give back exit code, what the terminal showed, and stdout."""
    terminal, end = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "runtime", *command],
        stdin=subprocess.DEVNULL,
        stdout=end if stdout_too else subprocess.PIPE,
        stderr=end,
        cwd=folder,
        env={**environment, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(end)
        shown = read_all(terminal)
        rest = process.stdout.read() if process.stdout else b""
        code = process.wait(timeout=60)
    return code, shown, rest


@pytest.mark.parametrize("stdout_too", [True, False], ids=["all on it", "stdout elsewhere"])
def test_a_terminal_sees_progress(
    bundle: Path, environment: dict[str, str], table: Path, *, stdout_too: bool
) -> None:
    """A progress bar shows rows and speed, and is removed at the end."""
    command = ["predict", "--file", table.name, "--out", "out.csv", "--bundle", str(bundle)]
    code, shown, _ = on_a_terminal(command, table.parent, environment, stdout_too=stdout_too)
    assert code == 0
    assert b"scoring" in shown
    assert b"rows/s" in shown
    last = shown.decode().replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert re.search(r"scored +200 +to out\.csv", last)


def test_a_terminal_sees_the_first_rows(
    bundle: Path, environment: dict[str, str], table: Path
) -> None:
    """Without --out, a terminal shows a preview and the command that saves all."""
    command = ["predict", "--file", table.name, "--bundle", str(bundle)]
    code, shown, _ = on_a_terminal(command, table.parent, environment, stdout_too=True)
    assert code == 0
    assert b"the first 10 of 200 rows" in shown
    assert shown.rstrip().endswith(b"--out scored.csv")


def test_rows_on_a_terminal_are_not_disturbed(
    bundle: Path, environment: dict[str, str], table: Path
) -> None:
    """There is no progress bar if rows are printed to the terminal."""
    command = ["predict", "--file", table.name, "--out", "-", "--bundle", str(bundle)]
    code, shown, _ = on_a_terminal(command, table.parent, environment, stdout_too=True)
    assert code == 0
    assert b"scoring" not in shown
    assert shown.count(b"\r\n") >= 201


def test_a_pipe_sees_no_progress(run_command: Run, bundle: Path, table: Path) -> None:
    """Without a terminal there is only the summary, without control characters."""
    done = run_command("predict", "--file", table.name, "--out", "o.csv", "--bundle", bundle)
    assert done.stderr.count(b"\n") == 2
    assert b"\x1b" not in done.stderr
    assert b"\r" not in done.stderr


@pytest.mark.parametrize("extra", [{}, {"NO_COLOR": "1"}], ids=["colour", "NO_COLOR"])
def test_an_error_is_red_on_a_terminal(
    environment: dict[str, str], tmp_path: Path, extra: dict[str, str]
) -> None:
    """Colors on a terminal only, and not with ``NO_COLOR``."""
    plain = {name: value for name, value in environment.items() if name != "NO_COLOR"}
    code, shown, _ = on_a_terminal(["verify"], tmp_path, plain | extra, stdout_too=False)
    assert code == 4
    assert shown.startswith(b"runtime: error:" if extra else b"\x1b[1;31mruntime: error:\x1b[0m")


def test_json_is_one_line() -> None:
    """JSON output is one object on one line, for any text."""
    text = compact_json({"text": 'a\n"b" é', "number": 1.5, "nothing": None})
    assert "\n" not in text
    assert json.loads(text) == {"text": 'a\n"b" é', "number": 1.5, "nothing": None}
