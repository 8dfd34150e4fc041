"""An output replaces its own kind, and no other file."""

from __future__ import annotations

import gzip
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import parquet

from runtime.cli.predict import score, score_here
from runtime.errors import UsageError
from runtime.io.discovery import find_skipped, find_tables
from runtime.scoring.batch import score_files
from runtime.scoring.options import Options
from runtime.scoring.outputs import DRIFT_REPORT, REJECTS, SUMMARY, check_report_output
from runtime.scoring.pipeline import score_file
from runtime.surfaces import command_surface
from runtime.tables.formats import parse_format
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    from runtime.predictor import Predictor
    from runtime.scoring.summary import Summary

TABLE = b"price,rating\n8,4\n,3\n2,3\n"
REJECT = Options(bad_rows="reject", rejects=Path("bad.csv"), drift=Path("d.json"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a table."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_bytes(TABLE)
    parquet.write_table(pa.table({"a": [1]}), "t.parquet")
    return tmp_path


def score_all(predictor: Predictor, out: str = "o.csv", options: Options = REJECT) -> Summary:
    """Write all four outputs."""
    source, summary = Path("in.csv"), Path("s.json")
    run = partial(score_here, predictor, source, Path(out), options)
    return score(run, source, Path(out), options, summary_path=summary)


def test_each_output_replaces_itself(predictor: Predictor) -> None:
    """The same command runs again and again; each written file is named in the summary."""
    for _ in range(2):
        summary = score_all(predictor)
        found = {name: str(path) for name, path in summary.files.items()}
        names = {"out": "o.csv", "rejects": "bad.csv", "drift": "d.json", "summary": "s.json"}
        assert found == names == summary.values()["files"]


@pytest.mark.parametrize("name", ["d.json", "s.json", "bad.csv", "o.csv"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(TABLE, id="a table"),
        pytest.param(b'{\n  "a": 1\n}\n', id="JSON"),
        pytest.param(b"Dear reader,\nthis is a letter\n", id="text"),
        pytest.param(b"PK\x03\x04\x00\xff", id="zip"),
        pytest.param(gzip.compress(TABLE), id="gzip"),
    ],
)
def test_another_file_stays(predictor: Predictor, name: str, content: bytes) -> None:
    """Nothing is written at all; with ``force`` it is replaced."""
    if name == "o.csv" and content == TABLE:
        return
    Path(name).write_bytes(content)
    with command_surface(), pytest.raises(UsageError, match=rf"^{name} exists .* with --force$"):
        score_all(predictor)
    assert Path(name).read_bytes() == content
    assert {*os.listdir()} == {"in.csv", "t.parquet", name}  # noqa: PTH208 - names
    forced = Options(bad_rows="reject", rejects=REJECT.rejects, drift=REJECT.drift, force=True)
    score_all(predictor, options=forced)
    assert Path(name).read_bytes() != content


@pytest.mark.parametrize("what", [DRIFT_REPORT, SUMMARY, REJECTS])
def test_one_report_is_not_another(predictor: Predictor, what: str) -> None:
    """Reports are told apart by their content."""
    score_all(predictor)
    own = {DRIFT_REPORT: "d.json", SUMMARY: "s.json", REJECTS: "bad.csv"}
    for name in ("d.json", "s.json", "bad.csv", "o.csv"):
        if name == own[what]:
            check_report_output(Path(name), what, force=False)
        else:
            with pytest.raises(UsageError, match=f"exists and is .*, not {what}"):
                check_report_output(Path(name), what, force=False)


@pytest.mark.parametrize(
    ("out", "out_format", "is_replaced"),
    [
        ("x.csv", None, False),  # a Parquet file of that name
        ("x.csv", "parquet", True),
        ("t.parquet", None, True),
        ("t.parquet", "jsonl", False),
        ("x", "arrow", False),
        ("semicolons.csv", None, True),
        ("zipped.csv.gz", None, True),
        ("zipped.csv.gz", "csv", False),
        ("tabs.tsv", None, True),
        ("rows.jsonl", None, True),
        ("wide.csv", None, True),
        ("empty.csv", None, True),
        ("sep.csv", None, True),
    ],
)
def test_a_table_is_replaced_by_one_in_its_format(
    predictor: Predictor, out: str, out_format: str | None, *, is_replaced: bool
) -> None:
    """The content counts, not the name."""
    for name in ("x.csv", "x"):
        Path(name).write_bytes(Path("t.parquet").read_bytes())
    Path("semicolons.csv").write_bytes(b"a;b\n1,5;2\n")
    Path("zipped.csv.gz").write_bytes(gzip.compress(TABLE))
    Path("tabs.tsv").write_bytes(b"a\tb\n1\t2\n")
    Path("rows.jsonl").write_bytes(b'{"rows": 1}\n{"rows": 2}\n')
    Path("wide.csv").write_bytes(b",".join(b"column%d" % at for at in range(20_000)) + b"\n1" * 9)
    Path("empty.csv").touch()
    Path("sep.csv").write_bytes(b"sep=;\na;b\n\n1;2\n")
    options = Options(
        bad_rows="null", out_format=None if out_format is None else parse_format(out_format)
    )
    before = Path(out).read_bytes()
    if is_replaced:
        score_file(predictor, Path("in.csv"), out, options)
    else:
        with pytest.raises(UsageError, match=f"^{out} exists and is a table in "):
            score_file(predictor, Path("in.csv"), out, options)
    assert (Path(out).read_bytes() != before) == is_replaced


def test_an_own_delimiter_is_recognised(predictor: Predictor) -> None:
    """What a command wrote with ``--delimiter ^`` it replaces."""
    Path("in.csv").write_bytes(TABLE.replace(b",", b"^"))
    options = Options(reading=ReadOptions(delimiter=b"^"), bad_rows="null")
    for _ in range(2):
        score_file(predictor, Path("in.csv"), Path("o.csv"), options)


def test_devices_and_pipes_are_written_in_place(predictor: Predictor) -> None:
    """They hold nothing to be replaced."""
    for out in ("/dev/null", "/dev/stdout"):
        options = Options(bad_rows="null", drift=Path("/dev/null"))
        score_file(predictor, Path("in.csv"), out, options)


def test_files_of_a_batch_are_checked_before_the_first_is_scored(predictor: Predictor) -> None:
    """The last of the outputs would replace another file."""
    for name in ("in/a.csv", "in/b.csv"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(TABLE)
    Path("out").mkdir()
    Path("out/b.csv").write_bytes(Path("t.parquet").read_bytes())
    scored: list[Path] = []
    with pytest.raises(UsageError, match=r"^out/b\.csv exists"):
        score_files(
            predictor, "in", "out", Options(bad_rows="null"), lambda name, *_: scored.append(name)
        )
    assert scored == []


def test_lists_of_rejected_rows_are_no_tables_of_a_pattern(predictor: Predictor) -> None:
    """The next run over the same pattern skips what the last one wrote; by name it is read."""
    score_file(predictor, Path("in.csv"), Path("o.csv"), Options(bad_rows="reject"))
    Path("mine.rejects.csv").write_bytes(TABLE)
    for pattern in ("*.csv", "."):
        tables = find_tables(Path(pattern))[1]
        assert {str(path) for path in tables if path.suffix == ".csv"} == {
            "in.csv",
            "mine.rejects.csv",
            "o.csv",
        }
        assert find_skipped(Path(pattern)).rejects == (Path("o.csv.rejects.csv"),)
