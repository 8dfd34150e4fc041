"""Options for reading a table, with their defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from msgspec.structs import force_setattr

from runtime.choices import Decimal
from runtime.errors import UsageError
from runtime.surfaces import option
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.io.charsets import Encoding
    from runtime.tables.formats import Format


def parse_text_option(options: Value, name: str, parse: Callable[[str], object]) -> None:
    """Parse an option that is given as text."""
    value: Any = getattr(options, name)
    if isinstance(value, str):
        force_setattr(options, name, parse(value))


def parse_format_option(text: str) -> Format:
    """Parse a format; imports the registry only when it is used."""
    from runtime.tables.formats import parse_format

    return parse_format(text)


def _parse_delimiter(text: str) -> bytes:
    from runtime.tables.dialect import parse_delimiter

    return parse_delimiter(text)


def _parse_encoding(text: str) -> Encoding:
    from runtime.io.charsets import parse_encoding

    return parse_encoding(text)


class ReadOptions(Value, frozen=True):
    """How to read a table; None is detected from its name and content.

    Values can be given as text, as on the command line: ``ReadOptions(format="csv.gz")``.

    Attributes:
        format: of the table.
        delimiter: one byte between fields of delimited text.
        encoding: of text.
        decimal: the decimal sign of numbers in text.
        loose_header: match column names regardless of case, surrounding blanks and Unicode form.

    Raises:
        UsageError: when a text is not a known format, delimiter, encoding or decimal sign.
    """

    format: Format | None = None
    delimiter: bytes | None = None
    encoding: Encoding | None = None
    decimal: Decimal = "."
    loose_header: bool = False

    def __post_init__(self) -> None:
        if self.decimal not in get_args(Decimal):
            choices = " or ".join(map(repr, get_args(Decimal)))
            raise UsageError(f"{option('decimal', self.decimal)}: choose {choices}")
        parse_text_option(self, "format", parse_format_option)
        parse_text_option(self, "delimiter", _parse_delimiter)
        parse_text_option(self, "encoding", _parse_encoding)


def parse_read_options(
    table_format: str | None,
    delimiter: str | None,
    encoding: str | None,
    decimal: Decimal,
    *,
    loose: bool,
) -> ReadOptions:
    """Parse the options of the command line."""
    return ReadOptions(
        format=None if table_format is None else parse_format_option(table_format),
        delimiter=None if delimiter is None else _parse_delimiter(delimiter),
        encoding=None if encoding is None else _parse_encoding(encoding),
        decimal=decimal,
        loose_header=loose,
    )
