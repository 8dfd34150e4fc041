"""Scoring loses no row and changes no byte, for any block size and number of threads."""

from __future__ import annotations

import bz2
import csv
import functools
import gzip
import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from runtime.errors import BadRowsError, DataError
from runtime.predictor import Predictor
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file
from runtime.tables.csv import driver
from runtime.tables.csv.reader import CsvReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.scoring.summary import Summary

pytestmark = pytest.mark.slow

PREDICTOR = functools.cache(
    lambda: Predictor(Path(__file__).parents[1] / "data" / "bundle", provider="cpu")
)

few = settings(max_examples=40)  # each scores several files

numbers = st.floats(-100, 100, width=32).map(repr)
good_cells = st.one_of(numbers, numbers.map('"{}"'.format), numbers.map(" {} ".format))
bad_cells = st.sampled_from(["", " ", "x", "nan", "-inf", "1e39", "1,5", "\udcff", '"1\n"', "1_0"])
carried = st.one_of(
    st.text(alphabet="aé 0.,\"\n\r'\udcff;", max_size=8).map(
        lambda text: '"' + text.replace('"', '""') + '"'
    ),
    st.text(alphabet="aé 0.\udcff;'\0", max_size=8),
)
good_rows = st.tuples(carried, good_cells, good_cells).map(",".join)
rows = st.one_of(
    good_rows,
    st.tuples(carried, bad_cells, good_cells).map(",".join),
    st.lists(st.one_of(carried, good_cells), min_size=1, max_size=5).map(",".join),
)
ends = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def tables(draw: st.DrawFn, records: st.SearchStrategy[str] = rows) -> bytes:
    """A table with features price and rating, often damaged."""
    end = draw(ends)
    lines = ["name,price,rating", *draw(st.lists(records, max_size=12))]
    text = end.join(lines) + draw(st.sampled_from(["", end, end * 3]))
    bom = draw(st.sampled_from(["", "\ufeff"]))
    return (bom + text).encode(errors="surrogateescape")


def score(
    data: bytes, options: Options, block_size: int = 1 << 20
) -> tuple[bytes, bytes | None, Summary]:
    """Score a table read in blocks of a size: output, rejects, summary."""
    reader = functools.partial(CsvReader, block_size=block_size)
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.object(driver, "CsvReader", reader),
    ):
        source, out = Path(name, "in.csv"), Path(name, "out.csv")
        source.write_bytes(data)
        summary = score_file(PREDICTOR(), source, out, options)
        rejects = summary.rejects.read_bytes() if summary.rejects else None
        return out.read_bytes(), rejects, summary


def records(content: bytes) -> list[list[str]]:
    """Parse CSV with Python's own parser, blank lines left out."""
    text = content.decode(errors="surrogateescape")
    return [record for record in csv.reader(io.StringIO(text, newline="")) if record]


@few
@given(tables(), st.sampled_from(["reject", "null"]), st.integers(1, 30), st.integers(1, 4))
@example(b"name,price,rating\r\na,1,2\r\nb,x,2\r\nc,3,4", "null", 1, 3)
def test_the_work_may_be_cut_up_in_any_way(
    data: bytes, bad_rows: str, block_size: int, threads: int
) -> None:
    """Output, rejects and counts are independent of block size and threads."""
    outcomes: list[object] = []
    for options, size in (
        (Options(bad_rows=bad_rows, proba=True, threads=1), 1 << 20),  # type: ignore[arg-type]  # sampled
        (Options(bad_rows=bad_rows, proba=True, threads=threads), block_size),  # type: ignore[arg-type]  # sampled
    ):
        try:
            out, rejects, summary = score(data, options, size)
        except DataError as exc:
            outcomes.append((str(exc).partition("in.csv")[2], None, None, None))
        else:
            outcomes.append((out, rejects, summary.rows, summary.reasons))
    assert outcomes[0] == outcomes[1]


@few
@given(tables(good_rows), st.integers(1, 30))
def test_carried_bytes_are_not_altered(data: bytes, block_size: int) -> None:
    """The output without the new cells equals the input, to the byte."""
    out, _, summary = score(data, Options(), block_size)
    answers = [record[3:] for record in records(out)]
    assert answers[0] == ["label", "probability"]
    assert len(answers) == summary.rows + 1
    rest, back = out, b""
    for label, probability in answers:
        cells = f",{label},{probability}".encode()
        before, found, rest = rest.partition(cells)
        assert found
        back += before
    back += rest
    assert back.rstrip(b"\r\n") == data.rstrip(b"\r\n")
    assert back.startswith(data)
    assert len(back) - len(data) <= 2, "at most a line end is added"


@few
@given(tables())
def test_no_row_is_lost_or_shifted(data: bytes) -> None:
    """Read = scored + rejected; predictions equal the predictor's."""
    try:
        out, rejects, summary = score(data, Options(bad_rows="reject"))
    except DataError:
        assume(False)
    assert rejects is not None
    scored, rejected = records(out)[1:], records(rejects)[1:]
    assert summary.rows == len(scored) + len(rejected)
    assert (summary.scored, summary.rejected) == (len(scored), len(rejected))
    assert sum(summary.reasons.values()) == summary.rejected
    if scored:
        features = np.array([[float(record[1]), float(record[2])] for record in scored])
        expected = PREDICTOR().predict(features)
        assert [record[3] for record in scored] == expected.label.tolist()
        found = np.array([record[4] for record in scored], dtype=np.float32)
        assert found.tobytes() == expected.probability.tobytes()


@few
@given(tables())
def test_keeping_bad_rows_gives_a_table(data: bytes) -> None:
    """With ``null`` rows keep their order, and every record has the header's field count."""
    try:
        out, _, summary = score(data, Options(bad_rows="null"))
    except DataError:
        assume(False)
    found = records(out)
    assert len(found) == summary.rows + 1
    assert {len(record) for record in found} == {6}
    without = [record for record in found[1:] if record[5]]
    assert len(without) == summary.rejected
    assert all(record[3:5] == ["", ""] for record in without)
    assert all(record[3] and record[4] for record in found[1:] if not record[5])
    kept, _, _ = score(data, Options(bad_rows="reject"))
    assert [record[:5] for record in found[1:] if not record[5]] == records(kept)[1:]


@few
@given(tables())
def test_rejects_hold_the_record_as_it_was(data: bytes) -> None:
    """Each rejected record is listed once, in order, with its text."""
    try:
        _, rejects, summary = score(data, Options(bad_rows="reject"))
    except DataError:
        assume(False)
    assert rejects is not None
    header, *found = records(rejects)
    assert header == ["record", "line", "column", "value", "reason", "text"]
    numbers = [int(record[0]) for record in found]
    assert numbers == sorted(set(numbers))
    assert all(1 <= number <= summary.rows for number in numbers)
    for record in found:
        assert record[5].encode(errors="surrogateescape") in data


@few
@given(tables())
def test_refusing_counts_what_rejecting_counts(data: bytes) -> None:
    """``fail`` refuses exactly the tables in which ``reject`` rejects rows."""
    try:
        _, _, summary = score(data, Options(bad_rows="reject"))
    except DataError:
        assume(False)
    if not summary.rejected:
        score(data, Options())
        return
    with pytest.raises(BadRowsError) as caught:
        score(data, Options(threads=3), 5)
    assert f": {summary.rejected} of {summary.rows} rows cannot be scored" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 13


STORED: dict[str, Callable[[bytes], bytes]] = {
    "in.csv.gz": gzip.compress,
    "in.csv.bz2": bz2.compress,
    "in.csv.zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
    "in": bytes,
}


@few
@given(tables(), st.sampled_from(sorted(STORED)), st.integers(1, 4))
def test_how_a_table_is_stored_changes_no_byte(data: bytes, name: str, threads: int) -> None:
    """Compressed or without a name, with any number of threads: output and rejects are the same."""
    outcomes: list[object] = []
    for given_name, used in (("in.csv", 1), (name, threads)):
        with tempfile.TemporaryDirectory() as folder:
            source, out = Path(folder, given_name), Path(folder, "out.csv")
            source.write_bytes(STORED.get(given_name, bytes)(data))
            try:
                done = score_file(
                    PREDICTOR(), source, out, Options(bad_rows="reject", threads=used)
                )
            except DataError as exc:
                outcomes.append(str(exc).replace(str(source), "IN"))
            else:
                assert done.rejects is not None
                outcomes.append((out.read_bytes(), done.rejects.read_bytes(), done.rows))
    assert outcomes[0] == outcomes[1]


def as_csv(table: list[tuple[str, ...]]) -> bytes:
    """Write records as CSV with Python's own writer."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(table)
    return text.getvalue().encode()


any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@few
@given(
    st.lists(st.tuples(any_text, numbers, numbers, any_text), max_size=8),
    st.sampled_from(["parquet", "arrow", "jsonl"]),
    st.integers(1, 40),
)
@example([("\ufeff", "1", "2", '\r"\x00')], "parquet", 1)
def test_no_cell_is_lost_on_the_way_through_another_format(
    cells: list[tuple[str, ...]], kind: str, block_size: int
) -> None:
    """CSV to another format and back, scored twice: texts and predictions are unchanged."""
    header = ("a", "price", "rating", "b")
    reader = functools.partial(CsvReader, block_size=block_size)
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.object(driver, "CsvReader", reader),
    ):
        first, between, last = (Path(name, file) for file in ("1.csv", f"2.{kind}", "3.csv"))
        first.write_bytes(as_csv([header, *cells]))
        score_file(PREDICTOR(), first, between)
        if kind == "jsonl" and not cells:
            return  # without a record there is no name of a column
        score_file(PREDICTOR(), between, last, Options(prefix="again_"))
        found = records(last.read_bytes())
    assert found[0][:4] == list(header)
    assert [tuple(record[:4]) for record in found[1:]] == cells
    for record in found[1:]:
        assert record[4] == record[6]
        assert np.float32(record[5]) == np.float32(record[7])
