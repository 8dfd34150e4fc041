"""Frozen values, as ``@dataclass(frozen=True, slots=True)`` makes them, but made at once.

A frozen dataclass with slots writes, compiles and runs source when its module is imported, half a
millisecond each; with thirty of them, scoring ten rows takes a tenth longer. A changed copy is
made by ``msgspec.structs.replace``.
"""

from __future__ import annotations

import msgspec


class Value(msgspec.Struct, frozen=True):
    """Base of values that never change; a subclass lists its fields and says ``frozen``, too."""
