"""Names of columns: loose matches, repetitions, and the similar names that a message suggests."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_LISTED: Final = 10
_MIN_SIMILARITY: Final = 0.6  # 0 to 1, see ``difflib.SequenceMatcher.ratio``


def fold_name(name: str) -> str:
    """Normalize a name for a loose match: case-folded, without surrounding blanks."""
    return name.strip().casefold()


def repeated_names(names: Sequence[str]) -> list[str]:
    """List the names that appear more than once, each once, in order."""
    return [name for name, count in Counter(names).items() if count > 1]


def similar_names(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Group the names that differ only in case or surrounding blanks."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(fold_name(name), []).append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def closest_names(name: str, known: Sequence[str], limit: int = 3) -> list[str]:
    """Find the known names most similar to a misspelt one, best first."""
    import difflib

    return difflib.get_close_matches(name, known, n=limit, cutoff=_MIN_SIMILARITY)


def suggest_names(names: Sequence[str], columns: Sequence[str]) -> str:
    """Ask whether one of the names was meant; without names, list the table's columns."""
    if names:
        return f"did you mean {' or '.join(map(repr, names))}?"
    more = ", …" if len(columns) > _MAX_LISTED else ""
    return f"it has {', '.join(map(repr, columns[:_MAX_LISTED]))}{more}"


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
    return f"column {name!r} is missing; {suggest_names(closest_names(name, columns), columns)}"
