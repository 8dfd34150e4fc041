"""Frozen values, as ``@dataclass(frozen=True, slots=True)`` makes them, but made at once.

A frozen dataclass with slots writes, compiles and runs source when its module is imported, half a
millisecond each; thirty of them are a tenth of what scoring ten rows takes. What users build and
replace themselves (``Options``, ``Summary``, ``Prediction``) stays a dataclass. No errors.
"""

from __future__ import annotations

import msgspec


class Value(msgspec.Struct, frozen=True):
    """Base of values that never change; a subclass lists its fields and says ``frozen``, too."""
