"""What delimited text looks like: delimiter, encoding and decimal sign."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final, get_args

from msgspec.structs import replace

from runtime.choices import Decimal
from runtime.errors import UsageError
from runtime.io.charsets import UTF_8, Encoding
from runtime.schema.features import fold_name
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence


DETECTED_DELIMITERS: Final = (
    b",",
    b";",
    b"\t",
    b"|",
)  # where two fit as well, the first one is meant
_NAMES: Final = {"tab": b"\t", r"\t": b"\t", "comma": b",", "semicolon": b";", "pipe": b"|"}
_NEVER: Final = b'"\r\n\0+-.'  # quotes, line ends, numbers; letters and digits besides


class Dialect(Value, frozen=True):
    """How a table's text is laid out; quoting is that of RFC 4180.

    Attributes:
        delimiter: the byte between fields.
        encoding: of the characters.
        decimal: the sign before a number's fraction.
    """

    delimiter: bytes = b","
    encoding: Encoding = UTF_8
    decimal: Decimal = "."

    def __post_init__(self) -> None:
        sign = self.delimiter
        if len(sign) != 1 or not sign.isascii() or sign in _NEVER or sign.isalnum():
            raise UsageError(
                f"no delimiter {sign.decode(errors='replace')!r}: give one ASCII character that is "
                "no quote, line end, letter or digit and no part of a number, or 'tab'"
            )
        if self.encoding.splits_characters(sign[0]):
            raise UsageError(
                f"delimiter {sign.decode()!r} is also a part of longer characters in "
                f"{self.encoding.name}; convert the table first: "
                f"iconv -f {self.encoding.name} -t utf-8"
            )
        if self.decimal not in get_args(Decimal):
            raise UsageError(f"no decimal sign {self.decimal!r}: choose '.' or ','")


COMMA: Final = Dialect()


def parse_delimiter(text: str) -> bytes:
    """Read the value of ``--delimiter``."""
    return Dialect(_NAMES.get(text.lower(), text.encode())).delimiter


def candidate_dialects(dialect: Dialect) -> tuple[Dialect, ...]:
    """List the dialects that a table may have, alike but for their delimiters."""
    return tuple(
        replace(dialect, delimiter=sign)
        for sign in DETECTED_DELIMITERS
        if not dialect.encoding.splits_characters(sign[0])
    )


def best_delimiter(headers: Sequence[Sequence[str]], wanted: Sequence[str]) -> int:
    """Choose the delimiter by what the header looks like under each."""
    folded = {fold_name(name) for name in wanted}

    def fit(at: int) -> tuple[int, int]:
        names = headers[at]
        return len(folded.intersection(map(fold_name, names))), len(names)

    return max(range(len(headers)), key=fit)  # the first of equals


def split_record(text: str, delimiter: bytes) -> list[str]:
    """Split one record into its cells, quotes removed."""
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter.decode()), [])
