from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from runtime.encoding import PLAIN
from runtime.errors import UsageError
from runtime.io.charsets import Encoding
from runtime.tables.cells import number_hint
from runtime.tables.csv.features import parse_features
from runtime.tables.csv.quoting import format_floats
from runtime.tables.csv.reader import CsvReader
from runtime.tables.csv.table import CsvTable
from runtime.tables.dialect import COMMA, Dialect, parse_delimiter

if TYPE_CHECKING:
    from runtime.tables.base import Parsed

WANTED = ("price", "rating")
BOM = b"\xef\xbb\xbf"


def detected(data: bytes, dialect: Dialect = COMMA, block_size: int = 1 << 19) -> CsvReader:
    """Open a table whose delimiter is not known."""
    stream = io.BytesIO(data)
    return CsvReader(
        stream, where="t.csv", block_size=block_size, dialect=dialect, detect_by=WANTED
    )


def parsed(data: bytes, dialect: Dialect, features: tuple[int, ...] = (0, 1)) -> list[Parsed]:
    """Read a whole table."""
    reader = CsvReader(io.BytesIO(data), where="t.csv", dialect=dialect)
    columns = reader.header.columns
    return [parse_features(block, columns, features, PLAIN) for block in reader.blocks()]


@pytest.mark.parametrize(
    ("text", "sign"),
    [(",", b","), (";", b";"), ("\t", b"\t"), ("tab", b"\t"), ("TAB", b"\t"), ("\\t", b"\t"),
     ("|", b"|"), ("pipe", b"|"), ("semicolon", b";"), ("comma", b","), (" ", b" "), ("^", b"^"),
     ("\x1f", b"\x1f"), ("_", b"_")],
)  # fmt: skip
def test_a_delimiter_is_a_character_or_its_name(text: str, sign: bytes) -> None:
    """Delimiters can be given by name."""
    assert parse_delimiter(text) == sign


@pytest.mark.parametrize(
    "text", ["", ",,", '"', "\n", "\r", "\0", "e", "Z", "0", "+", "-", ".", "¦"]
)
def test_a_sign_that_cannot_be_a_delimiter_is_refused(text: str) -> None:
    """Quotes, line ends, letters, digits and signs are not delimiters."""
    with pytest.raises(UsageError, match=r"invalid delimiter .* give one ASCII character"):
        parse_delimiter(text)


def test_a_decimal_sign_is_point_or_comma() -> None:
    """Anything else is refused."""
    with pytest.raises(UsageError, match="unknown decimal sign ';': choose"):
        Dialect(decimal=";")  # type: ignore[arg-type]  # what a caller might pass


@pytest.mark.parametrize("block_size", [1, 1 << 19])
@pytest.mark.parametrize(
    ("header", "sign", "columns"),
    [
        ("price,rating", b",", ("price", "rating")),
        ("price;rating", b";", ("price", "rating")),
        ("price\trating", b"\t", ("price", "rating")),
        ("price|rating", b"|", ("price", "rating")),
        ("note (a, b, c);price;rating", b";", ("note (a, b, c)", "price", "rating")),
        ("a|b|c,price,rating", b",", ("a|b|c", "price", "rating")),
        (" Price;RATING ;x,y,z,w", b";", (" Price", "RATING ", "x,y,z,w")),
        ("prix;note;a,b", b";", ("prix", "note", "a,b")),
        ("id;price;a,b,c,d", b";", ("id", "price", "a,b,c,d")),
        ("a,b;c", b",", ("a", "b;c")),
        ("price", b",", ("price",)),
        ('"price;x",rating', b",", ("price;x", "rating")),
        ('"price";"rating"', b";", ("price", "rating")),
        ('"a\n,b";price;rating', b";", ("a\n,b", "price", "rating")),
        ('a,"b;price;rating', b";", ('a,"b', "price", "rating")),
        ('price;rating;"x\n,y"', b";", ("price", "rating", "x\n,y")),
        ('\ufeff"price";rating', b";", ("price", "rating")),
        ("\ufeffprice\trating", b"\t", ("price", "rating")),
    ],
)  # fmt: skip
def test_the_delimiter_is_found_in_the_header(
    header: str, sign: bytes, columns: tuple[str, ...], block_size: int
) -> None:
    """The one that splits off the wanted names, else most names, else the comma."""
    text = f"{header}\n1{sign.decode()}2\n".encode()
    reader = detected(text, block_size=block_size)
    assert reader.header.dialect.delimiter == sign
    assert reader.header.columns == columns
    blocks = list(reader.blocks())
    assert [block.dialect for block in blocks] == [reader.header.dialect] * len(blocks)
    pieces = [reader.header.text, *(block.data for block in blocks), reader.tail]
    assert b"".join(pieces) == text
    assert reader.bytes_read == len(text)


def test_a_delimiter_that_splits_characters_is_not_looked_for() -> None:
    """In GBK a ``|`` may be half of a letter: a header full of such letters has no delimiter."""
    text = "价丂丂丂;price;rating\n".encode("gbk").replace("丂".encode("gbk"), b"\x81\x7c")
    dialect = detected(text, Dialect(encoding=Encoding("gbk"), decimal=",")).header.dialect
    assert dialect == Dialect(b";", Encoding("gbk"), ",")


def test_a_very_wide_header_is_detected_by_its_beginning() -> None:
    """Ten thousand columns and more are no obstacle."""
    text = ";".join(["price", "rating", *(f"column number {n}" for n in range(40_000))]).encode()
    reader = detected(text + b"\n")
    assert reader.header.dialect.delimiter == b";"
    assert len(reader.header.columns) == 40_002


@pytest.mark.parametrize("delimiter", [b",", b";", b"\t", b"|", b" "])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_quoting_is_the_same_with_any_delimiter(delimiter: bytes, end: bytes) -> None:
    """Delimiters and line breaks in quotes belong to a cell, doubled quotes are one."""
    rows = [
        [BOM + b'"price"', b'"no' + end + b'te"', b"rating"],
        [b"7.5", b'"' + delimiter + end + b'""x"""', b'"2"'],
        [b'"1"', b"", b"3"],
        [b"1", b"2"],
        [b'"x' + delimiter + b'"', b"", b"4"],
    ]
    data = end.join(delimiter.join(row) for row in rows) + end
    (found,) = parsed(data, Dialect(delimiter), (0, 2))
    assert found.features.tolist() == [[7.5, 2], [1, 3]]
    assert [(row.record, row.line, row.column, row.value) for row in found.bad] == [
        (3, 6, "", ""),
        (4, 7, "price", "x" + delimiter.decode()),
    ]


@pytest.mark.parametrize("delimiter", [b",", b";", b"\t"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r", b"\n\n"])
def test_a_table_of_a_header_alone_has_no_records(delimiter: bytes, end: bytes) -> None:
    """A table of one line may end in any terminator."""
    data = delimiter.join([b"price", b"rating"]) + end
    reader = detected(data)
    assert reader.header.columns == WANTED
    assert list(reader.blocks()) == []
    assert reader.header.text + reader.tail == data


def test_mixed_line_ends_end_records_alike() -> None:
    """LF, CRLF and CR in one file; none of them joins or splits a record."""
    (found,) = parsed(b"a;b\r\n1;2\n3;4\r5;6\r\n7;8", Dialect(b";"))
    assert found.features.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert found.bad == ()


@pytest.mark.parametrize("beside", [b"", b"x;1\n"], ids=["clean", "beside a bad row"])
def test_decimal_commas_are_read_where_they_are_meant(beside: bytes) -> None:
    """With a decimal comma, ``7,5`` is a number and ``7.5`` is not."""
    rows = b'a;b\n7,5;-,5e1\n"1,";+2\n' + beside
    (found,) = parsed(rows, Dialect(b";", decimal=","))
    assert found.features.tolist() == [[7.5, -5], [1, 2]]
    for cell in (b"7.5", b"1.234,5", b"1,2,3", b",", b"1 234,5"):
        (found,) = parsed(b"a;b\n" + cell + b";1\n" + beside, Dialect(b";", decimal=","))
        assert [row.reason for row in found.bad] == ["not a number"] * (1 + bool(beside))
    (found,) = parsed(b"a;b\n1e39;1\n1;-1,5e39\n" + beside, Dialect(b";", decimal=","))
    assert [row.reason for row in found.bad[:2]] == ["out of float32's range"] * 2


def test_decimal_commas_between_commas_stand_in_quotes() -> None:
    """The comma may be both, as long as the cells are quoted."""
    (found,) = parsed(b'a,b\n"7,5","2"\n1,"2,5"\n', Dialect(decimal=","))
    assert found.features.tolist() == [[7.5, 2], [1, 2.5]]


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        (Dialect(), [b"0.5", b"1", b"1e-7"]),
        (Dialect(b";", decimal=","), [b"0,5", b"1", b"1e-7"]),
        (Dialect(decimal=","), [b'"0,5"', b"1", b"1e-7"]),
    ],
)
def test_numbers_are_written_with_the_tables_decimal_sign(
    dialect: Dialect, expected: list[bytes]
) -> None:
    """Probabilities have the table's decimal sign, quoted if it is the delimiter."""
    written = format_floats(pa.array([0.5, 1, 1e-7], pa.float32()), dialect)
    assert written.to_pylist() == expected


@pytest.mark.parametrize(
    ("values", "decimal", "said"),
    [
        (["7,5", "-1,25", "10,0"], ".", 'decimal commas: give decimal=","'),
        (["7,5"] * 19 + ["n/a"], ".", 'decimal commas: give decimal=","'),
        ([" ,5 ", "1,5e3"], ".", "decimal commas"),
        (["1.234,50", "999,99", "2.000,1"], ".", 'write them without and give decimal=","'),
        (["1.234,50", "5.999,99"], ".", "thousands separators ('.'): write them without and give"),
        (["1,234.5", "12,345,678"], ".", "thousands separators (','): write them without"),
        (["1 234", "12 345"], ".", "thousands separators (' ')"),
        (["1'234.5", "12'345"], ".", 'thousands separators ("\'")'),
        (["1\u202f234", "1\u202f235"], ".", "thousands separators ('\\u202f')"),
        (["1,234", "5,678"], ".", 'if these are decimal signs, give decimal=","'),
        (["1,234", "5,67"], ".", 'decimal commas: give decimal=","'),
        (["7.5", "8.25"], ",", 'decimal points: give decimal="."'),
        (["1.234", "5.678"], ",", 'if these are decimal signs, give decimal="."'),
        (["1.234.567", "5.678"], ",", "thousands separators ('.'): write them without"),
        (["7,5"], ".", None),
        ([], ".", None),
        (["x", "y", "7,5"], ".", None),
        (["", "", "7,5", "8,5"], ".", None),
        (["1,2,3", "4,5,6"], ".", None),
        (["0x10", "12 34"], ".", None),
    ],
)
def test_a_column_of_numbers_in_another_notation_is_told(
    values: list[str], decimal: str, said: str | None
) -> None:
    """The hint names column and option, both options if ambiguous."""
    hint = number_hint("price", values, decimal)  # type: ignore[arg-type]  # from the table above
    if said is None:
        assert hint is None
    else:
        assert hint is not None
        assert hint.startswith("column 'price' looks like numbers with ")
        assert said in hint


def test_the_delimiter_in_use_is_not_suggested() -> None:
    """Names in other case are missing, but not because of the delimiter."""
    table = CsvTable(detected(b"Price,Rating,a;b\n1,2,3\n"))
    assert table.layout_hint(WANTED) == ""
    table = CsvTable(CsvReader(io.BytesIO(b"Price;Rating\n1;2\n"), where="t.csv"))
    assert table.layout_hint(WANTED) == "the names are separated by ';': give delimiter=\";\""
