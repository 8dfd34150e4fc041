"""The options that say how cells are written: formats of dates, texts that mean missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.errors import UsageError
from runtime.schema.date_formats import EPOCHS, date_pattern, is_date_format
from runtime.schema.numbers import number_key
from runtime.surfaces import option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class DateFormats:
    """Formats of ``runtime.schema.date_formats``.

    Attributes:
        default: for each column of text whose cells have it; empty for ISO 8601 alone.
        columns: by name of the column, whatever its cells look like.
    """

    default: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, ...]:
        """The values of the option, in a fixed order."""
        named = (f"{name}={each}" for name, each in sorted(self.columns.items()))
        return (*([self.default] if self.default else []), *named)


def parse_date_formats(texts: Sequence[str]) -> DateFormats:
    """Parse formats of dates: ``FORMAT`` or ``COLUMN=FORMAT``.

    Raises ``UsageError`` for an unknown format and for two formats of one column.
    """
    default, columns = "", {}
    for text in texts:
        name, sign, date_format = text.rpartition("=")
        if not sign or not is_date_format(date_format):
            name, date_format = "", text
        _check(date_format)
        if not name and date_format in EPOCHS:
            raise UsageError(
                f"{option('date_format', text)}: any number could be one; give COLUMN={text}"
            )
        if name in columns or (default and not name):
            what = f"column {name!r}" if name else "all columns"
            raise UsageError(f"{option('date_format')} gives two formats for {what}: use one")
        if name:
            columns[name] = date_format
        else:
            default = date_format
    return DateFormats(default, columns)


def _check(date_format: str) -> None:
    if date_format not in EPOCHS:
        try:
            date_pattern(date_format)
        except ValueError as exc:
            raise UsageError(f"{option('date_format')}: {exc}") from exc


def parse_missing(texts: Sequence[str] | None) -> tuple[str, ...]:
    """Parse texts that mean a missing cell: sorted, without blanks around them.

    A number means a missing cell in every spelling, and in typed columns. Raises ``UsageError`` for
    an empty text, which is missing anyway, and for a number with a decimal comma.
    """
    found = {text.strip(" \t") for text in texts or ()}
    if "" in found or texts == ():
        raise UsageError(f"{option('missing')} has an empty text: give texts such as NA and NULL")
    if numbers := sorted(text for text in found if "," in text and _is_number(text)):
        point = numbers[0].replace(",", ".")
        raise UsageError(f"{option('missing')}: write {numbers[0]!r} with a point: {point}")
    return tuple(sorted(found))


def _is_number(text: str) -> bool:
    return number_key(text.replace(",", ".")) is not None
