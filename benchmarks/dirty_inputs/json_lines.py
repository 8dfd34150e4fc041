"""Invalid JSON Lines, and values that are not numbers."""

from __future__ import annotations

from dirty_inputs.dirty_input import AFTER, BEFORE, DirtyInput, Row, lines, rows_between

_FIRST, _LAST = '{"price": 7.5, "rating": 3}', '{"price": 5.5, "rating": 4.25}'
_NO, _MISSING, _INVALID, _OBJECT = (
    "not a number",
    "missing value",
    "invalid JSON",
    "not a JSON object",
)


def _file(name: str, content: bytes, says: str) -> DirtyInput:
    return DirtyInput("JSON Lines", name, content, says=says, file="table.jsonl")


def _whole(name: str, content: bytes, *rows: Row) -> DirtyInput:
    return DirtyInput("JSON Lines", name, content, rows, file="table.jsonl")


def _record(name: str, record: str | bytes, row: Row) -> DirtyInput:
    content = lines(_FIRST, record, _LAST)
    return DirtyInput("JSON Lines", name, content, rows_between(row), file="table.jsonl")


def _price(value: str, row: Row) -> DirtyInput:
    shown = value if len(value) < 20 else f"{value[:9]}…"
    return _record(f"price `{shown}`", f'{{"price": {value}, "rating": 4}}', row)


JSON_LINES = (
    _file("empty .jsonl", b"", "is empty"),
    _file("blank lines alone", b"\n\n  \n", "is empty"),
    _file("an array in one line", b'[{"price": 7.5, "rating": 3}]\n', "array"),
    _file("an array, a record a line", lines("[", _FIRST + ",", _LAST, "]"), "JSON"),
    _file("one object over many lines", b'{\n  "price": 7.5,\n  "rating": 3\n}\n', "one object a line"),
    _file("CSV named .jsonl", b"price,rating\n7.5,3\n", "one object a line"),
    _file("numbers, a line each", b"1\n2\n", "not a JSON object"),
    _whole("empty objects", b"{}\n{}\n", _MISSING, _MISSING),
    _file("a key called label", lines('{"price": 7.5, "rating": 3, "label": "x"}'), "--prefix"),
    _file("keys in other case", lines('{"Price": 7.5, "rating": 3}'), "--loose-header"),
    DirtyInput("JSON Lines", "JSON named .json", lines(_FIRST), says="JSON Lines is read", code=2, file="table.json"),
    _whole("a byte order mark", b"\xef\xbb\xbf" + lines(_FIRST, _LAST), BEFORE, AFTER),
    _whole("CR LF (JSON)", lines(_FIRST, _LAST, end="\r\n"), BEFORE, AFTER),
    _whole("blank lines between", lines(_FIRST, "", "  ", _LAST), BEFORE, AFTER),
    _whole("no last line end (JSON)", lines(_FIRST, _LAST)[:-1], BEFORE, AFTER),
    _whole("UTF-16 with a mark (JSON)", lines(_FIRST, _LAST).decode().encode("utf-16"), BEFORE, AFTER),
    _whole("keys in another order", lines(_FIRST, '{"rating": 4.25, "x": 1, "price": 5.5}'), BEFORE, AFTER),
    _whole("the last line cut off", lines(_FIRST, _LAST)[:-8], BEFORE, _INVALID),
    _record("a trailing comma (JSON)", '{"price": 6.5, "rating": 4,}', _INVALID),
    _record("a comma after the object", '{"price": 6.5, "rating": 4},', _INVALID),
    _record("two objects in one line", _FIRST + _LAST, _INVALID),
    _record("single quotes", "{'price': 6.5, 'rating': 4}", _INVALID),
    _record("keys without quotes", "{price: 6.5, rating: 4}", _INVALID),
    _record("a comment", "// made by us", _INVALID),
    _record("an array among objects", "[6.5, 4]", _OBJECT),
    _record("null for an object", "null", _OBJECT),
    _record("a key is missing", '{"price": 6.5}', _MISSING),
    _record("a key twice", '{"price": 1, "price": 6.5, "rating": 4}', "key occurs twice"),
    _record("a key twice, once escaped", r'{"pr\u0069ce": 1, "price": 6.5, "rating": 4}', "key occurs twice"),
    _record("a feature in another object", '{"x": {"price": 1}, "rating": 4}', _MISSING),
    _record("the same key in another object", '{"x": {"price": 1}, "price": 6.5, "rating": 4}', (6.5, 4.0)),
    _record("nested 100,000 levels", '{"price": ' + "[" * 100_000 + ', "rating": 4}', "nested too deep"),
    _record("bytes that do not decode, carried (JSON)", b'{"x": "\xff", "price": 6.5, "rating": 4}', (6.5, 4.0)),
    _price("null", _MISSING), _price('""', _MISSING), _price("[6.5]", _NO), _price("{}", _NO),
    _price("true", _NO), _price('"6.5"', (6.5, 4.0)), _price('" 6.5 "', (6.5, 4.0)),
    _price('"6,5"', _NO), _price("NaN", "NaN or infinity"), _price("-Infinity", "NaN or infinity"),
    _price("1e400", "out of float32's range"), _price("1" + "0" * 5000, "out of float32's range"),
    _price("+6.5", _INVALID), _price(".5", _INVALID), _price("006.5", _INVALID), _price("0x10", _INVALID),
    _price("-0", (-0.0, 4.0)), _price("6.5e0", (6.5, 4.0)), _price('"x"', _NO),
)  # fmt: skip
