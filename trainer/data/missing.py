"""The option ``--missing``: texts that mean a missing cell, or a row without a label."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from runtime.errors import SchemaError, UsageError
from runtime.tables.cells import MISSING_WORDS
from trainer.config import join_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.data.profile import TableProfile
    from trainer.data.source import TableSource

_NUMBER: Final = re.compile(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?")


def parse_missing(texts: Sequence[str] | None) -> tuple[str, ...]:
    """Parse the values of ``--missing``: sorted, without blanks around them.

    Raises ``UsageError`` for an empty text, which is missing anyway, and for a number, which the
    typed columns of other formats would not have as text.
    """
    found = {text.strip(" \t") for text in texts or ()}
    if "" in found or texts == ():
        raise UsageError("--missing has an empty text: give texts such as NA,NULL")
    if numbers := sorted(text for text in found if _NUMBER.fullmatch(text)):
        raise UsageError(
            f"--missing: {numbers[0]!r} is a number, which cannot mean a missing cell: "
            "leave such cells empty"
        )
    return tuple(sorted(found))


def check_label(profile: TableProfile, source: TableSource) -> None:
    """Refuse a label with words for missing, which are no class unless the user says so."""
    texts = [label.decode(errors="replace") for label in profile.labels]
    words = [text for text in texts if text.strip(" \t") in MISSING_WORDS]
    if not words or source.label in source.categories:
        return
    codes = [texts.index(word) for word in words]
    rows = sum(int((profile.codes == code).sum()) for code in codes)
    shown, name = ", ".join(map(repr, words)), source.label
    raise SchemaError(
        f"{source.data}: label {name!r} is {shown} in {rows:,} rows: if these rows have no label, "
        f"give --missing {shlex.quote(join_names(sorted({word.strip() for word in words})))}; if "
        f"that is a class, give --categories {shlex.quote(join_names([name]))}"
    )
