from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import pickle
import sqlite3
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.feather as arrow_feather
import pyarrow.parquet as arrow_parquet
import pytest

from runtime.errors import DataError, OnnxferryError, UsageError
from runtime.tables.csv.reader import CsvReader
from runtime.tables.formats import Format, format_from_name, parse_format
from runtime.tables.opening import DecodedSource, decode_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.io.compression import Compression

CSV = b"price,rating\n8,4\n"
ROWS = b'{"price": 8, "rating": 4}\n'
TABLE = pa.table({"price": [8.0], "rating": [4.0]})


def zstd(data: bytes) -> bytes:
    """Compress as others do."""
    stream = pa.BufferOutputStream()
    with pa.CompressedOutputStream(stream, "zstd") as out:
        out.write(data)
    stored: bytes = stream.getvalue().to_pybytes()
    return stored


def written(write: Callable[[pa.BufferOutputStream], None]) -> bytes:
    """What a writer of pyarrow stores."""
    stream = pa.BufferOutputStream()
    write(stream)
    stored: bytes = stream.getvalue().to_pybytes()
    return stored


def arrow(*, as_stream: bool) -> bytes:
    """A table in Arrow's IPC format."""

    def write(stream: pa.BufferOutputStream) -> None:
        new = pa.ipc.new_stream if as_stream else pa.ipc.new_file
        with new(stream, TABLE.schema) as writer:
            writer.write_table(TABLE)

    return written(write)


PARQUET = written(lambda stream: arrow_parquet.write_table(TABLE, stream))
FEATHER = written(lambda stream: arrow_feather.write_feather(TABLE, stream))


def opened(data: bytes, stored: str | None = None) -> DecodedSource:
    """Open bytes under a format's name, or as standard input."""
    choice = parse_format(stored) if stored else None
    return decode_source(io.BytesIO(data), choice, where="t.csv")


@pytest.mark.parametrize(
    ("name", "kind", "compression"),
    [
        ("products.csv", "csv", None),
        ("PRODUCTS.CSV", "csv", None),
        ("products.txt", "csv", None),
        ("2026.01.products.csv", "csv", None),
        ("x.tsv", "tsv", None),
        ("x.tab.bz2", "tsv", "bzip2"),
        ("x.csv.gz", "csv", "gzip"),
        ("x.Csv.Zst", "csv", "zstd"),
        ("x.jsonl", "jsonl", None),
        ("x.ndjson.gz", "jsonl", "gzip"),
        ("x.parquet", "parquet", None),
        ("x.arrow", "arrow", None),
        ("x.feather", "arrow", None),
        ("x.ipc", "arrow", None),
        ("products.gz", "csv", "gzip"),
    ],
)
def test_a_name_tells_the_format(name: str, kind: str, compression: str | None) -> None:
    """Formats are detected by extensions in any case; CSV is the default."""
    found = format_from_name(Path("folder.d") / name)
    assert found is not None
    assert (found.kind, found.compression) == (kind, compression)
    assert parse_format(str(found)) == found, "a format is written as --format takes it"


@pytest.mark.parametrize("name", ["-", "products", ".products", "/dev/stdin", "/dev/null", "a.d/b"])
def test_a_name_without_an_ending_tells_nothing(name: str) -> None:
    """Names without extension are detected by content."""
    assert format_from_name(Path(name)) is None


def test_a_pipe_may_have_any_name(tmp_path: Path) -> None:
    """Special files need no extension, but a known one applies."""
    for name, expected in (("pipe.1", None), ("pipe.tsv", Format("tsv"))):
        os.mkfifo(tmp_path / name)
        assert format_from_name(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        (
            "x.dat",
            "csv, txt, tsv, tab, jsonl, ndjson (also with .gz, .zst, .bz2), parquet",
        ),
        ("x.csv.bak", "with format:"),
        ("x.xlsx", "save the sheet as CSV"),
        ("x.json", "one object a line"),
        ("x.csv.xz", "xz -d"),
        ("x.csv.zip", "unpack"),
        ("x.dat.gz", "with format:"),
        ("x.parquet.gz", "leave out .gz"),
    ],
)
def test_an_unknown_ending_is_refused_with_advice(name: str, advice: str) -> None:
    """Unknown extensions are refused."""
    with pytest.raises(UsageError) as caught:
        format_from_name(Path(name))
    assert advice in str(caught.value)


@pytest.mark.parametrize("text", ["", "exel", "csv.xz", "csv.gz.gz", "parquet.gz", "gz", "."])
def test_a_choice_that_is_no_format_is_refused(text: str) -> None:
    """The message lists what can be chosen, or says what to leave out."""
    with pytest.raises(UsageError, match=r"choose csv, .*|leave out \.gz"):
        parse_format(text)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(CSV, "csv", id="csv"),
        pytest.param(b"", "csv", id="nothing"),
        pytest.param(b"PAR1,PAR2\n1,2\n", "csv", id="a header like Parquet's magic number"),
        pytest.param(b"ARROW1,x\n1,2\n", "csv", id="a header like Arrow's"),
        pytest.param(b"BZh9,x\n1,2\n", "csv", id="a header like bzip2's"),
        pytest.param(ROWS, "jsonl", id="JSON Lines"),
        pytest.param(b"\xef\xbb\xbf \r\n\t" + ROWS, "jsonl", id="JSON Lines after blanks"),
        pytest.param(ROWS.decode().encode("utf-16"), "jsonl", id="JSON Lines in UTF-16"),
        pytest.param(CSV.decode().encode("utf-16"), "csv", id="CSV in UTF-16"),
        pytest.param(gzip.compress(CSV), "csv.gz", id="csv.gz"),
        pytest.param(zstd(ROWS), "jsonl.zst", id="jsonl.zst"),
        pytest.param(bz2.compress(CSV), "csv.bz2", id="csv.bz2"),
        pytest.param(bz2.compress(b""), "csv.bz2", id="an empty bz2"),
        pytest.param(PARQUET, "parquet", id="parquet"),
        pytest.param(arrow(as_stream=False), "arrow", id="arrow file"),
        pytest.param(arrow(as_stream=True), "arrow", id="arrow stream"),
        pytest.param(FEATHER, "arrow", id="feather"),
    ],
)
def test_the_first_bytes_tell_the_format_of_standard_input(data: bytes, expected: str) -> None:
    """Peeked bytes are not lost, and a given format opens the same way."""
    for stored in (None, expected):
        found = opened(data, stored)
        assert str(found.format) == expected
        text = b"".join(iter(lambda: found.source.read(7) or b"", b""))  # noqa: B023 - called here
        if not found.format.is_text:
            assert text == data
        elif data not in {b"", bz2.compress(b"")}:
            assert b"\n" in text
            assert b"\0" not in text


def zipped(*names: str) -> bytes:
    """An archive of small files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return stream.getvalue()


def sqlite() -> bytes:
    """A database."""
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (x)")
    return connection.serialize()


def numpy_file() -> bytes:
    """An array."""
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


FOREIGN = {
    "an Excel workbook": zipped("[Content_Types].xml", "xl/workbook.xml"),
    "a zip archive": zipped("products.csv"),
    "an old Excel workbook": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
    "xz-compressed": b"\xfd7zXZ\0\0\4",
    "a PDF document": b"%PDF-1.7\n%\xe2\xe3",
    "a program (ELF)": b"\x7fELF\2\1\1" + bytes(60),
    "a PNG picture": b"\x89PNG\r\n\x1a\n\0\0",
    "a SQLite database": sqlite(),
    "an HTML page": b"\n<!DOCTYPE html>\n<html>",
    "an XML document": b'<?xml version="1.0"?>',
    "a JSON array": json.dumps([{"price": 1}], indent=1).encode(),
    "a pickle": pickle.dumps({"price": [1]}),
    "a numpy array": numpy_file(),
    "a tar archive": b"products.csv".ljust(257, b"\0") + b"ustar\0" + bytes(249),
}


@pytest.mark.parametrize("stored", ["csv", "csv.gz", "tsv", "jsonl", "parquet", "arrow", None])
@pytest.mark.parametrize("found", FOREIGN)
def test_what_is_no_table_is_named(found: str, stored: str | None) -> None:
    """One message names the detected format and the file."""
    with pytest.raises(DataError) as caught:
        opened(FOREIGN[found], stored)
    assert str(caught.value).startswith(f"t.csv is {found}, not {stored or 'csv'}; ")
    if stored is None:
        with pytest.raises(DataError, match=f"t.csv is {found.split(maxsplit=1)[0]}.* inside"):
            opened(gzip.compress(FOREIGN[found]))


@pytest.mark.parametrize(
    ("data", "stored", "said"),
    [
        (gzip.compress(CSV), "csv", 't.csv is gzip, not csv; give format="csv.gz"'),
        (zstd(CSV), "tsv", 't.csv is zstd, not tsv; give format="tsv.zst"'),
        (bz2.compress(CSV), "jsonl", 't.csv is bzip2, not jsonl; give format="jsonl.bz2"'),
        (gzip.compress(CSV), "parquet", 't.csv is gzip, not parquet; give format="csv.gz"'),
        (gzip.compress(CSV), "csv.zst", 't.csv is gzip, not csv.zst; give format="csv.gz"'),
        (PARQUET, "csv", 't.csv is parquet, not csv; give format="parquet"'),
        (PARQUET, "csv.gz", 't.csv is parquet, not csv.gz; give format="parquet"'),
        (PARQUET, "arrow", 't.csv is parquet, not arrow; give format="parquet"'),
        (FEATHER, "jsonl", 't.csv is arrow, not jsonl; give format="arrow"'),
        (gzip.compress(PARQUET), None, "t.csv is parquet inside, not csv.gz; unpack it first"),
        (gzip.compress(zstd(CSV)), "csv.gz", "t.csv is zstd inside, not csv.gz; unpack it first"),
        (gzip.compress(gzip.compress(CSV)), "csv.gz", "t.csv is gzip inside, not csv.gz; unpack"),
        (
            CSV,
            "csv.gz",
            "t.csv is not gzip, which its name or format declares; if it is plain csv, give",
        ),
        (
            CSV,
            "parquet",
            "t.csv is not parquet, which its name or format declares; if it is plain csv",
        ),
        (b"PK", "arrow", "t.csv is not arrow"),
        (CSV.decode().encode("utf-16-le"), "csv", "looks like UTF-16-LE without a byte order mark"),
        (CSV.decode().encode("utf-32-be"), "csv", 'give encoding="utf-32-be"'),
        (gzip.compress(CSV)[:-9], None, "t.csv ends in the middle of its gzip data"),
    ],
)
def test_content_that_contradicts_its_name_is_refused(
    data: bytes, stored: str | None, said: str
) -> None:
    """One message names the detected format and the option."""
    with pytest.raises(OnnxferryError) as caught:
        list(CsvReader(opened(data, stored).source, where="t.csv").blocks())
    assert said in str(caught.value)
    assert isinstance(caught.value, DataError)


def test_an_empty_file_is_left_to_the_reader() -> None:
    """An empty file matches any name; the reader reports it."""
    compressions: list[Compression | None] = [None, "gzip", "zstd", "bzip2"]
    for compression in compressions:
        found = decode_source(io.BytesIO(), Format("csv", compression), where="t.csv")
        with pytest.raises(DataError, match=r"t\.csv is empty"):
            CsvReader(found.source, where="t.csv")
