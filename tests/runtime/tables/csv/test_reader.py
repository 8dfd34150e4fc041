from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from runtime.encoding import PLAIN
from runtime.errors import DataError
from runtime.tables.csv.features import parse_features
from runtime.tables.csv.reader import CsvReader, Records

if TYPE_CHECKING:
    from runtime.tables.base import BadRow

BOM = b"\xef\xbb\xbf"


def read(data: bytes, block_size: int = 1 << 20) -> tuple[CsvReader, list[Records]]:
    """Read a whole table."""
    reader = CsvReader(io.BytesIO(data), where="t.csv", block_size=block_size)
    return reader, list(reader.blocks())


def bad_rows(data: bytes, block_size: int = 1 << 20) -> list[BadRow]:
    """The bad rows of a table whose first two columns are the features."""
    reader, blocks = read(data, block_size)
    columns = reader.header.columns
    return [row for block in blocks for row in parse_features(block, columns, (0, 1), PLAIN).bad]


@pytest.mark.parametrize("block_size", [1, 2, 3, 5, 1 << 20])
@pytest.mark.parametrize(
    ("text", "columns", "terminator"),
    [
        (b"a,b\n1,2\n", ("a", "b"), b"\n"),
        (b"a,b\r\n1,2\r\n", ("a", "b"), b"\r\n"),
        (b"a,b\r1,2\r", ("a", "b"), b"\r"),
        (b"a,b", ("a", "b"), b"\n"),
        (b"a,b\r", ("a", "b"), b"\r"),
        (BOM + b"a,b\n1,2", ("a", "b"), b"\n"),
        (BOM + b'"a","b"\n', ("a", "b"), b"\n"),
        (b'"a,\n""b""",c\r\n1,2', ('a,\n"b"', "c"), b"\r\n"),
        (b" a ,,b\n", (" a ", "", "b"), b"\n"),
        (b'x"y,"a"b\n', ('x"y', "ab"), b"\n"),
        ("Größe,价格\n".encode(), ("Größe", "价格"), b"\n"),
    ],
)
def test_the_header_is_read_as_it_stands(
    text: bytes, columns: tuple[str, ...], terminator: bytes, block_size: int
) -> None:
    """Names without quotes or byte order mark, blanks kept, wherever the reads break."""
    reader, blocks = read(text, block_size)
    assert (reader.header.columns, reader.header.terminator) == (columns, terminator)
    pieces = [reader.header.text, *(block.data for block in blocks), reader.tail]
    assert b"".join(pieces) == text
    assert reader.bytes_read == len(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(b"", "t.csv is empty", id="empty"),
        pytest.param(BOM, "no column names", id="byte order mark alone"),
        pytest.param(b"\n\na,b\n", "no column names", id="blank first line"),
        pytest.param(b",,,\n1,2,3,4\n", "no column names", id="only commas"),
        pytest.param(b"\xff\xfea\x00,\x00b\x00\n\x00", "not UTF-8 text", id="UTF-16"),
        pytest.param(b"a\0,b\n", "NUL bytes", id="NUL"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "not UTF-8 text", id="a picture"),
        pytest.param(b"PK\x03\x04\x00\x00\n", "NUL bytes", id="an archive"),
        pytest.param(b"prix \xe9,b\n", r"not UTF-8 text \(byte 6\)", id="Latin-1"),
        pytest.param(b'"a,b\n1,2\n', "a quote in the header is not closed", id="open quote"),
        pytest.param(b"x" * 200_000 + b",b\n", "more than 131,072 characters", id="endless name"),
    ],
)
def test_what_has_no_header_is_no_table(text: bytes, said: str) -> None:
    """Each is a ``DataError`` that names the file and what is wrong with it."""
    with pytest.raises(DataError, match=said) as caught:
        read(text)
    assert "t.csv" in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_file_without_a_line_end_is_given_up() -> None:
    """A header without end is refused."""

    class Endless(io.BytesIO):
        """Gives the same letter again and again."""

        def read(self, size: int | None = -1) -> bytes:
            return b"x" * (size or 0)

    with pytest.raises(DataError, match="no line end in its first 64 MiB"):
        CsvReader(Endless(), where="t.csv", block_size=1 << 24)


def test_an_endless_record_is_given_up() -> None:
    """A quoted field without end is refused with the record's number."""

    class Endless(io.BytesIO):
        """A table, then the same letter again and again."""

        def read(self, size: int | None = -1) -> bytes:
            return super().read(size) or b"x" * (1 << 24)

    reader = CsvReader(Endless(b'a,b\n1,2\n3,"'), where="t.csv", block_size=1 << 24)
    with pytest.raises(DataError, match="record 2 is longer than 64 MiB"):
        list(reader.blocks())


@pytest.mark.parametrize("block_size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b'a,b\n1,"2', 2),
        (b'a,b\n1,2\n3,4\n5,"6\n7,8\n', 4),
        (b'a,b\r\n"x\r\ny",2\r\n\r\n5,"6\r\n7,8\r\n', 5),
        (b'"a\nc",b\n1,2\n3,"4""', 4),
    ],
)
def test_an_open_quote_is_found(text: bytes, line: int, block_size: int) -> None:
    """A quote that is not closed is an error with its line."""
    with pytest.raises(DataError, match=f"a quote in the record on line {line} is not closed"):
        read(text, block_size)


@pytest.mark.parametrize("block_size", [1, 3, 11, 1 << 20])
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(b"a,b\nx,1\nx,2\nx,3\n", [2, 3, 4], id="LF"),
        pytest.param(b"a,b\r\nx,1\r\nx,2\r\nx,3", [2, 3, 4], id="CRLF"),
        pytest.param(b"a,b\rx,1\rx,2\rx,3\r", [2, 3, 4], id="CR"),
        pytest.param(b"a,b\n\n\nx,1\n\r\n\rx,2\n1,2\nx,3\n\n", [4, 7, 9], id="blank lines"),
        pytest.param(b'"a\n\n",b\n"x\r\n\r",1\nx,"2\n"\n"x",3', [4, 7, 9], id="breaks in quotes"),
    ],
)
def test_a_bad_row_says_where_it_starts(text: bytes, lines: list[int], block_size: int) -> None:
    """Lines are physical lines, as an editor counts them; records count from 1."""
    found = bad_rows(text, block_size)
    assert [row.line for row in found] == lines
    assert [row.column for row in found] == [read(text)[0].header.columns[0]] * 3


def test_records_are_numbered_from_one_after_the_header() -> None:
    """Blank lines and quoted line breaks are not records."""
    found = bad_rows(b'a,b\n\n1,2\n"3\n4",5\n\n6\n7,8\n9,x\n')
    assert [row.record for row in found] == [2, 3, 5]
    assert [row.text for row in found] == [b'"3\n4",5', b"6", b"9,x"]


@pytest.mark.parametrize(
    ("record", "column", "value", "reason"),
    [
        (b"1", "", "", "too few fields (1 instead of 2)"),
        (b"1,2,3", "", "", "too many fields (3 instead of 2)"),
        (b"1,2,", "", "", "too many fields (3 instead of 2)"),
        (b"1,,2", "", "", "too many fields (3 instead of 2)"),
        (b'"1,2"', "", "", "too few fields (1 instead of 2)"),
        (b"\xff", "", "", "too few fields (1 instead of 2)"),
        (b"1,2,\xff,", "", "", "too many fields (4 instead of 2)"),
        (b",2", "a", "", "missing value"),
        (b"1,", "b", "", "missing value"),
        (b'"",2', "a", "", "missing value"),
        (b"1,  ", "b", "  ", "missing value"),
        (b"x,y", "a", "x", "not a number"),
        (b"1,2\0", "b", "2\0", "not a number"),
        (b'1,"2\n"', "b", "2\n", "not a number"),
        (b"nan,2", "a", "nan", "NaN or infinity"),
        (b"1,-inf", "b", "-inf", "NaN or infinity"),
        (b"1e39,2", "a", "1e39", "out of float32's range"),
        (b"1,\xff", "b", "\\xff", "undecodable bytes"),
    ],
)
def test_every_fault_has_its_reason(record: bytes, column: str, value: str, reason: str) -> None:
    """The first bad cell of a row is named; a misfit has no column."""
    (found,) = bad_rows(b"a,b\n5,6\n" + record + b"\n7,8\n")
    assert (found.column, found.value, found.reason) == (column, value, reason)
    assert (found.record, found.line, found.text) == (2, 3, record)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_in_a_table_of_one_column_a_blank_line_is_a_missing_value(end: bytes) -> None:
    """A blank line is a record there, first and last ones too, beside records that do not fit."""
    text = end.join([b"a", b"", b"", b"1", b"2,3", b"", b"5,6", b"4", b"", b""])
    reader, blocks = read(text)
    (block,) = blocks
    parsed = parse_features(block, reader.header.columns, (0,), PLAIN)
    assert parsed.features.tolist() == [[1], [4]]
    missing, too_many = "missing value", "too many fields (2 instead of 1)"
    assert [(row.record, row.line, row.reason) for row in parsed.bad] == [
        (1, 2, missing),
        (2, 3, missing),
        (4, 5, too_many),
        (5, 6, missing),
        (6, 7, too_many),
        (8, 9, missing),
    ]


def test_a_source_that_fails_is_an_error_of_the_data() -> None:
    """A read error names the table."""

    class Broken(io.BytesIO):
        """A table whose end cannot be read."""

        def read(self, size: int | None = -1) -> bytes:
            if chunk := super().read(size):
                return chunk
            raise OSError(5, "Input/output error")

    reader = CsvReader(Broken(b"a,b\n" + b"1,2\n" * 200), where="t.csv", block_size=8)
    with pytest.raises(DataError, match=r"cannot read t\.csv: Input/output error"):
        list(reader.blocks())


def test_pieces_of_a_pipe_make_whole_blocks() -> None:
    """A pipe with small reads yields blocks of full size."""

    class Pipe(io.BytesIO):
        """Gives seven bytes at most."""

        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 7))

    data = b"a,b\n" + b"1,2\n" * 1000
    reader = CsvReader(Pipe(data), where="t.csv", block_size=1000)
    blocks = list(reader.blocks())
    assert [len(block) for block in blocks] == [len(block) for block in read(data, 1000)[1]]
    assert reader.bytes_read == len(data)


def test_a_pipe_that_does_not_wait_is_refused() -> None:
    """A non-blocking source without data is an error, not the end."""

    class Impatient:
        """Returns a record, then None."""

        given = False

        def read(self, size: int, /) -> bytes | None:
            if self.given:
                return None
            self.given = True
            return b"a,b\n1,2\n"[:size]

    with pytest.raises(DataError, match=r"t\.csv is non-blocking and has no data yet"):
        CsvReader(Impatient(), where="t.csv")
