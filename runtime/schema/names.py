"""Names of columns: loose matches, repetitions, and the similar names that a message suggests."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final

from runtime.printable import MAX_LISTED, list_first, list_names
from runtime.surfaces import advise_loosely, either

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

_WIDTHS: Final = {"<wide>", "<narrow>", "<noBreak>"}  # tags of decompositions in Unicode's data
_MAX_SUGGESTED: Final = 3
_MIN_SIMILARITY: Final = 0.6  # 0 to 1, see ``difflib.SequenceMatcher.ratio``


def fold_name(name: str) -> str:
    """Normalize a name for a loose match.

    Ignores case, surrounding and repeated blanks, the Unicode form (NFC, NFD), full and half
    width, no-break spaces and invisible characters; superscripts and accents still differ.
    """
    if name.isascii():
        return " ".join(name.split()).casefold()
    import unicodedata

    plain = " ".join("".join(map(_plain_character, name)).split())
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", plain).casefold())


def _plain_character(char: str) -> str:
    """Map a character of another width to the usual one, and an invisible one to nothing."""
    import unicodedata

    if unicodedata.category(char) == "Cf":
        return ""
    variant, _, code = unicodedata.decomposition(char).partition(" ")
    return chr(int(code, 16)) if variant in _WIDTHS else char


def _difference(name: str, column: str) -> str:
    """Describe in what two names differ that match loosely; empty for case and blanks."""
    if name.strip().casefold() == column.strip().casefold():
        return ""
    import unicodedata

    forms = [unicodedata.normalize("NFC", each) for each in (name, column)]
    if forms[0] == forms[1]:
        found = next(
            (form for form in ("NFC", "NFD") if unicodedata.is_normalized(form, column)), ""
        )
        return f"the Unicode form ({found} here)" if found else "the Unicode form"
    return "case, blanks, the Unicode form, width or invisible characters"


def repeated_names(names: Sequence[str]) -> list[str]:
    """List the names that appear more than once, each once, in order."""
    return [name for name, count in Counter(names).items() if count > 1]


def similar_names(
    names: Sequence[str], key: Callable[[str], Hashable] = fold_name
) -> tuple[tuple[str, ...], ...]:
    """Group the names that ``key`` does not tell apart."""
    groups: dict[Hashable, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def closest_names(name: str, known: Sequence[str], limit: int = _MAX_SUGGESTED) -> list[str]:
    """Find the known names most similar to a misspelt one, best first."""
    import difflib

    return difflib.get_close_matches(name, known, n=limit, cutoff=_MIN_SIMILARITY)


def _similar_names(name: str, columns: Sequence[str]) -> list[str]:
    """Find columns that differ loosely, else the most similar ones."""
    alike = [column for column in columns if fold_name(column) == fold_name(name)]
    return alike or closest_names(name, columns)


def has_similar(name: str, columns: Sequence[str]) -> bool:
    """Whether ``suggest_names`` finds a similar column."""
    return bool(_similar_names(name, columns))


def suggest_names(name: str, columns: Sequence[str]) -> str:
    """Suggest which of a table's columns was meant; without a similar one, list them."""
    if names := _similar_names(name, columns)[:_MAX_SUGGESTED]:
        is_alike = len(names) == 1 and fold_name(names[0]) == fold_name(name)
        difference = _difference(name, names[0]) if is_alike else ""
        more = f" It differs only in {difference}: copy it from the table" if difference else ""
        return f"did you mean {' or '.join(map(repr, names))}?{more}"
    return f"it has {list_names(columns)}"


def missing_columns_message(
    missing: Mapping[str, Sequence[int]], columns: Sequence[str], *, can_be_loose: bool
) -> str:
    """Describe missing columns: those with a similar name a line each, the others together.

    Args:
        missing: indices of loose matches in ``columns``, by missing name.
        columns: of the table.
        can_be_loose: whether the reader may ignore such differences.

    Returns:
        Lines.
    """
    first = islice(missing.items(), MAX_LISTED)  # similar names take long to find
    similar = {
        name: _missing_column_message(name, columns, matches, can_be_loose=can_be_loose)
        for name, matches in first
        if matches or len(missing) == 1 or has_similar(name, columns)
    }
    others = [name for name in missing if name not in similar]
    which = "column {} is missing" if len(others) == 1 else "columns {} are missing"
    known = [f"{which.format(list_names(others))}; the table has {list_names(columns)}"]
    return "\n".join([*similar.values(), *(known if others else [])])


def _missing_column_message(
    name: str, columns: Sequence[str], matches: Sequence[int], *, can_be_loose: bool
) -> str:
    """Describe a missing column, with similar names; ``matches`` index loose matches."""
    if len(matches) == 1:
        found = columns[matches[0]]
        difference = _difference(name, found)
        which = f", which differs only in {difference}" if difference else ""
        ignore = "such differences" if difference else "case and blanks"
        ways = either("rename it", advise_loosely(ignore) if can_be_loose else "")
        return f"column {name!r} is missing; the table has {found!r}{which}: {ways}"
    if matches:
        found = list_first([repr(columns[index]) for index in matches], separator=" and ")
        return f"column {name!r} is missing; the table has {found}: rename the right one"
    return f"column {name!r} is missing; {suggest_names(name, columns)}"
