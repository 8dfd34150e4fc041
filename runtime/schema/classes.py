"""Class names in other spellings: equal numbers and booleans are one class, other texts are not."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    Key = Callable[[str], Hashable | None]

_NUMBER: Final = re.compile(
    r"[ \t]*([+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?)[ \t]*"
)
_BOOLEANS: Final = {"true": True, "false": False}


def number_key(text: str) -> Decimal | None:
    """Get the exact value of a number; None for another text."""
    found = _NUMBER.fullmatch(text)
    return Decimal(found[1]) if found else None


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
