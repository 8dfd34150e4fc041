"""A table that engines divide: the bytes, counts and messages of one machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from in_process import InProcess
from pyarrow import csv, parquet

from runtime import Predictor
from runtime.engines import spans
from runtime.engines.job import ClusterOptions, EngineJob
from runtime.engines.spans import score_table
from runtime.errors import OnnxferryError, StoreError, UsageError
from runtime.io.paths import parse_location
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file
from runtime.tables import division
from runtime.tables.arrow import driver, file_writers, writer
from runtime.tables.opening import open_table
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.engines.worker import Job
    from runtime.io.destinations import Part
    from runtime.scoring.summary import Summary

QUOTED = 'two\nlines, ""\n"",\r\n""quoted""'


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Windows of some records, in the folder of the test."""
    monkeypatch.setattr(spans, "WINDOW_BYTES", 700)
    monkeypatch.setattr(division, "_READ_BYTES", 256)
    monkeypatch.setattr(division, "_COLUMNAR_BYTES", 1)
    monkeypatch.chdir(tmp_path)


def records(rows: int = 300, line_end: str = "\n", *, bad: bool = False) -> str:
    """Delimited text with line ends in quotes, blank lines and no end of the last line."""
    names = ["id", "note", "price", "rating", "truth"]
    lines = [",".join(names)]
    for row in range(rows):
        note = f'"{QUOTED}"' if row % 7 == 3 else f"plain {row}"
        price = "cheap" if bad and row % 29 == 11 else f"{row % 12}.5"
        lines.append(f"{row:03},{note},{price},{row % 5}.25,{'no' if row % 3 else 'yes'}")
        if row % 50 == 0:
            lines.append("")
    return line_end.join(lines)


def json_lines() -> str:
    """JSON Lines with a key that appears late, bad records, blank lines and all line ends."""
    lines = []
    for row in range(300):
        record: dict[str, Any] = {"id": row, "price": row % 12, "rating": row % 5, "t": "a\nb"}
        if row > 250:
            record["late"] = "ü"
        lines.append(json.dumps(record) if row % 41 else "[1]")
        lines.append("\n" if row % 5 else " \r\n\r\n")
    return "".join(lines)


def run_both(
    bundle: Path, source: str, out: str, options: Mapping[str, Any]
) -> tuple[Summary | str, Summary | str, EngineJob]:
    """Score on one machine into ``alone``, and divided into ``shared``: summaries or errors."""
    found: list[Summary | str] = []
    predictor = Predictor(bundle, provider="cpu")
    for folder in ("alone", "shared"):
        Path(folder).mkdir()
        drift = Path(folder, "drift.json")
        given = Options(drift=drift, **options)
        job = EngineJob(bundle, Path(source), Path(folder, out), given, provider="cpu")
        try:
            if folder == "alone":
                found.append(score_file(predictor, job.source, job.out, given))
            else:
                found.append(score_table(job, InProcess()).summary)
        except OnnxferryError as exc:
            found.append(f"{type(exc)} {exc}".replace("alone", "shared"))
    return found[0], found[1], job


def comparable(summary: Summary | str) -> object:
    """What a summary says, apart from times and folders."""
    if isinstance(summary, str):
        return summary
    values = summary.values()
    for name in ("seconds", "rows_per_second", "stages", "files", "rejects", "provider_reason"):
        values.pop(name, None)
    return values, list(summary.reasons), summary.proba, summary.classes


TEXTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "csv": ("t.csv", records(), {"truth": "truth"}),
    "crlf": ("t.csv", "\ufeff" + records(line_end="\r\n") + "\r\n", {}),
    "excel": ("t.csv", "sep=,\n" + records() + "\n\n", {}),
    "columns": ("t.csv", records(), {"columns": ("rating", "note"), "proba": "all"}),
    "reject": ("t.csv", records(bad=True), {"bad_rows": "reject"}),
    "null": ("t.csv", records(bad=True), {"bad_rows": "null"}),
    "fail": ("t.csv", records(bad=True), {}),
    "unclosed": ("t.csv", records() + '\n1,"open', {}),
    "lines": ("t.jsonl", json_lines(), {"bad_rows": "reject"}),
    "late key": ("t.jsonl", json_lines(), {"bad_rows": "null", "prefix": "late"}),
}


@pytest.mark.parametrize(("name", "text", "options"), TEXTS.values(), ids=TEXTS)
def test_text_has_the_bytes_of_one_machine(
    bundle: Path, tmp_path: Path, name: str, text: str, options: dict[str, Any]
) -> None:
    """Output, rejected rows, drift, summary, or the error with its records and lines."""
    (tmp_path / name).write_bytes(text.encode())
    here, there, _ = run_both(bundle, name, f"out-{name}", options)
    assert comparable(there) == comparable(here)
    files = [path.name for path in (tmp_path / "alone").iterdir()]
    assert [*sorted(files)] == sorted(path.name for path in (tmp_path / "shared").iterdir())
    for each in files:
        expected = (tmp_path / "alone" / each).read_bytes()
        assert (tmp_path / "shared" / each).read_bytes() == expected
    assert bool(files) is not isinstance(here, str)


@pytest.mark.parametrize(
    ("out", "bad_rows", "group_rows"), [("o.parquet", "null", 50_000), ("o.csv", "reject", 131_072)]
)
def test_parquet_has_the_bytes_of_one_machine(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    out: str,
    bad_rows: str,
    group_rows: int,
) -> None:
    """Row groups are copied whole, wherever those of the input end."""
    for module in (driver, file_writers, writer):
        monkeypatch.setattr(module, "ROW_GROUP_ROWS", 131_072)
    random, rows = np.random.default_rng(0), 400_000
    price = pa.array(random.uniform(0, 12, rows).round(2), mask=np.arange(rows) % 90_000 == 89_999)
    name = pa.array(["a", "bc", None]).take(pa.array(random.integers(0, 3, rows)))
    columns = {"id": np.arange(rows), "price": price, "rating": price.fill_null(1), "name": name}
    if out.endswith(".parquet"):
        columns["tags"] = pa.array([["x"], []]).take(pa.array(random.integers(0, 2, rows)))
    parquet.write_table(pa.table(columns), "t.parquet", row_group_size=group_rows)
    here, there, job = run_both(bundle, "t.parquet", out, {"bad_rows": bad_rows})
    assert comparable(there) == comparable(here)
    for path in (tmp_path / "alone").iterdir():
        assert (tmp_path / "shared" / path.name).read_bytes() == path.read_bytes()
    with open_table(job.source, ReadOptions(), ()) as table:
        assert len(driver.divide(table, job.source.stat().st_size)) == 4


def test_text_becomes_parquet_of_the_same_rows(bundle: Path, tmp_path: Path) -> None:
    """Row groups end with the spans; rows and their order are those of one machine."""
    (tmp_path / "t.csv").write_text(records(bad=True))
    here, there, job = run_both(bundle, "t.csv", "o.parquet", {"bad_rows": "reject"})
    assert comparable(there) == comparable(here)
    expected = parquet.read_table("alone/o.parquet")
    assert parquet.read_table(job.out, page_checksum_verification=True).equals(expected)
    assert parquet.read_metadata(job.out).num_row_groups > 5


class _Interrupted(InProcess):
    """Ends after some parts, as with Ctrl-C."""

    def score(self, job: Job, indices: Sequence[int]) -> Iterator[Part]:
        for number, part in enumerate(super().score(job, indices)):
            yield part
            if number == 3:
                raise KeyboardInterrupt


def test_an_interrupted_table_is_resumed(bundle: Path, tmp_path: Path) -> None:
    """Complete spans are not scored again; nothing is published before, and nothing stays."""
    (tmp_path / "t.csv").write_text(records())
    here, _, job = run_both(bundle, "t.csv", "o.csv", {})
    out = tmp_path / "shared" / "o.csv"
    out.unlink()
    with pytest.raises(KeyboardInterrupt):
        score_table(job, _Interrupted())
    assert not out.exists()
    again = EngineJob(job.bundle, job.source, job.out, job.options, ClusterOptions(resume=True))
    result = score_table(again, InProcess())
    assert result.resumed == 4
    assert comparable(result.summary) == comparable(here)
    assert out.read_bytes() == (tmp_path / "alone" / "o.csv").read_bytes()
    assert sorted(path.name for path in out.parent.iterdir()) == ["drift.json", "o.csv"]


def test_an_object_is_divided(bundle: Path, bucket: str) -> None:
    """Spans are read by ranges, staged beside the output, and joined into one object."""
    from runtime.io.stores.listing import list_objects

    source, out = (parse_location(f"{bucket}/{name}") for name in ("in/t.csv", "out/o.csv"))
    Path("t.csv").write_text(records(bad=True))
    source.store.put(source.key, Path("t.csv").read_bytes())  # type: ignore[union-attr]  # an object
    job = EngineJob(bundle, source, out, Options(bad_rows="reject"))
    result = score_table(job, InProcess())
    score_file(Predictor(bundle), Path("t.csv"), Path("o.csv"), Options(bad_rows="reject"))
    for name in ("o.csv", "o.csv.rejects.csv"):
        assert out.with_name(name).read_bytes() == Path(name).read_bytes()
    assert (result.summary.rows, result.summary.rejected) == (300, 10)
    assert {each.path.name for each in list_objects(out.parent)} == {"o.csv", "o.csv.rejects.csv"}  # type: ignore[arg-type]
    other = EngineJob(bundle, source, out.with_name("other.csv"), Options(bad_rows="reject"))
    with pytest.raises(StoreError, match=r"denied access.*found by a worker on \S+, in"):
        score_table(other, _Elsewhere())
    nowhere = EngineJob(bundle, source, parse_location("s3://no-such-bucket/o.csv"), Options())
    with pytest.raises(UsageError, match=r"cannot write .* there is no bucket"):
        score_table(nowhere, InProcess())


class _Elsewhere(InProcess):
    """A machine with other credentials."""

    def score(self, job: Job, indices: Sequence[int]) -> Iterator[Part]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_SECRET_ACCESS_KEY", "another")
            yield from super().score(job, indices)


class _Changing(InProcess):
    """The table is written again while it is scored."""

    def score(self, job: Job, indices: Sequence[int]) -> Iterator[Part]:
        yield from super().score(job, indices)
        job.request.source.write_text(records(200))  # type: ignore[union-attr]  # a path


def test_a_table_that_changes_is_not_published(bundle: Path, tmp_path: Path) -> None:
    """Its spans are no longer those that were scored."""
    (tmp_path / "t.csv").write_text(records())
    job = EngineJob(bundle, tmp_path / "t.csv", tmp_path / "o.csv", Options())
    with pytest.raises(OnnxferryError, match=r"t\.csv has changed while it was scored"):
        score_table(job, _Changing())
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


WHOLE: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "gzip": ("t.csv.gz", "o.csv", {}, "gzip-compressed text: unpack it"),
    "utf-16": ("t.csv", "o.csv", {"reading": "utf-16"}, "UTF-16-LE text: convert it"),
    "arrow": ("t.arrow", "o.csv", {}, "is an Arrow file: write it as Parquet"),
    "to gzip": ("t.csv", "o.csv.gz", {}, "would be gzip-compressed text: choose another"),
    "to arrow": ("t.csv", "o.arrow", {}, "would be an Arrow file: choose Parquet"),
    "keys": ("t.jsonl", "o.csv", {}, "keys of all records as columns: give columns="),
    "standard output": ("t.csv", "-", {}, "workers of an engine write files: give out="),
    "standard input": ("-", "o.csv", {}, "not a file that all workers can read: give a file"),
    "no table": ("t.tsv", "o.csv", {}, "cannot read t.tsv: No such file"),
    "no folder": ("t.csv", "none/o.csv", {}, "cannot write into .*none: No such file"),
    "no folder of a report": ("t.csv", "o.csv", {"drift": "none/d"}, "cannot write into .*none"),
}


@pytest.mark.parametrize(("source", "out", "options", "message"), WHOLE.values(), ids=WHOLE)
def test_what_cannot_be_divided_is_refused(
    bundle: Path, tmp_path: Path, source: str, out: str, options: dict[str, Any], message: str
) -> None:
    """With the reason and a way out, before an engine is started."""
    table = pa.table({"price": [1.0], "rating": [2.0]})
    wide = b"price,rating\n1,2\n".decode().encode("utf-16")
    if source.endswith(".gz"):
        with pa.CompressedOutputStream(source, "gzip") as stream:
            csv.write_csv(table, stream)
    elif source.endswith(".arrow"):
        with pa.ipc.new_file(source, table.schema) as file:
            file.write_table(table)
    elif source.endswith(".jsonl"):
        (tmp_path / source).write_text('{"price": 1, "rating": 2}\n')
    elif source == "t.csv":
        (tmp_path / source).write_bytes(wide if "reading" in options else b"price,rating\n1,2\n")
    given = Options(
        reading=ReadOptions(encoding=options.get("reading")),
        drift=Path(options["drift"]) if "drift" in options else None,
    )
    job = EngineJob(bundle, Path(source), Path(out), given)
    with pytest.raises(OnnxferryError, match=message):
        score_table(job, InProcess())
    assert not Path(out).exists()
    assert not Path("none").exists()
