from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import io
import json
import struct
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from runtime.encoding import PLAIN
from runtime.errors import DataError, SchemaError
from runtime.io.sources import PeekedSource
from runtime.tables.base import BadRow, Block, Table
from runtime.tables.jsonl.reader import JsonLinesTable
from runtime.tables.jsonl.values import encode_records, encode_values
from runtime.tables.jsonl.writer import append_members

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.tables.jsonl.block import JsonLinesBlock

BOM = b"\xef\xbb\xbf"
DEEP = b"[" * 5000 + b"]" * 5000
GOOD = b'{"x": 1, "y": 2}'


def open_table(data: bytes, block_size: int = 1 << 20, required: str = "x") -> JsonLinesTable:
    return JsonLinesTable(
        io.BytesIO(data), where="t.jsonl", required=[required], block_size=block_size
    )


def blocks_of(data: bytes, block_size: int = 1 << 20) -> list[JsonLinesBlock]:
    return list(open_table(data, block_size).blocks(()))


def read(
    data: bytes, block_size: int = 1 << 20, feature: str = "x"
) -> tuple[list[float], list[BadRow]]:
    """All good values of a feature, and all bad rows."""
    table = open_table(data, block_size)
    at = table.columns.index(feature)
    parsed = [block.parse([at], PLAIN) for block in table.blocks(())]
    numbers = [value for part in parsed for value in part.features[:, 0].tolist()]
    return numbers, [row for part in parsed for row in part.bad]


def test_a_decimal_comma_applies_to_strings_only() -> None:
    """JSON numbers always have a point; strings have the given decimal separator."""
    values = ["7,5", 7.5, "7.5", "1e39", "-1,5e39", 2, ",5", None, "6,5 kg", "7,5"]
    data = "".join(json.dumps({"x": value}) + "\n" for value in values).encode()
    table = JsonLinesTable(io.BytesIO(data), where="t.jsonl", required=["x"], decimal=",")
    (block,) = table.blocks(())
    parsed = block.parse([0], PLAIN)
    assert parsed.features[:, 0].tolist() == [7.5, 7.5, 2, 0.5, 7.5]
    assert [(row.record, row.reason) for row in parsed.bad] == [
        (3, "not a number"),
        (4, "out of float32's range"),
        (5, "out of float32's range"),
        (8, "missing value"),
        (9, "not a number"),
    ]


def test_a_table_has_the_interface_of_every_format() -> None:
    """The table and its blocks implement ``Table`` and ``Block``."""
    table: Table = open_table(GOOD)
    blocks: Iterator[Block] = table.blocks(())
    assert [(block.first_record, len(block)) for block in blocks] == [(1, 1)]
    assert table.columns == ("x", "y")
    assert table.bytes_read == len(GOOD)


@pytest.mark.parametrize("block_size", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'{"x":1}\n{"x":2}\n', id="LF"),
        pytest.param(b'{"x":1}\r\n{"x":2}\r\n', id="CRLF"),
        pytest.param(b'{"x":1}\r{"x":2}\r', id="CR"),
        pytest.param(b'{"x":1}\r\n{"x":2}\n', id="mixed"),
        pytest.param(b'{"x":1}\n{"x":2}', id="no last line end"),
        pytest.param(BOM + b'{"x":1}\n{"x":2}\n', id="byte order mark"),
        pytest.param(BOM + b'\n{"x":1}\n\n \t \n{"x":2}\n\n\n', id="blank lines"),
        pytest.param(b'\r\r{"x":1}\r\r\n{"x":2}\r\n\r', id="blank lines with returns"),
        pytest.param(b' {"x":1}\n\t{"x":2} \n', id="blanks around"),
    ],
)
def test_records_are_lines_wherever_the_reads_break(text: bytes, block_size: int) -> None:
    """Blank lines are no records, and no byte is lost between head, blocks and tail."""
    table = open_table(text, block_size)
    blocks = list(table.blocks(()))
    assert b"".join([table.head, *(block.lines.data for block in blocks), table.tail]) == text
    assert [block.parse([0], PLAIN).features.tolist() for block in blocks if len(block)] in (
        [[[1], [2]]],
        [[[1]], [[2]]],
    )
    assert table.columns == ("x",)
    assert table.bytes_read == len(text)


def test_columns_are_the_keys_of_the_first_records_in_order() -> None:
    """Every key counts, also of later records, escaped ones and those in bad records."""
    data = b'{"b":1}\n{"a":null,"b":2}\nnonsense\n{"\\u0063":[{"no":1}],"x":1,"x":2}\n'
    assert open_table(data).columns == ("b", "a", "c", "x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "is empty; a table begins with", id="empty"),
        pytest.param(BOM, "is empty", id="byte order mark alone"),
        pytest.param(b"\n \r\n\t\n", "is empty", id="blank"),
        pytest.param(b"x,y\n1,2\n", "none of the first 2 records .*invalid JSON", id="CSV"),
        pytest.param(b'[{"x":1},\n{"x":2}]\n', "begins an array", id="one array"),
        pytest.param(b'[\n{"x":1\n}\n]\n', "begins an array", id="a pretty array"),
        pytest.param(b'{\n"x": 1\n}\n', "invalid JSON", id="a pretty object"),
        pytest.param(b"3\n", "not a JSON object", id="a number"),
        pytest.param(b"PAR1\x00\x15\xff\n", "invalid JSON", id="binary"),
        pytest.param(b"\x1f\x8b\x08\x00", "invalid JSON", id="gzip"),
        pytest.param('{"x":1}\n'.encode("utf-16"), "undecodable bytes", id="UTF-16"),
    ],
)
def test_a_file_without_records_is_rejected(data: bytes, message: str) -> None:
    """One ``DataError`` names the file, the problem and the expected layout."""
    with pytest.raises(DataError, match=message) as caught:
        open_table(data)
    assert "t.jsonl" in str(caught.value)
    assert len(str(caught.value)) < 300


class Endless:
    """A line without an end."""

    def read(self, size: int, /) -> bytes:
        """Read ``size`` bytes."""
        return b"x" * size


def test_an_endless_line_is_rejected() -> None:
    """Text without line ends is not buffered without limit."""
    with pytest.raises(DataError, match="longer than 64 MiB"):
        JsonLinesTable(Endless(), where="t.jsonl", required=["x"])


class Idle:
    """A pipe whose writer has nothing for now."""

    def read(self, size: int, /) -> None:
        """Return None: no data yet."""


def test_a_non_blocking_pipe_is_rejected() -> None:
    """Half a table must not pass for a whole one."""
    with pytest.raises(DataError, match="non-blocking"):
        JsonLinesTable(Idle(), where="t.jsonl", required=["x"])


NUMBERS = [
    ("1", 1.0), ("-1", -1.0), ("0", 0.0), ("-0", -0.0), ("-0.0", -0.0), ("-0e5", -0.0),
    ("1e5", 1e5), ("1E+5", 1e5), ("1.5e-3", 1.5e-3), ("0.1", 0.1), ("16777217", 16777217.0),
    ("9007199254740993", 9007199254740993.0), ("18446744073709551616", 2.0**64),
    ("1" + "0" * 38, 1e38), ("0." + "1" * 5000, 1 / 9), ("0." + "0" * 5000 + "1", 0.0),
    ("1e-400", 0.0), ("-1e-99999999999999999999", -0.0), ("3.4028235677973362e38", 3.4028234664e38),
    ("1.00000005960464477539062500000000000000000000000001", 1.0),
    ('"1"', 1.0), ('" 1.5 "', 1.5), ('"+1"', 1.0), ('".5"', 0.5), ('"1."', 1.0), ('"1e3"', 1e3),
    ('"\\u0031"', 1.0), ('"1\\t"', 1.0), ('"-0"', -0.0), ('"007"', 7.0),
]  # fmt: skip


@pytest.mark.parametrize(("token", "value"), NUMBERS)
def test_a_number_is_rounded_correctly(token: str, value: float) -> None:
    """JSON numbers and strings alike: as float64, then once to float32; also beside bad ones."""
    line = f'{{"x": {token}, "s": "NaN"}}'.encode()
    for data in (line, line + b'\n{"x": null}', b"?\n" + line, line + b'\n{"x":1,"x":1}'):
        numbers, _ = read(data)
        assert struct.pack("<f", numbers[0]) == struct.pack("<f", np.float32(value))


DIRTY = [
    (b"nonsense", "", "invalid JSON (expecting value, at character 1)"),
    (b"1,2", "", "invalid JSON (extra data, at character 2)"),
    (b'{"x": 1', "", "invalid JSON (expecting ',' delimiter, at character 8)"),
    (b'{"x": 1}}', "", "invalid JSON (extra data, at character 9)"),
    (b'{"x": 1}{"x": 2}', "", "invalid JSON (extra data, at character 9)"),
    (b'{"x": 1},', "", "invalid JSON (extra data, at character 9)"),
    (
        b'{"x": 1,}',
        "",
        "invalid JSON (expecting property name enclosed in double quotes, at character 9)",
    ),
    (b'{"x" 1}', "", "invalid JSON (expecting ':' delimiter, at character 6)"),
    (
        b"{'x': 1}",
        "",
        "invalid JSON (expecting property name enclosed in double quotes, at character 2)",
    ),
    (
        b"{x: 1}",
        "",
        "invalid JSON (expecting property name enclosed in double quotes, at character 2)",
    ),
    (b'{"x": .5}', "", "invalid JSON (expecting value, at character 7)"),
    (b'{"x": +1}', "", "invalid JSON (expecting value, at character 7)"),
    (b'{"x": 01}', "", "invalid JSON (expecting ',' delimiter, at character 8)"),
    (b'{"x": 1.}', "", "invalid JSON (expecting ',' delimiter, at character 8)"),
    (b'{"x": 0x10}', "", "invalid JSON (expecting ',' delimiter, at character 8)"),
    (b'{"x": nan}', "", "invalid JSON (expecting value, at character 7)"),
    (b'{"x": None}', "", "invalid JSON (expecting value, at character 7)"),
    (b'{"x": 1, "y": "a\tb"}', "", "invalid JSON (invalid control character, at character 17)"),
    (b'{"x": 1, "y": "\\q"}', "", "invalid JSON (invalid \\escape, at character 16)"),
    (b'{"x": 1, "y": "open}', "", "invalid JSON (unterminated string starting, at character 15)"),
    (b'{"x": 1, "y": [1,]}', "", "invalid JSON (expecting value, at character 18)"),
    (
        b'{"x": 1, NaN}',
        "",
        "invalid JSON (expecting property name enclosed in double quotes, at character 10)",
    ),
    (b'{"x": 1}\0', "", "invalid JSON (extra data, at character 9)"),
    (BOM + b'{"x": 1}', "", "invalid JSON (expecting value, at character 1)"),
    (b"// a remark", "", "invalid JSON (expecting value, at character 1)"),
    (b"[1, 2]", "", "not a JSON object"),
    (b"null", "", "not a JSON object"),
    (b"3", "", "not a JSON object"),
    (b'"x"', "", "not a JSON object"),
    (b"NaN", "", "not a JSON object"),
    (b'{"x": \xff}', "", "undecodable bytes (at character 7)"),
    (b"\xff\xfe{\0", "", "undecodable bytes (at character 1)"),
    (b'{"x": 1, "y": ' + DEEP + b"}", "", "nested too deep"),
    (DEEP[:5000], "", "nested too deep"),
    (b"{}", "", "missing value"),
    (b'{"X": 1}', "", "missing value"),
    (b'{"y": {"x": 1}}', "", "missing value"),
    (b'{"x": null}', "null", "missing value"),
    (b'{"x": ""}', "", "missing value"),
    (b'{"x": " "}', " ", "missing value"),
    (b'{"x": true}', "true", "not a number"),
    (b'{"x": false}', "false", "not a number"),
    (b'{"x": [1]}', "[1]", "not a number"),
    (b'{"x": {"x": 1}}', '{"x": 1}', "not a number"),
    (b'{"x": "1,5"}', "1,5", "not a number"),
    (b'{"x": "null"}', "null", "not a number"),
    (b'{"x": "\xd9\xa1"}', "\u0661", "not a number"),
    (b'{"x": "a\\"\\u00e9\\n"}', 'a"\u00e9\n', "not a number"),
    (b'{"x": NaN}', "NaN", "NaN or infinity"),
    (b'{"x": -Infinity}', "-Infinity", "NaN or infinity"),
    (b'{"x": "inf"}', "inf", "NaN or infinity"),
    (b'{"x": 1e39}', "1e39", "out of float32's range"),
    (b'{"x": 1e99999999999999999999}', "1e99999999999999999999", "out of float32's range"),
    (b'{"x": ' + b"1" * 5000 + b"}", "1" * 5000, "out of float32's range"),
    (b'{"x": "-1e400"}', "-1e400", "out of float32's range"),
    (b'{"x": "1\xff"}', "1\\xff", "undecodable bytes"),
    (b'{"x": "\\ud800"}', "\\xed\\xa0\\x80", "undecodable bytes"),
    (b'{"x": 1, "x": 2}', "2", "key occurs twice"),
    (b'{"x": 1, "x": 1}', "1", "key occurs twice"),
    (b'{"x": 1, "\\u0078": 2}', "2", "key occurs twice"),
    (b'{"\\u0078": 1, "\\u0078": 2}', "2", "key occurs twice"),
    (b'{"x": null, "a": {"x": 3}, "x" : "z"}', "z", "key occurs twice"),
]


@pytest.mark.parametrize("block_size", [16, 1 << 20])
@pytest.mark.parametrize(("line", "value", "reason"), DIRTY)
def test_a_dirty_line_is_reported_with_its_reason(
    line: bytes, value: str, reason: str, block_size: int
) -> None:
    """Record, physical line, cell and reason; the good lines around it are read anyway."""
    numbers, bad = read(GOOD + b"\n\n" + line + b"\r\n" + GOOD + b"\n", block_size)
    assert numbers == [1, 1]
    whole = "JSON" in reason or "nested" in reason or "(at" in reason
    assert bad == [BadRow(2, 3, "" if whole else "x", value, reason, line)]


ODD_BUT_GOOD = [
    pytest.param(b'{"x":1,"y":NaN,"z":[Infinity, -Infinity]}', id="constants in other values"),
    pytest.param(b'{"x":1,"y":"a: NaN, b"}', id="a constant's name in a text"),
    pytest.param(b'{"x":1,"y":"\\ud800"}', id="lone surrogate"),
    pytest.param(b'{"x":1,"y":"\xff\xfe"}', id="undecodable text"),
    pytest.param(b'{"x":1,"\xff":"\xff"}', id="undecodable key"),
    pytest.param(b'{"x":1,"y":1,"y":2}', id="another key twice"),
    pytest.param(b'{"x":1,"y":{"x":2,"\\u0078":3}}', id="the key inside"),
    pytest.param(b'{"y":[{"x":2}],"x":1}', id="the key inside before"),
    pytest.param(b'{"x":1,"y":"x","z":"\\"x\\": 1"}', id="the key as text"),
    pytest.param(b'{"\\u0078":1}', id="escaped key"),
    pytest.param(b'{"x":1,"y":' + b"9" * 5000 + b"}", id="thousands of digits"),
    pytest.param(b'{"x":1,"y":' + b"[" * 400 + b"]" * 400 + b"}", id="nested deep"),
    pytest.param(b'{"x":1,"y":"' + b"[" * 5000 + b'"}', id="brackets in a text"),
    pytest.param(b'\t { "x"\t:\t1 } ', id="blanks everywhere"),
    pytest.param(b'{"x":1,"date":"2020-01-0"}', id="-0 in a text"),
]


@pytest.mark.parametrize("line", ODD_BUT_GOOD)
def test_other_members_may_be_anything(line: bytes) -> None:
    """What a model doesn't read makes no record bad, alone and beside a bad one."""
    assert read(line) == ([1], [])
    numbers, bad = read(b"?\n" + line + b"\n" + line)
    assert (numbers, [row.record for row in bad]) == ([1, 1], [1])


def test_one_line_is_one_record_even_where_the_count_agrees() -> None:
    """Two objects on one line and one over two lines are three bad lines, not three records."""
    numbers, bad = read(b'{"x":1}\n{"x":2}{"x":3}\n{"x":\n4}\n')
    assert numbers == [1]
    assert [row.record for row in bad] == [2, 3, 4]


@pytest.mark.parametrize("name", ['pr"ice', "a\\b", "a\nb", "Größe", "价格", "a/b", "😀", "", "f0"])
def test_a_feature_may_have_any_name(name: str) -> None:
    """Escaped or not, in clean blocks and others; twice is found in any spelling."""
    plain = json.dumps(name, ensure_ascii=False).encode()
    escaped = json.dumps(name).encode()
    for key in (plain, escaped, escaped.replace(b"/", b"\\/")):
        line = b"{%b: 1}" % key
        assert read(line, feature=name) == ([1], [])
        assert read(line + b"\n?", feature=name)[0] == [1]
        for twin in (plain, escaped):
            _, (row,) = read(b"{%b: 1, %b: 1}" % (key, twin), feature=name)
            assert (row.reason, row.column) == ("key occurs twice", name)


def test_a_block_size_changes_nothing() -> None:
    """All dirty lines in one file: the same numbers and the same bad rows however it is read."""
    lines = [GOOD, *(line for line, _, _ in DIRTY), *(p.values[0] for p in ODD_BUT_GOOD)]
    data = b"\n".join(line for line in lines if isinstance(line, bytes))
    numbers, bad = read(data)
    assert len(numbers) == 1 + len(ODD_BUT_GOOD)
    assert len(bad) == len(DIRTY)
    for block_size in (17, 100, 1000, 3000):
        assert read(data, block_size) == (numbers, bad)


def test_dirty_lines_change_none_among_many() -> None:
    """Parts of a block without a dirty line are decoded to numbers at once, the others exactly."""
    odd = [(b'{"x": -0, "y": 0}', -0.0), (b'{"x": 1e-50, "y": NaN}', 0.0), (b'{"x": "2"}', 2.0)]
    lines, expected = [], []
    for dirty, _, _ in DIRTY:
        lines += [*[GOOD] * 90, dirty]
        expected += [1.0] * 90
    for line, value in odd:
        lines += [*[GOOD] * 90, line]
        expected += [*[1.0] * 90, value]
    numbers, bad = read(b"\n".join(lines))
    assert list(map(repr, numbers)) == list(map(repr, expected))
    assert [(row.record, row.line, row.reason, row.text) for row in bad] == [
        (91 * at, 91 * at, reason, line) for at, (line, _, reason) in enumerate(DIRTY, 1)
    ]


def append(data: bytes, kept: list[bool] | None = None, **columns: object) -> bytes:
    (block,) = blocks_of(data)
    block.parse([0], PLAIN)
    arrays = {key: values for key, values in columns.items() if isinstance(values, pa.Array)}
    return append_members(block, None if kept is None else np.array(kept), arrays)


def test_records_are_extended_byte_for_byte() -> None:
    """New members come before the closing brace, everything else stays, line ends too."""
    data = b'{"x":1.50,"s":"\xff\\u0041"}\r\n\n { "x" : "2" }\t \n{"x":3}'
    assert append(
        data,
        label=pa.array(["yes", None, 'a"\n\x01é']),
        probability=pa.array([0.6368181, float("nan"), 1e-7], pa.float32()),
    ) == (
        b'{"x":1.50,"s":"\xff\\u0041", "label": "yes", "probability": 0.6368181}\r\n'
        b'\n { "x" : "2" , "label": null, "probability": null}\t \n'
        b'{"x":3, "label": "a\\"\\n\\u0001\xc3\xa9", "probability": 1e-7}'
    )


def test_dropped_records_are_not_written() -> None:
    """Only kept records are written, and their members are the kept ones'."""
    data = b'{"x":1}\n{"x":2}\n{"x":3}\n'
    assert append(data, [True, False, True], n=pa.array([1, 3])) == (
        b'{"x":1, "n": 1}\n{"x":3, "n": 3}\n'
    )
    assert append(data, [False] * 3, n=pa.array([], pa.int8())) == b""


def test_a_line_that_is_not_an_object_becomes_one() -> None:
    """A line kept in its place is carried as a text, and empty objects get no comma."""
    data = b'{"x":1}\r\nfoo "\xff"\t\r\n{}\n{  }\n\n[1,2]\n{"x":1,}\n{"x":"{"}'
    written = append(data, reason=pa.array(["", "a", "b", "c", "d", "e", "f"]))
    assert written == (
        b'{"x":1, "reason": ""}\r\n{"text": "foo \\"\xff\\"\\t", "reason": "a"}\r\n'
        b'{"reason": "b"}\n{  "reason": "c"}\n\n{"text": "[1,2]", "reason": "d"}\n'
        b'{"text": "{\\"x\\":1,}", "reason": "e"}\n{"x":"{", "reason": "f"}'
    )
    for line in written.splitlines():
        if line.strip():
            assert isinstance(json.loads(line.decode(errors="replace")), dict)


@pytest.mark.parametrize("member", ['"label": 0', '"label":null', '"l\\u0061bel" : []'])
def test_an_existing_key_is_not_written_twice(member: str) -> None:
    """The message names the record and the key, and the option that helps."""
    data = f'{{"x": 1}}\n{{"x": 2, {member}}}\n'.encode()
    with pytest.raises(SchemaError, match=r"record 2 already has a key 'label'.*with prefix="):
        append(data, label=pa.array(["a", "b"]))
    assert append(data, [True, False], label=pa.array(["a"])) == b'{"x": 1, "label": "a"}\n'


def test_a_nested_key_is_no_conflict() -> None:
    """Texts and nested objects may hold the new member's name."""
    data = b'{"x": 1, "s": "label", "t": {"label": 1}, "u": "\\u0061"}\n'
    assert append(data, label=pa.array(["a"])) == data[:-2] + b', "label": "a"}\n'


def decoded(batch: pa.RecordBatch) -> dict[str, list[str | None]]:
    """The texts of a batch by column."""
    return {
        name: [None if text is None else text.decode() for text in texts]
        for name, texts in batch.to_pydict().items()
    }


def test_cells_for_another_format_are_texts() -> None:
    """Strings without quotes and escapes, other values as JSON, missing ones as null."""
    data = (
        b'{"a":"x\\"\\u00e9\\n","b":1.50,"c":[1, {"d":"\\u0041"}]}\n?\n'
        b'{"a":null,"c":true,"b":NaN}\n{"b":"","a":"null","c":-0}\n'
    )
    (block,) = blocks_of(data)
    cells = block.select([2, 0, 1])
    assert {field.type for field in cells.schema} == {pa.binary()}  # it need not be UTF-8
    assert decoded(cells) == {
        "c": ['[1, {"d":"\\u0041"}]', None, "true", "-0"],
        "a": ['x"é\n', None, None, "null"],
        "b": ["1.50", None, "NaN", ""],
    }


def test_undecodable_keys_are_columns() -> None:
    """Undecodable bytes and lone surrogates get a name that can be printed."""
    (block,) = blocks_of(b'{"\xff":1,"\\ud800":"a"}\n{"\xff":2}')
    assert decoded(block.select([0, 1])) == {"\\udcff": ["1", "2"], "\\ud800": ["a", None]}


def test_a_long_line_of_quotes_and_brackets_is_rejected_in_linear_time() -> None:
    """Unclosed brackets and quotes are not scanned repeatedly."""
    line = b"[" * 501 + b'\\"' * 200_000
    _, (row,) = read(GOOD + b"\n" + line)
    assert row.reason == "invalid JSON (expecting value, at character 502)"
    _, (row,) = read(GOOD + b"\n" + b"[" * 5000 + line)
    assert row.reason == "nested too deep"
    _, (row,) = read(GOOD + b"\n" + line[1:] + b" " * 200_000)
    assert row.reason.startswith("invalid JSON")


def test_a_key_that_would_be_lost_is_rejected() -> None:
    """Where all columns are wanted no key may be lost; of a selection, others are dropped."""
    data = b'{"a":1,"b":2}\n{"a":3}\n\n{"a":4,"":"x"}\n'
    table = open_table(data, 16)
    *_, last = table.blocks(())
    assert decoded(last.select([0, 1])) == {"a": ["4"], "b": [None]}
    table.find_columns()
    with pytest.raises(
        DataError, match=r"record 3 \(line 4\) has a key '' that none of the first 1"
    ):
        last.select([0, 1])
    assert decoded(last.select([0])) == {"a": ["4"]}


@pytest.mark.parametrize(
    ("later", "columns"),
    [
        pytest.param([b'{"b":{"c":1}}'], ("a", "b"), id="nested"),
        pytest.param([b'{"c":null}', b'{"b":1,"a":2}'], ("a", "c", "b"), id="null, another order"),
        pytest.param([b"{}", b"?", b"[1]"], ("a",), id="no keys"),
        pytest.param([b"?", b'{"\\u0062":1}', b'{"b":1,"b":2}'], ("a", "b"), id="beside bad lines"),
        pytest.param([b'{"\xff":1}', b'{"":1}'], ("a", "\udcff", ""), id="odd keys"),
        pytest.param([b'{"A":1}', b'{"f0":1}'], ("a", "A", "f0"), id="almost the same"),
    ],
)
def test_columns_are_the_keys_of_all_records(later: list[bytes], columns: tuple[str, ...]) -> None:
    """Keys of later records are found when a name is missing, or all are wanted."""
    data = b"\n".join([b'{"a":1}', *later])
    for names in (None, ("a", "z")):
        table = JsonLinesTable(
            io.BytesIO(data),
            where="t.jsonl",
            required=["z", "a"],
            block_size=8,
            reopen=lambda: contextlib.nullcontext(PeekedSource(io.BytesIO(data), where="t")),
        )
        assert table.columns == ("a",)
        table.find_columns(["a"])
        assert table.columns == ("a",)
        table.find_columns(names)
        assert table.columns == columns
        assert table.absent == ("z",)
        assert [value for block in table.blocks(()) for value in block.select([len(columns)])[0]]


def test_batches_of_any_type_become_json_lines() -> None:
    """Each line is an object of the batch's columns; NaN and infinity are null."""
    batch = pa.record_batch(
        {
            "i": pa.array([1, None, -(2**63)]),
            "u": pa.array([2**64 - 1, 0, None], pa.uint64()),
            "f": pa.array([0.1, float("nan"), 1e300]),
            "g": pa.array([0.1, float("inf"), 16777216], pa.float32()),
            "b": pa.array([True, False, None]),
            's"': pa.array(['q"\\\n\t\x01é', "", None]),
            "d": pa.array(["k", None, "k"]).dictionary_encode(),
            "n": pa.nulls(3),
        }
    )
    lines = bytes(encode_records(batch)).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"i": 1, "u": 2**64 - 1, "f": 0.1, "g": 0.1, "b": True, 's"': 'q"\\\n\t\x01é', "d": "k",
         "n": None},
        {"i": None, "u": 0, "f": None, "g": None, "b": False, 's"': "", "d": None, "n": None},
        {"i": -(2**63), "u": None, "f": 1e300, "g": 16777216, "b": None, 's"': None, "d": "k",
         "n": None},
    ]  # fmt: skip
    assert bytes(encode_records(batch.select([]))) == b"{}\n" * 3
    assert bytes(encode_records(batch.slice(0, 0))) == b""


DAY = dt.date(2020, 1, 2)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(pa.array([DAY, None]), ["2020-01-02", None], id="date"),
        pytest.param(
            pa.array([dt.datetime(2020, 1, 2, 3)], pa.timestamp("s")),  # noqa: DTZ001
            ["2020-01-02 03:00:00"],
            id="timestamp",
        ),
        pytest.param(pa.array([decimal.Decimal("1.50"), None]), ["1.50", None], id="decimal"),
        pytest.param(pa.array([1.5, None], pa.float16()), [1.5, None], id="half"),
        pytest.param(pa.array([b"ab", None], pa.binary(2)), ["ab", None], id="fixed binary"),
        pytest.param(pa.array(["x", None], pa.string_view()), ["x", None], id="string view"),
        pytest.param(pa.array(["x", None], pa.large_string()), ["x", None], id="large string"),
        pytest.param(pa.array([[1, None], None, []]), [[1, None], None, []], id="list"),
        pytest.param(
            pa.array([[[1], None], [[2, 3]], None]).slice(1), [[[2, 3]], None], id="sliced lists"
        ),
        pytest.param(
            pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
            [[1, 2], None, [3, 4]],
            id="fixed list",
        ),
        pytest.param(
            pa.array([{"a": 0, "b": []}, {"a": 1, "b": [DAY]}, None]).slice(1),
            [{"a": 1, "b": ["2020-01-02"]}, None],
            id="struct",
        ),
        pytest.param(pa.array([{}, {}], pa.struct([])), [{}, {}], id="empty struct"),
        pytest.param(
            pa.array([[("k", 1), ('"', None)], None, []], pa.map_(pa.string(), pa.int8())),
            [{"k": 1, '"': None}, None, {}],
            id="map",
        ),
        pytest.param(
            pa.array([[(1, 1)], [(2, 2)]], pa.map_(pa.int8(), pa.int8())).slice(1),
            [{"2": 2}],
            id="map of numbers",
        ),
        pytest.param(
            pa.array([(1, 2, 3), None], pa.month_day_nano_interval()), [[1, 2, 3], None], id="span"
        ),
        pytest.param(
            pa.RunEndEncodedArray.from_arrays([2, 3], ["a", None]), ["a", "a", None], id="runs"
        ),
    ],
)
def test_values_of_every_type_are_json(values: pa.Array, expected: list[object]) -> None:
    """Times and decimals are strings, lists arrays, structs and maps objects, sliced or not."""
    assert [json.loads(text) for text in encode_values(values).to_pylist()] == expected


def test_undecodable_bytes_are_kept() -> None:
    """They are not replaced, with or without escapes around them."""
    assert encode_values(pa.array([b"\xff", b'"\xff\n'])).to_pylist() == [
        b'"\xff"',
        b'"\\"\xff\\n"',
    ]
