"""Name the column that a table lacks, and the names that come nearest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def missing_column_message(name: str, columns: Sequence[str], near: Sequence[int]) -> str:
    """Say that a column is missing and which names come nearest."""
    if len(near) == 1:
        return (
            f"column {name!r} is missing; the table has {columns[near[0]]!r}: rename it, or take "
            "it with --loose-header, since names match exactly"
        )
    if near:
        found = " and ".join(repr(columns[at]) for at in near)
        return f"column {name!r} is missing; the table has {found}: rename the one that is meant"
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
