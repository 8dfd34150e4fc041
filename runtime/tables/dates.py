"""Parse dates from cells and convert them to days since an origin.

A date is in the extended calendar form of ISO 8601, optionally between blanks: ``2024-02-29``,
``2024-02-29T12:30``, ``2024-02-29 12:30:05.25Z`` or ``…+05:30``, with years 0001 to 9999, without
week dates, 24:00 and leap seconds. UTC is the default zone, midnight the default time. Instants are
integers until the last step, so that all formats yield the same float64.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from runtime.schema.dates import SECONDS_PER_DAY, days_from_epoch
from runtime.tables.arrays import (
    binary_scalar,
    bool_scalar,
    bool_values,
    number_scalar,
    number_values,
    value_bytes,
)
from runtime.value import Value

if TYPE_CHECKING:
    import numpy.typing as npt

    from runtime.tables.base import Mask

    Integers = npt.NDArray[np.int64]

NOT_A_DATE: Final = "not an ISO date"
_DAY: Final = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME: Final = (
    r"(?:[Tt ](?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])"
    r"(?::(?P<second>[0-5][0-9])(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r"(?P<zone>[Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?)?"
)
_DATE: Final = rf"\A[ \t]*{_DAY}{_TIME}[ \t]*\z"
_DATE_LENGTH: Final = 10  # bytes, without a time
_DIGITS: Final = [0, 1, 2, 3, 5, 6, 8, 9]
_HYPHENS: Final = [4, 7]
_EPOCH_YEAR: Final = 1970
_PLACEHOLDER: Final = b"1970-01-01"  # for cells that are not dates
_FIRST_DAY: Final = days_from_epoch(dt.date.min)
_LAST_DAY: Final = days_from_epoch(dt.date.max)
_NANOSECONDS: Final = 1_000_000_000  # per second
_UNITS: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # per second


class Instants(Value, frozen=True):
    """Points in time.

    Attributes:
        days: ``(rows,)`` int64, whole days since 1970-01-01 in UTC.
        nanoseconds: ``(rows,)`` int64, since midnight, less than a day.
        known: ``(rows,)`` bool; the other fields are undefined where it is false.
    """

    days: Integers
    nanoseconds: Integers
    known: Mask


def is_temporal(data_type: pa.DataType) -> bool:
    """Whether an Arrow type is a date or timestamp."""
    return bool(pa.types.is_date(data_type) or pa.types.is_timestamp(data_type))


def read_instants(cells: pa.Array) -> Instants:
    """Parse cells: text, or Arrow's dates and timestamps."""
    if not len(cells):
        none = np.empty(0, dtype=np.int64)
        return Instants(none, none, none.astype(np.bool_))
    found = _from_temporal(cells) if is_temporal(cells.type) else _from_text(cells)
    inside = (found.days >= _FIRST_DAY) & (found.days <= _LAST_DAY)
    return Instants(found.days, found.nanoseconds, found.known & inside)


def days_since(instants: Instants, origin: str) -> npt.NDArray[np.float64]:
    """Convert instants to fractional days since an origin, NaN where they are unknown."""
    whole_days = instants.days - days_from_epoch(dt.date.fromisoformat(origin))
    days = whole_days + instants.nanoseconds / float(SECONDS_PER_DAY * _NANOSECONDS)
    return np.where(instants.known, days, np.nan)


def _from_temporal(cells: pa.Array) -> Instants:
    """Convert Arrow's dates and timestamps; timestamps are in UTC, with or without a zone."""
    import pyarrow.compute as pc

    known = ~bool_values(pc.is_null(cells))
    if pa.types.is_date32(cells.type):
        days = _int64_values(cells.cast(pa.int32()).cast(pa.int64()))
        return Instants(days, np.zeros_like(days), known)
    unit = 10**3 if pa.types.is_date64(cells.type) else _UNITS[cells.type.unit]
    days, remainder = np.divmod(_int64_values(cells.cast(pa.int64())), SECONDS_PER_DAY * unit)
    return Instants(days, remainder * (_NANOSECONDS // unit), known)


def _from_text(cells: pa.Array) -> Instants:
    import pyarrow.compute as pc

    if _have_length(cells, _DATE_LENGTH):  # without times
        days, known = _read_days(cells)
        return Instants(days, np.zeros_like(days), known)
    is_date = pc.fill_null(pc.match_substring_regex(cells, _DATE), bool_scalar(False))
    dates = pc.if_else(is_date, cells, binary_scalar(_PLACEHOLDER)).cast(pa.string())
    texts = pc.ascii_trim(dates, " \t")
    days, exists = _read_days(pc.utf8_slice_codeunits(texts, 0, _DATE_LENGTH))
    known = bool_values(is_date) & exists
    times = pc.utf8_slice_codeunits(texts, _DATE_LENGTH)
    if not len(value_bytes(times)):
        return Instants(days, np.zeros_like(days), known)
    seconds, nanoseconds = _read_times(times)
    carry, seconds = np.divmod(seconds, SECONDS_PER_DAY)  # a zone can change the date
    return Instants(days + carry, seconds * _NANOSECONDS + nanoseconds, known)


def _have_length(cells: pa.Array, size: int) -> bool:
    """Whether all cells, ``(rows,)`` binary, are present and have ``size`` bytes."""
    bounds = np.frombuffer(cells.buffers()[1], dtype=np.int32)
    bounds = bounds[cells.offset : cells.offset + len(cells) + 1]
    return not cells.null_count and bool((np.diff(bounds) == size).all())


def _read_days(texts: pa.Array) -> tuple[Integers, Mask]:
    """Parse texts of ten bytes: days since 1970-01-01, and a mask of the valid dates."""
    letters = np.frombuffer(value_bytes(texts), dtype=np.uint8).reshape(-1, _DATE_LENGTH).T
    digits = letters[_DIGITS] - ord("0")  # (8, rows), unsigned
    is_date = (digits < 10).all(axis=0) & (letters[_HYPHENS] == ord("-")).all(axis=0)  # noqa: PLR2004
    year = 100 * _parse_pair(digits[0:2]) + _parse_pair(digits[2:4])
    month, day = _parse_pair(digits[4:6]), _parse_pair(digits[6:8])
    months = (year - _EPOCH_YEAR) * 12 + month - 1
    first, after = (
        count.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        for count in (months, months + 1)
    )
    is_date &= (year > 0) & (month > 0) & (month <= 12) & (day > 0) & (day <= after - first)  # noqa: PLR2004
    return first + day - 1, is_date


def _parse_pair(digits: npt.NDArray[np.uint8]) -> Integers:
    """Parse two digits, ``(2, rows)``."""
    pair: Integers = 10 * digits[0].astype(np.int64) + digits[1]
    return pair


def _read_times(texts: pa.Array) -> tuple[Integers, Integers]:
    """Parse times: seconds since midnight in UTC, which may be outside the day; nanoseconds."""
    import pyarrow.compute as pc

    parts = pc.extract_regex(texts, rf"\A{_TIME}\z")
    hour, minute, second, fraction, zone = (
        pc.struct_field(parts, name) for name in ("hour", "minute", "second", "fraction", "zone")
    )
    ahead = pc.replace_substring(pc.utf8_slice_codeunits(zone, 1), ":", "")
    offset = _read_number(pc.utf8_slice_codeunits(ahead, 0, 2)) * 3600
    offset += _read_number(pc.utf8_slice_codeunits(ahead, 2)) * 60
    sign: Integers = np.where(bool_values(pc.starts_with(zone, "-")), -1, 1)
    local = _read_number(hour) * 3600 + _read_number(minute) * 60 + _read_number(second)
    seconds: Integers = local - sign * offset
    return seconds, _read_number(pc.utf8_rpad(fraction, 9, "0"))


def _read_number(digits: pa.Array) -> Integers:
    """Parse digits, an empty text as 0: ``(rows,)`` int64."""
    import pyarrow.compute as pc

    return number_values(pc.utf8_lpad(digits, 1, "0").cast(pa.int64()))


def _int64_values(column: pa.Array) -> Integers:
    """View int64 numbers as ``(rows,)``, nulls as 0."""
    import pyarrow.compute as pc

    return number_values(pc.fill_null(column, number_scalar(np.int64(0))))
