"""List the objects below a prefix, or those that match a pattern."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import cache
from typing import TYPE_CHECKING, Final

from runtime.io.parallel import map_ordered
from runtime.io.stores.errors import translate_errors
from runtime.io.stores.object_path import ObjectPath
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK: Final = 1000  # objects of one answer of S3
_THREADS: Final = 8


class Found(Value, frozen=True):
    """An object of a listing.

    Attributes:
        path: of the object.
        size: bytes.
        etag: of its content; None where the store has none.
    """

    path: ObjectPath
    size: int
    etag: str | None


def list_objects(prefix: ObjectPath, *, writing: bool = False) -> list[Found]:
    """List the objects below a prefix, without markers of folders; raises ``DataError``.

    A marker is an empty object with others below it, or one whose key ends with a slash, as
    consoles make it. The client lists that without the slash, as a key that is not there.
    """
    with translate_errors(str(prefix), writing=writing):
        chunks = prefix.store.list(prefix.key or None, chunk_size=_CHUNK)
        metas = [meta for chunk in chunks for meta in chunk if meta["path"] != prefix.key]
    found = [
        Found(
            ObjectPath(prefix.scheme, prefix.bucket, meta["path"]),
            meta["size"],
            _entity_tag(meta["e_tag"]),
        )
        for meta in metas
    ]
    folders = {parent for each in found for parent in _parents(each.path)}
    found = [each for each in found if each.size or each.path.key not in folders]
    empty = [each.path for each in found if not each.size]
    is_there = map_ordered(ObjectPath.is_file, empty, threads=_THREADS)
    markers = {path for path, there in zip(empty, is_there, strict=True) if not there}
    return [each for each in found if each.path not in markers]


def _entity_tag(listed: str | None) -> str | None:
    """Write an ETag as HTTP does, in quotes, which Azure's listings leave out."""
    return f'"{listed}"' if listed and listed[0] not in '"W' else listed


def match_objects(pattern: ObjectPath, wildcards: Sequence[str]) -> tuple[ObjectPath, list[Found]]:
    """Find the objects that match a pattern, ``**`` for any folders.

    Args:
        pattern: with the parts ``wildcards`` at its end.
        wildcards: the parts from the first with a wildcard on.

    Returns:
        The prefix before the first wildcard, and the objects.
    """
    root = pattern
    for _ in wildcards:
        root = root.parent
    depth = len(root.parts)
    found = list_objects(root)
    return root, [each for each in found if _matches(each.path.parts[depth:], tuple(wildcards))]


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[at:], pattern[1:]) for at in range(len(parts) + 1)) or (
            len(pattern) == 1
        )
    return bool(parts and _expression(pattern[0]).fullmatch(parts[0])) and _matches(
        parts[1:], pattern[1:]
    )


@cache
def _expression(part: str) -> re.Pattern[str]:
    return re.compile(translate(part))


def _parents(path: ObjectPath) -> list[str]:
    parts = path.key.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
