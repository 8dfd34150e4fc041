"""Previews, from the library and on a terminal."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from terminals import read_all

from runtime.errors import DataError, SchemaError
from runtime.printable import quote_command
from runtime.scoring.options import Options
from runtime.scoring.preview import score_preview
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runtime.predictor import Predictor


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_the_first_rows_are_those_of_the_whole(
    predictor: Predictor, products: bytes, tmp_path: Path
) -> None:
    """Cells as they are saved, new columns last; the total is unknown."""
    source = write(tmp_path / "in.csv", products)
    predictor.score_file(source, tmp_path / "out.csv")
    saved = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    first = score_preview(predictor, source, Options(), 10)
    assert list(first.names) == saved[0]
    assert first.n_added == 2
    assert first.total == 200
    for found, expected in zip(first.rows, saved[1:11], strict=True):
        assert list(found[:-1]) == expected[:-1]
        assert float(found[-1]) == pytest.approx(float(expected[-1]))


@pytest.mark.parametrize(
    ("sizes", "total"),
    [([3, 4, 9], 16), ([3, 7, 1], None), ([3, 4, 3], 10), ([2, 0, 1], 3), ([10, 1], None), ([], 0)],
    ids=str,
)
def test_short_batches_are_read_on(
    predictor: Predictor, tmp_path: Path, sizes: list[int], total: int | None
) -> None:
    """A preview has ten rows for any block size."""
    schema = pa.schema({"price": pa.float64(), "rating": pa.float64(), "n": pa.int64()})
    with pa.ipc.new_file(tmp_path / "in.arrow", schema) as writer:
        for at, size in enumerate(sizes):
            numbers = [[1.0] * size, [2.0] * size, [at] * size]
            writer.write_batch(pa.record_batch(numbers, schema=schema))
    first = score_preview(predictor, tmp_path / "in.arrow", Options(), 10)
    whole = [str(at) for at, size in enumerate(sizes) for _ in range(size)]
    assert [row[2] for row in first.rows] == whole[:10]
    assert first.total == total
    assert first.names == ("price", "rating", "n", "label", "probability")


def test_bad_rows_show_their_reason(predictor: Predictor, tmp_path: Path) -> None:
    """A preview keeps bad rows, whatever the policy."""
    source = write(tmp_path / "in.csv", b"price,rating\n1,2\n,2\n3\n")
    for policy in ("fail", "reject", "null"):
        options = Options(bad_rows=policy)
        first = score_preview(predictor, source, options, 10)
        assert first.names[-1] == "reason"
        reasons = ["", "price: missing value", "too few fields (1 instead of 2)"]
        assert [row[-1] for row in first.rows] == reasons
        assert first.rows[1][2:4] == ("", "")


def test_bad_rows_that_are_alike_have_a_hint(predictor: Predictor, tmp_path: Path) -> None:
    """The option that reads them, in previews and where bad rows are kept."""
    source = write(tmp_path / "in.csv", b"price;rating;name\n" + b"1,5;2;\xe4\n" * 20)
    hint = "column 'price' looks like numbers with decimal commas: give decimal=\",\""
    assert score_preview(predictor, source, Options(), 10).hints == (hint,)
    summary = predictor.score_file(source, tmp_path / "out.csv", bad_rows="null")
    assert summary.hints == (hint,)
    assert predictor.score_file(source, tmp_path / "out.csv", decimal=",").hints == ()


def test_a_column_called_reason_is_in_nobodys_way(predictor: Predictor, tmp_path: Path) -> None:
    """A column "reason" is allowed in a preview, unless the policy is ``null``."""
    source = write(tmp_path / "in.csv", b"price,rating,reason\n1,2,why\n")
    first = score_preview(predictor, source, Options(), 10)
    assert first.names == ("price", "rating", "reason", "label", "probability")
    assert first.rows[0][2] == "why"
    with pytest.raises(SchemaError, match="'reason'"):
        score_preview(predictor, source, Options(bad_rows="null"), 10)


def test_options_are_heeded(predictor: Predictor, tmp_path: Path) -> None:
    """Chosen columns, a class's probabilities, names, a loose header, decimal commas."""
    source = write(tmp_path / "in.csv", b"id;Price ;rating\n7;1,5;2\n")
    reading = ReadOptions(decimal=",", loose_header=True)
    options = Options(reading=reading, columns=("id",), proba=True, prefix="m_")
    first = score_preview(predictor, source, options, 10)
    assert first.names == (
        "id",
        "m_label",
        "m_probability",
        "m_probability_no",
        "m_probability_yes",
    )
    assert first.n_added == 4
    assert first.rows[0][:2] == ("7", "no")


def test_typed_cells_are_shown_as_text(predictor: Predictor, tmp_path: Path) -> None:
    """Nested, missing, undecodable and categorical cells among them."""
    words = pa.DictionaryArray.from_arrays(
        pa.array([0, None], pa.int32()), pa.array(["w"], pa.string_view())
    )
    table = pa.table(
        {"price": [1.0, 2.0], "rating": [2.0, 3.0], "w": words, "l": [[1, 2], None],
         "b": [b"\xff", b""]}
    )  # fmt: skip
    with pa.ipc.new_file(tmp_path / "in.arrow", table.schema) as writer:
        writer.write_table(table)
    first = score_preview(predictor, tmp_path / "in.arrow", Options(), 10)
    assert [row[2:5] for row in first.rows] == [("w", "[1, 2]", r"\xff"), ("", "", "")]


def test_what_is_no_table_is_said(predictor: Predictor, tmp_path: Path) -> None:
    """The errors are those of scoring all."""
    with pytest.raises(DataError, match="is empty"):
        score_preview(predictor, write(tmp_path / "in.csv", b""), Options(), 10)
    with pytest.raises(SchemaError, match="'rating' is missing"):
        score_preview(predictor, write(tmp_path / "in.csv", b"price\n1\n"), Options(), 10)


def look(folder: Path, environment: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Run the command on a terminal of 100 columns: its exit code and what was shown."""
    terminal, end = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "runtime", "predict", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=end,
        stderr=end,
        cwd=folder,
        env={**environment, "TERM": "dumb", "COLUMNS": "100"},
    ) as process:
        os.close(end)
        shown = read_all(terminal)
        code = process.wait(timeout=60)
    return code, shown.decode().replace("\r\n", "\n")


def test_a_terminal_shows_them_with_how_to_save_all(
    bundle: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """The last line is a command that can be copied, blanks in names and all."""
    name = "my products.csv"
    write(tmp_path / name, b"price,rating\n1,2\n,2\n")
    options = ("--bundle", str(bundle), "--proba", "all")
    code, shown = look(tmp_path, environment, "--file", name, *options)
    assert code == 0
    assert "all 2 rows" in shown
    assert "price: missing value" in shown
    *_, choice, reject, null = shown.splitlines()
    assert choice == "1 of 2 rows is bad: choose --bad-rows reject or null"
    for line, policy, lines in ((reject, "reject", 2), (null, "null", 3)):
        command = shlex.split(line.removeprefix("save all: "))
        assert command[:4] == ["runtime", "predict", "--file", name]
        assert command[-4:] == ["--bad-rows", policy, "--out", "scored.csv"]
        code, shown = look(tmp_path, environment, *command[2:])
        assert code == 0
        saved = (tmp_path / "scored.csv").read_bytes()
        assert saved.startswith(b"price,rating,label,probability,")
        assert saved.count(b"\n") == lines


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (b"price,rating\n", 0, "all 0 rows"),
        (b"price\n1\n", 3, "'rating' is missing"),
        (b"", 3, "is empty"),
    ],
    ids=["no rows", "no column", "empty"],
)
def test_a_terminal_sees_what_is_wrong(
    bundle: Path, environment: dict[str, str], tmp_path: Path, data: bytes, code: int, said: str
) -> None:
    """One message, the documented code, and no file."""
    write(tmp_path / "in.csv", data)
    found, shown = look(tmp_path, environment, "--file", "in.csv", "--bundle", str(bundle))
    assert (found, said in shown, "Traceback" in shown) == (code, True, False)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.parametrize(
    ("name", "option", "saved"),
    [
        ("in.csv", "--out-format=parquet", "scored.parquet"),
        ("in.csv", "--out-format=csv.gz", "scored.csv.gz"),
        ("scored.csv", "--proba=yes", "scored2.csv"),
    ],
)
def test_the_name_to_save_under_is_one_that_can_be(
    bundle: Path, environment: dict[str, str], tmp_path: Path, name: str, option: str, saved: str
) -> None:
    """The suggested name has the output format's extension, and replaces no file."""
    write(tmp_path / name, b"price,rating\n1,2\n")
    *_, last = look(tmp_path, environment, "--file", name, "--bundle", str(bundle), option)[
        1
    ].split("save all: ")
    code, _ = look(tmp_path, environment, *shlex.split(last)[2:])
    assert code == 0
    again = ("--file", saved, "--bundle", str(bundle), "--prefix", "m_")
    assert look(tmp_path, environment, *again)[0] == 0


@pytest.mark.parametrize(
    "option",
    [
        "--json",
        "--profile",
        "--summary=s.json",
        "--truth=name",
        "--bad-rows=reject --rejects=r.csv",
    ],
)
def test_who_asks_for_more_gets_all_rows(
    bundle: Path, environment: dict[str, str], tmp_path: Path, option: str
) -> None:
    """Options that need all rows score the table to the terminal."""
    write(tmp_path / "in.csv", b"price,rating,name\n" + b"1,2,no\n" * 30)
    arguments = ("--file", "in.csv", "--bundle", str(bundle), *option.split())
    code, shown = look(tmp_path, environment, *arguments)
    assert code == 0
    assert shown.count("\n1,2,no,no,0.99") == 30


def test_all_rows_that_were_read_are_counted(predictor: Predictor, tmp_path: Path) -> None:
    """Bad rows below those that are shown are counted; undecodable cells are noticed."""
    source = write(tmp_path / "in.csv", b"price,rating,name\n" + b"1,2,a\n" * 30 + b"x,2,a\n" * 3)
    first = score_preview(predictor, source, Options(), 10)
    assert (first.bad, first.read, first.total, first.is_undecodable) == (3, 33, 33, False)
    assert first.names[-1] == "probability"
    write(source, b"price,rating,name\n1,2,M\xfcller\n")
    assert score_preview(predictor, source, Options(), 10).is_undecodable
    options = Options(reading=ReadOptions(encoding="cp1252"))  # type: ignore[arg-type]  # parsed
    assert not score_preview(predictor, source, options, 10).is_undecodable


@pytest.mark.parametrize("name", ["a b.csv", "it's.csv", "tab\t.csv", "\\\x01'é.csv", "\udcff.csv"])
def test_any_name_can_be_copied(name: str) -> None:
    """A shell reads the very name from printable characters."""
    command = quote_command(["printf", "%s", name])
    assert command.isprintable()
    shown = subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout
    assert shown == os.fsencode(name)
