"""Notice that a bundle's folder was replaced, and load what is there now.

A folder is looked at once a second: names, sizes, times and inodes of its files. What cannot be
opened is tried again when something changes there, be it a permission, so a bundle that is copied
slowly is loaded when it is whole.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.serving.models.repository import Repository

_LOOK_S: Final = 1.0

State = frozenset[tuple[str, int, int, int]]


async def watch(repository: Repository) -> None:
    """Load bundles whose folders change, until cancelled.

    Args:
        repository: the models.
    """
    seen = {name: look(slot.path) for name, slot in repository.slots.items()}
    while True:
        await asyncio.sleep(_LOOK_S)
        for name, slot in repository.slots.items():
            state = look(slot.path)
            if state == seen[name]:
                continue
            seen[name] = state
            await repository.reload_each([name])


def look(folder: Path) -> State:
    """Describe the files of a folder; nothing where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    except OSError:
        return frozenset()
    return frozenset((name, at.st_size, at.st_ctime_ns, at.st_ino) for name, at in found)
