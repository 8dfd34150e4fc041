"""What counts as a date in a cell, and the number that it becomes: days since an origin.

A date is ISO 8601's extended calendar form, with blanks (space, tab) around it allowed:
``2024-02-29``, and with a time ``2024-02-29T12:30``, ``2024-02-29 12:30:05.25Z`` or
``…+05:30``. The years are 0001 to 9999; no week dates, no 24:00, no leap second. What names no zone
is in UTC, a date alone is its midnight.
In: cells as text, or Arrow's dates and timestamps. Out: days since an origin, float64. An instant
is held as whole numbers up to one last sum, so that it becomes the same number from any format.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from runtime.schema.dates import SECONDS_PER_DAY, days_from_epoch
from runtime.tables.arrays import (
    binary_scalar,
    bool_scalar,
    number_scalar,
    number_values,
    value_bytes,
)
from runtime.value import Value

if TYPE_CHECKING:
    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

NOT_A_DATE: Final = "not an ISO date"
_DAY: Final = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME: Final = (
    r"(?:[Tt ](?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])"
    r"(?::(?P<second>[0-5][0-9])(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r"(?P<zone>[Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?)?"
)
_DATE: Final = rf"\A[ \t]*{_DAY}{_TIME}[ \t]*\z"
_LONG: Final = 10  # bytes of a date without a time
_DIGITS: Final = [0, 1, 2, 3, 5, 6, 8, 9]
_HYPHENS: Final = [4, 7]
_EPOCH_YEAR: Final = 1970
_STAND_IN: Final = b"1970-01-01"  # for what is no date
_FIRST_DAY: Final = days_from_epoch(dt.date.min)
_LAST_DAY: Final = days_from_epoch(dt.date.max)
_NANOSECONDS: Final = 1_000_000_000  # of a second
_UNITS: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # of a second


class Instants(Value, frozen=True):
    """Points in time.

    Attributes:
        days: ``(rows,)`` int64, whole ones since 1970-01-01 in UTC.
        nanoseconds: ``(rows,)`` int64, since the day began; at least 0, below a day.
        known: ``(rows,)`` bool; where it is false the others mean nothing.
    """

    days: Integers
    nanoseconds: Integers
    known: Mask


def is_temporal(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type are dates."""
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def read_instants(cells: pa.Array) -> Instants:
    """Read cells."""
    if not len(cells):
        none = np.empty(0, dtype=np.int64)
        return Instants(none, none, none.astype(np.bool_))
    found = _of_typed(cells) if is_temporal(cells.type) else _of_texts(cells)
    inside = (found.days >= _FIRST_DAY) & (found.days <= _LAST_DAY)
    return Instants(found.days, found.nanoseconds, found.known & inside)


def days_since(instants: Instants, origin: str) -> npt.NDArray[np.float64]:
    """Count days, with their fraction."""
    whole = instants.days - days_from_epoch(dt.date.fromisoformat(origin))
    days = whole + instants.nanoseconds / float(SECONDS_PER_DAY * _NANOSECONDS)
    return np.where(instants.known, days, np.nan)


def _of_typed(cells: pa.Array) -> Instants:
    """Take dates and timestamps; Arrow counts those of a zone in UTC, as it does the others."""
    import pyarrow.compute as pc

    known = ~_as_mask(pc.is_null(cells))
    if pa.types.is_date32(cells.type):
        days = _whole_numbers(cells.cast(pa.int32()).cast(pa.int64()))
        return Instants(days, np.zeros_like(days), known)
    unit = 10**3 if pa.types.is_date64(cells.type) else _UNITS[cells.type.unit]
    days, rest = np.divmod(_whole_numbers(cells.cast(pa.int64())), SECONDS_PER_DAY * unit)
    return Instants(days, rest * (_NANOSECONDS // unit), known)


def _of_texts(cells: pa.Array) -> Instants:
    import pyarrow.compute as pc

    if _are_long(cells, _LONG):  # a cell of so many bytes is a date without a time, or none
        days, known = _read_days(cells)
        return Instants(days, np.zeros_like(days), known)
    is_date = _filled(pc.match_substring_regex(cells, _DATE), bool_scalar(False))
    dates = pc.if_else(is_date, cells, binary_scalar(_STAND_IN)).cast(pa.string())
    texts = pc.ascii_trim(dates, " \t")
    days, exists = _read_days(pc.utf8_slice_codeunits(texts, 0, _LONG))
    known = _as_mask(is_date) & exists
    times = pc.utf8_slice_codeunits(texts, _LONG)
    if not len(value_bytes(times)):
        return Instants(days, np.zeros_like(days), known)
    seconds, nanoseconds = _read_times(times)
    more, seconds = np.divmod(
        seconds, SECONDS_PER_DAY
    )  # a zone may turn to the day before or after
    return Instants(days + more, seconds * _NANOSECONDS + nanoseconds, known)


def _are_long(cells: pa.Array, size: int) -> bool:
    """Whether all cells, ``(rows,)`` binary, are present and have so many bytes."""
    bounds = np.frombuffer(cells.buffers()[1], dtype=np.int32)
    bounds = bounds[cells.offset : cells.offset + len(cells) + 1]
    return not cells.null_count and bool((np.diff(bounds) == size).all())


def _read_days(texts: pa.Array) -> tuple[Integers, Mask]:
    """Read texts of ten bytes: days since 1970-01-01, and whether that is what they say."""
    letters = np.frombuffer(value_bytes(texts), dtype=np.uint8).reshape(-1, _LONG).T
    digits = letters[_DIGITS] - ord("0")  # (8, rows), what is less wraps around
    is_date = (digits < 10).all(axis=0) & (letters[_HYPHENS] == ord("-")).all(axis=0)  # noqa: PLR2004
    year = 100 * _pair(digits[0:2]) + _pair(digits[2:4])
    month, day = _pair(digits[4:6]), _pair(digits[6:8])
    months = (year - _EPOCH_YEAR) * 12 + month - 1
    begin, end = (
        count.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        for count in (months, months + 1)
    )
    is_date &= (year > 0) & (month > 0) & (month <= 12) & (day > 0) & (day <= end - begin)  # noqa: PLR2004
    return begin + day - 1, is_date


def _pair(digits: npt.NDArray[np.uint8]) -> Integers:
    """Read two digits, ``(2, rows)``."""
    pair: Integers = 10 * digits[0].astype(np.int64) + digits[1]
    return pair


def _read_times(texts: pa.Array) -> tuple[Integers, Integers]:
    """Read times of a day: seconds in UTC, before or after that day too, and nanoseconds."""
    import pyarrow.compute as pc

    parts = pc.extract_regex(texts, rf"\A{_TIME}\z")
    hour, minute, second, fraction, zone = (
        pc.struct_field(parts, name) for name in ("hour", "minute", "second", "fraction", "zone")
    )
    ahead = pc.replace_substring(pc.utf8_slice_codeunits(zone, 1), ":", "")
    offset = _read_number(pc.utf8_slice_codeunits(ahead, 0, 2)) * 3600
    offset += _read_number(pc.utf8_slice_codeunits(ahead, 2)) * 60
    sign: Integers = np.where(_as_mask(pc.starts_with(zone, "-")), -1, 1)
    local = _read_number(hour) * 3600 + _read_number(minute) * 60 + _read_number(second)
    seconds: Integers = local - sign * offset
    return seconds, _read_number(pc.utf8_rpad(fraction, 9, "0"))


def _read_number(digits: pa.Array) -> Integers:
    """Read digits, none of them as 0: ``(rows,)`` int64."""
    import pyarrow.compute as pc

    return number_values(pc.utf8_lpad(digits, 1, "0").cast(pa.int64()))


def _whole_numbers(column: pa.Array) -> Integers:

    return number_values(_filled(column, number_scalar(np.int64(0))))


def _filled(column: pa.Array, scalar: Any) -> pa.Array:  # noqa: ANN401 - pyarrow publishes no types
    import pyarrow.compute as pc

    return pc.fill_null(column, scalar)


def _as_mask(truths: pa.Array) -> Mask:
    """View truths without nulls as ``(rows,)`` bool."""
    mask: Mask = number_values(truths.cast(pa.uint8())).astype(np.bool_)
    return mask
