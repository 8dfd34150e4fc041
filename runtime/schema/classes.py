"""Find a class by its name, and the positive one of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.errors import UsageError
from runtime.printable import list_names
from runtime.schema.names import fold_name
from runtime.surfaces import option

if TYPE_CHECKING:
    from collections.abc import Sequence

    Proba = bool | str

# Pairs of names of which the second is positive, whatever their order, case or number format.
_PAIRS: Final = (
    ("0", "1"),
    ("-1", "1"),
    ("false", "true"),
    ("f", "t"),
    ("no", "yes"),
    ("n", "y"),
    ("negative", "positive"),
    ("neg", "pos"),
    ("off", "on"),
)


def _find(classes: Sequence[str], name: str) -> int | None:
    from runtime.schema.spellings import ClassIndex

    return ClassIndex(classes).find(name)


def find_class(classes: Sequence[str], name: object) -> int:
    """Find the position of a class by its name, a number or boolean also by its value."""
    found = _find(classes, str(name))
    if found is None:
        raise UsageError(f"there is no class {str(name)!r}; the classes are {list_names(classes)}")
    return found


def positive_class(classes: Sequence[str]) -> int | None:
    """Find the positive one of two classes; None where their names do not say which it is."""
    keys = [_key(name) for name in classes]
    found = next((pair[1] for pair in _PAIRS if sorted(pair) == sorted(keys)), None)
    return None if found is None else keys.index(found)


def _key(name: str) -> str:
    """Fold a name; a number is written as the pairs do, whatever its format."""
    folded = fold_name(name)
    try:
        return f"{float(folded):g}"
    except ValueError:
        return folded


def choose_classes(classes: Sequence[str], proba: Proba) -> tuple[int, ...]:
    """Choose the classes whose probability is added, by position.

    Args:
        classes: of the model.
        proba: ``all`` or true for all, ``positive`` for the positive one of two, the name of one
            class, false for none. A class of that name comes before ``positive``.

    Returns:
        Their positions, ascending.

    Raises:
        UsageError: when there is no such class, or the names do not say which one is positive.
    """
    if proba is False:
        return ()
    if proba is True or proba == "all":
        return tuple(range(len(classes)))
    found = _find(classes, proba)
    if found is not None:
        return (found,)
    if proba != "positive":
        raise UsageError(
            f"{option('proba', proba)}: there is no such class; the classes are "
            f"{list_names(classes)}; "
            "give one of them, all or positive"
        )
    positive = positive_class(classes)
    if positive is None:
        raise UsageError(
            f"{option('proba', 'positive')}: the classes {list_names(classes)} do not say which "
            f"one is positive; name it: {option('proba', classes[-1])}"
        )
    return (positive,)
