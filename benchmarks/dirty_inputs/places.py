"""Folders, patterns, and options that do not fit the table."""

from __future__ import annotations

import gzip

from dirty_inputs.dirty_input import AFTER, BEFORE, DirtyInput, lines, table

_GOOD = table("1,7.5,3", "9,5.5,4.25")
_BAD = table("1,x,3", "9,5.5,4.25")
_RIGHT = (BEFORE, AFTER)
_TWICE = (BEFORE, AFTER, BEFORE, AFTER)


def _files(name: str, files: dict[str, bytes], says: str, file: str = "in") -> DirtyInput:
    return DirtyInput("folder", name, files, says=says, file=file)


def _option(
    name: str, says: str, *options: str, code: int = 2, content: bytes = _GOOD
) -> DirtyInput:
    return DirtyInput("options", name, content, says=says, code=code, options=options)


PLACES = (
    _files("a file that is not there", {"x.csv": _GOOD}, "give the path of a table", "table.csv"),
    _files("an empty folder", {"in/.hidden": b""}, "holds no tables"),
    _files("a pattern that matches nothing", {"x.csv": _GOOD}, "holds no tables", "*.tsv"),
    DirtyInput("folder", "a folder with a file of another kind", {"in/a.csv": _GOOD, "in/notes.md": b"x"}, says="notes.md", code=2, file="in"),
    _files("a folder with a file that lacks a column", {"in/a.csv": _GOOD, "in/b.csv": b"price\n7.5\n"}, "b.csv: column 'rating' is missing"),
    _files("a folder with a file that has a column called label", {"in/a.csv": _GOOD, "in/b.csv": b"price,rating,label\n"}, "b.csv: the table already has"),
    _files("a folder with an empty file", {"in/a.csv": _GOOD, "in/b.csv": b""}, "b.csv is empty"),
    _files("a folder with a damaged file", {"in/a.csv": _GOOD, "in/b.csv.gz": gzip.compress(_GOOD)[:-9]}, "b.csv.gz"),
    DirtyInput("folder", "a folder with folders", {"in/a.csv": _GOOD, "in/x/b.csv": _GOOD}, _TWICE, file="in"),
    DirtyInput("folder", "a folder with a bad row in one file", {"in/a.csv": _GOOD, "in/b.csv": _BAD}, (*_RIGHT, "not a number", AFTER), file="in"),
    DirtyInput("folder", "a folder with other headers", {"in/a.csv": _GOOD, "in/b.csv": lines("rating;price", "3;7.5", "4.25;5.5")}, _TWICE, file="in"),
    DirtyInput("folder", "hidden files beside tables", {"in/a.csv": _GOOD, "in/.~lock": b"x"}, _RIGHT, file="in"),
    DirtyInput("folder", "a file named like a pattern", _GOOD, _RIGHT, file="t[1].csv"),
    _option("a delimiter of two characters", "invalid delimiter", "--delimiter", ";;"),
    _option("a delimiter that is a digit", "invalid delimiter", "--delimiter", "1"),
    _option("an unknown encoding", "unknown encoding", "--encoding", "utf-9"),
    _option("an unknown format", "unknown format", "--format", "xls"),
    _option("a decimal sign that is none", "decimal", "--decimal", ";"),
    DirtyInput("options", "the delimiter for the decimal sign", lines("price,rating", '"7,5",3', "5,4"), ((7.5, 3.0), (5.0, 4.0)), options=("--decimal", ",", "--delimiter", ",")),
    _option("an encoding that shifts", "cannot be read", "--encoding", "utf-7"),
    _option("UTF-16 given for UTF-8", "byte order mark", "--encoding", "utf-16", code=3),
    _option("--columns of none there", "no column 'x'", "--columns", "x", code=3),
    _option("--truth of none there", "no column 'x'", "--truth", "x", code=3),
    _option("--rejects without its policy", "--bad-rows reject", "--rejects", "r.csv"),
    _option("an output format that is none", "unknown format", "--out-format", "xlsx"),
    _option("no threads", "threads", "--threads", "0"),
    _option("--format jsonl for CSV", "one object a line", "--format", "jsonl", code=3),
    _option("--format parquet for CSV", "is not parquet", "--format", "parquet", code=3),
    DirtyInput("options", "--columns in another order", _GOOD, _RIGHT, options=("--columns", "rating,id")),
    DirtyInput("options", "--columns of none", _GOOD, _RIGHT, options=("--columns", "")),
)  # fmt: skip
