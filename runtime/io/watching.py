"""Folders of bundles, local and in object stores: what is in them, and when it changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runtime.io.paths import Location

    FolderState = frozenset[tuple[object, ...]]


def find_subfolders(folder: Location, marker: str) -> Mapping[str, Location]:
    """Find the folders in a folder that hold a ``marker``, by name, sorted.

    A link that leads nowhere is one of them. Hidden folders, those of a volume or of an unfinished
    copy, are left out. Raises ``OSError`` or ``OnnxferryError`` for a folder that cannot be read.
    """
    if not isinstance(folder, Path):
        from runtime.io.stores.listing import list_objects

        depth = len(folder.parts)
        paths = [each.path for each in list_objects(folder)]
        found: list[Location] = sorted(
            {path.parent for path in paths if path.name == marker and len(path.parts) == depth + 2},
            key=str,
        )
    else:
        found = [
            path
            for path in sorted(folder.iterdir())
            if os.path.lexists(path / marker) or not path.exists()
        ]
    return {path.name: path for path in found if not path.name.startswith(".")}


def folder_state(folder: Location) -> FolderState:
    """Return names, sizes and versions of a folder's files; empty without a folder.

    Links are followed: a switch further along their way is a change, too. Hidden names are those
    of a volume's or a copying program's own. Raises ``OnnxferryError`` where a store does not tell.
    """
    if not isinstance(folder, Path):
        from runtime.io.stores.listing import list_objects

        return frozenset((each.path.key, each.size, each.etag) for each in list_objects(folder))
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return frozenset()
    return frozenset((name, *_file_state(folder / name)) for name in names)


def poll_interval(folders: Iterable[Location | None]) -> float:
    """Choose how often to look for changes, in seconds: a store bills every look."""
    return 1.0 if all(folder is None or isinstance(folder, Path) for folder in folders) else 10.0


def _file_state(path: Path) -> tuple[int, int, int]:
    """Return size, change time and inode of the file that a path leads to; zeros without one."""
    try:
        at = path.stat()
    except OSError:
        return 0, 0, 0
    return at.st_size, at.st_ctime_ns, at.st_ino
