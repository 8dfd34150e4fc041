"""Choose the unit of timestamps that Parquet stores as INT96, as Spark, Hive and Impala do.

INT96 has nanoseconds and any year; Arrow has nanoseconds from 1677 to 2262, or microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from runtime.errors import DataError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    Unit = Literal["s", "us", "ns"]
    OpenFile = Callable[[Unit], Any]

_MAX_INT64 = 2**63 - 1
_LAST_S = {"ns": _MAX_INT64 // 10**9 - 1, "us": _MAX_INT64 // 10**6 - 1}  # whole seconds that fit


def choose_unit(file: Any, open_file: OpenFile, *, where: str) -> Unit:  # noqa: ANN401 - pyarrow publishes no types
    """Choose nanoseconds where all INT96 timestamps of a file fit, else microseconds.

    ``open_file`` opens the file with a unit for these columns, without a check of their range.
    Raises ``DataError`` when neither unit holds all values exactly, or the file is damaged.
    """
    paths = _int96_paths(file)
    if not paths:
        return "ns"
    try:
        last_s = max((_last_second(values) for values in _read(open_file("s"), paths)), default=0)
        if last_s <= _LAST_S["ns"]:
            return "ns"
        if last_s <= _LAST_S["us"] and not _has_nanoseconds(open_file, paths):
            return "us"
    except (pa.ArrowException, OSError) as exc:
        raise DataError(f"{where} is damaged: {first_line(exc)}") from exc
    raise DataError(
        f"{where}: no type holds its INT96 timestamps ({', '.join(paths)}): some are outside the "
        "years 1677 to 2262, which need microseconds, and some have nanoseconds or are beyond the "
        "year 294,246; write them as microseconds (in Spark: "
        "spark.sql.parquet.outputTimestampType=TIMESTAMP_MICROS)"
    )


def _int96_paths(file: Any) -> list[str]:  # noqa: ANN401 - as above
    columns = map(file.schema.column, range(len(file.schema)))
    return [column.path for column in columns if column.physical_type == "INT96"]


def _read(file: Any, paths: Sequence[str]) -> Iterator[npt.NDArray[np.int64]]:  # noqa: ANN401 - as above
    """Read columns as integers in the file's unit, 0 for null."""
    for batch in file.iter_batches(columns=list(paths), use_threads=False):
        for column in batch.columns:
            for values in _timestamps(column):
                yield values.cast(pa.int64()).fill_null(0).to_numpy()


def _timestamps(column: pa.Array) -> Iterator[pa.Array]:
    """Find the timestamps in a column of any type."""
    if pa.types.is_struct(column.type):
        for field in column.flatten():
            yield from _timestamps(field)
    elif pa.types.is_map(column.type):
        yield from _timestamps(column.keys)
        yield from _timestamps(column.items)
    elif pa.types.is_nested(column.type):
        yield from _timestamps(column.flatten())
    elif pa.types.is_timestamp(column.type):
        yield column


def _last_second(values: npt.NDArray[np.int64]) -> int:
    """Find the second that is farthest from 1970, its sign ignored; 0 without values."""
    return max(int(values.max()), -int(values.min())) if len(values) else 0


def _has_nanoseconds(open_file: OpenFile, paths: Sequence[str]) -> bool:
    """Check for digits below a microsecond; sums beyond 64 bits wrap alike in both units."""
    both = zip(_read(open_file("ns"), paths), _read(open_file("us"), paths), strict=True)
    return any((ns != us * np.int64(1000)).any() for ns, us in both)
