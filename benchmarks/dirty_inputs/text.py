"""Variants of delimited text: delimiters, line ends, quotes, fields, encodings."""

from __future__ import annotations

from dirty_inputs.dirty_input import (
    AFTER,
    BEFORE,
    DirtyInput,
    Row,
    between,
    lines,
    rows_between,
    table,
)

_RIGHT = (BEFORE, AFTER)
_TEXT = "id,price,rating\n1,7.5,3\n9,5.5,4.25\n"
_FEW, _MANY, _NO_NUMBER = "too few fields", "too many fields", "not a number"
_NEW, _MISSING = "undecodable bytes", "missing value"


def _by(delimiter: str, *options: str, file: str = "table.csv", name: str = "") -> DirtyInput:
    content = _TEXT.replace(",", delimiter).encode()
    name = name or f"{delimiter!r} between fields"
    return DirtyInput("delimiter", name, content, _RIGHT, file=file, options=options)


def _commas(name: str, content: bytes, *options: str, says: str = "", **rows: object) -> DirtyInput:
    right = rows.get("rows", _RIGHT)
    return DirtyInput("delimiter", name, content, right, says, options=options)  # type: ignore[arg-type]  # checked when made


def _ends(name: str, content: bytes, rows: tuple[Row, ...] = _RIGHT) -> DirtyInput:
    return DirtyInput("line ends", name, content, rows)


def _quotes(name: str, content: bytes, *rows: Row) -> DirtyInput:
    return DirtyInput("quotes", name, content, rows)


def _fields(name: str, record: str | bytes, row: Row) -> DirtyInput:
    return DirtyInput("fields", name, between(record), rows_between(row))


def _encoded(encoding: str, *options: str, name: str = "", mark: bytes = b"") -> DirtyInput:
    content = mark + _TEXT.replace("id", "größe").encode(encoding)
    name = name or f"{encoding} with --encoding"
    return DirtyInput("encoding", name, content, _RIGHT, options=options)


DELIMITERS = (
    _by(";"), _by("\t"), _by("|"),
    _by("\t", file="table.tsv", name="tabs, named .tsv"),
    _by(" ", "--delimiter", " ", name="blanks, given"),
    _by(":", "--delimiter", ":", name="colons, given"),
    _by("\x1f", "--delimiter", "\x1f", name="unit separators, given"),
    DirtyInput("delimiter", "colons, not given", _TEXT.replace(",", ":").encode(), says="--delimiter"),
    DirtyInput("delimiter", "blanks, not given", _TEXT.replace(",", " ").encode(), says="--delimiter"),
    DirtyInput("delimiter", "tabs, given as ;", _TEXT.replace(",", "\t").encode(), says="--delimiter tab", options=("--delimiter", ";")),
    DirtyInput("delimiter", "commas, named .tsv", _TEXT.encode(), says="--delimiter ,", file="table.tsv", holds=_RIGHT),
    DirtyInput("delimiter", "header by ; and rows by ,", lines("price;rating", "7.5,3", "5.5,4.25"), (_FEW, _FEW)),
    DirtyInput("delimiter", "one row by ; among commas", between("2;6.5;4"), rows_between(_FEW)),
    DirtyInput("delimiter", "more ; than , in the rows", table("a;b;c;d,7.5,3", "a;b;c;d,5.5,4.25"), _RIGHT),
    _commas("decimal commas in quotes", lines("price,rating", '"7,5",3', '"5,5","4,25"'), says="--decimal ,", rows=(_NO_NUMBER, _NO_NUMBER)),
    _commas("decimal commas with --decimal ,", lines("price,rating", '"7,5",3', '"5,5","4,25"'), "--decimal", ","),
    _commas("decimal commas by ;", lines("price;rating", "7,5;3", "5,5;4,25"), says="--decimal ,", rows=(_NO_NUMBER, _NO_NUMBER)),
    _commas("decimal commas by ; with --decimal ,", lines("price;rating", "7,5;3", "5,5;4,25"), "--decimal", ","),
    _commas("decimal commas without quotes", lines("price,rating", "7,5,3", "5,5,4,25"), rows=(_MANY, _MANY)),
    _commas("decimal points with --decimal ,", lines("price;rating", "7.5;3", "5,5;4,25"), "--decimal", ",", rows=(_NO_NUMBER, AFTER)),
)  # fmt: skip
LINE_ENDS = (
    _ends("CR LF", _TEXT.replace("\n", "\r\n").encode()),
    _ends("CR alone", _TEXT.replace("\n", "\r").encode()),
    _ends("LF, CR LF and CR mixed", b"id,price,rating\r\n1,7.5,3\r2,7.5,3\n9,5.5,4.25\r\n", (BEFORE, BEFORE, AFTER)),
    _ends("no last line end", _TEXT.rstrip().encode()),
    _ends("blank lines in the middle", b"id,price,rating\n\n1,7.5,3\n\n\n9,5.5,4.25\n\n"),
    _ends("lines of blanks in the middle", between("   "), rows_between(_FEW)),
    _ends("lines of commas in the middle", between(",,"), rows_between(_MISSING)),
    _ends("LF CR", _TEXT.replace("\n", "\n\r").encode()),
    _ends("CR CR LF", _TEXT.replace("\n", "\r\r\n").encode()),
    _ends("a form feed before a row", between("\f2,6.5,4"), rows_between((6.5, 4.0))),
    _ends("a form feed before a number", between("2,\f6.5,4"), rows_between(_NO_NUMBER)),
    _ends("U+2028 in a carried cell", between("a\u2028b,6.5,4"), rows_between((6.5, 4.0))),
    _ends("NEL in a carried cell", between("a\u0085b,6.5,4"), rows_between((6.5, 4.0))),
    _ends("U+2029 at the end of a number", between("2,6.5,4\u2029"), rows_between(_NO_NUMBER)),
    _ends("Ctrl-Z after the last row", _TEXT.encode() + b"\x1a", (BEFORE, AFTER, _FEW)),
    _ends("a blank line, one column more than none", lines("price,rating", "7.5,3", "", "5.5,4.25")),
    _ends("a row of totals at the end", _TEXT.encode() + b"total,,\n", (BEFORE, AFTER, _MISSING)),
)  # fmt: skip
QUOTES = (
    DirtyInput("quotes", "a quote is not closed", between('"2,6.5,4'), says="is not closed"),
    DirtyInput("quotes", "the last quote is not closed", table("1,7.5,3", '9,5.5,"4.25'), says="is not closed"),
    _quotes("a quote within a cell", between('5" pipe,6.5,4'), BEFORE, (6.5, 4.0), AFTER),
    _quotes("a quote at the end of a cell", between('pipe 5",6.5,4'), BEFORE, (6.5, 4.0), AFTER),
    _quotes("doubled quotes", between('"say ""hi"", twice",6.5,4'), BEFORE, (6.5, 4.0), AFTER),
    _quotes("quotes escaped by a backslash", between(r'"say \"hi\"",6.5,4'), BEFORE, (6.5, 4.0), AFTER),
    _quotes("an empty cell in quotes", between('"",6.5,4'), BEFORE, (6.5, 4.0), AFTER),
    _quotes("a line break in quotes", between('"a\nb",6.5,4'), BEFORE, (6.5, 4.0), AFTER),
    _quotes("a record in quotes", between('"a\n2,1,1\nb",6.5,4'), BEFORE, (6.5, 4.0), AFTER),
    _quotes("a delimiter in quotes", between('"a,b",6.5,4'), BEFORE, (6.5, 4.0), AFTER),
    _quotes("numbers in quotes", between('"2","6.5","4"'), BEFORE, (6.5, 4.0), AFTER),
    _quotes("blanks within the quotes", between('2," 6.5 ",4'), BEFORE, (6.5, 4.0), AFTER),
    _quotes("a blank before the quote", between('2, "6.5",4'), BEFORE, _NO_NUMBER, AFTER),
    _quotes("a blank after the quote", between('2,"6.5" ,4'), BEFORE, (6.5, 4.0), AFTER),
    _quotes("digits after the quote", between('2,"6".5,4'), BEFORE, (6.5, 4.0), AFTER),
    _quotes("a blank before a quote with a delimiter", between('a, "b,c",6.5,4'), BEFORE, _MANY, AFTER),
    _quotes("single quotes around numbers", between("2,'6.5',4"), BEFORE, _NO_NUMBER, AFTER),
    _quotes("curly quotes around numbers", between("2,“6.5”,4"), BEFORE, _NO_NUMBER, AFTER),
    _quotes("rows in quotes as a whole", between('"2,6.5,4"'), BEFORE, _FEW, AFTER),
    _quotes("an empty number in quotes", between('2,"",4'), BEFORE, _MISSING, AFTER),
)  # fmt: skip
FIELDS = (
    _fields("one field too few", "2,6.5", _FEW),
    _fields("one field too many", "2,6.5,4,1", _MANY),
    _fields("a trailing comma in one row", "2,6.5,4,", _MANY),
    _fields("a leading comma in one row", ",2,6.5,4", _MANY),
    _fields("thousands separators without quotes", "2,1,006.5,4", _MANY),
    _fields("a comma in a name without quotes", "pen, red,6.5,4", _MANY),
    _fields("a row cut off", "2,6", _FEW),
    _fields("two rows in one line", "2,6.5,4 3,6.5,4", _MANY),
    _fields("100,000 fields in one row", "2" + ",1" * 100_000, _MANY),
    DirtyInput("fields", "a trailing comma in every row", table("1,7.5,3,", "9,5.5,4.25,"), (_MANY, _MANY)),
    DirtyInput("fields", "a trailing comma in header and rows", table("1,7.5,3,", "9,5.5,4.25,", header="id,price,rating,"), _RIGHT),
    DirtyInput("fields", "an index without a name", table("0,1,7.5,3", "1,9,5.5,4.25"), (_MANY, _MANY)),
    DirtyInput("fields", "rows of many lengths", table("1", "1,7.5", "1,7.5,3", "1,7.5,3,4", "9,5.5,4.25"), (_FEW, _FEW, BEFORE, _MANY, AFTER)),
    DirtyInput("fields", "a short and a long row that add up", between("2,6.5", "4,3,6.5,4"), rows_between(_FEW, _MANY)),
    DirtyInput("fields", "one column, short rows cannot be", lines("price", "7.5"), says="'rating' is missing"),
    DirtyInput("fields", "every row bad", table("1,x,y", "2,x,y"), (_NO_NUMBER, _NO_NUMBER)),
)  # fmt: skip
ENCODINGS = (
    _encoded("utf-8", name="UTF-8 with a byte order mark", mark=b"\xef\xbb\xbf"),
    _encoded("utf-16-le", name="UTF-16 LE with a mark", mark=b"\xff\xfe"),
    _encoded("utf-16-be", name="UTF-16 BE with a mark", mark=b"\xfe\xff"),
    _encoded("utf-32-le", name="UTF-32 LE with a mark", mark=b"\xff\xfe\0\0"),
    _encoded("latin-1", "--encoding", "latin-1"),
    _encoded("cp1252", "--encoding", "cp1252"),
    _encoded("utf-16-le", "--encoding", "utf-16-le"),
    _encoded("gb18030", "--encoding", "gb18030"),
    DirtyInput("encoding", "UTF-16 LE without a mark", _TEXT.encode("utf-16-le"), says="--encoding utf-16-le"),
    DirtyInput("encoding", "UTF-16 BE without a mark", _TEXT.encode("utf-16-be"), says="--encoding utf-16-be"),
    DirtyInput("encoding", "UTF-32 LE without a mark", _TEXT.encode("utf-32-le"), says="--encoding utf-32-le"),
    DirtyInput("encoding", "UTF-16 that ends within a character", _TEXT.encode("utf-16")[:-1], says="table.csv"),
    DirtyInput("encoding", "a byte order mark twice", b"\xef\xbb\xbf" * 2 + lines("price,rating", "7.5,3"), says=r"'\ufeffprice'"),
    DirtyInput("encoding", "a byte order mark among the rows", _TEXT.encode() + b"\xef\xbb\xbf" + lines("2,6.5,4"), (*_RIGHT, (6.5, 4.0))),
    DirtyInput("encoding", "bytes that do not decode in a feature", between(b"2,6.5\xff,4"), rows_between(_NEW)),
    DirtyInput("encoding", "bytes that do not decode, carried", between(b"caf\xe9,6.5,4"), rows_between((6.5, 4.0))),
    DirtyInput("encoding", "overlong UTF-8 in a feature", between(b"2,\xc0\xb6,4"), rows_between(_NEW)),
    DirtyInput("encoding", "a lone surrogate, carried", between(b"\xed\xa0\x80,6.5,4"), rows_between((6.5, 4.0))),
    DirtyInput("encoding", "a lone surrogate in a feature", between(b"2,\xed\xa0\x80,4"), rows_between(_NEW)),
    DirtyInput("encoding", "NUL in a feature", between(b"2,6\0.5,4"), rows_between(_NO_NUMBER)),
    DirtyInput("encoding", "NUL after a number", between(b"2,6.5\0,4"), rows_between(_NO_NUMBER)),
    DirtyInput("encoding", "NUL in a carried cell", between(b"a\0b,6.5,4"), rows_between((6.5, 4.0))),
    DirtyInput("encoding", "a block of zeros in the middle", between(bytes(600)), rows_between(_FEW)),
)  # fmt: skip
