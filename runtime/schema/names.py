"""Names of columns: loose matches, repetitions, and the similar names that a message suggests."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from runtime.printable import list_first, list_names

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_SUGGESTED: Final = 3
_MIN_SIMILARITY: Final = 0.6  # 0 to 1, see ``difflib.SequenceMatcher.ratio``


def fold_name(name: str) -> str:
    """Normalize a name for a loose match: case-folded, without surrounding blanks."""
    return name.strip().casefold()


def repeated_names(names: Sequence[str]) -> list[str]:
    """List the names that appear more than once, each once, in order."""
    return [name for name, count in Counter(names).items() if count > 1]


def closest_names(name: str, known: Sequence[str], limit: int = _MAX_SUGGESTED) -> list[str]:
    """Find the known names most similar to a misspelt one, best first."""
    import difflib

    return difflib.get_close_matches(name, known, n=limit, cutoff=_MIN_SIMILARITY)


def suggest_names(names: Sequence[str], columns: Sequence[str]) -> str:
    """Ask whether one of the names was meant; without names, list the table's columns."""
    if names:
        return f"did you mean {' or '.join(map(repr, names[:_MAX_SUGGESTED]))}?"
    return f"it has {list_names(columns)}"


def missing_column_message(name: str, columns: Sequence[str], matches: Sequence[int]) -> str:
    """Describe a missing column, with similar names; ``matches`` index loose matches."""
    if len(matches) == 1:
        return (
            f"column {name!r} is missing; the table has {columns[matches[0]]!r}: rename it, or "
            "ignore case and blanks with --loose-header"
        )
    if matches:
        found = list_first([repr(columns[index]) for index in matches], separator=" and ")
        return f"column {name!r} is missing; the table has {found}: rename the right one"
    return f"column {name!r} is missing; {suggest_names(closest_names(name, columns), columns)}"
