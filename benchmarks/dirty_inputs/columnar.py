"""Parquet and Arrow files that are damaged, or have columns of other types."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dirty_inputs.dirty_input import AFTER, BEFORE, DirtyInput, Row, rows_between

_MISSING, _NOT_FINITE = "missing value", "NaN or infinity"
_RATING = [3.0, 4.0, 4.25]


def _parquet(**columns: Any) -> bytes:  # noqa: ANN401 - pyarrow publishes no types
    stored = io.BytesIO()
    pq.write_table(pa.table(columns), stored, write_page_checksum=True)
    return stored.getvalue()


def _arrow(**columns: Any) -> bytes:  # noqa: ANN401 - as above
    table, stored = pa.table(columns), io.BytesIO()
    with pa.ipc.new_file(stored, table.schema) as writer:
        writer.write_table(table)
    return stored.getvalue()


def _good() -> bytes:
    return _parquet(price=[7.5, 6.5, 5.5] * 1000, rating=_RATING * 1000)


def _flip_page() -> bytes:
    data = bytearray(_good())
    data[len(data) // 4] ^= 0x10
    return bytes(data)


def _doubled() -> bytes:
    stored = io.BytesIO()
    column = pa.array([1.0])
    pq.write_table(
        pa.Table.from_arrays([column, column, column], ["price", "rating", "price"]), stored
    )
    return stored.getvalue()


def _no_columns() -> bytes:
    stored = io.BytesIO()
    pq.write_table(pa.table({}), stored)
    return stored.getvalue()


def _typed(name: str, price: object, row: Row) -> DirtyInput:
    """Make a table whose second price is in question; the others are 7.5 and 5.5."""
    content = partial(_parquet, price=price, rating=_RATING)
    return DirtyInput("Parquet", name, content, rows_between(row), file="table.parquet")


def _refused(name: str, content: Any, says: str, file: str = "table.parquet") -> DirtyInput:  # noqa: ANN401
    kind = "Arrow" if file.endswith("arrow") else "Parquet"
    return DirtyInput(kind, name, content, says=says, file=file)


def _of_type(name: str, price: object) -> DirtyInput:
    content = partial(_parquet, price=price, rating=_RATING)
    return _refused(name, content, "which is not a number")


_DAYS = [dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (1, 2, 3)]

COLUMNAR = (
    _refused("an empty file named .parquet", b"", "is empty"),
    _refused("CSV named .parquet", b"price,rating\n7.5,3\n", "--format csv"),
    _refused("Parquet cut off", lambda: _good()[:-100], "Parquet"),
    _refused("Parquet, its first half", lambda: _good()[: len(_good()) // 2], "Parquet"),
    _refused("Parquet with a flipped bit", _flip_page, "damaged"),
    _refused("Parquet named .csv", _good, "--format parquet", "table.csv"),
    _refused("Parquet with the wrong names", lambda: _parquet(preis=[1.0], rating=[2.0]), "'price' is missing"),
    _refused("Parquet with a name twice", _doubled, "repeated column names"),
    _refused("Parquet without columns", _no_columns, "no columns"),
    _refused("Parquet with a column called label", lambda: _parquet(price=[1.0], rating=[2.0], label=["x"]), "--prefix"),
    _of_type("a timestamp for a feature", pa.array(_DAYS)),
    _of_type("a date for a feature", pa.array([day.date() for day in _DAYS])),
    _of_type("a list for a feature", pa.array([[7.5], [6.5], [5.5]])),
    _of_type("a struct for a feature", pa.array([{"x": 1}] * 3)),
    DirtyInput("Parquet", "Parquet without rows", lambda: _parquet(price=pa.array([], pa.float64()), rating=pa.array([], pa.float64())), (), file="table.parquet"),
    _typed("a null", pa.array([7.5, None, 5.5]), _MISSING),
    _typed("NaN", pa.array([7.5, float("nan"), 5.5]), _NOT_FINITE),
    _typed("an infinity", pa.array([7.5, float("inf"), 5.5]), _NOT_FINITE),
    _typed("1e300", pa.array([7.5, 1e300, 5.5]), "out of float32's range"),
    _typed("numbers as text", pa.array(["7.5", " 6.5", "5.5"]), (6.5, 4.0)),
    _typed("text that is no number", pa.array(["7.5", "6,5", "5.5"]), "not a number"),
    _typed("text in a dictionary", pa.array(["7.5", "six", "5.5"]).dictionary_encode(), "not a number"),
    _typed("bytes that do not decode (Parquet)", pa.array([b"7.5", b"\xff", b"5.5"]), "undecodable bytes"),
    _typed("decimals", pa.array([Decimal("7.5"), Decimal("6.5"), Decimal("5.5")]), (6.5, 4.0)),
    _typed("half floats", pa.array([7.5, 6.5, 5.5]).cast(pa.float16()), (6.5, 4.0)),
    DirtyInput("Parquet", "a column of nulls alone", lambda: _parquet(price=pa.nulls(2), rating=[3.0, 4.25]), (_MISSING, _MISSING), file="table.parquet"),
    DirtyInput("Parquet", "integers beyond float32's digits", lambda: _parquet(price=[16777217, 5], rating=[3.0, 4.0]), ((16777216.0, 3.0), (5.0, 4.0)), file="table.parquet"),
    _of_type("booleans", [True, False, True]),
    DirtyInput("Arrow", "an Arrow file", lambda: _arrow(price=[7.5, 5.5], rating=[3.0, 4.25]), (BEFORE, AFTER), file="table.arrow"),
    DirtyInput("Arrow", "a null (Arrow)", lambda: _arrow(price=[7.5, None, 5.5], rating=_RATING), rows_between(_MISSING), file="table.arrow"),
    _refused("Arrow cut off", lambda: _arrow(price=[7.5] * 1000, rating=[3.0] * 1000)[:-40], "Arrow", "table.arrow"),
    _refused("Parquet named .arrow", _good, "--format parquet", "table.arrow"),
    _refused("an empty file named .arrow", b"", "is empty", "table.arrow"),
)  # fmt: skip
