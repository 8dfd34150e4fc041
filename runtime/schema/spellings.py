"""Other spellings of categories: numbers in another notation, case and blanks, booleans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.schema.classes import number_key
from runtime.schema.names import fold_name

if TYPE_CHECKING:
    from collections.abc import Hashable

    from runtime.schema.features import Feature

_BOOLEANS: Final = {"1": "true", "1.0": "true", "0": "false", "0.0": "false"}


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
            return _BOOLEANS.get(folded, folded)
        return fold_name(text) if self._is_folded else spelling_key(text)
