"""Notations of dates in texts: formats that read them, and others that are recognised only."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from runtime.tables.arrays import binary_array
from runtime.tables.dates import read_instants

if TYPE_CHECKING:
    from collections.abc import Sequence

# Common notations that --date-format reads; the names first.
_FORMATS: Final = (
    *("dmy", "mdy", "ymd", "%d.%m.%y", "%m/%d/%y", "%d/%m/%y", "%b %d, %Y", "%B %d, %Y"),
    *("%d-%b-%y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%d. %B %Y", "%b-%y", "%b %Y", "%Y-%m"),
    *("%B %Y", "%b %d %Y", "%B %d %Y", "%d%b%Y", "%d/%b/%Y", "%Y/%m", "%m/%Y", "%Y年%m月%d日"),
    *("%d.%m.%y %H:%M", "%m/%d/%y %H:%M", "%d/%m/%y %H:%M", "%d%b%Y:%H:%M:%S"),
    *("%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M:%S %p", "%d/%m/%Y %I:%M %p", "%d/%m/%Y %I:%M:%S %p"),
    *("%b %d, %Y %I:%M %p", "%d %b %Y %H:%M:%S", "%d-%b-%Y %H:%M:%S", "%d-%b-%y %I.%M.%S.%f %p"),
    *("%a, %d %b %Y %H:%M:%S %z", "%a, %d %b %Y %H:%M:%S %Z", "%a %b %d %H:%M:%S %Y"),
    *("%a %b %d %H:%M:%S %Z %Y", "%d/%b/%Y:%H:%M:%S %z", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%S%z"),
)
# As months begin in English, German, French, Spanish, Italian, Portuguese and Dutch.
_MONTH: Final = (
    r"(?:jan|feb|fév|fev|mar|mär|mrz|mrt|mai|may|mag|mei|maart|apr|avr|abr|jun|jui|jul|giu|lug|"
    r"aug|aou|aoû|ago|sep|set|oct|okt|ott|out|nov|dec|déc|dez|dic|ene|gen)[^\W\d_]{0,7}\.?"
)
_DAY: Final = r"[0-3]?[0-9](?:st|nd|rd|th|er|º|ª|\.)?"
_TIME: Final = (
    r"(?:[t\s:,]+[0-2]?[0-9][:.h][0-5][0-9](?:[:.][0-5][0-9](?:[.,][0-9]+)?)?(?:\s?[ap]\.?m\.?)?)"
)
_ZONE: Final = (
    r"\s*(?:[a-z]{2,5}|z|(?:utc|gmt)?[+-][0-9]{1,2}(?::?[0-9]{2})?|\[?[a-z]+/[a-z_/]+\]?)"
)
_YEAR: Final = "(?:19|20)[0-9]{2}"
_GAP: Final = r"[\s./,-]*"
_DATES: Final = (
    rf"{_DAY}{_GAP}(?:of |de )?{_MONTH}{_GAP}(?:of |del? )?(?:{_YEAR}|'?[0-9]{{2}})",
    rf"{_MONTH}{_GAP}{_DAY}{_GAP}\s{_TIME}?(?:{_ZONE}\s)?\s*{_YEAR}",
    rf"{_MONTH}{_GAP}{_DAY},?{_GAP}{_YEAR}",
    rf"{_MONTH}{_GAP}{_YEAR}",
    rf"{_YEAR}{_GAP}{_MONTH}(?:{_GAP}{_DAY})?",
    rf"{_YEAR}\s?[年년./-]\s?[01]?[0-9]\s?[月월./-]\s?[0-3]?[0-9]\s?[日일.]?",
    rf"[0-3]?[0-9]\s?[./-]\s?[0-3]?[0-9]\s?[./-]\s?{_YEAR}",
    rf"{_YEAR}[0-9]{{4}}t[0-9]{{4,6}}",
    rf"{_YEAR}-w[0-5][0-9]-[1-7]",
)
_WEEKDAY: Final = r"(?:[^\W\d_]{2,10}[.,]*\s+)?"
_WRAPPED: Final = (
    r"/date\([0-9]+(?:[+-][0-9]{4})?\)/|(?:iso)?date\(\W*[0-9]{4}-[0-9]{2}-[0-9]{2}[^)]*\)"
)
_LIKE_A_DATE: Final = re.compile(
    rf"{_WEEKDAY}(?:{'|'.join(_DATES)}){_TIME}?(?:{_ZONE}){{0,2}}|{_WRAPPED}"
)
_MAY_BE_READ: Final = re.compile(r"[0-9]+[./-][0-9]|[0-9]{8}t[0-9]|[a-z]{3}[a-z]*[ ./-]*[0-9]")


def find_date_formats(cells: Sequence[bytes], min_share: float) -> tuple[str, ...]:
    """Find the formats that read most of the texts; there are two where the order is open.

    Args:
        cells: texts that are neither numbers nor ISO dates.
        min_share: of the texts that must be dates.

    Returns:
        The formats; empty where none reads so many.
    """
    dated = [cell for cell in cells if _may_be_date(cell.decode(errors="replace"))]
    if not dated or len(dated) < min_share * len(cells):
        return ()
    array = binary_array(dated)
    known = {each: int(read_instants(array, each).known.sum()) for each in _FORMATS}
    most = max(known.values())
    if most < min_share * len(cells):
        return ()
    return tuple(each for each, count in known.items() if count == most)


def is_like_date(text: str) -> bool:
    """Whether a text is a date with its year, in whatever notation and language."""
    return bool(_LIKE_A_DATE.fullmatch(_fold(text)))


def _may_be_date(text: str) -> bool:
    folded = _fold(text)
    return bool(_MAY_BE_READ.search(folded) or _LIKE_A_DATE.fullmatch(folded))


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip().lower()
