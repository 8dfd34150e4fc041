"""JSON records are parsed as by Python's json module, and none of their bytes is lost."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.encoding import PLAIN
from runtime.tables.jsonl.block import JsonLinesBlock, Keys
from runtime.tables.jsonl.decoding import read_numbers
from runtime.tables.jsonl.lines import find_records
from runtime.tables.jsonl.reader import JsonLinesTable
from runtime.tables.jsonl.records import parse_members
from runtime.tables.jsonl.values import encode_records
from runtime.tables.jsonl.writer import append_members

# Independent of the product: what is a number in a string.
NUMBER = re.compile(r"[ \t]*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*")

texts = st.text(alphabet='0123456789+-.eE \t\n,:{}[]"\\xyNaé\u0663\0', max_size=12)
numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True).map(json.dumps),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
scalars = st.one_of(
    numbers,
    texts.map(json.dumps),
    texts.map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(["null", "true", "false", "-0", "0", '"\\ud800"', '"\\u0031"', "01", "nan"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        inner.map('{{"x": {0}, "y" :{0}}}'.format),
    ),
    max_leaves=4,
)
keys = st.sampled_from(['"x"', '"y"', '"x" ', '"\\u0078"', '"xx"', '"a\\"x"', '"\\ud800"', '"é"'])
members = st.tuples(keys, st.sampled_from([":", ": ", "\t:"]), values).map("".join)
objects = st.lists(members, max_size=5).map(lambda parts: f"{{{', '.join(parts)}}}")
clean = st.tuples(numbers, numbers, values).map('{{"x": {0[0]}, "z": {0[2]}, "y": {0[1]}}}'.format)
broken = st.tuples(
    objects, st.integers(0, 60), st.sampled_from(["", "{", "}", ",", '"', " x"])
).map(lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :])
lines = st.one_of(
    clean.map(str.encode),
    objects.map(lambda text: text.encode(errors="replace")),
    broken.map(lambda text: text.encode(errors="replace")),
    st.tuples(objects, objects).map(lambda pair: " ".join(pair).encode()),
    objects.map(lambda text: b" " + text.encode("latin-1", errors="replace") + b"\t"),
    st.binary(max_size=8),
).filter(lambda line: bool(line.strip(b" \t")) and not set(line) & set(b"\r\n"))


@dataclass(frozen=True)
class Read:
    """The bits of ``x`` and ``y`` in a record, None where one of them is bad."""

    whole: bool
    bits: bytes | None


def expected(line: bytes) -> Read:
    """Read a line with Python's json."""
    try:
        pairs = json.loads(
            line.decode(errors="surrogateescape"),
            object_pairs_hook=tuple,
            parse_int=Number,
            parse_float=Number,
            parse_constant=lambda name: [name],
        )
    except ValueError:
        return Read(whole=False, bits=None)
    if not isinstance(pairs, tuple):
        return Read(whole=False, bits=None)
    names = [name for name, _ in pairs]
    cells = [cell_value(dict(pairs).get(key)) for key in ("x", "y") if names.count(key) == 1]
    good = [value.tobytes() for value in cells if value is not None]
    return Read(whole=True, bits=b"".join(good) if len(good) == 2 else None)


class Number(str):
    """A number as it is written."""

    __slots__ = ()


def cell_value(cell: object) -> np.float32 | None:
    if not isinstance(cell, str) or not (isinstance(cell, Number) or NUMBER.fullmatch(cell)):
        return None
    with np.errstate(over="ignore"):
        value = np.float32(float(cell))
    return value if np.isfinite(value) else None


def block_of(data: bytes, columns: tuple[str, ...] = ("x", "y")) -> JsonLinesBlock:
    lines = find_records(data, at_end=True)
    return JsonLinesBlock(lines, first_record=1, first_line=1, keys=Keys(columns), where="t.jsonl")


@given(lines)
@example(b'{"x": -0, "y": 1}')
@example(b'{"x": 1, "y": 2, "z": NaN}')
@example(b'{"x": 1, "y": 2, NaN: 1}')
@example(b'{"x": 1, "y": 2, "z": ", NaN ,"}')
@example(b'{"x": 1, "y": 1, "\\u0078": 2}')
@example(b'{"x": 179769313486231580793e289, "y": 5e-324}')
@example(b'{"x":1,"y":2}{"x":1,"y":2}')
def test_a_record_is_read_as_python_reads_it(line: bytes) -> None:
    """The same records are good, with the same bits, alone and beside others."""
    reference = expected(line)
    for data in (line, line + b"\n?", b'{"x":1,"x":1}\n' + line, line + b"\r" + line):
        block = block_of(data)
        parsed = block.parse([0, 1], PLAIN)
        times = 2 if b"\r" in data else 1
        assert parsed.features.tobytes() == (reference.bits or b"") * times
        assert len(parsed.bad) == len(block) - len(parsed.features)
        assert block.objects().sum() == reference.whole * times + data.startswith(b'{"x":1,"x":1}')


@given(st.lists(lines, min_size=1, max_size=20), st.integers(1, 200))
def test_what_surrounds_a_record_changes_nothing(records: list[bytes], block_size: int) -> None:
    """The values of a table are those of its records, whatever its block size."""
    data = b'{"x":0,"y":0}\n' + b"\n".join(records)
    table = JsonLinesTable(io.BytesIO(data), where="t", required=["x"], block_size=block_size)
    at = [table.columns.index("x"), table.columns.index("y")] if "y" in table.columns else [0]
    parsed = [block.parse(at, PLAIN) for block in table.blocks(())]
    reference = [expected(line) for line in records]
    assert b"".join(part.features.tobytes() for part in parsed) == bytes(8) + b"".join(
        read.bits for read in reference if read.bits
    )
    assert [row.record for part in parsed for row in part.bad] == [
        number for number, read in enumerate(reference, 2) if read.bits is None
    ]


@given(st.lists(clean, min_size=1, max_size=10))
def test_the_fast_path_accepts_only_what_the_parser_does(records: list[str]) -> None:
    """A block that is decoded at once has the values of its records parsed one by one."""
    block = block_of("\n".join(records).encode())
    plain, matrix = read_numbers(block.lines, ("x", "y"))
    read = [text for text, is_plain in zip(records, plain, strict=True) if is_plain]
    for row, text in zip(matrix, read, strict=True):
        parsed_line = parse_members(text.encode())
        assert isinstance(parsed_line, dict)
        assert [len(parsed_line[key]) for key in ("x", "y")] == [1, 1]
        with np.errstate(over="ignore"):
            reference = [np.float32(float(parsed_line[key][0])) for key in ("x", "y")]
        assert row.tobytes() == np.array(reference, np.float32).tobytes()


@given(st.lists(lines, min_size=1, max_size=10))
def test_raw_values_are_those_of_the_parser(records: list[bytes]) -> None:
    """Decoded at once, in parts or one by one: the same raw values."""
    values = block_of(b"\n".join(records)).read_values(("x", "é"))
    for index, line in enumerate(records):
        parsed_line = parse_members(line)
        if not isinstance(parsed_line, dict):
            assert values.issues[index] == parsed_line
            continue
        for key, column in zip(("x", "é"), values.raw, strict=True):
            text = parsed_line[key][-1] if key in parsed_line else None
            found = column[index].as_py()
            assert found == (None if text is None else text.encode(errors="surrogateescape"))


ends = st.sampled_from([b"\n", b"\r\n", b"\n\n"])


@given(st.lists(st.tuples(lines, st.booleans(), ends, st.none() | texts), min_size=1))
def test_extended_records_keep_their_bytes(
    records: list[tuple[bytes, bool, bytes, str | None]],
) -> None:
    """Kept records are their own bytes with one insertion; lines that are none become some."""
    block = block_of(b"".join(line + end for line, _, end, _ in records))
    kept = [(line, label) for line, keep, _, label in records if keep]
    labels = pa.array([label for _, label in kept], pa.string())
    chosen = np.array([keep for _, keep, _, _ in records])
    written = append_members(block, chosen, {"label": labels})
    rows = [line for line in re.split(rb"\r\n|\n", written) if line.strip(b" \t")]
    for row, (line, label) in zip(rows, kept, strict=True):
        parsed_line = parse_members(line)
        if isinstance(parsed_line, dict):
            brace = line.rindex(b"}")
            assert row.startswith(line[:brace])
            assert row.endswith(line[brace:])
            added = row[brace : len(row) - len(line) + brace]
            assert added.startswith(b', "label": ' if parsed_line else b'"label": ')
            assert json.loads(added.partition(b": ")[2]) == label
        else:
            found = json.loads(row.decode(errors="surrogateescape"))
            assert found == {"text": line.decode(errors="surrogateescape"), "label": label}


@given(
    st.lists(st.tuples(st.none() | texts, st.floats() | st.none(), st.none() | st.integers(-9, 9)))
)
def test_a_batch_reads_back(rows: list[tuple[str | None, float | None, int | None]]) -> None:
    """Python's json reads what was written; NaN and infinity come back as None."""
    batch = pa.record_batch(
        {
            "s": pa.array([row[0] for row in rows], pa.string()),
            "f": pa.array([row[1] for row in rows], pa.float64()),
            "i": pa.array([row[2] for row in rows], pa.int64()),
        }
    )
    found = [json.loads(line) for line in bytes(encode_records(batch)).split(b"\n")[:-1]]
    finite = [None if row[1] is None or not np.isfinite(row[1]) else row[1] for row in rows]
    assert [row["s"] for row in found] == [row[0] for row in rows]
    assert [row["f"] for row in found] == finite
    assert [row["i"] for row in found] == [row[2] for row in rows]


@given(st.text(alphabet="ab \t\r\n", max_size=30), st.integers(1, 30))
def test_lines_are_those_of_the_bytes(text: str, cut: int) -> None:
    """As ``bytes.splitlines`` finds them, blank ones left out; cut anywhere, none is lost."""
    data = text.encode()
    whole = find_records(data, at_end=True)
    lines = [data[a:b] for a, b in zip(whole.starts, whole.stops, strict=True)]
    assert lines == [line for line in data.splitlines() if line.strip(b" \t")]
    assert [
        data[a:b].splitlines() for a, b in zip(whole.starts, whole.bounds[1:], strict=True)
    ] == [[line] for line in lines]
    first = find_records(data[:cut], at_end=False)
    consumed = len(first.data)
    rest = find_records(data[consumed:], at_end=True)
    assert [*first.starts, *(rest.starts + consumed)] == whole.starts.tolist()
