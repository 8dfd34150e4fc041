"""Schemas of Spark: DDL and ``StructType``; nothing of pyspark is imported."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from runtime.errors import UsageError
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runtime.scorer.plan import Plan

    FindPlan = Callable[[pa.Schema], Plan]

_COLUMN: Final = re.compile(
    r"\s*(?:`(?P<quoted>(?:[^`]|``)+)`|(?P<plain>\w+))(?:\s*:\s*|\s+)(?P<type>\w+)"
)
_PLAIN: Final = re.compile(r"[A-Za-z_]\w*")
_TYPES: Final = {
    **dict.fromkeys(("tinyint", "byte", "smallint", "short", "int", "integer"), pa.int32()),
    **dict.fromkeys(("bigint", "long"), pa.int64()),
    **dict.fromkeys(("float", "real", "double", "decimal", "dec", "numeric"), pa.float64()),
    **dict.fromkeys(("string", "varchar", "char"), pa.string()),
    "binary": pa.binary(),
    "boolean": pa.bool_(),
    "void": pa.null(),
    "date": pa.date32(),
    **dict.fromkeys(("timestamp", "timestamp_ntz", "timestamp_ltz"), pa.timestamp("us")),
}
_OTHER: Final = pa.list_(pa.null())  # arrays, maps, structs and the like: no type of a feature


class _Column(Value, frozen=True):
    """A column of DDL: name, type, and the text of both."""

    name: str
    type: pa.DataType
    text: str


def extend_ddl(ddl: str, find_plan: FindPlan) -> str:
    """Add the new columns to a schema in Spark's DDL."""
    columns = [_parse_column(text) for text in _split(ddl)]
    plan = find_plan(pa.schema([(column.name, column.type) for column in columns]))
    carried = [columns[index].text for index in plan.carried]
    added = [f"{_quote(field.name)} {_spark_type(field).upper()}" for field in plan.added]
    return ", ".join([*carried, *added])


def extend_struct(struct: Any, find_plan: FindPlan) -> Any:  # noqa: ANN401 - pyspark may not be installed
    """Add the new columns to a ``pyspark.sql.types.StructType``."""
    plan = find_plan(struct_fields(struct))
    extended = type(struct)([struct.fields[index] for index in plan.carried])
    for field in plan.added:
        extended.add(field.name, _spark_type(field))
    return extended


def struct_fields(struct: Any) -> pa.Schema:  # noqa: ANN401 - pyspark may not be installed
    """Get the columns of a ``StructType`` with types of the same kind."""
    kinds = [_arrow_type(field.dataType.simpleString()) for field in struct.fields]
    return pa.schema(list(zip(struct.names, kinds, strict=True)))


def _spark_type(field: pa.Field) -> str:
    return "float" if pa.types.is_float32(field.type) else "string"


def _quote(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else "`" + name.replace("`", "``") + "`"


def _parse_column(text: str) -> _Column:
    if not (found := _COLUMN.match(text)):
        raise UsageError(f"{text.strip()!r} is no column of Spark's DDL: give NAME TYPE, ...")
    name = found["plain"] or found["quoted"].replace("``", "`")
    return _Column(name, _arrow_type(found["type"]), text.strip())


def _arrow_type(name: str) -> pa.DataType:
    """Get a type of the same kind; ``decimal(10,2)`` is one of decimals, a collation no matter."""
    return _TYPES.get(re.split(r"[(<\s]", name.strip(), maxsplit=1)[0].strip().lower(), _OTHER)


def _split(ddl: str) -> Iterator[str]:
    """Split columns at commas outside of brackets and quotes."""
    depth, start = 0, 0
    for found in re.finditer(
        r"`(?:[^`]|``)*`|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[<(]|[>)]|,", ddl
    ):
        mark = found[0]
        if mark in "<(":
            depth += 1
        elif mark in ">)":
            depth -= 1
        elif mark == "," and not depth:
            yield ddl[start : found.start()]
            start = found.end()
    yield ddl[start:]
