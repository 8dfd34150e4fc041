"""Semantic types of text: detect quantities, dates and identifiers, which name no category."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from runtime.tables.arrays import binary_array
from runtime.tables.cells import MISSING_WORDS, parse_numbers
from runtime.tables.dates import read_instants
from trainer.data.date_notations import find_date_formats, is_like_date

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from runtime.choices import Decimal
    from runtime.tables.base import Mask

NUMBERS, DATES, OTHER_DATES = "numbers", "ISO dates", "dates"
_UUIDS, _HEXADECIMAL = "UUIDs", "hexadecimal identifiers"
_NETWORK, _MAIL = "network addresses", "e-mail addresses"
_TELEPHONE = "telephone numbers"
IDENTIFIERS: Final = frozenset({_UUIDS, _HEXADECIMAL, _NETWORK, _MAIL, _TELEPHONE})
READABLE: Final = frozenset({NUMBERS, DATES})
_OTHER_FORMAT: Final = "numbers in another format"
_WITH_COMPARISON: Final = "numbers with a comparison sign"
_WITH_UNIT: Final = "numbers with a unit"
_MIN_SHARE: Final = 0.5  # of the distinct texts
_MAX_TEXTS: Final = 1000  # of a column that are inspected
_MIN_OF_UNIT: Final = 3  # numbers with a unit that is not known
_SAMPLE: Final = 50  # texts inspected first
_MIN_SAMPLE_SHARE: Final = 0.25  # of a sample, to inspect all

_N: Final = (
    r"[+-]?(?:[0-9]{1,3}(?:[.,' \u2019][0-9]{3})+|[0-9]{1,2}(?:,[0-9]{2})*,[0-9]{3}|[0-9]+)?"
    r"(?:(?<=[0-9])[.,]|[.,](?=[0-9]))?[0-9]*(?<=[0-9.,])"
    r"(?:(?:[eE]| ?[x*\u00b7\u00d7] ?10\^)[+-]?[0-9]+)?"
)
_SPAN: Final = (
    r"(?:d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?|ms|w|weeks?|months?|y|yrs?|years?)"
)
_CURRENCY: Final = (
    r"(?:[A-Z]{0,3}[$€£¥₹₽₩₺₴₫฿₪]|USD|EUR|GBP|CHF|JPY|CNY|RMB|INR|AUD|CAD|NZD|SGD|HKD|SEK|NOK|DKK|PLN|"
    r"CZK|HUF|RON|RUB|UAH|TRY|BRL|MXN|ZAR|KRW|ILS|THB|kr\.?|Fr\.?|Rs\.?|zł|Kč|euros?|dollars?)"
)
_UNIT: Final = (
    r"(?:[kcmµunM]?[mglL]|kgs?|lbs?|oz|t|tons?|km|mi|miles?|ft|feet|in|inch(?:es)?|yd|ha|acres?|"
    r"m[2-3]|km2|sqft|sqm|km/h|kmh|mph|m/s|kn|°?[CFK]|°|[kKMGT]?i?B|[kKMGT]bps|[kMG]?Hz|[kMG]?Wh?|"
    r"[mk]?VA?|m?A(?:h)?|k?Pa|h?Pa|bar|psi|k?J|k?cal|px|pt|dpi|ppm|dB|rpm|pcs?|bn|mn|[kK]|bps|x)"
)
_SIGNED: Final = r"[+-]?\(?{}\)?"
_QUOTE: Final = "[\"'\u2018\u2019\u201c\u201d]"
_KINDS: Final = {
    "negative numbers in brackets": rf"\({_N}\)",
    "numbers with the sign behind": rf"{_N}-",
    "percentages": rf"{_SIGNED.format(f'{_N} ?[%‰]')}|%{_N}",
    "amounts of money": (
        f"{_SIGNED.format(f'{_CURRENCY} ?{_N}-?')}|{_SIGNED.format(f'{_N} ?{_CURRENCY}')}"
    ),
    "times or durations": (
        r"(?:-?[0-9]+ days?,? )?[+-]?[0-9]{1,4}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?"
        rf"(?: ?[AaPp][Mm])?|(?:{_N} ?{_SPAN}[ ,]*)+(?:[0-9]+)?"
        r"|-?P(?=[0-9T])(?:[0-9.,]+[YMWD])*(?:T(?:[0-9.,]+[HMS])+)?"
    ),
    _WITH_UNIT: rf"{_N} ?{_UNIT}",
    "lengths in feet and inches": (
        r"[0-9]+ ?(?:['\u2032]|ft\.?|feet) ?[0-9.]+ ?(?:['\u2032]{2}|[\"\u2033]|in\.?|inch(?:es)?)?"
    ),
    _WITH_COMPARISON: rf"(?:[<>≤≥~≈]=?|ca\.?) ?{_N}|{_N}\+",
    "numbers in quotes": rf"=?{_QUOTE}{_N}{_QUOTE}?",
    _UUIDS: r"\{?[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\}?",
    _HEXADECIMAL: r"(?:0x)?(?:[0-9a-f]{16,}|[0-9A-F]{16,})|0x[0-9a-fA-F]+",
    _NETWORK: r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}",
    _MAIL: r"[^@ ]+@[^@ ]+\.[A-Za-z]{2,}",
    _TELEPHONE: r"\+[0-9]{1,3}(?:[ /-]\(?[0-9]+\)?){2,}|\([0-9]{3}\) ?[0-9]{3}[ -]?[0-9]{4}",
    _OTHER_FORMAT: rf"{_N}|[0-9]*[0-9]\u2044[0-9]+",
}
_PATTERNS: Final = {kind: re.compile(pattern) for kind, pattern in _KINDS.items()}
_SUFFIX: Final = re.compile(rf"({_N}) ?([^\W\d_]+\.?)")
_ORDINALS: Final = frozenset({"st", "nd", "rd", "th"})


@dataclass(frozen=True)
class SemanticType:
    """What the texts of a column are, beside names of categories.

    Attributes:
        kind: of most of those that are not read, such as ``percentages``; else of most.
        texts: of that kind, in order.
        words: texts of no kind, in order.
        date_formats: formats that read them; empty where there is none.
    """

    kind: str
    texts: tuple[str, ...]
    words: tuple[str, ...]
    date_formats: tuple[str, ...] = ()


def detect_semantic_type(found: Collection[bytes], decimal: Decimal = ".") -> SemanticType | None:
    """Recognise the distinct texts of a column; None where most of them are words.

    Words for missing, such as ``NA``, do not count.
    """
    cells = sorted(found)[:_MAX_TEXTS]
    if not any(map(_may_be_quantity, b"\n".join(cells).decode(errors="replace"))):
        return None  # at once, as most columns of words have neither digit nor address
    if len(cells) > 2 * _SAMPLE:
        step = len(cells) // _SAMPLE
        if _share(cells[::step], decimal) < _MIN_SAMPLE_SHARE:
            return None
    return _detect(cells, decimal)


def _may_be_quantity(letter: str) -> bool:
    return letter.isdigit() or letter == "@"


def _share(cells: Sequence[bytes], decimal: Decimal) -> float:
    """Estimate the share of texts that are not words, from a sample."""
    kinds = _kinds(cells, decimal)[0]
    return sum(map(bool, kinds.values())) / len(cells)


def _detect(cells: Sequence[bytes], decimal: Decimal) -> SemanticType | None:
    texts = [cell.decode(errors="replace").strip(" \t") for cell in cells]
    kinds, date_formats = _kinds(cells, decimal)
    count = Counter(kind for kind in kinds.values() if kind)
    words = sum(not kinds[at] and text not in MISSING_WORDS for at, text in enumerate(texts))
    if not count or count.total() < _MIN_SHARE * (count.total() + words):
        return None
    unreadable = Counter({kind: number for kind, number in count.items() if kind not in READABLE})
    kind = (unreadable or count).most_common(1)[0][0]
    return SemanticType(
        kind,
        tuple(text for at, text in enumerate(texts) if kinds[at] == kind),
        tuple(text for at, text in enumerate(texts) if not kinds[at]),
        date_formats if kind == OTHER_DATES else (),
    )


def _kinds(cells: Sequence[bytes], decimal: Decimal) -> tuple[dict[int, str], tuple[str, ...]]:
    """Find the kind of each text by position, empty for words; and the formats of dates."""
    texts = [cell.decode(errors="replace").strip(" \t") for cell in cells]
    kinds = _read(cells, decimal)
    others = [at for at, text in enumerate(texts) if not kinds[at] and text not in MISSING_WORDS]
    date_formats = find_date_formats([cells[at] for at in others], _MIN_SHARE)
    if date_formats:
        known = read_instants(binary_array([cells[at] for at in others]), date_formats[0]).known
        dated = (at for at, is_date in zip(others, known, strict=True) if is_date)
        kinds.update(dict.fromkeys(dated, OTHER_DATES))
    kinds.update({at: OTHER_DATES for at in others if not kinds[at] and is_like_date(texts[at])})
    plain = sum(kind == NUMBERS for kind in kinds.values())
    kinds.update(_classify({at: texts[at] for at in others if not kinds[at]}, plain))
    return kinds, date_formats


def _read(cells: Sequence[bytes], decimal: Decimal) -> dict[int, str]:
    """Find the texts that are read as numbers or dates, by position; empty for others."""
    array = binary_array(cells)
    is_number: Mask = np.isfinite(parse_numbers(pa.chunked_array([array]), decimal))
    is_date = read_instants(array).known
    return {
        at: NUMBERS if is_number[at] else DATES if is_date[at] else "" for at in range(len(cells))
    }


def _classify(texts: dict[int, str], plain: int) -> dict[int, str]:
    """Classify texts by position; ``plain`` is the number of plain numbers beside them."""
    kinds = {at: _kind_of(text) for at, text in texts.items()}
    suffixes = {
        at: found[2]
        for at, text in texts.items()
        if not kinds[at] and (found := _SUFFIX.fullmatch(_normalise(text)))
    }
    units = Counter(suffixes.values())
    for at, suffix in suffixes.items():
        if units[suffix] >= _MIN_OF_UNIT and suffix not in _ORDINALS:
            kinds[at] = _WITH_UNIT
    compared = [at for at, kind in kinds.items() if kind == _WITH_COMPARISON]
    if len(compared) > plain:  # bins, such as <18 and >65
        kinds.update(dict.fromkeys(compared, ""))
    return kinds


def _kind_of(text: str) -> str:
    if not any(map(_may_be_quantity, text)):
        return ""
    plain = _normalise(text)
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.fullmatch(plain)), "")


def _normalise(text: str) -> str:
    """Write digits of other scripts, no-break spaces and the minus sign in ASCII."""
    plain = unicodedata.normalize("NFKC", text).replace("\u2212", "-").strip()
    return "".join(
        str(unicodedata.digit(letter)) if letter.isdigit() and not letter.isascii() else letter
        for letter in plain
    )
