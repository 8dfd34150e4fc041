"""The dialect of delimited text: delimiter, encoding and decimal sign."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final, get_args

from msgspec.structs import replace

from runtime.choices import Decimal
from runtime.errors import UsageError
from runtime.io.charsets import UTF_8, Encoding
from runtime.schema.names import fold_name
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence


DETECTED_DELIMITERS: Final = (b",", b";", b"\t", b"|")  # in order of preference
FORBIDDEN_DELIMITERS: Final = b'"\r\n\0+-.'  # like letters and digits
_NAMES: Final = {"tab": b"\t", r"\t": b"\t", "comma": b",", "semicolon": b";", "pipe": b"|"}


class Dialect(Value, frozen=True):
    """How delimited text is written; quoting follows RFC 4180.

    Attributes:
        delimiter: one byte between fields.
        encoding: of the characters.
        decimal: the decimal sign.
    """

    delimiter: bytes = b","
    encoding: Encoding = UTF_8
    decimal: Decimal = "."

    def __post_init__(self) -> None:
        char = self.delimiter
        if len(char) != 1 or not char.isascii() or char in FORBIDDEN_DELIMITERS or char.isalnum():
            raise UsageError(
                f"invalid delimiter {char.decode(errors='replace')!r}: give one ASCII character "
                "that is not a quote, line end, letter, digit or part of a number, or 'tab'"
            )
        if self.encoding.splits_characters(char[0]):
            raise UsageError(
                f"delimiter {char.decode()!r} is also part of multi-byte characters in "
                f"{self.encoding.name}; convert the table first: "
                f"iconv -f {self.encoding.name} -t utf-8"
            )
        if self.decimal not in get_args(Decimal):
            raise UsageError(f"unknown decimal sign {self.decimal!r}: choose '.' or ','")


COMMA: Final = Dialect()


def parse_delimiter(text: str) -> bytes:
    """Parse a delimiter: a character, or its name."""
    return Dialect(_NAMES.get(text.lower(), text.encode())).delimiter


def candidate_dialects(dialect: Dialect) -> tuple[Dialect, ...]:
    """List the dialects to detect, which differ in their delimiters."""
    return tuple(
        replace(dialect, delimiter=delimiter)
        for delimiter in DETECTED_DELIMITERS
        if not dialect.encoding.splits_characters(delimiter[0])
    )


def best_header(headers: Sequence[Sequence[str]], required: Sequence[str]) -> int:
    """Choose the header with most required names, then with most names; return its index."""
    folded = {fold_name(name) for name in required}

    def score(index: int) -> tuple[int, int]:
        names = headers[index]
        return len(folded.intersection(map(fold_name, names))), len(names)

    return max(range(len(headers)), key=score)  # the first of equals


def split_record(text: str, delimiter: bytes) -> list[str]:
    """Split a record into its cells, without quotes."""
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter.decode()), [])
