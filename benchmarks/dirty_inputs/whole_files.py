"""Files that are not tables, and headers that do not match."""

from __future__ import annotations

import bz2
import gzip
import io
import random
import zipfile

import pyarrow as pa

from dirty_inputs.dirty_input import AFTER, BEFORE, DirtyInput, Row, lines, table

_GOOD = table("1,7.5,3", "9,5.5,4.25")
_RIGHT = (BEFORE, AFTER)
_MANY = table(*(f"{n},7.5,3" for n in range(20_000)))
_NOISE = random.Random(4).randbytes(4096)  # noqa: S311 - no secret


def _zip(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, _GOOD)
    return packed.getvalue()


def _zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _wide(columns: int) -> bytes:
    names = [f"c{n}" for n in range(columns - 2)]
    cells = ",".join("0" for _ in names)
    return lines(",".join([*names, "price", "rating"]), f"{cells},7.5,3", f"{cells},5.5,4.25")


def _file(
    name: str, content: bytes, says: str, *, file: str = "table.csv", code: int = 3
) -> DirtyInput:
    return DirtyInput("whole file", name, content, says=says, file=file, code=code)


def _packed(
    name: str, content: bytes, says: str, file: str, holds: tuple[Row, ...] | None = None
) -> DirtyInput:
    return DirtyInput("compression", name, content, says=says, file=file, holds=holds)


def _header(name: str, content: bytes, says: str, *options: str) -> DirtyInput:
    return DirtyInput("header", name, content, says=says, options=options)


def _taken(kind: str, name: str, content: bytes, *options: str) -> DirtyInput:
    return DirtyInput(kind, name, content, _RIGHT, options=options)


FILES = (
    _file("empty file", b"", "is empty"),
    _file("byte order mark alone", b"\xef\xbb\xbf", "no column names"),
    _file("one line end", b"\n", "no column names"),
    _file("blanks alone", b"   \n  \n", "columns 'price', 'rating' are missing"),
    _file("delimiters alone", b",,,\n,,,\n", "no column names"),
    DirtyInput("whole file", "header alone", table(), ()),
    DirtyInput("whole file", "header without a line end", b"price,rating", ()),
    DirtyInput("whole file", "header and blank lines", b"price,rating\n\n\n\n", ()),
    _file("zeros alone", bytes(4096), "NUL"),
    _file("random bytes", _NOISE, "table.csv"),
    _file("a PDF named .csv", b"%PDF-1.7\n" + _NOISE, "a PDF document"),
    _file("a zip archive named .csv", _zip("table.csv"), "a zip archive"),
    _file("an Excel workbook named .csv", _zip("[Content_Types].xml", "xl/workbook.xml"), "Excel"),
    _file("a program named .csv", b"\x7fELF\x02\x01\x01" + bytes(9) + _NOISE, "ELF"),
    _file("a PNG picture named .csv", b"\x89PNG\r\n\x1a\n" + _NOISE, "PNG"),
    _file("an HTML page named .csv", b"<!DOCTYPE html>\n<html>Not found</html>", "an HTML page"),
    _file("a JSON array named .csv", b'[{"price": 7.5, "rating": 3}]', "a JSON array"),
    _file("JSON Lines named .csv", b'{"price": 7.5, "rating": 3}\n' * 2, "--format jsonl"),
    _file("a log file named .csv", b"2026-01-01 12:00:00 INFO started\n" * 3, "'price'"),
    _file("one line of a million letters", b"x" * 1_000_000, "more than 131,072 characters"),
    _file("an unknown ending", _GOOD, ".dat is not a known format", file="table.dat", code=2),
    _file("an ending of Excel", _GOOD, "save the sheet as CSV", file="table.xlsx", code=2),
    DirtyInput("whole file", "no ending", _GOOD, _RIGHT, file="table"),
    DirtyInput("whole file", "an ending in capitals", _GOOD, _RIGHT, file="TABLE.CSV"),
    DirtyInput("whole file", "a name with a line break", _GOOD, _RIGHT, file="a\nb.csv"),
)
COMPRESSED = (
    _packed("gzip cut off", _gzip(_MANY)[:-400], "truncated", "table.csv.gz"),
    _packed("gzip without its checksum", _gzip(_GOOD)[:-8], "truncated", "table.csv.gz"),
    _packed("gzip with a wrong checksum", _flip(_gzip(_GOOD), -8), "damaged", "table.csv.gz"),
    _packed("gzip with a wrong length", _flip(_gzip(_GOOD), -4), "damaged", "table.csv.gz"),
    _packed("gzip with a flipped bit", _flip(_gzip(_MANY), 400), "damaged", "table.csv.gz"),
    _packed("gzip and rubbish after it", _gzip(_GOOD) + b"rubbish", "follows", "table.csv.gz"),
    _packed("gzip of nothing", _gzip(b""), "is empty", "table.csv.gz"),
    _packed("gzip twice", _gzip(_gzip(_GOOD)), "unpack it first", "table.csv.gz"),
    _packed("gzip named .csv", _gzip(_GOOD), "--format csv.gz", "table.csv", _RIGHT),
    _packed("text named .csv.gz", _GOOD, "--format csv", "table.csv.gz", _RIGHT),
    _packed("an empty file named .csv.gz", b"", "is empty", "table.csv.gz"),
    _packed("zstd named .csv.gz", _zstd(_GOOD), "--format csv.zst", "table.csv.gz", _RIGHT),
    _packed("zstd cut off", _zstd(_MANY)[:-20], "truncated", "table.csv.zst"),
    _packed("zstd with a flipped bit", _flip(_zstd(_MANY), 40), "table.csv.zst", "table.csv.zst"),
    _packed("bzip2 cut off", bz2.compress(_MANY)[:-20], "truncated", "table.csv.bz2"),
    _packed("bzip2 with a flipped bit", _flip(bz2.compress(_MANY), 80), "damaged", "table.csv.bz2"),
    DirtyInput(
        "compression", "two gzip members", _gzip(_GOOD[:20]) + _gzip(_GOOD[20:]), _RIGHT,
        file="table.csv.gz",
    ),
    DirtyInput(
        "compression", "gzip with zeros after it", _gzip(_GOOD) + bytes(512), _RIGHT,
        file="table.csv.gz",
    ),
)  # fmt: skip
HEADERS = (
    _header("no column names at all", lines("1,7.5,3", "9,5.5,4.25"), "has only numbers"),
    _header("a column is missing", lines("id,price", "1,7.5"), "'rating' is missing"),
    _header("a column's name misspelt", lines("prise,rating", "1,2"), "did you mean 'prise'?"),
    _header("names in other case", lines("Price,RATING", "1,2"), "--loose-header"),
    _header("blanks around names", lines("price , rating", "1,2"), "--loose-header"),
    _header("a no-break space after a name", lines("price\u00a0,rating", "1,2"), "--loose-header"),
    _header("a zero-width space in a name", lines("pri\u200bce,rating", "1,2"), "'price'"),
    _header("a feature twice", lines("price,rating,price", "1,2,3"), "appears 2 times"),
    _header(
        "two names for one with --loose-header",
        lines("Price,PRICE,rating", "1,2,3"),
        "'Price' and 'PRICE'",
        "--loose-header",
    ),
    DirtyInput("header", "a column called label", lines("price,rating,label", "1,2,x"), says="--prefix", holds=((1.0, 2.0),)),
    _header("a quote in the header is not closed", b'price,"rating\n1,2\n', "is not closed"),
    _header("a title above the header", lines("Products 2026", "price,rating", "1,2"), "'price'"),
    _header("a comment above the header", lines("# made by us", "price,rating", "1,2"), "'price'"),
    _taken("header", "Excel's sep= line", lines("sep=;", "price;rating", "7.5;3", "5.5;4.25")),
    _header("a sep= line of another delimiter", lines("sep=;", "price,rating", "1,2"), "line declares ';'"),
    DirtyInput("header", "a blank line above the header", b"\nprice,rating\n1,2\n", says="no column names", holds=((1.0, 2.0),)),
    _header("NUL in a name", b"pri\0ce,rating\n1,2\n", "NUL"),
    DirtyInput("header", "Latin-1 in the header", b"gr\xf6\xdfe,price,rating\n1,7.5,3\n", says="--encoding", holds=(BEFORE,)),
    _header("one column that is no feature", lines("x", "1", "2"), "columns 'price', 'rating' are missing"),
    _taken("header", "a column that nobody reads, twice", lines("x,x,price,rating", "1,2,7.5,3", "1,2,5.5,4.25")),
    _taken("header", "columns without names", lines(",price,,rating", "1,7.5,,3", ",5.5,,4.25")),
    _taken("header", "columns in another order", lines("rating,x,price", "3,a,7.5", "4.25,b,5.5")),
    _taken("header", "names in quotes", lines('"price","rating"', "7.5,3", "5.5,4.25")),
    _taken("header", "a line break in a name", lines('"a\nb",price,rating', "1,7.5,3", "9,5.5,4.25")),
    _taken("header", "names in other case with --loose-header", lines("Price, rating ", "7.5,3", "5.5,4.25"), "--loose-header"),
    _taken("header", "a column called label with --prefix", lines("price,rating,label", "7.5,3,a", "5.5,4.25,b"), "--prefix", "new_"),
    _taken("header", "5,000 columns", _wide(5000)),
    DirtyInput("header", "the header again among the rows", table("1,7.5,3", "id,price,rating", "9,5.5,4.25"), (BEFORE, "not a number", AFTER)),
)  # fmt: skip
