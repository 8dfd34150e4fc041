"""The option ``--missing``: texts that mean a missing cell, or a row without a label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.errors import UsageError
from runtime.schema.classes import number_key

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse_missing(texts: Sequence[str] | None) -> tuple[str, ...]:
    """Parse the values of ``--missing``: sorted, without blanks around them.

    Raises ``UsageError`` for an empty text, which is missing anyway, and for a number, which the
    typed columns of other formats would not have as text.
    """
    found = {text.strip(" \t") for text in texts or ()}
    if "" in found or texts == ():
        raise UsageError("--missing has an empty text: give texts such as NA,NULL")
    if numbers := sorted(text for text in found if number_key(text.replace(",", ".")) is not None):
        raise UsageError(
            f"--missing: {numbers[0]!r} is a number, which cannot mean a missing cell: "
            "leave such cells empty"
        )
    return tuple(sorted(found))
