"""Every option of ``runtime predict``, once through the command, to the files it leaves."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

PLAIN = b"price,rating,name\n8,4,yes\n1,2,no\n"
ANSWERS = [b",yes,0.9", b",no,0.9"]

OPTIONS = [
    pytest.param(PLAIN, "", b"price,rating,name,label,probability", id="none"),
    pytest.param(PLAIN, "--columns name,price", b"name,price,label,probability", id="columns"),
    pytest.param(PLAIN, "--columns=", b"label,probability", id="no columns"),
    pytest.param(
        b'price,rating,"a,b"\n1,2,x\n',
        "--columns '\"a,b\"'",
        b'"a,b",label,probability',
        id="quoted",
    ),
    pytest.param(
        PLAIN,
        "--proba all --prefix m_",
        b"price,rating,name,m_label,m_probability,m_probability_no,m_probability_yes",
        id="proba and prefix",
    ),
    pytest.param(
        PLAIN.replace(b",", b"^"),
        "--delimiter ^",
        b"price^rating^name^label^probability",
        id="delimiter",
    ),
    pytest.param(
        b"price;rating\n1,5;2\n", "--decimal ,", b"price;rating;label;probability", id="decimal"
    ),
    pytest.param(
        b" Price,RATING\n1,2\n", "--loose-header", b" Price,RATING,label,probability", id="loose"
    ),
    pytest.param(
        b"price,rating,n\n1,2,caf\xe9\n",
        "--encoding cp1252 --columns n",
        b"n,label,probability",
        id="encoding",
    ),
    pytest.param(
        b'{"price": 1, "rating": 2}\n',
        "--format jsonl --out-format tsv",
        b"price\trating\tlabel\tprobability",
        id="formats",
    ),
    pytest.param(
        PLAIN + b"x,1,z\n",
        "--bad-rows null",
        b"price,rating,name,label,probability,reason",
        id="null",
    ),
    pytest.param(PLAIN, "--threads 3 --no-check --provider cpu", PLAIN[:17] + b",label", id="rest"),
]


@pytest.mark.parametrize(("data", "options", "header"), OPTIONS)
def test_an_option_does_what_it_says(
    run_command: Run, bundle: Path, tmp_path: Path, data: bytes, options: str, header: bytes
) -> None:
    """The same table on standard output and in a file, as asked for."""
    (tmp_path / "in").write_bytes(data)
    command = ("predict", "--bundle", bundle, "--file", "in", *shlex.split(options))
    done = run_command(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith(header)
    saved = run_command(*command, "--out", "out")
    assert (saved.returncode, saved.stdout) == (0, b"")
    assert (tmp_path / "out").read_bytes() == done.stdout


WRONG = [
    pytest.param("--format xlsx", "unknown format 'xlsx'", id="format"),
    pytest.param("--out-format parquet.gz", "compresses its columns itself", id="out format"),
    pytest.param("--delimiter ab", "delimiter", id="delimiter"),
    pytest.param("--encoding utf-7", "cannot be read", id="encoding"),
    pytest.param("--decimal ;", "';'", id="decimal"),
    pytest.param("--rejects r.csv", "give both", id="rejects alone"),
    pytest.param("--summary -", "--json prints the same", id="summary to stdout"),
    pytest.param("--summary in.csv", "is the input", id="summary over the input"),
    pytest.param("--summary out.csv", "written twice", id="summary over the output"),
    pytest.param("--drift in.csv", "is the input", id="drift over the input"),
    pytest.param("--drift ./out.csv", "written twice", id="drift over the output"),
    pytest.param("--drift d.json --summary d.json", "written twice", id="drift and summary"),
    pytest.param("--summary gone/s.json", "cannot write into", id="no such folder"),
    pytest.param("--bad-rows reject --rejects out.csv", "written twice", id="rejects"),
    pytest.param("--bad-rows reject --summary out.csv.rejects.csv", "twice", id="both lists"),
]


@pytest.mark.parametrize(("options", "said"), WRONG)
def test_options_that_cannot_be_leave_everything(
    run_command: Run, bundle: Path, tmp_path: Path, options: str, said: str
) -> None:
    """Exit code 2 and one message before anything is scored; nothing is written or replaced."""
    (tmp_path / "in.csv").write_bytes(PLAIN)
    command = ("predict", "--bundle", bundle, "--file", "in.csv", "--out", "out.csv")
    done = run_command(*command, *options.split())
    assert done.returncode == 2, done.stderr
    assert said in done.stderr.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
    assert (tmp_path / "in.csv").read_bytes() == PLAIN


@pytest.mark.parametrize("options", ["--columns nope", "--columns name,name", "--truth nope"])
def test_a_column_that_is_not_there_is_said(
    run_command: Run, bundle: Path, tmp_path: Path, options: str
) -> None:
    """Exit code 3, the option and the name in the message."""
    (tmp_path / "in.csv").write_bytes(PLAIN)
    command = ("predict", "--bundle", bundle, "--file", "in.csv", "--out", "out.csv")
    done = run_command(*command, *options.split())
    assert done.returncode == 3
    assert options.split(maxsplit=1)[0] in done.stderr.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_all_that_can_be_known_of_a_run(run_command: Run, bundle: Path, tmp_path: Path) -> None:
    """Truth, drift, summary, profile and JSON together, each in its place and all agreeing."""
    (tmp_path / "in.csv").write_bytes(PLAIN + b"x,1,no\n" + PLAIN.partition(b"\n")[2] * 100)
    command = ("predict", "--bundle", bundle, "--file", "in.csv", "--out", "out.csv", "--json")
    done = run_command(
        *command,
        *("--bad-rows", "reject", "--rejects", "bad.csv", "--truth", "name"),
        *("--drift", "drift.json", "--summary", "sum.json", "--profile"),
    )
    assert (done.returncode, done.stderr) == (0, b"")
    values = json.loads(done.stdout)
    assert json.loads((tmp_path / "sum.json").read_bytes()) == values
    assert (values["rows"], values["scored"], values["rejected"]) == (203, 202, 1)
    assert values["truth"]["rows"] == 202
    assert set(values["stages"]) >= {"read", "parse", "model", "format", "write"}
    assert {
        feature["name"]
        for feature in json.loads((tmp_path / "drift.json").read_bytes())["features"]
    } | {"name"} == set(values["drift"])
    assert values["rejects"] == "bad.csv"
    assert len((tmp_path / "bad.csv").read_bytes().splitlines()) == 2
    assert "stages" not in json.loads(
        run_command(*command[:-1], "--bad-rows", "null", "--json").stdout
    )


@pytest.mark.parametrize("policy", ["fail", "damaged"])
def test_no_summary_of_a_run_that_failed(
    run_command: Run, bundle: Path, tmp_path: Path, policy: str
) -> None:
    """It appears with the output, or stays as it was."""
    data = b"price,rating\nx,1\n" if policy == "fail" else b"price\n1\n"
    (tmp_path / "in.csv").write_bytes(data)
    (tmp_path / "sum.json").write_bytes(b"before")
    command = ("predict", "--bundle", bundle, "--file", "in.csv", "--out", "out.csv")
    done = run_command(*command, "--summary", "sum.json", "--drift", "drift.json", "--force")
    assert done.returncode == 3
    assert (tmp_path / "sum.json").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "sum.json"]


@pytest.mark.parametrize("out", ["csv", "jsonl", "parquet"])
def test_a_reader_that_leaves_ends_it_quietly(
    bundle: Path, environment: dict[str, str], tmp_path: Path, out: str
) -> None:
    """``cat x.csv | runtime predict --file - | head -1``, in any format: not a word."""
    (tmp_path / "in.csv").write_bytes(b"price,rating\n" + b"1.5,2.5\n" * 600_000)
    command = f"{sys.executable} -m runtime predict --file - --bundle {bundle} --out-format {out}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"cat in.csv | {command} | head -c 10 | wc -c"],
        capture_output=True,
        cwd=tmp_path,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == b"10"
    assert done.stderr == b""
    assert done.returncode in {128 + 13, 0}
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.parametrize("out", ["csv", "parquet"])
def test_pipes_with_names_are_read_and_written(
    run_command: Run, bundle: Path, tmp_path: Path, out: str
) -> None:
    """A FIFO is a stream like any other: what goes through it is what a file would hold."""
    (tmp_path / "in.csv").write_bytes(PLAIN * 1)
    expected = run_command("predict", "--bundle", bundle, "--file", "in.csv", "--out-format", out)
    os.mkfifo(tmp_path / "source")
    os.mkfifo(tmp_path / "target")
    got: list[bytes] = []
    feeding = threading.Thread(target=(tmp_path / "source").write_bytes, args=(PLAIN,))
    reading = threading.Thread(target=lambda: got.append((tmp_path / "target").read_bytes()))
    feeding.start()
    reading.start()
    command = ("predict", "--bundle", bundle, "--file", "source", "--out", "target")
    done = run_command(*command, "--out-format", out)
    feeding.join(timeout=60)
    reading.join(timeout=60)
    assert done.returncode == 0, done.stderr
    assert got == [expected.stdout]
    assert (tmp_path / "target").is_fifo()


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("parquet", "--encoding latin-1", "--encoding is for text, and the table is parquet"),
        ("parquet", "--delimiter ;", "--delimiter is for delimited text"),
        ("jsonl", "--delimiter ;", "--delimiter is for delimited text"),
        ("parquet", "--delimiter ; --out-format csv", None),
        ("jsonl", "--encoding utf-8", None),
    ],
)
def test_options_that_can_change_nothing_are_refused(
    run_command: Run, bundle: Path, tmp_path: Path, kind: str, options: str, said: str | None
) -> None:
    """Options without effect are refused."""
    (tmp_path / "in.csv").write_bytes(PLAIN)
    command = ["predict", "--bundle", bundle, "--file"]
    made = run_command(*command, "in.csv", "--out", f"in.{kind}", "--prefix", "m_")
    assert made.returncode == 0, made.stderr
    done = run_command(*command, f"in.{kind}", "--out", f"o.{kind}", *options.split())
    assert done.returncode == (2 if said else 0), done.stderr
    assert (said or "2 of 2 rows scored").encode() in done.stderr


def test_one_object_on_stdout_at_most(run_command: Run, bundle: Path, tmp_path: Path) -> None:
    """Where drift goes to standard output, the summary for machines goes to stderr."""
    (tmp_path / "in.csv").write_bytes(PLAIN)
    command = ["predict", "--bundle", bundle, "--file", "in.csv", "--out", "o.csv", "--json"]
    done = run_command(*command, "--drift", "-")
    assert json.loads(done.stdout)["rows"] == 2
    assert json.loads(done.stderr)["scored"] == 2


def test_a_name_cannot_write_to_the_terminal(
    run_command: Run, bundle: Path, tmp_path: Path
) -> None:
    """The names of files are shown without the codes that they may hold."""
    (tmp_path / "in.csv").write_bytes(PLAIN)
    done = run_command("predict", "--bundle", bundle, "--file", "in.csv", "--out", "\x1b[2Jo.csv")
    assert done.returncode == 0
    assert rb"to \x1b[2Jo.csv" in done.stderr
    assert b"\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.csv", "b.csv"], "unexpected argument b.csv; quote a pattern: --file '*.csv'"),
        (
            ["a.csv", "k=1/b.csv", "c.csv"],
            "unexpected argument k=1/b.csv; quote a pattern: --file '**/*.csv'",
        ),
        (["a.csv", "oops"], "unexpected argument oops"),
    ],
)
def test_words_too_many_are_refused(
    run_command: Run, bundle: Path, words: list[str], said: str
) -> None:
    """Extra arguments, as of an unquoted pattern, are refused."""
    done = run_command("predict", "--bundle", bundle, "--file", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == f"runtime: error: {said}\n"
