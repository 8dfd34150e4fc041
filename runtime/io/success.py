"""The marker of a complete output folder, which is written last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    MakeMarker = Callable[[Mapping[str, str | None]], bytes]

SUCCESS: Final = "_SUCCESS"  # as Spark's, whose marker is empty


class Success(Value, frozen=True):
    """What the marker says: rows, and each file's name, rows, size and ETag.

    Attributes:
        rows: of each name; None where they are not counted.
        sizes: bytes of each name.
    """

    rows: Mapping[str, int | None]
    sizes: Mapping[str, int]

    def __call__(self, etags: Mapping[str, str | None]) -> bytes:
        """Serialize the marker; ``etags`` of names, empty for local files."""
        import msgspec

        parts = [
            {"name": name, "rows": rows, "size": self.sizes[name]}
            | ({"etag": etags[name]} if etags.get(name) else {})
            for name, rows in sorted(self.rows.items())
        ]
        whole = {"rows": sum(rows or 0 for rows in self.rows.values()), "parts": parts}
        return msgspec.json.format(msgspec.json.encode(whole)) + b"\n"
