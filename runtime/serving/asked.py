"""What the query of ``POST /predict`` asks for. Raises ``RequestError`` that names the option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import parse_qsl

import msgspec

from runtime.choices import Decimal  # noqa: TC001 - msgspec reads the annotation
from runtime.errors import RequestError
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.scoring.options import Options

_OPTIONS: Final = ("model", "bad_rows", "proba", "prefix", "delimiter", "decimal")


class Asked(Value, frozen=True):
    """How rows are to be scored.

    Attributes:
        model: its name; empty for the only one there is.
        bad_rows: ``fail`` or ``null``.
        proba: add one column a class.
        prefix: before the new columns' names.
        delimiter: between the fields of CSV; empty where its header tells.
        decimal: the sign before a number's fraction, in text.
    """

    model: str = ""
    bad_rows: Literal["fail", "null"] = "fail"
    proba: bool = False
    prefix: str = ""
    delimiter: str = ""
    decimal: Decimal = "."

    def options(self, charset: str) -> Options:
        """Say so to those who score.

        Args:
            charset: of the body; empty for UTF-8, or what a byte order mark says.

        Returns:
            The options.

        Raises:
            UsageError: when text cannot be read so.
        """
        from runtime.io.charsets import parse_encoding
        from runtime.scoring.options import Options
        from runtime.tables.dialect import parse_delimiter
        from runtime.tables.options import ReadOptions

        reading = ReadOptions(
            delimiter=parse_delimiter(self.delimiter) if self.delimiter else None,
            encoding=parse_encoding(charset) if charset else None,
            decimal=self.decimal,
        )
        return Options(
            reading=reading, bad_rows=self.bad_rows, proba=self.proba, prefix=self.prefix
        )


def parse_query(query: str) -> Asked:
    """Read the query.

    Args:
        query: what follows the question mark.

    Returns:
        What it asks for.

    Raises:
        RequestError: for a name or value that is not known.
    """
    known = f"it may have each of {', '.join(_OPTIONS)}, once"
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=len(_OPTIONS))
    except ValueError as exc:
        raise RequestError(f"the query: {exc}; {known}") from exc
    found = dict(pairs)
    if len(found) < len(pairs) or not set(found) <= set(_OPTIONS):
        raise RequestError(f"the query has {query!r}; {known}")
    try:
        return msgspec.convert(found, Asked, strict=False)
    except msgspec.ValidationError as exc:
        said, _, name = str(exc).replace("`", "").rpartition(" - at $.")
        raise RequestError(f"the query: {name}: {said}; see /openapi.json") from exc
