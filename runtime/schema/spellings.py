"""Other spellings of classes and categories: numbers, booleans, case and blanks.

Equal numbers and booleans are one class, other texts are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.schema.names import fold_name
from runtime.schema.numbers import number_key

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from runtime.schema.features import Feature

    Key = Callable[[str], Hashable | None]

_BOOLEANS: Final = {"true": True, "false": False}
_BOOLEAN_NUMBERS: Final = {"1": "true", "1.0": "true", "0": "false", "0.0": "false"}


def boolean_key(text: str) -> bool | None:
    """Get the value of ``true`` or ``false`` in any case; None for another text."""
    return _BOOLEANS.get(text.strip(" \t").lower())


def _text_key(text: str) -> str:
    return text


def choose_key(names: Sequence[str]) -> Key:
    """Choose what identifies a class: its value if all names are numbers or all are booleans."""
    for key in (number_key, boolean_key):
        if names and all(key(name) is not None for name in names):
            return key
    return _text_key


class ClassIndex:
    """Finds classes by their names, or by another spelling of their values."""

    def __init__(self, names: Sequence[str]) -> None:
        """Index the names, in the order of the model's outputs."""
        self._by_name = {name: at for at, name in enumerate(names)}
        self._key = choose_key(names)
        self._by_key = {self._key(name): at for name, at in self._by_name.items()}
        if len(self._by_key) < len(names):  # some classes differ only in spelling
            self._key, self._by_key = _text_key, {}

    @property
    def knows_spellings(self) -> bool:
        """Whether the classes have other spellings."""
        return self._key is not _text_key

    def find(self, text: str) -> int | None:
        """Find the position of a class; None if there is none."""
        found = self._by_name.get(text)
        return self._by_key.get(self._key(text)) if found is None else found


def spelling_key(text: str) -> Hashable:
    """Get what all spellings of a name have in common: its number, or its folded text."""
    folded = fold_name(text)
    number = number_key(folded)
    return folded if number is None else number


class Spellings:
    """The ways to write the categories of a feature; thread-safe.

    Attributes:
        are_equal: whether a text in another spelling is its category: of booleans, where ``TRUE``
            and ``1`` are ``true``, and where categories are folded. Else it is a bad cell.
    """

    def __init__(self, feature: Feature) -> None:
        """Prepare for a feature of categories."""
        self.are_equal = feature.is_boolean or feature.is_folded
        self._is_boolean, self._is_folded = feature.is_boolean, feature.is_folded
        self._known: dict[Hashable, int] = {}
        for at, category in enumerate(feature.categories):
            if category:
                self._known.setdefault(self._normalise(category), at)

    def find(self, text: bytes) -> int | None:
        """Find the category that a text spells, by index; None for one that differs."""
        return self._known.get(self._normalise(text.decode(errors="replace")))

    def _normalise(self, text: str) -> Hashable:
        if self._is_boolean:
            folded = fold_name(text)
            return _BOOLEAN_NUMBERS.get(folded, folded)
        return fold_name(text) if self._is_folded else spelling_key(text)
