"""Batches of tables: a folder or a glob pattern."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runtime.errors import BadRowsError, DataError, UsageError
from runtime.io.discovery import find_tables
from runtime.io.paths import is_folder_or_pattern
from runtime.monitoring.drift import DriftReport
from runtime.scoring.batch import score_files
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file
from runtime.tables.formats import parse_format
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from runtime.predictor import Predictor

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

OUTSIDE = "not read by the model, nor in its training table"
ROWS = b"price,rating\n1,2\n8,4\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tables in several formats, in which the work is done from outside."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "in"
    fill(root, "a.csv", "b.tsv", "deep/er/c.csv", "deep/d.csv", ".hidden.csv", ".cache/e.csv")
    (root / "b.tsv").write_bytes(ROWS.replace(b",", b"\t"))
    (root / "deep" / "f.jsonl").write_bytes(b'{"price": 1, "rating": 2}\n')
    pq.write_table(pa.table({"price": [1.0], "rating": [2.0]}), root / "g.parquet")
    return root


def fill(root: Path, *names: str, data: bytes = ROWS) -> None:
    """Write the same table under several names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def files(root: Path) -> list[str]:
    """Names of all files of a folder."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


ALL = ["a.csv", "b.tsv", "deep/d.csv", "deep/er/c.csv", "deep/f.jsonl", "g.parquet"]
SOURCES = [
    pytest.param("in", ALL, id="folder"),
    pytest.param("in/*.csv", ["a.csv"], id="pattern"),
    pytest.param("in/?.[ct]sv", ["a.csv", "b.tsv"], id="signs and sets"),
    pytest.param("in/**/*.csv", ["a.csv", "deep/d.csv", "deep/er/c.csv"], id="any depth"),
    pytest.param("in/deep/*/*.csv", ["er/c.csv"], id="a folder's pattern"),
    pytest.param("in/**", ALL, id="all of it"),
    pytest.param("./in/../in/*.csv", ["a.csv"], id="a winding path"),
]


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
@pytest.mark.parametrize(("source", "expected"), SOURCES)
def test_the_output_mirrors_the_input(
    predictor: Predictor, folder: Path, source: str, expected: list[str], *, absolute: bool
) -> None:
    """Each table is scored as if alone, under its name; hidden files are skipped."""
    given = str(folder.parent / source) if absolute else source
    done = score_files(predictor, given, "out")
    assert files(Path("out")) == expected
    assert sorted(map(str, done.tables)) == expected
    root, _ = find_tables(Path(source))
    for name in expected:
        alone = folder.parent / f"alone.{name.rpartition('.')[2]}"
        summary = score_file(predictor, root / name, alone)
        assert Path("out", name).read_bytes() == alone.read_bytes()
        assert done.tables[Path(name)].rows == summary.rows
    assert done.total.rows == sum(summary.rows for summary in done.tables.values())


def test_another_format_gives_another_ending(predictor: Predictor, folder: Path) -> None:
    """The extensions of a format are replaced; other dots are kept."""
    fill(folder, "2024.01.csv", "2024.02.csv", "v1")
    (folder / "b.tsv").rename(folder / "b.TSV")
    score_files(predictor, folder, "out", Options(out_format=parse_format("jsonl.gz")))
    assert files(Path("out")) == [
        "2024.01.jsonl.gz",
        "2024.02.jsonl.gz",
        "a.jsonl.gz",
        "b.jsonl.gz",
        "deep/d.jsonl.gz",
        "deep/er/c.jsonl.gz",
        "deep/f.jsonl.gz",
        "g.jsonl.gz",
        "v1.jsonl.gz",
    ]


COLLISIONS = [
    pytest.param(("a.csv", "a.tsv"), {"out_format": parse_format("parquet")}, id="two formats"),
    pytest.param(("a.csv", "a.csv.rejects.csv"), {"bad_rows": "reject"}, id="a list of rejects"),
    pytest.param(("a.csv",), {"drift": Path("out/a.csv")}, id="drift"),
]


@pytest.mark.parametrize(("names", "options"), COLLISIONS)
def test_two_outputs_of_one_name_are_refused(
    predictor: Predictor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    options: dict[str, object],
) -> None:
    """Conflicts are refused before anything is read or written."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "in", *names)
    told: list[Path] = []
    with pytest.raises(UsageError, match="written twice"):
        score_files(
            predictor,
            "in",
            "out",
            Options(**options),  # type: ignore[arg-type]  # from a table
            lambda table, *_: told.append(table),
        )
    assert told == []
    assert not Path("out").exists()


PLACES = [
    pytest.param("in", "in", "is in the input folder", id="itself"),
    pytest.param("in", "in/out", "is in the input folder", id="inside"),
    pytest.param("in", "in/deep/../x", "is in the input folder", id="inside by a winding path"),
    pytest.param("in/**/*.csv", "in/out", "is in the input folder", id="where a pattern looks"),
    pytest.param("in/*.csv", "in", "is in the input folder", id="a pattern's folder"),
    pytest.param("in", "-", 'give out="FOLDER"', id="standard output"),
    pytest.param("in", "file", "is a file", id="a file"),
]


@pytest.mark.parametrize(("source", "out", "said"), PLACES)
def test_a_place_that_cannot_be_the_output_is_refused(
    predictor: Predictor, folder: Path, source: str, out: str, said: str
) -> None:
    """Outputs within the input folder are refused."""
    (folder.parent / "file").write_bytes(b"")
    before = files(folder)
    with pytest.raises(UsageError, match=said):
        score_files(predictor, source, out)
    assert files(folder) == before


def test_a_pattern_that_looks_in_one_folder_may_write_below_it(
    predictor: Predictor, folder: Path
) -> None:
    """The output folder ``scored/`` is not matched by ``*.csv``."""
    os.chdir(folder)
    for _ in range(2):
        assert set(score_files(predictor, "*.csv", "scored").tables) == {Path("a.csv")}
    assert files(folder / "scored") == ["a.csv"]


def test_no_table_is_written_over_by_another(predictor: Predictor, folder: Path) -> None:
    """A folder within of the same name would put its outputs over the tables above."""
    fill(folder, "in/a.csv")
    with pytest.raises(UsageError, match=r"in/a\.csv is one of the tables"):
        score_files(predictor, "in", ".")
    with pytest.raises(UsageError, match=r"in/a\.csv is (the input|one of the tables)"):
        score_files(predictor, "in", "out", Options(drift=Path("in/a.csv")))
    assert (folder / "a.csv").read_bytes() == ROWS
    assert not Path("out").exists()


@pytest.mark.parametrize("source", ["in/*.parq", "gone/*.csv", "in/empty"])
def test_nothing_to_score_is_an_error(predictor: Predictor, folder: Path, source: str) -> None:
    """A pattern without matches is an error."""
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="holds no tables"):
        score_files(predictor, source, "out")
    assert not Path("out").exists()


BROKEN = [
    pytest.param(b"price,rating\n1,x\n", BadRowsError, id="a bad row"),
    pytest.param(b"price\n1\n", DataError, id="no column"),
    pytest.param(b"", DataError, id="empty"),
]


@pytest.mark.parametrize(("data", "error"), BROKEN)
def test_one_table_that_fails_leaves_nothing(
    predictor: Predictor, folder: Path, data: bytes, error: type[DataError]
) -> None:
    """All outputs appear together, or none; earlier ones stay as they were."""
    (folder / "deep" / "er" / "c.csv").write_bytes(data)
    with pytest.raises(error, match=r"c\.csv"):
        score_files(predictor, folder, "out")
    assert not Path("out").exists()
    fill(Path("out"), "a.csv", "mine.txt", data=b"be,fore")
    with pytest.raises(error):
        score_files(predictor, folder, "out")
    assert files(Path("out")) == ["a.csv", "mine.txt"]
    assert Path("out", "a.csv").read_bytes() == b"be,fore"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["in", "out"]


def test_what_is_no_table_is_said(predictor: Predictor, folder: Path) -> None:
    """A file of an unknown format is an error."""
    fill(folder, "notes.md")
    with pytest.raises(UsageError, match=r"notes\.md: the extension \.md is not a known format"):
        score_files(predictor, folder, "out")


def test_a_file_that_is_no_table_is_named_at_once(predictor: Predictor, folder: Path) -> None:
    """The message about an unknown format shows a pattern."""
    fill(folder, "notes.md")
    with pytest.raises(UsageError, match=r'notes\.md: .*source="in/\*\*/\*\.csv"'):
        score_files(predictor, "in", "out")
    assert not Path("out").exists()


def test_a_format_that_is_given_needs_no_ending(predictor: Predictor, folder: Path) -> None:
    """Options give the format, for one table and for batches."""
    fill(folder / "new", "x.2026", "y.md")
    csv = parse_format("csv")
    options = Options(reading=ReadOptions(format=csv), out_format=csv)
    score_files(predictor, "in/new", "out", options)
    assert files(Path("out")) == ["x.2026.csv", "y.md.csv"]
    score_file(predictor, "in/new/y.md", "alone.2026", options)
    assert Path("alone.2026").read_bytes() == Path("out/y.md.csv").read_bytes()
    with pytest.raises(UsageError, match=r"alone\.2026: .* with out_format"):
        score_file(predictor, "in/new/y.md", "alone.2026", Options(reading=ReadOptions(format=csv)))


def test_bad_rows_are_listed_beside_each_output(predictor: Predictor, folder: Path) -> None:
    """Every table has a rejects file; the total names their pattern."""
    (folder / "deep" / "d.csv").write_bytes(b"price,rating\n1,2\n,3\n")
    done = score_files(predictor, folder, "out", Options(bad_rows="reject"))
    assert (done.total.rows, done.total.rejected) == (10, 1)
    assert done.total.reasons == {"missing value": 1}
    assert str(done.total.rejects) == "out/**/*.rejects.csv"
    listed = Path("out/deep/d.csv.rejects.csv").read_bytes().splitlines()
    assert listed[1] == b'2,3,price,,missing value,",3"'
    assert len([name for name in files(Path("out")) if name.endswith(".rejects.csv")]) == 6


def test_truth_and_drift_are_of_all_tables(predictor: Predictor, folder: Path) -> None:
    """Accuracy and drift of a split table equal those of the table."""
    header, rows = b"price,rating,popular\n", [b"8,4,yes\n", b"1,2,yes\n", b"2,3,no\n"] * 50
    whole, parts = folder.parent / "whole.csv", folder.parent / "parts"
    whole.write_bytes(header + b"".join(rows))
    for number, size in enumerate((70, 1, 79)):
        fill(parts, f"{number}.csv", data=header + b"".join(rows[:size]))
        rows = rows[size:]
    alone = score_file(predictor, whole, "o.csv", Options(truth="popular", drift=Path("one.json")))
    many = Options(truth="popular", drift=Path("many.json"))
    done = score_files(predictor, parts, "out", many)
    assert done.total.truth == alone.truth
    assert done.total.out_of_range == alone.out_of_range
    assert Path("many.json").read_bytes() == Path("one.json").read_bytes()


def test_a_name_with_a_bracket_is_a_name(predictor: Predictor, folder: Path) -> None:
    """An existing file with wildcards in its name is not a pattern."""
    fill(folder, "x[1].csv", "x1.csv")
    assert not is_folder_or_pattern(folder / "x[1].csv")
    score_file(predictor, folder / "x[1].csv", "o.csv")
    (folder / "x[1].csv").unlink()
    assert is_folder_or_pattern(folder / "x[1].csv")
    assert set(score_files(predictor, folder / "x[1].csv", "out").tables) == {Path("x1.csv")}


def test_a_link_to_a_folder_is_the_folder(predictor: Predictor, folder: Path) -> None:
    """A link is followed where it is given, and not into its own input."""
    Path("link").symlink_to(folder)
    assert len(score_files(predictor, "link", "out").tables) == len(ALL)
    with pytest.raises(UsageError, match="is in the input folder"):
        score_files(predictor, "in", "link/out")


def test_a_part_that_cannot_be_searched_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unreadable folder is an error."""
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"cannot search .*deep: Permission denied"):
        find_tables(folder)


def test_the_command_scores_a_folder(run_command: Run, bundle: Path, folder: Path) -> None:
    """One summary over all tables, also as JSON, and one message where it cannot be."""
    fill(folder, "a.csv", data=ROWS + b"x,1\n")
    command = ("predict", "--bundle", bundle, "--file", "in", "--bad-rows", "reject")
    done = run_command(*command, "--out", "out", "--summary", "sum.json")
    assert done.returncode == 0, done.stderr
    assert b"10 of 11 rows scored to out" in done.stderr
    assert b"1 bad row listed in out/**/*.rejects.csv: 1 not a number" in done.stderr
    values = json.loads(Path("sum.json").read_bytes())
    assert (values["rows"], values["rejects"]) == (11, "out/**/*.rejects.csv")
    for out in ([], ["--out", "in/x"], ["--out", "o2", "--summary", "in/a.csv"]):
        done = run_command(*command, *out)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done.stderr
    assert (folder / "a.csv").read_bytes() == ROWS + b"x,1\n"
    assert not Path("o2").exists()


@pytest.mark.parametrize("source", ["in/*/*.csv", "in/**/*.csv", "in/deep/*.csv", "in/d*/e*/*"])
def test_a_pattern_passes_over_no_locked_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """An unreadable folder below a pattern is an error."""
    may = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: not str(path).endswith("deep") and may(path, mode)
    )
    assert find_tables(folder / "*.csv")[1] == (Path("a.csv"),)
    with pytest.raises(DataError, match=r"cannot search in/deep: Permission denied"):
        find_tables(Path(source))


def test_links_to_folders_are_followed(folder: Path, predictor: Predictor) -> None:
    """Tables behind a link are tables of the folder; a link that leads back adds none."""
    fill(Path("elsewhere"), "x.csv", "sub/y.csv")
    (folder / "linked").symlink_to(Path("elsewhere").resolve())
    Path("elsewhere", "back").symlink_to(folder)
    (folder / "deep" / "up").symlink_to(folder)
    more = ["linked/sub/y.csv", "linked/x.csv"]
    assert [str(path) for path in find_tables(Path("in"))[1]] == [*ALL, *more]
    score_files(predictor, "in", "out")
    assert files(Path("out")) == [*ALL, *more]


@pytest.mark.parametrize("source", ["in", "in/*.csv"])
def test_what_is_no_file_is_not_passed_over(folder: Path, source: str) -> None:
    """A dangling link or a pipe is an error: nothing is scored."""
    (folder / "gone.csv").symlink_to("nowhere.csv")
    with pytest.raises(DataError, match=r"in/gone.csv is a link to nothing: remove it"):
        find_tables(Path(source))
    (folder / "gone.csv").unlink()
    os.mkfifo(folder / "pipe.csv")
    with pytest.raises(DataError, match=r"in/pipe.csv is a pipe or device"):
        find_tables(Path(source))


def test_hidden_links_to_nothing_are_hidden(folder: Path) -> None:
    """Hidden links, such as editors' locks, are skipped."""
    (folder / ".#a.csv").symlink_to("somebody@host")
    assert [str(path) for path in find_tables(Path("in"))[1]] == ALL


@pytest.mark.parametrize("name", ["n" * 300, "n" * 300 + ".csv", "n/" * 3000, "a.csv/b.csv"])
def test_names_that_cannot_be_are_one_message(
    run_command: Run, bundle: Path, tmp_path: Path, name: str
) -> None:
    """A name too long for the system, or below a file, is a table that cannot be read."""
    fill(tmp_path, "a.csv")
    done = run_command("predict", "--bundle", bundle, "--file", name)
    assert done.returncode == 3
    assert done.stderr.startswith(b"runtime: error: cannot read ")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_keys_of_folders_are_features(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """The folders of the output have the same names; its files have the columns of the input."""
    monkeypatch.chdir(tmp_path)
    table = Path("in", "date=2024-01-01", "rating=3.0", f"p.{ending}")
    table.parent.mkdir(parents=True)
    if ending == "parquet":
        pq.write_table(pa.table({"price": [7.5]}), table)
    else:
        table.write_text("price\n7.5\n" if ending == "csv" else '{"price": 7.5}\n')
    score_files(predictor, "in", "out", Options(out_format=parse_format("csv")))
    scored = Path("out", "date=2024-01-01", "rating=3.0", "p.csv")
    assert scored.read_text() == "price,label,probability\n7.5,yes,0.8071706\n"
    score_file(predictor, table.resolve(), "single.csv", Options(out_format=parse_format("csv")))
    assert Path("single.csv").read_bytes() == scored.read_bytes()


def test_a_column_comes_before_a_key(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a key can be the true class; a bad one makes bad rows."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, "in/price=x/popular=yes/a.csv", data=b"price,rating\n7.5,3\n")
    total = score_files(predictor, "in", "out", Options(truth="popular")).total
    assert total.truth is not None
    assert (total.truth.rows, total.truth.accuracy is not None) == (1, True)
    fill(tmp_path, "bad/price=x/b.csv", data=b"rating\n3\n")
    with pytest.raises(BadRowsError, match="column 'price': 'x': not a number"):
        score_files(predictor, "bad", "out2")
    total = score_files(predictor, "bad", "out2", Options(bad_rows="null")).total
    assert (total.rows, total.scored) == (1, 0)


def test_markers_are_skipped_on_every_level(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that begin with a point or underscore, but not keys that do."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "in", "a.csv", "_b.csv", "_temporary/0/c.csv", "x/_SUCCESS", "_k=1/d.csv")
    fill(tmp_path / "in", ".a.csv.crc", "_delta_log/0.json", "x/e.csv")
    score_files(predictor, "in", "out")
    assert files(Path("out")) == ["_k=1/d.csv", "a.csv", "x/e.csv"]


def test_progress_counts_all_tables(predictor: Predictor, folder: Path) -> None:
    """Bytes and records go on from one table to the next, up to the size of all."""
    fill(folder.parent / "two", "a.csv", "b.csv", data=b"price,rating\n" + b"1,2\n" * 100)
    seen: list[tuple[int, int]] = []
    score_files(predictor, "two", "out", on_progress=lambda size, rows: seen.append((size, rows)))
    assert seen == [(413, 100), (826, 200)]


def test_drift_names_every_column_of_all_tables(predictor: Predictor, folder: Path) -> None:
    """Those that the model doesn't read, too, with the reason; in the summary and as JSON."""
    mine = folder.parent / "mine"
    fill(mine, "1.csv", data=b"id,price,rating,popular\n1,2,3,no\n")
    fill(mine, "2.jsonl", data=b'{"price":2,"rating":3}\n{"price":2,"rating":3,"note":"x"}\n')
    total = score_files(predictor, mine, "out", Options(drift=Path("drift.json"))).total
    reasons = {"id": OUTSIDE, "popular": "what the model predicts", "note": OUTSIDE}
    assert total.drift is not None
    assert {each.name: each.reason for each in total.drift.others} == reasons
    assert [each.reason for each in total.drift.features] == ["3 with a value, 200 are needed"] * 2
    assert msgspec.json.decode(Path("drift.json").read_bytes(), type=DriftReport) == total.drift
    drift = json.loads(total.to_json())["drift"]
    assert list(drift) == ["price", "rating", *sorted(reasons)]
    assert drift["note"] == {"psi": None, "reading": "not a feature", "reason": OUTSIDE}
