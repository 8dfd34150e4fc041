"""The reader finds the same records as a simple state machine and pyarrow."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.encoding import PLAIN
from runtime.errors import DataError
from runtime.tables.csv.features import parse_features
from runtime.tables.csv.reader import CsvReader, Records
from runtime.tables.csv.records import count_lines, find_delimiters, find_record_ends
from runtime.tables.dialect import Dialect

LF, CR, QUOTE = b'\n\r"'

bytes_of_interest = [
    b"a",
    b"1",
    b",",
    b";",
    b'"',
    b"\n",
    b"\r",
    b"\r\n",
    b" ",
    b"\0",
    b"\xc3\xa9",
    b"\xff",
]
around_quotes = [b'""', b',"', b'",', b'\n"', b'"\n']
texts = st.lists(st.sampled_from(bytes_of_interest + around_quotes), max_size=40).map(b"".join)
headers = st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([b"\n", b"\r\n", b"\r"]))
delimiters = st.sampled_from([b",", b";", b"\t", b"|", b" ", b"^"])
block_sizes = st.one_of(st.integers(1, 8), st.just(1 << 20))


@dataclass
class Walk:
    """Result of the state machine."""

    breaks: list[tuple[int, int]] = field(default_factory=list)
    delimiters: list[int] = field(default_factory=list)
    in_quotes: bool = False


def under(delimiter: bytes, text: bytes) -> bytes:
    """Swap commas and the delimiter in a text."""
    return text.translate(bytes.maketrans(b"," + delimiter, delimiter + b","))


def walk(text: bytes, delimiter: bytes) -> Walk:
    """Parse RFC 4180 byte by byte."""
    found = Walk()
    field_start, after_quote = True, False
    at = 0
    while at < len(text):
        byte = text[at]
        if found.in_quotes:
            found.in_quotes = byte != QUOTE
            after_quote = byte == QUOTE
        elif byte == QUOTE and (field_start or after_quote):
            found.in_quotes, field_start = True, False
        elif byte == delimiter[0]:
            found.delimiters.append(at)
            field_start, after_quote = True, False
        elif byte in {LF, CR}:
            end = at + 2 if text[at : at + 2] == b"\r\n" else at + 1
            found.breaks.append((at, end))
            field_start, after_quote = True, False
            at = end - 1
        else:
            field_start = after_quote = False
        at += 1
    return found


@dataclass
class Record:
    """A record of the state machine."""

    text: bytes
    fields: int
    line: int


def split(text: bytes, delimiter: bytes, *, keep_blank: bool) -> list[Record] | None:
    """Find the records after the header; None when a quote is not closed."""
    found = walk(text, delimiter)
    if found.in_quotes:
        return None
    records = []
    bounds = [*found.breaks, (len(text), len(text))]
    for (_, start), (end, _) in pairwise(bounds):
        blank = start == end
        if blank and (not keep_blank or end == len(text)):
            continue
        fields = 1 + sum(start <= at < end for at in found.delimiters)
        records.append(Record(text[start:end], fields, 1 + count_lines(text[:start])))
    return records


def table(header: tuple[int, bytes], text: bytes, delimiter: bytes) -> bytes:
    """Generate a table with a header of ``n`` columns."""
    columns, end = header
    return delimiter.join([b"x", b"y", b"z"][:columns]) + end + text


def read(data: bytes, block_size: int, delimiter: bytes) -> tuple[CsvReader, list[Records]]:
    """Read a whole table."""
    reader = CsvReader(
        io.BytesIO(data), where="t.csv", block_size=block_size, dialect=Dialect(delimiter)
    )
    return reader, list(reader.blocks())


@given(delimiters, texts)
@example(b",", b'"""')
@example(b",", b'"a""b"",c\n')
@example(b",", b'""a"b\n"')
@example(b";", b'a"b,"c"d",e\r\n')
@example(b",", b'"\r\n"\r"')
@example(b"\t", b'a"b,"c"",d",e\n')
@example(b"|", b'a"b,"c"""\n",d"\n')
def test_breaks_and_delimiters_are_those_of_the_slow_machine(delimiter: bytes, text: bytes) -> None:
    """The fast search and the slow scan agree on any text."""
    text = under(delimiter, text)
    expected = walk(text, delimiter)
    found = find_record_ends(text, delimiter[0])
    assert list(zip(found.starts.tolist(), found.ends.tolist(), strict=True)) == expected.breaks
    assert found.in_quotes == expected.in_quotes
    assert find_delimiters(text, delimiter[0]).tolist() == expected.delimiters


@given(delimiters, headers, texts, block_sizes)
@example(b",", (1, b"\n"), b"\r\n1\r\r2,3\n\n", 1)
@example(b";", (2, b"\r"), b'\n"\r\n",1\r', 1)
def test_blocks_are_the_text_and_hold_its_records(
    delimiter: bytes, header: tuple[int, bytes], text: bytes, block_size: int
) -> None:
    """Blocks of any size concatenate to the text and have the same records."""
    data = table(header, under(delimiter, text), delimiter)
    records = split(data, delimiter, keep_blank=header[0] == 1)
    if records is None:
        with pytest.raises(DataError, match="is not closed"):
            read(data, block_size, delimiter)
        return
    reader, blocks = read(data, block_size, delimiter)
    assert b"".join([reader.header.text, *(block.data for block in blocks), reader.tail]) == data
    found = [block.text(at) for block in blocks for at in range(len(block))]
    assert found == [record.text for record in records]
    numbers = [block.first_record for block in blocks]
    assert numbers == [1 + sum(map(len, blocks[:at])) for at in range(len(blocks))]


@given(delimiters, headers, texts, block_sizes)
@example(b",", (1, b"\n"), b"\r,\xff\n\r", 1 << 20)
@example(b";", (1, b"\n"), b"a\r\r1,1\n\n1,1\r", 1 << 20)
@example(b"\t", (2, b"\n"), b"\xff\n1,1\n", 1 << 20)
def test_every_record_is_good_or_bad_for_a_reason(
    delimiter: bytes, header: tuple[int, bytes], text: bytes, block_size: int
) -> None:
    """Good and bad rows add up to the records; misfits and lines match the state machine."""
    columns, _ = header
    data = table(header, under(delimiter, text), delimiter)
    records = split(data, delimiter, keep_blank=columns == 1)
    if records is None:
        return
    reader, blocks = read(data, block_size, delimiter)
    features = tuple(range(columns))[::-1]
    parsed = [parse_features(block, reader.header.columns, features, PLAIN) for block in blocks]
    bad = [row for part in parsed for row in part.bad]
    assert sum(len(part.features) for part in parsed) + len(bad) == len(records)
    assert all(np.isfinite(part.features).all() for part in parsed)
    assert [row.record for row in bad] == sorted({row.record for row in bad})
    for row in bad:
        record = records[row.record - 1]
        assert (row.text, row.line) == (record.text, record.line)
    expected = [
        (number, f"too {'few' if record.fields < columns else 'many'} fields")
        for number, record in enumerate(records, 1)
        if record.fields != columns
    ]
    misfits = [row for row in bad if not row.column]
    assert [(row.record, row.reason.partition(" (")[0]) for row in misfits] == expected


@given(
    delimiters,
    headers.filter(lambda header: header[0] > 1),
    texts.filter(lambda text: b"\xff" not in text),
)
def test_records_and_cells_are_those_of_pyarrow(
    delimiter: bytes, header: tuple[int, bytes], text: bytes
) -> None:
    """The reader and pyarrow find the same records, misfits and numbers in the text."""
    columns, _ = header
    data = table(header, under(delimiter, text), delimiter)
    if split(data, delimiter, keep_blank=False) is None:
        return
    misfits, cells = parse_with_pyarrow(data, columns, delimiter)
    reader, blocks = read(data, 1 << 20, delimiter)
    parsed = [parse_features(block, reader.header.columns, (0, 1), PLAIN) for block in blocks]
    bad = [row for part in parsed for row in part.bad]
    assert sum(map(len, blocks)) == len(cells[0]) + misfits
    assert sum(not row.column for row in bad) == misfits
    numbers = [
        [float(one), float(other)]
        for one, other in zip(cells[0], cells[1], strict=True)
        if one.strip(b" ").isdigit() and other.strip(b" ").isdigit()
    ]
    found = [row for part in parsed for row in part.features.tolist()]
    assert found == np.asarray(numbers, dtype=np.float32).tolist()


def parse_with_pyarrow(
    data: bytes, columns: int, delimiter: bytes
) -> tuple[int, list[list[bytes]]]:
    """Parse a whole table: how many records do not fit, and the cells of the others by column."""
    names = [str(position) for position in range(columns)]
    misfits: list[int] = []

    def skip(row: arrow_csv.InvalidRow) -> str:
        misfits.append(row.actual_columns)
        return "skip"

    # A record of our own at the end: pyarrow refuses a table without any.
    whole = arrow_csv.read_csv(
        pa.BufferReader(data + b"\r" + delimiter * (columns - 1) + b"0"),
        read_options=arrow_csv.ReadOptions(
            use_threads=False, block_size=len(data) + 10, column_names=names, skip_rows=1
        ),
        parse_options=arrow_csv.ParseOptions(
            delimiter=delimiter.decode(), newlines_in_values=True, invalid_row_handler=skip
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=False
        ),
    )
    return len(misfits), [whole.column(name).to_pylist()[:-1] for name in names]
