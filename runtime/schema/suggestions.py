"""Suggest column names for a missing one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def missing_column_message(name: str, columns: Sequence[str], matches: Sequence[int]) -> str:
    """Describe a missing column, with similar names; ``matches`` index loose matches."""
    if len(matches) == 1:
        return (
            f"column {name!r} is missing; the table has {columns[matches[0]]!r}: rename it, or "
            "ignore case and blanks with --loose-header"
        )
    if matches:
        found = " and ".join(repr(columns[index]) for index in matches)
        return f"column {name!r} is missing; the table has {found}: rename the right one"
    import difflib

    nearest = difflib.get_close_matches(name, columns, n=3, cutoff=0.6)
    hint = (
        f"did you mean {' or '.join(map(repr, nearest))}?"
        if nearest
        else "it has "
        + (
            ", ".join(map(repr, columns[:10])) + (" …" if len(columns) > 10 else "")  # noqa: PLR2004
        )
    )
    return f"column {name!r} is missing; {hint}"
