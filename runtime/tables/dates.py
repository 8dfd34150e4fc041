"""Parse dates from cells and convert them to days since an origin.

Without a format of ``runtime.schema.date_formats``, a date is in the extended calendar form of ISO
8601, optionally between blanks: ``2024-02-29``, ``2024-02-29T12:30``, ``2024-02-29 12:30:05.25Z``
or ``…+05:30``, with years 0001 to 9999, without week dates, 24:00 and leap seconds. UTC is the
default zone, midnight the default time. Instants are integers until the last step, so that all
formats yield the same float64.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from runtime.schema.dates import SECONDS_PER_DAY, days_from_epoch
from runtime.tables.arrays import (
    binary_array,
    binary_scalar,
    bool_scalar,
    bool_values,
    number_scalar,
    number_values,
    value_bytes,
)
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

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
_FIRST_SHORT_YEAR: Final = 69
_EPOCH: Final = r"\A[ \t]*[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?[ \t]*\z"
_MAX_EPOCH: Final = 1e12  # seconds, beyond the year 9999
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


def read_instants(cells: pa.Array, date_format: str = "") -> Instants:
    """Parse cells: text in ISO 8601 or the given format, or Arrow's dates and timestamps."""
    if not len(cells):
        none = np.empty(0, dtype=np.int64)
        return Instants(none, none, none.astype(np.bool_))
    if is_temporal(cells.type):
        found = _from_temporal(cells)
    else:
        found = _from_format(cells, date_format) if date_format else _from_text(cells)
    inside = (found.days >= _FIRST_DAY) & (found.days <= _LAST_DAY)
    return Instants(found.days, found.nanoseconds, found.known & inside)


def mark_dates(instants: Instants, texts: Sequence[str], date_format: str = "") -> Mask:
    """Mark the instants that one of some texts is, ``(rows,)``, in ISO 8601 or the format."""
    found: Mask = np.zeros(len(instants.days), np.bool_)
    if not texts:
        return found
    cells = binary_array([text.encode() for text in texts])
    for others in (read_instants(cells, each) for each in {"", date_format}):
        for at in np.flatnonzero(others.known).tolist():
            is_same_day = instants.days == others.days[at]
            found |= is_same_day & (instants.nanoseconds == others.nanoseconds[at])
    return found & instants.known


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
    days, exists = _count_days(year, _parse_pair(digits[4:6]), _parse_pair(digits[6:8]))
    return days, is_date & exists


def _count_days(year: Integers, month: Integers, day: Integers) -> tuple[Integers, Mask]:
    """Count the days since 1970-01-01, and mark the dates of the calendar."""
    months = (year - _EPOCH_YEAR) * 12 + month - 1
    first, after = (
        count.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        for count in (months, months + 1)
    )
    exists = (year > 0) & (month > 0) & (month <= 12) & (day > 0) & (day <= after - first)  # noqa: PLR2004
    return first + day - 1, exists


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
    local = _read_number(hour) * 3600 + _read_number(minute) * 60 + _read_number(second)
    seconds: Integers = local - _read_offset(zone)
    return seconds, _read_number(pc.utf8_rpad(fraction, 9, "0"))


def _read_offset(zones: pa.Array) -> Integers:
    """Parse zones such as ``+05:30``, as seconds ahead of UTC; 0 for those without digits."""
    import pyarrow.compute as pc

    ahead = pc.replace_substring_regex(zones, "[^0-9]", "")
    offset = _read_number(pc.utf8_slice_codeunits(ahead, 0, 2)) * 3600
    offset += _read_number(pc.utf8_slice_codeunits(ahead, 2)) * 60
    sign: Integers = np.where(bool_values(pc.starts_with(zones, "-")), -1, 1)
    return sign * offset


def _from_format(cells: pa.Array, date_format: str) -> Instants:
    """Parse texts in a format of ``runtime.schema.date_formats``."""
    import pyarrow.compute as pc

    from runtime.schema.date_formats import EPOCHS, date_pattern

    if date_format in EPOCHS:
        return _from_epoch(cells, EPOCHS[date_format])
    pattern = rf"\A[ \t]*{date_pattern(date_format)}[ \t]*\z"
    matches = pc.fill_null(pc.match_substring_regex(cells, pattern), bool_scalar(False))
    known = bool_values(matches)
    days, nanoseconds = np.zeros(len(cells), np.int64), np.zeros(len(cells), np.int64)
    parts = pc.extract_regex(cells.filter(matches).cast(pa.string()), pattern)
    texts = {field.name: pc.struct_field(parts, field.name) for field in parts.type}
    day, exists = _read_calendar(texts)
    carry, seconds = np.divmod(_read_seconds(texts), SECONDS_PER_DAY)
    days[known] = day + carry
    nanoseconds[known] = seconds * _NANOSECONDS
    if "fraction" in texts:
        nanoseconds[known] += _read_number(pc.utf8_rpad(texts["fraction"], 9, "0"))
    known[known] = exists
    return Instants(days, nanoseconds, known)


def _read_calendar(texts: dict[str, pa.Array]) -> tuple[Integers, Mask]:
    """Read days since 1970-01-01 from the parts of dates, and mark those of the calendar."""
    import pyarrow.compute as pc

    from runtime.schema.date_formats import MONTHS

    if "short_year" in texts:  # as in POSIX: 69 is 1969, 68 is 2068
        year = _read_number(texts["short_year"])
        year = year + np.where(year < _FIRST_SHORT_YEAR, 2000, 1900)
    else:
        year = _read_number(texts["year"])
    if "month_name" in texts:
        letters = pc.utf8_slice_codeunits(pc.utf8_lower(texts["month_name"]), 0, 3)
        short = pa.array([name[:3] for name in MONTHS], pa.string())
        month = number_values(pc.index_in(letters, short)).astype(np.int64) + 1
    else:
        month = _read_number(texts["month"])
    day = _read_number(texts["day"]) if "day" in texts else np.ones_like(year)
    days, exists = _count_days(year, month, day)
    if "sign" in texts:
        exists &= bool_values(pc.equal(texts["sign"], texts["same"]))
        digits = pc.binary_length(pc.binary_join_element_wise(texts["month"], texts["day"], ""))
        is_plain = bool_values(pc.equal(texts["sign"], ""))
        exists &= ~is_plain | (number_values(digits) == 4)  # noqa: PLR2004 - of month and day
    return days, exists


def _read_seconds(texts: dict[str, pa.Array]) -> Integers:
    """Read seconds since midnight in UTC from the parts of times, which may be outside the day."""
    import pyarrow.compute as pc

    seconds: Integers = np.zeros(len(next(iter(texts.values()))), dtype=np.int64)
    for name, size in (("hour", 3600), ("half_hour", 3600), ("minute", 60), ("second", 1)):
        if name in texts:
            number = _read_number(texts[name])
            seconds += (number % 12 if name == "half_hour" else number) * size
    if "half" in texts:
        is_late = bool_values(pc.starts_with(pc.utf8_lower(texts["half"]), "p"))
        seconds += is_late * np.int64(12 * 3600)
    if "zone" in texts:
        seconds -= _read_offset(texts["zone"])
    return seconds


def _from_epoch(cells: pa.Array, per_second: int) -> Instants:
    """Parse numbers of seconds or their fractions since 1970-01-01."""
    import pyarrow.compute as pc

    matches = pc.fill_null(pc.match_substring_regex(cells, _EPOCH), bool_scalar(False))
    texts = pc.if_else(matches, cells, binary_scalar(b"0")).cast(pa.string())
    numbers = number_values(pc.cast(pc.ascii_trim(texts, " \t"), pa.float64()))
    known = bool_values(matches) & (np.abs(numbers) < _MAX_EPOCH * per_second)
    days, rest = np.divmod(np.where(known, numbers, 0), SECONDS_PER_DAY * per_second)
    nanoseconds = np.rint(rest * (_NANOSECONDS // per_second)).astype(np.int64)
    return Instants(days.astype(np.int64), nanoseconds, known)


def _read_number(digits: pa.Array) -> Integers:
    """Parse digits, an empty text as 0: ``(rows,)`` int64."""
    import pyarrow.compute as pc

    return number_values(pc.utf8_lpad(digits, 1, "0").cast(pa.int64()))


def _int64_values(column: pa.Array) -> Integers:
    """View int64 numbers as ``(rows,)``, nulls as 0."""
    import pyarrow.compute as pc

    return number_values(pc.fill_null(column, number_scalar(np.int64(0))))
