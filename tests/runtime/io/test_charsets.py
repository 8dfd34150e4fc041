from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.encoding import PLAIN
from runtime.errors import DataError, UsageError
from runtime.io.charsets import (
    Encoding,
    TranscodedSource,
    detect_encoding,
    parse_encoding,
    transcoded_sink,
)
from runtime.io.sinks import encoded_sink
from runtime.io.sources import PeekedSource
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file
from runtime.tables.base import BadRow
from runtime.tables.csv.features import parse_features
from runtime.tables.csv.quoting import encode_cell, encode_record, encode_rejects
from runtime.tables.csv.reader import CsvReader
from runtime.tables.dialect import Dialect
from runtime.tables.formats import parse_format
from runtime.tables.opening import DecodedSource, decode_source
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runtime.predictor import Predictor

WIDE = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
characters = st.text(st.characters(codec=None, exclude_categories=()), max_size=30)


def opened(data: bytes, encoding: str | None = None) -> DecodedSource:
    """Open a table whose encoding was given, or not."""
    given_one = parse_encoding(encoding) if encoding else None
    return decode_source(io.BytesIO(data), None, where="t.csv", encoding=given_one)


def reader_of(data: bytes, encoding: str | None = None) -> CsvReader:
    """Open a table and read its header."""
    found = opened(data, encoding)
    return CsvReader(found.source, where="t.csv", dialect=Dialect(encoding=found.encoding))


def bad_rows(data: bytes, encoding: str | None = None) -> list[BadRow]:
    """The bad rows of a table whose first column is a feature."""
    reader = reader_of(data, encoding)
    columns = reader.header.columns
    return [
        row for block in reader.blocks() for row in parse_features(block, columns, (0,), PLAIN).bad
    ]


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("utf-8", "utf-8"),
        ("UTF8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("latin-1", "iso8859-1"),
        ("windows-1252", "cp1252"),
        ("ISO-8859-15", "iso8859-15"),
        ("koi8-r", "koi8-r"),
        ("gbk", "gbk"),
        ("gb18030", "gb18030"),
        ("big5", "big5"),
        ("euc-jp", "euc_jp"),
        ("shift_jis", "shift_jis"),
        ("euc-kr", "euc_kr"),
        ("ascii", "ascii"),
        ("utf-16", "utf-16"),
        ("UTF-16LE", "utf-16-le"),
        ("utf_32_be", "utf-32-be"),
    ],
)
def test_common_encodings_are_supported(given_name: str, name: str) -> None:
    """In any spelling that Python knows."""
    assert parse_encoding(given_name) == Encoding(name)


@pytest.mark.parametrize(
    "name",
    ["utf-7", "hz", "iso2022_jp", "iso-2022-kr", "cp037", "cp500", "punycode", "idna", "rot13",
     "base64", "unicode_escape", "raw_unicode_escape", "undefined", "hex"],
)  # fmt: skip
def test_an_encoding_incompatible_with_ascii_is_refused(name: str) -> None:
    """Stateful encodings and those that remap ASCII bytes cannot be split into records."""
    with pytest.raises(UsageError, match=f"tables in {name} cannot be read.*iconv -f {name}"):
        parse_encoding(name)


@pytest.mark.parametrize("name", ["", "utf-9", "klingon", "a\0b", "ü"])
def test_an_unknown_encoding_is_refused(name: str) -> None:
    """The message names some supported ones."""
    with pytest.raises(UsageError, match=r"unknown encoding .*latin-1, cp1252"):
        parse_encoding(name)


@pytest.mark.parametrize(
    ("head", "given_name", "expected"),
    [
        (b"a,b\n", None, "utf-8"),
        (b"", None, "utf-8"),
        (b"\xef\xbb\xbfa", None, "utf-8"),
        (b"\xff\xfea\0", None, "utf-16-le"),
        (b"\xfe\xff\0a", None, "utf-16-be"),
        (b"\xff\xfe\0\0a\0\0\0", None, "utf-32-le"),
        (b"\0\0\xfe\xff\0\0\0a", None, "utf-32-be"),
        (b"\xfe\xff\0a", "utf-16", "utf-16-be"),
        (b"\xff\xfea\0", "utf-16-le", "utf-16-le"),
        (b"a\0", "utf-16-le", "utf-16-le"),
        (b"\xef\xbb\xbfa", "utf-8", "utf-8"),
        (b"\xff\xfe,b\n", "latin-1", "iso8859-1"),
    ],
)
def test_a_byte_order_mark_tells_the_encoding(
    head: bytes, given_name: str | None, expected: str
) -> None:
    """It gives the encoding and byte order; in Latin-1 its bytes are letters."""
    chosen = parse_encoding(given_name) if given_name else None
    assert detect_encoding(head, chosen, where="t.csv") == Encoding(expected)


@pytest.mark.parametrize(
    ("head", "given_name", "message"),
    [
        (b"a\0", "utf-16", 'mark; give encoding="utf-16-le" or encoding="utf-16-be"'),
        (b"\xef\xbb\xbfa", "latin-1", "mark of UTF-8, not of iso8859-1; leave out encoding"),
        (b"\xff\xfea\0", "utf-8", "mark of UTF-16-LE, not of utf-8"),
        (b"\xff\xfea\0", "utf-16-be", "mark of UTF-16-LE, not of utf-16-be"),
        (b"\xff\xfe\0\0", "utf-16", "mark of UTF-32-LE, not of utf-16"),
    ],
)
def test_a_mark_that_contradicts_the_given_encoding_is_refused(
    head: bytes, given_name: str, message: str
) -> None:
    """A file is not read in an encoding its mark contradicts."""
    with pytest.raises(DataError, match=message) as caught:
        detect_encoding(head, parse_encoding(given_name), where="t.csv")
    assert str(caught.value).startswith("t.csv ")


@pytest.mark.parametrize("name", WIDE)
@given(characters, st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_wide_text_survives_transcoding(name: str, text: str, sizes: Sequence[int]) -> None:
    """Characters and lone surrogates round-trip, in reads and writes of any size."""
    stored = text.encode(name, "surrogatepass")
    source = PeekedSource(io.BytesIO(stored), where="t")
    wide = TranscodedSource(source, Encoding(name), where="t.csv")
    pieces: list[bytes] = []
    out = io.BytesIO()
    while piece := wide.read(sizes[len(pieces) % len(sizes)]):
        assert len(piece) <= sizes[len(pieces) % len(sizes)]
        pieces.append(piece)
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    assert b"".join(pieces) == (text if "32" in name else joined).encode("utf-8", "surrogatepass")
    with transcoded_sink(out, Encoding(name)) as sink:
        for piece in pieces:
            sink.write(piece)
    assert out.getvalue() == stored
    assert wide.bytes_read == len(stored)


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"a\0b", "utf-16-le"), (b"a\0\0\0b\0", "utf-32-le"), (b"\0\x11\0\0", "utf-32-be")],
)
def test_wide_text_that_ends_in_a_character_is_damaged(data: bytes, name: str) -> None:
    """Half a character, or a code point beyond Unicode, is damage."""
    with pytest.raises(DataError, match=r"t\.csv is damaged or not UTF-(16|32)"):
        list(reader_of(data, name).blocks())


@pytest.mark.parametrize("name", ["utf-16", *WIDE])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_wide_table_is_read_like_any_other(name: str, end: str) -> None:
    """Names, numbers and lines are those of the same text in UTF-8."""
    text = end.join(['"price",Größe', "7.5,価", '"x\u2028",1', "5,2", "\ud8001,3", ""])
    data = text.encode(name, "surrogatepass")
    given_name = None if name == "utf-16" else name
    assert reader_of(data, given_name).header.columns == ("price", "Größe")
    found = bad_rows(data, given_name)
    assert [(row.record, row.line, row.reason) for row in found] == [
        (2, 3, "not a number"),
        (4, 5, "undecodable bytes"),
    ]
    assert found[0].value == "x\u2028"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("latin-1", "Größe,prix é\n1,ß\nx é,2\n"),
        ("cp1252", "Preis €,b\n1,„“\n€,2\n"),
        ("koi8-r", "цена,имя\n1,Жизнь\nжизнь,2\n"),
        ("gbk", "价格,名\n1,丂|乗\n丂,2\n"),
        ("shift_jis", "価格,ソ表\n1,ソ\n表ソ,2\n"),
        ("euc-jp", "価格,名\n1,表\n表,2\n"),
        ("big5", "價格,功\n1,許功蓋\n許,2\n"),
        ("gb18030", "价格,名\n1,𠀀\n𠀀,2\n"),
    ],
)
def test_text_in_other_encodings_is_read_in_place(name: str, text: str) -> None:
    """Names and reported values are decoded, bytes stay as they are."""
    data = text.encode(name)
    reader = reader_of(data, name)
    first, second = text.splitlines()[0].split(",")
    assert reader.header.columns == (first, second)
    blocks = list(reader.blocks())
    pieces = [reader.header.text, *(block.data for block in blocks), reader.tail]
    assert b"".join(pieces) == data
    (row,) = bad_rows(data, name)
    value = text.splitlines()[2].split(",")[0]
    assert (row.record, row.column, row.value) == (2, first, value)
    assert row.reason == "not a number"


@pytest.mark.parametrize(
    ("name", "cell", "reason", "value"),
    [
        ("utf-8", b"1\xff", "undecodable bytes", "1\\xff"),
        ("gbk", b"1\xff", "undecodable bytes", "1\\xff"),
        ("cp1252", b"1\x81", "undecodable bytes", "1\\x81"),
        ("latin-1", b"1\xa0", "not a number", "1\xa0"),
        ("ascii", b"\xe9", "undecodable bytes", "\\xe9"),
    ],
)
def test_bytes_that_do_not_decode_are_a_bad_cell(
    name: str, cell: bytes, reason: str, value: str
) -> None:
    """In a feature's column; other columns are not decoded."""
    (row,) = bad_rows(b"a,b\n" + cell + b",1\n2," + cell + b"\n", name)
    assert (row.record, row.reason, row.value) == (1, reason, value)


@pytest.mark.parametrize("name", ["utf-8", "ascii", "gbk", "cp1252"])
def test_a_header_that_does_not_decode_is_refused(name: str) -> None:
    """The message names the encoding and the position of the error."""
    message = rf"t\.csv: the header is not {name.upper()} text \(byte 3\).*encoding="
    with pytest.raises(DataError, match=message):
        reader_of(b"a,\x81\n1,2\n", name)


@pytest.mark.parametrize(
    ("name", "delimiter", "fits"),
    [
        ("gbk", b"|", False),
        ("gbk", b"^", False),
        ("gbk", b";", True),
        ("shift_jis", b"|", False),
        ("johab", b";", False),
        ("johab", b",", True),
        ("euc-jp", b"|", True),
        ("utf-8", b"|", True),
        ("cp1252", b"~", True),
        ("utf-16-le", b"|", True),
    ],
)
def test_a_delimiter_inside_longer_characters_is_refused(
    name: str, delimiter: bytes, *, fits: bool
) -> None:
    """Where a byte of a character looks like the delimiter, text cannot be split at it."""
    if fits:
        assert Dialect(delimiter, parse_encoding(name)).delimiter == delimiter
        return
    with pytest.raises(UsageError, match=r"part of multi-byte characters in .*iconv"):
        Dialect(delimiter, parse_encoding(name))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("latin-1", "é", b"\xe9"),
        ("gbk", "价", "价".encode("gbk")),
        ("utf-16-le", "é", "é".encode()),
        ("cp1252", 'a"€', b'"a""\x80"'),
    ],
)
def test_new_cells_are_written_in_the_tables_encoding(
    name: str, text: str, expected: bytes
) -> None:
    """As the reader sees it: a wide one is UTF-8 until it is stored."""
    assert encode_cell(text, Dialect(encoding=parse_encoding(name))) == expected


def test_a_label_that_the_encoding_lacks_is_refused() -> None:
    """The message names the character and the encoding, and how to convert the table."""
    with pytest.raises(DataError) as caught:
        encode_cell("teuer €", Dialect(encoding=parse_encoding("latin-1")))
    assert str(caught.value) == (
        "'teuer €' cannot be written in iso8859-1, the table's encoding, which has no '€'; "
        "convert the table first: iconv -f iso8859-1 -t utf-8"
    )


def test_rejected_text_comes_out_as_it_was_read() -> None:
    """Bytes are never decoded and encoded again: not every encoding would give them back."""
    text = b'\xfa\x5b,"\x81"'  # the first is one of two ways to write a sign in cp932
    dialect = Dialect(b";", parse_encoding("cp932"))
    row = BadRow(3, 4, "価格", "\uffe2", "not a number", text)
    expected = '3;4;価格;\uffe2;not a number;"'.encode("cp932") + text.replace(b'"', b'""')
    assert encode_rejects([row], dialect) == expected + b'"\n'


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["a", "b"], b"a;b\n"),
        (["a,b", 'c"d', "e;f", "g\rh", "i\nj"], b'a,b;"c""d";"e;f";"g\rh";"i\nj"\n'),
        ([""], b'""\n'),
        (["", ""], b";\n"),
        ([b"\xff;", "\udcff"], b'"\xff;";\xff\n'),
    ],
)
def test_records_are_quoted_where_they_have_to_be(
    cells: Sequence[str | bytes], expected: bytes
) -> None:
    """With the table's delimiter, and no record becomes a blank line."""
    assert encode_record(cells, Dialect(b";")) == expected


@pytest.mark.parametrize("name", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("stored", ["tsv", "csv.gz", "csv.zst", "csv.bz2"])
def test_a_table_is_stored_as_it_was(name: str, stored: str) -> None:
    """Encoding, byte order, mark and compression are decoded and encoded again."""
    text = "price\tGröße\r\n" + "7,5\té\r\n" * 5000
    data = text.encode(name)
    format_, encoding = parse_format(stored), parse_encoding(name)
    first = io.BytesIO()
    with encoded_sink(first, format_.compression, Encoding()) as sink:  # only compressed
        sink.write(data)
    source = io.BytesIO(first.getvalue())
    found = decode_source(source, format_, where="t", encoding=encoding)
    dialect = Dialect(encoding=found.encoding, decimal=",")
    reader = CsvReader(found.source, where="t", dialect=dialect, detect_by=["price"])
    assert reader.header.columns == ("price", "Größe")
    again = io.BytesIO()
    with encoded_sink(again, format_.compression, found.encoding) as sink:
        sink.write(reader.header.text)
        for block in reader.blocks():
            assert parse_features(block, reader.header.columns, (0,), PLAIN).bad == ()
            sink.write(memoryview(block.data))
        sink.write(reader.tail)
    assert again.getvalue() == first.getvalue()


@pytest.mark.parametrize("name", ["cp1252", "gb18030", "utf-8"])
def test_the_list_of_bad_rows_has_one_encoding(
    predictor: Predictor, tmp_path: Path, name: str
) -> None:
    """Names, values and the rows' text are all in the table's encoding."""
    source = tmp_path / "in.csv"
    source.write_bytes("price,rating,ä\n1,2é,ü\n1,2,ü\n".encode(name))
    reading = ReadOptions(encoding=Encoding(name))
    score_file(predictor, source, tmp_path / "o.csv", Options(bad_rows="reject", reading=reading))
    listed = (tmp_path / "o.csv.rejects.csv").read_text(name)
    assert listed.splitlines()[1] == '1,2,rating,2é,not a number,"1,2é,ü"'
